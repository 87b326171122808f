//! `kong.service.request`: the request that Kong sends to the upstream.

use bytes::Bytes;

use crate::argument::{HeaderValue, Method, QueryValue, Scheme, UpstreamPath, entries};
use crate::call::calls;
use crate::reply::nothing;
use crate::wire;

calls! {
    /// Sets the scheme.
    "kong.service.request.set_scheme" in [Rewrite Access]
    fn set_scheme(scheme: Scheme) -> SetScheme(wire::String) { scheme.to_wire() } => (), nothing;

    /// Sets the path, without a query. Kong escapes it.
    "kong.service.request.set_path" in [Rewrite Access]
    fn set_path(path: UpstreamPath) -> SetPath(wire::String) { path.into_wire() } => (), nothing;

    /// Sets the query, without its question mark, as it is.
    "kong.service.request.set_raw_query" in [Rewrite Access]
    fn set_raw_query(query: impl Into<Bytes>) -> SetRawQuery(wire::String) { wire::String { v: query.into() } }
    => (), nothing;

    /// Sets the method.
    "kong.service.request.set_method" in [Rewrite Access]
    fn set_method(method: Method) -> SetMethod(wire::String) { method.to_wire() } => (), nothing;

    /// Sets the query from its arguments; Kong sorts and escapes them.
    "kong.service.request.set_query" in [Rewrite Access]
    fn set_query(arguments: impl IntoIterator<Item = (impl Into<Bytes>, impl Into<QueryValue>)>) -> SetQuery(wire::Struct) {
        entries(arguments.into_iter().map(|(name, value)| (name, value.into().into_wire())))
    }
    => (), nothing;

    /// Sets a header, in place of any that is there. `Host` sets the host that the upstream sees.
    "kong.service.request.set_header" in [Rewrite Access]
    fn set_header(name: impl Into<Bytes>, value: impl Into<HeaderValue>) -> SetHeader(wire::Kv) {
        wire::Kv { k: name.into(), v: Some(value.into().into_wire()) }
    }
    => (), nothing;

    /// Adds a header, beside any that is there.
    "kong.service.request.add_header" in [Rewrite Access]
    fn add_header(name: impl Into<Bytes>, value: impl Into<HeaderValue>) -> AddHeader(wire::Kv) {
        wire::Kv { k: name.into(), v: Some(value.into().into_wire()) }
    }
    => (), nothing;

    /// Removes a header.
    "kong.service.request.clear_header" in [Rewrite Access]
    fn clear_header(name: impl Into<Bytes>) -> ClearHeader(wire::String) { wire::String { v: name.into() } }
    => (), nothing;

    /// Sets several headers in one call.
    "kong.service.request.set_headers" in [Rewrite Access]
    fn set_headers(headers: impl IntoIterator<Item = (impl Into<Bytes>, impl Into<HeaderValue>)>) -> SetHeaders(wire::Struct) {
        entries(headers.into_iter().map(|(name, value)| (name, value.into().into_wire())))
    }
    => (), nothing;

    /// Sets the body; Kong sets Content-Length. Set Content-Type as well if it changes.
    "kong.service.request.set_raw_body" in [Rewrite Access]
    fn set_raw_body(body: impl Into<Bytes>) -> SetRawBody(wire::ByteString) { wire::ByteString { v: body.into() } }
    => (), nothing;
}
