//! Lua values, as they pass between a plugin and `kong.ctx.shared`, `ngx.ctx` or Kong's log.
//!
//! # Quirks of Kong's bridge
//!
//! | what happens | consequence |
//! |---|---|
//! | a `null_value` that we send arrives as the string `"NULL_VALUE"` | [`Value::Nil`] is sent as an empty message, which arrives as nil |
//! | `false` that we send arrives as nil | store a number or a string where the difference matters |
//! | Kong answers nil with a `null_value` of 1, or with no bytes at all | both are read as [`Value::Nil`] |
//! | an empty Lua table is a map, never a list | [`Value::as_list`] takes an empty map for an empty list |
//! | a table with both kinds of keys becomes a list up to its first hole | store one kind |

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::byte_string::ByteString;
use crate::wire;

/// A Lua value without functions and userdata.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// nil.
    #[default]
    Nil,
    /// A boolean. `false` **arrives as nil in Kong**.
    Bool(bool),
    /// A number; Lua has only doubles.
    Number(f64),
    /// A string.
    String(ByteString),
    /// A table with the keys 1, 2, 3, …
    List(Vec<Value>),
    /// A table with strings as keys.
    Map(BTreeMap<ByteString, Value>),
}

impl Value {
    /// Whether this is nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The string's bytes, if it is a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The string, if it is one and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => value.to_str(),
            _ => None,
        }
    }

    /// The elements, if it is a list. An empty map counts as an empty list: Lua has one empty table.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            Self::Map(map) if map.is_empty() => Some(&[]),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&BTreeMap<ByteString, Value>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key.as_bytes())
    }

    /// A map of these entries.
    pub fn map<K: Into<ByteString>, V: Into<Value>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    /// A list of these values.
    pub fn list<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<Value> for wire::Value {
    fn from(value: Value) -> Self {
        use wire::value::Kind;
        let kind = match value {
            Value::Nil => None,
            Value::Bool(value) => Some(Kind::BoolValue(value)),
            Value::Number(value) => Some(Kind::NumberValue(value)),
            Value::String(value) => Some(Kind::StringValue(value.into_bytes())),
            Value::List(values) => Some(Kind::ListValue(wire::ListValue {
                values: values.into_iter().map(Into::into).collect(),
            })),
            Value::Map(map) => Some(Kind::StructValue(wire::Struct {
                fields: map
                    .into_iter()
                    .map(|(key, value)| wire::FieldsEntry {
                        key: key.into_bytes(),
                        value: Some(value.into()),
                    })
                    .collect(),
            })),
        };
        Self { kind }
    }
}

impl From<wire::Value> for Value {
    fn from(value: wire::Value) -> Self {
        use wire::value::Kind;
        match value.kind {
            None | Some(Kind::NullValue(_)) => Self::Nil,
            Some(Kind::BoolValue(value)) => Self::Bool(value),
            Some(Kind::NumberValue(value)) => Self::Number(value),
            Some(Kind::StringValue(value)) => Self::String(value.into()),
            Some(Kind::ListValue(list)) => {
                Self::List(list.values.into_iter().map(Into::into).collect())
            }
            Some(Kind::StructValue(map)) => Self::Map(
                map.fields
                    .into_iter()
                    .map(|entry| (entry.key.into(), entry.value.unwrap_or_default().into()))
                    .collect(),
            ),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Number(value.into())
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::String(value.into())
    }
}

impl From<ByteString> for Value {
    fn from(value: ByteString) -> Self {
        Self::String(value)
    }
}

/// JSON's null becomes nil, its numbers doubles.
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(value) => value.as_f64().map_or(Self::Nil, Self::Number),
            serde_json::Value::String(value) => Self::String(value.into()),
            serde_json::Value::Array(values) => Self::list(values),
            serde_json::Value::Object(map) => Self::map(map),
        }
    }
}
