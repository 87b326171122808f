//! `kong.nginx`: variables and the context of nginx.

use bytes::Bytes;

use crate::byte_string::ByteString;
use crate::call::calls;
use crate::reply::{done, number, optional_text, text};
use crate::value::Value;
use crate::wire;

calls! {
    /// An nginx variable, such as `request_id`; `None` if it is empty or unknown.
    "kong.nginx.get_var" in [Rewrite Access Response Preread]
    fn get_var(name: impl Into<Bytes>) -> GetVar(wire::String) { wire::String { v: name.into() } }
    => Option<ByteString>, optional_text;

    /// The TLS version of the client's connection, such as `TLSv1.3`; `None` without TLS.
    "kong.nginx.get_tls1_version_str" in [Certificate Rewrite Access Response Log Preread]
    fn get_tls1_version_str() -> GetTls1VersionStr(()) {} => Option<ByteString>, optional_text;

    /// Sets a value in `ngx.ctx`, where Kong's own state lives too. Prefer `kong.ctx.shared`.
    "kong.nginx.set_ctx" in [Certificate Rewrite Access Response Log Preread]
    fn set_ctx(key: impl Into<Bytes>, value: impl Into<Value>) -> SetCtx(wire::Kv) {
        wire::Kv { k: key.into(), v: Some(value.into().into()) }
    }
    => (), done;

    /// A value of `ngx.ctx`, Kong's own among them, such as `authenticated_consumer`.
    ///
    /// A value that holds itself, directly or not, would hang a worker of Kong: ask for those you know.
    "kong.nginx.get_ctx" in [Certificate Rewrite Access Response Log Preread]
    fn get_ctx(key: impl Into<Bytes>) -> GetCtx(wire::String) { wire::String { v: key.into() } }
    => Value, |value: wire::Value| value.into();

    /// When the request began, in seconds since 1970 with milliseconds behind the point. 0 in a TCP stream.
    "kong.nginx.req_start_time" in [Rewrite Access Response Log Preread]
    fn req_start_time() -> ReqStartTime(()) {} => f64, number;

    /// `http` or `stream`.
    "kong.nginx.get_subsystem" in [Certificate Rewrite Access Response Log Preread]
    fn get_subsystem() -> GetSubsystem(()) {} => ByteString, text;
}
