//! Between the protocol's values and Lua's, with Kong's quirks.

use bytes::Bytes;
use mlua::{Lua, Value as LuaValue};
use serde_json::Value as Json;

use super::protocol::value::Kind;
use super::protocol::{FieldsEntry, ListValue, Struct, Value};
use crate::plugins::functions::{LuaArray, format_number, is_array, json_number};
use crate::plugins::pdk::{HeaderValues, Named, QueryValue, Single, Throw};

/// A value from a plugin server. `false` becomes nil, and null the text `NULL_VALUE`: Kong takes the first kind that is
/// true in Lua's sense, and its decoder names an enum's values.
pub(super) fn to_lua(lua: &Lua, value: Option<&Value>) -> mlua::Result<LuaValue> {
    Ok(match value.and_then(|value| value.kind.as_ref()) {
        None | Some(Kind::BoolValue(false)) => LuaValue::Nil,
        Some(Kind::BoolValue(true)) => LuaValue::Boolean(true),
        Some(Kind::StringValue(text)) => LuaValue::String(lua.create_string(text)?),
        Some(Kind::NumberValue(number)) => LuaValue::Number(*number),
        Some(Kind::NullValue(0)) => LuaValue::String(lua.create_string("NULL_VALUE")?),
        Some(Kind::NullValue(other)) => LuaValue::Number(f64::from(*other)),
        Some(Kind::ListValue(list)) => {
            let table = lua.create_table()?;
            for (place, item) in list.values.iter().enumerate() {
                table.raw_set(place + 1, to_lua(lua, Some(item))?)?;
            }
            LuaValue::Table(table)
        }
        Some(Kind::StructValue(fields)) => {
            let table = lua.create_table()?;
            for entry in &fields.fields {
                table.raw_set(
                    lua.create_string(&entry.key)?,
                    to_lua(lua, entry.value.as_ref())?,
                )?;
            }
            LuaValue::Table(table)
        }
    })
}

/// A Lua value for a plugin server. nil is `null_value: 1`; a table with a first element is a list; what has no
/// counterpart (a function) is a value of no kind.
pub(super) fn from_lua(value: &LuaValue) -> mlua::Result<Value> {
    let kind = match value {
        LuaValue::Nil => Some(Kind::NullValue(1)),
        LuaValue::Boolean(boolean) => Some(Kind::BoolValue(*boolean)),
        LuaValue::Integer(integer) => Some(Kind::NumberValue(*integer as f64)),
        LuaValue::Number(number) => Some(Kind::NumberValue(*number)),
        LuaValue::String(text) => Some(Kind::StringValue(Bytes::copy_from_slice(&text.as_bytes()))),
        LuaValue::Table(table) if is_array(table)? => {
            let values = LuaArray(table)
                .elements()?
                .iter()
                .map(from_lua)
                .collect::<mlua::Result<_>>()?;
            Some(Kind::ListValue(ListValue { values }))
        }
        LuaValue::Table(table) => {
            let mut fields = Vec::new();
            for pair in table.pairs::<LuaValue, LuaValue>() {
                let (key, value) = pair?;
                let key = match &key {
                    LuaValue::String(text) => Bytes::copy_from_slice(&text.as_bytes()),
                    LuaValue::Integer(integer) => integer.to_string().into(),
                    LuaValue::Number(number) => format_number(*number).into(),
                    other => {
                        return Err(mlua::Error::runtime(format!(
                            "string expected, got {}",
                            other.type_name()
                        )));
                    }
                };
                fields.push(FieldsEntry {
                    key,
                    value: Some(from_lua(&value)?),
                });
            }
            Some(Kind::StructValue(Struct { fields }))
        }
        _ => None,
    };
    Ok(Value { kind })
}

/// A value for `kong.log.set_serialize_value`.
pub(super) fn to_json(value: Option<&Value>) -> Json {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match value.and_then(|value| value.kind.as_ref()) {
        None | Some(Kind::BoolValue(false)) => Json::Null,
        Some(Kind::BoolValue(true)) => Json::Bool(true),
        Some(Kind::StringValue(bytes)) => text(bytes).into(),
        Some(Kind::NumberValue(number)) => json_number(*number),
        Some(Kind::NullValue(_)) => "NULL_VALUE".into(),
        Some(Kind::ListValue(list)) => list
            .values
            .iter()
            .map(|value| to_json(Some(value)))
            .collect(),
        Some(Kind::StructValue(fields)) => Json::Object(
            fields
                .fields
                .iter()
                .map(|entry| (text(&entry.key), to_json(entry.value.as_ref())))
                .collect(),
        ),
    }
}

/// The values of a header.
pub(super) fn header_values(name: &[u8], value: Option<&Value>) -> Result<Vec<Vec<u8>>, Throw> {
    let invalid = |got: &str| {
        Throw(format!(
            "invalid header value for {:?}: got {got}",
            String::from_utf8_lossy(name)
        ))
    };
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => Ok(vec![text.to_vec()]),
        Some(Kind::NumberValue(number)) => Ok(vec![format_number(*number).into_bytes()]),
        Some(Kind::BoolValue(true)) => Ok(vec![b"true".to_vec()]),
        Some(Kind::NullValue(_)) => Ok(vec![b"NULL_VALUE".to_vec()]),
        Some(Kind::ListValue(list)) => list
            .values
            .iter()
            .map(|value| match &value.kind {
                Some(Kind::StringValue(text)) => Ok(text.to_vec()),
                _ => Err(invalid("no string in an array")),
            })
            .collect(),
        Some(Kind::StructValue(_)) => Ok(Vec::new()),
        Some(Kind::BoolValue(false)) | None => Err(invalid("nil")),
    }
}

/// The headers of `set_headers` and `exit`; a value that becomes nil is no entry of a Lua table.
pub(super) fn headers(headers: &Struct) -> Result<Vec<HeaderValues>, Throw> {
    let present = |value: Option<&Value>| {
        !matches!(
            value.and_then(|value| value.kind.as_ref()),
            None | Some(Kind::BoolValue(false))
        )
    };
    headers
        .fields
        .iter()
        .filter(|entry| present(entry.value.as_ref()))
        .map(|entry| {
            Ok((
                entry.key.to_vec(),
                header_values(&entry.key, entry.value.as_ref())?,
            ))
        })
        .collect()
}

/// The arguments of `set_query`.
pub(super) fn query(arguments: &Struct) -> Result<Vec<(Vec<u8>, QueryValue)>, Throw> {
    let mut read = Vec::new();
    for entry in &arguments.fields {
        let value = match entry.value.as_ref().and_then(|value| value.kind.as_ref()) {
            None | Some(Kind::BoolValue(false)) => continue,
            Some(Kind::BoolValue(true)) => QueryValue::Flag(true),
            _ => QueryValue::Texts(header_values(&entry.key, entry.value.as_ref())?),
        };
        read.push((entry.key.to_vec(), value));
    }
    Ok(read)
}

/// The arguments of a log call, one after the other.
pub(super) fn log_line(arguments: &ListValue) -> String {
    arguments
        .values
        .iter()
        .map(|value| match &value.kind {
            Some(Kind::StringValue(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Kind::NumberValue(number)) => format_number(*number),
            _ => match to_json(Some(value)) {
                Json::Null => "nil".to_owned(),
                other => other.to_string(),
            },
        })
        .collect()
}

/// Headers or query arguments by name.
pub(super) fn named(named: Vec<Named>) -> Struct {
    let single = |value: Single| Value {
        kind: Some(match value {
            Single::Text(text) => Kind::StringValue(text.into()),
            Single::Flag => Kind::BoolValue(true),
        }),
    };
    let fields = named.into_iter().map(|(key, mut values)| FieldsEntry {
        key: key.into(),
        value: Some(match values.len() {
            1 => single(values.remove(0)),
            _ => Value {
                kind: Some(Kind::ListValue(ListValue {
                    values: values.into_iter().map(single).collect(),
                })),
            },
        }),
    });
    Struct {
        fields: fields.collect(),
    }
}
