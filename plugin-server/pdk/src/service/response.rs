//! `kong.service.response`: what the upstream answered. Only the phase response sees it.

use bytes::Bytes;

use crate::argument::MaxEntries;
use crate::byte_string::ByteString;
use crate::call::calls;
pub use crate::reply::Headers;
use crate::reply::{bytes, optional_text, small_number};
use crate::wire;

calls! {
    /// The upstream's status; 0 if it was not asked.
    "kong.service.response.get_status" in [Response]
    fn get_status() -> GetStatus(()) {} => u16, small_number;

    /// The first value of a header of the upstream's answer; `None` if it is absent or empty.
    "kong.service.response.get_header" in [Response]
    fn get_header(name: impl Into<Bytes>) -> GetHeader(wire::String) { wire::String { v: name.into() } }
    => Option<ByteString>, optional_text;

    /// The headers of the upstream's answer. **Kong 3.9 always answers with none**: its table of them cannot be walked. Ask for
    /// each by [`get_header`], or for [`crate::response::get_headers`].
    "kong.service.response.get_headers" in [Response]
    fn get_headers(max: MaxEntries) -> GetHeaders(wire::Int) { max.to_wire() } => Headers, Headers::from_wire;

    /// The body of the upstream's answer.
    "kong.service.response.get_raw_body" in [Response]
    fn get_raw_body() -> GetRawBody(()) {} => Bytes, bytes;
}
