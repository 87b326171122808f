//! `kong.request`: the client's request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use bytes::Bytes;

use crate::argument::MaxEntries;
use crate::byte_string::ByteString;
use crate::call::calls;
pub use crate::reply::{Headers, Query, QueryArgument};
use crate::reply::{number, optional_text, small_number, text};
use crate::wire;

/// A request body, as Kong has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawBody {
    /// The body; empty if there is none.
    Content(Bytes),
    /// The body did not fit nginx's buffer (`nginx_http_client_body_buffer_size`) and lies in this file, which nginx keeps for
    /// its own user alone (mode 0600) and removes with the request.
    File(PathBuf),
    /// Kong could not read it, and why.
    Unreadable(ByteString),
}

impl RawBody {
    fn from_wire(result: wire::RawBodyResult) -> Self {
        use wire::raw_body_result::Kind;
        match result.kind {
            None => Self::Content(Bytes::new()),
            Some(Kind::Content(content)) => Self::Content(content),
            Some(Kind::BodyFilepath(path)) => Self::File(OsString::from_vec(path.into()).into()),
            Some(Kind::Error(reason)) => Self::Unreadable(reason.into()),
        }
    }
}

/// What the route's regular expression captured from the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UriCaptures {
    /// The captures by number.
    pub unnamed: Vec<ByteString>,
    /// The captures by name.
    pub named: Vec<(ByteString, ByteString)>,
}

impl UriCaptures {
    fn from_wire(result: wire::UriCapturesResult) -> Self {
        Self {
            unnamed: result.unnamed.into_iter().map(Into::into).collect(),
            named: result
                .named
                .into_iter()
                .map(|entry| (entry.key.into(), entry.value.into()))
                .collect(),
        }
    }
}

calls! {
    /// The scheme of the client's connection: `http` or `https`.
    "kong.request.get_scheme" in [Rewrite Access Response]
    fn get_scheme() -> GetScheme(()) {} => ByteString, text;

    /// The host that the request names, in lower case, without a port.
    "kong.request.get_host" in [Rewrite Access Response]
    fn get_host() -> GetHost(()) {} => ByteString, text;

    /// Kong's port that the client reached.
    "kong.request.get_port" in [Rewrite Access Response Preread]
    fn get_port() -> GetPort(()) {} => u16, small_number;

    /// The scheme, as told by a proxy that Kong trusts.
    "kong.request.get_forwarded_scheme" in [Rewrite Access Response]
    fn get_forwarded_scheme() -> GetForwardedScheme(()) {} => ByteString, text;

    /// The host, as told by a proxy that Kong trusts.
    "kong.request.get_forwarded_host" in [Rewrite Access Response]
    fn get_forwarded_host() -> GetForwardedHost(()) {} => ByteString, text;

    /// The port, as told by a proxy that Kong trusts.
    "kong.request.get_forwarded_port" in [Rewrite Access Response]
    fn get_forwarded_port() -> GetForwardedPort(()) {} => u16, small_number;

    /// The version of HTTP: 1.0, 1.1 or 2.0.
    "kong.request.get_http_version" in [Rewrite Access Response]
    fn get_http_version() -> GetHttpVersion(()) {} => f64, number;

    /// The method, in capitals.
    "kong.request.get_method" in [Rewrite Access Response]
    fn get_method() -> GetMethod(()) {} => ByteString, text;

    /// The path, normalized, without the query.
    "kong.request.get_path" in [Rewrite Access Response]
    fn get_path() -> GetPath(()) {} => ByteString, text;

    /// The path and the query, as the client sent them.
    "kong.request.get_path_with_query" in [Rewrite Access Response]
    fn get_path_with_query() -> GetPathWithQuery(()) {} => ByteString, text;

    /// The query without its question mark, as the client sent it.
    "kong.request.get_raw_query" in [Rewrite Access Response]
    fn get_raw_query() -> GetRawQuery(()) {} => ByteString, text;

    /// The first value of a query argument; `None` if it is absent or empty.
    ///
    /// **A client can make this call fail with a 500**, by sending the argument without a value (`?name`): Kong then has `true`
    /// where its own protocol allows only a string. Use [`get_query`].
    "kong.request.get_query_arg" in [Rewrite Access Response]
    fn get_query_arg(name: impl Into<Bytes>) -> GetQueryArg(wire::String) { wire::String { v: name.into() } }
    => Option<ByteString>, optional_text;

    /// The arguments of the query.
    "kong.request.get_query" in [Rewrite Access Response]
    fn get_query(max: MaxEntries) -> GetQuery(wire::Int) { max.to_wire() } => Query, Query::from_wire;

    /// The first value of a header; `None` if it is absent or empty ([`get_headers`] tells these apart).
    "kong.request.get_header" in [Rewrite Access Response Log]
    fn get_header(name: impl Into<Bytes>) -> GetHeader(wire::String) { wire::String { v: name.into() } }
    => Option<ByteString>, optional_text;

    /// The request's headers, the credentials in them included. In the phase log, Kong ignores the maximum and gives 100 at most.
    "kong.request.get_headers" in [Rewrite Access Response Log]
    fn get_headers(max: MaxEntries) -> GetHeaders(wire::Int) { max.to_wire() } => Headers, Headers::from_wire;

    /// The body: Kong reads all of it before it answers.
    "kong.request.get_raw_body" in [Rewrite Access Response]
    fn get_raw_body() -> GetRawBody(()) {} => RawBody, RawBody::from_wire;

    /// What the route's regular expression captured from the path; nothing before routing.
    "kong.request.get_uri_captures" in [Rewrite Access Response Log]
    fn get_uri_captures() -> GetUriCaptures(()) {} => UriCaptures, UriCaptures::from_wire;
}
