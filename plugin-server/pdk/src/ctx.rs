//! `kong.ctx.shared`: values that the plugins of one request share, from phase to phase.

use bytes::Bytes;

use crate::call::calls;
use crate::reply::nothing;
use crate::value::Value;
use crate::wire;

calls! {
    /// Stores a value for the other plugins and the later phases of this request. Nil removes it, **and so does `false`**.
    "kong.ctx.shared.set" in [Certificate Rewrite Access Response Log Preread]
    fn set_shared(key: impl Into<Bytes>, value: impl Into<Value>) -> SetShared(wire::Kv) {
        wire::Kv { k: key.into(), v: Some(value.into().into()) }
    }
    => (), nothing;

    /// The value under this key; nil if there is none.
    "kong.ctx.shared.get" in [Certificate Rewrite Access Response Log Preread]
    fn get_shared(key: impl Into<Bytes>) -> GetShared(wire::String) { wire::String { v: key.into() } }
    => Value, |value: wire::Value| value.into();
}
