//! `kong.log`: lines in Kong's error log, and the entry that Kong's logging plugins write.
//!
//! A line costs a call. What belongs to the plugin server is better logged by the plugin server itself.

use bytes::Bytes;

use crate::byte_string::ByteString;
use crate::call::calls;
use crate::reply::{nothing, text};
use crate::value::Value;
use crate::wire;

fn parts(parts: impl IntoIterator<Item = impl Into<Value>>) -> wire::ListValue {
    wire::ListValue {
        values: parts.into_iter().map(|part| part.into().into()).collect(),
    }
}

calls! {
    /// Logs at level alert. Kong joins the parts; a nil ends them.
    "kong.log.alert" in [Certificate Rewrite Access Response Log Preread]
    fn alert(message: impl IntoIterator<Item = impl Into<Value>>) -> AlertLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Logs at level crit. Kong joins the parts; a nil ends them.
    "kong.log.crit" in [Certificate Rewrite Access Response Log Preread]
    fn crit(message: impl IntoIterator<Item = impl Into<Value>>) -> CritLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Logs at level err. Kong joins the parts; a nil ends them.
    "kong.log.err" in [Certificate Rewrite Access Response Log Preread]
    fn err(message: impl IntoIterator<Item = impl Into<Value>>) -> ErrLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Logs at level warn. Kong joins the parts; a nil ends them.
    "kong.log.warn" in [Certificate Rewrite Access Response Log Preread]
    fn warn(message: impl IntoIterator<Item = impl Into<Value>>) -> WarnLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Logs at level notice. Kong joins the parts; a nil ends them.
    "kong.log.notice" in [Certificate Rewrite Access Response Log Preread]
    fn notice(message: impl IntoIterator<Item = impl Into<Value>>) -> NoticeLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Logs at level info. Kong joins the parts; a nil ends them.
    "kong.log.info" in [Certificate Rewrite Access Response Log Preread]
    fn info(message: impl IntoIterator<Item = impl Into<Value>>) -> InfoLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Logs at level debug. Kong joins the parts; a nil ends them.
    "kong.log.debug" in [Certificate Rewrite Access Response Log Preread]
    fn debug(message: impl IntoIterator<Item = impl Into<Value>>) -> DebugLine(wire::ListValue) { parts(message) } => (), nothing;

    /// Sets a value in the entry that Kong's logging plugins write; dots in the key walk into tables.
    ///
    /// In the phase log it answers, but comes too late: the entry is made before an external plugin is called.
    "kong.log.set_serialize_value" in [Rewrite Access Response Log]
    fn set_serialize_value(key: impl Into<Bytes>, value: impl Into<Value>) -> SetSerializeValue(wire::Kv) {
        wire::Kv { k: key.into(), v: Some(value.into().into()) }
    }
    => (), nothing;

    /// The entry of this request, as JSON. Authorization headers are redacted in it.
    "kong.log.serialize" in [Log]
    fn serialize() -> Serialize(()) {} => ByteString, text;
}
