//! `kong.response`: the answer to the client.
//!
//! `kong.response.exit` is not a call here: it is what a handler returns ([`Exit`]), so that nothing can follow it.

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::argument::{HeaderValue, MaxEntries, Status, entries};
use crate::byte_string::ByteString;
use crate::call::{Method, calls};
use crate::phase::PhaseName;
pub use crate::reply::Headers;
use crate::reply::{nothing, optional_text, small_number};
use crate::wire;

/// An answer in Kong's place: `kong.response.exit`.
///
/// Kong runs no later plugin of the phase and proxies nothing; the phase log still runs. In the phase
/// [`Preread`](crate::phase::Preread) there are no headers, and Kong accepts only 200, 400, 403, 500, 502 and 503: another
/// status below 500 becomes 403, another one above becomes 500.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an exit happens when the handler returns it"]
pub struct Exit {
    status: Status,
    headers: Vec<(Bytes, HeaderValue)>,
    body: Bytes,
}

impl Exit {
    /// Kong's name of the method.
    pub const METHOD: &'static str = "kong.response.exit";

    /// An answer without headers and body.
    pub const fn new(status: Status) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// An answer with a JSON body, typed as such.
    pub fn json(status: Status, body: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(status)
            .header("Content-Type", "application/json; charset=utf-8")
            .body(serde_json::to_vec(body)?))
    }

    /// An answer in the form of Kong's own: `{"message": …}`.
    pub fn message(status: Status, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "message": message }))
            .expect("a map of strings is JSON")
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Appends the arguments of the call.
    pub(crate) fn encode(&self, phase: PhaseName, buffer: &mut BytesMut) {
        let status = match (phase, self.status.code()) {
            (PhaseName::Preread, code) if !matches!(code, 200 | 400 | 403 | 500 | 502 | 503) => {
                if code < 500 {
                    403
                } else {
                    500
                }
            }
            (_, code) => code,
        };
        let headers = entries(
            self.headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into_wire())),
        );
        wire::ExitArgs {
            status: status.into(),
            body: self.body.clone(),
            headers: (!headers.fields.is_empty()).then_some(headers),
        }
        .encode(buffer)
        .expect("a BytesMut grows as needed");
    }
}

/// Who made the answer that the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The upstream.
    Service,
    /// A plugin, or Kong itself, on purpose.
    Exit,
    /// An error in Kong or on the way to the upstream.
    Error,
}

impl Source {
    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"service" => Some(Self::Service),
            b"exit" => Some(Self::Exit),
            b"error" => Some(Self::Error),
            _ => None,
        }
    }
}

calls! {
    /// The status of the answer.
    "kong.response.get_status" in [Response Log]
    fn get_status() -> GetStatus(()) {} => u16, small_number;

    /// The first value of a header of the answer; `None` if it is absent or empty.
    "kong.response.get_header" in [Response Log]
    fn get_header(name: impl Into<Bytes>) -> GetHeader(wire::String) { wire::String { v: name.into() } }
    => Option<ByteString>, optional_text;

    /// The headers of the answer.
    "kong.response.get_headers" in [Response Log]
    fn get_headers(max: MaxEntries) -> GetHeaders(wire::Int) { max.to_wire() } => Headers, Headers::from_wire;

    /// Who made the answer; `None` for a word that no Kong up to 3.9 says.
    "kong.response.get_source" in [Response Log]
    fn get_source() -> GetSource(()) {} => Option<Source>, |source: wire::String| Source::from_name(&source.v);

    /// Sets the status of the answer.
    "kong.response.set_status" in [Rewrite Access Response]
    fn set_status(status: Status) -> SetStatus(wire::Int) { wire::Int { v: status.code().into() } } => (), nothing;

    /// Sets a header of the answer, in place of any that is there.
    "kong.response.set_header" in [Rewrite Access Response]
    fn set_header(name: impl Into<Bytes>, value: impl Into<HeaderValue>) -> SetHeader(wire::Kv) {
        wire::Kv { k: name.into(), v: Some(value.into().into_wire()) }
    }
    => (), nothing;

    /// Adds a header to the answer, beside any that is there.
    "kong.response.add_header" in [Rewrite Access Response]
    fn add_header(name: impl Into<Bytes>, value: impl Into<HeaderValue>) -> AddHeader(wire::Kv) {
        wire::Kv { k: name.into(), v: Some(value.into().into_wire()) }
    }
    => (), nothing;

    /// Removes a header from the answer.
    "kong.response.clear_header" in [Rewrite Access Response]
    fn clear_header(name: impl Into<Bytes>) -> ClearHeader(wire::String) { wire::String { v: name.into() } }
    => (), nothing;

    /// Sets several headers of the answer in one call.
    "kong.response.set_headers" in [Rewrite Access Response]
    fn set_headers(headers: impl IntoIterator<Item = (impl Into<Bytes>, impl Into<HeaderValue>)>) -> SetHeaders(wire::Struct) {
        entries(headers.into_iter().map(|(name, value)| (name, value.into().into_wire())))
    }
    => (), nothing;
}

/// The row of the method table for [`Exit`], which is no call.
pub(crate) const EXIT: &Method = &Method {
    name: Exit::METHOD,
    phases: &[
        PhaseName::Rewrite,
        PhaseName::Access,
        PhaseName::Response,
        PhaseName::Preread,
    ],
};
