//! Between Lua's values and JSON or bytes.

use mlua::{Lua, Table, Value as LuaValue};
use serde_json::{Map, Value};

use crate::plugins::pdk::{Named, Single};
use crate::store::Entity;

/// Whether Kong takes a table for a list: it has a first element.
pub(crate) fn is_array(table: &Table) -> mlua::Result<bool> {
    Ok(!table.raw_get::<LuaValue>(1)?.is_nil())
}

/// The elements of a list up to its first hole.
pub(crate) struct LuaArray<'a>(pub(crate) &'a Table);

impl LuaArray<'_> {
    pub(crate) fn elements(&self) -> mlua::Result<Vec<LuaValue>> {
        self.0.sequence_values::<LuaValue>().collect()
    }
}

/// An entity without its nulls.
pub(super) fn from_entity(lua: &Lua, entity: &Entity) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, value) in entity.iter() {
        table.raw_set(name.as_str(), from_json(lua, value)?)?;
    }
    Ok(table)
}

pub(super) fn from_json(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Null => LuaValue::Nil,
        Value::Bool(boolean) => LuaValue::Boolean(*boolean),
        Value::Number(number) => LuaValue::Number(number.as_f64().unwrap_or_default()),
        Value::String(text) => LuaValue::String(lua.create_string(text)?),
        Value::Array(items) => {
            let table = lua.create_table()?;
            for (place, item) in items.iter().enumerate() {
                table.raw_set(place + 1, from_json(lua, item)?)?;
            }
            LuaValue::Table(table)
        }
        Value::Object(map) => {
            let table = lua.create_table()?;
            for (name, item) in map {
                table.raw_set(name.as_str(), from_json(lua, item)?)?;
            }
            LuaValue::Table(table)
        }
    })
}

/// As cjson writes it: an empty table is an object, whole numbers have no fraction.
pub(super) fn to_json(value: &LuaValue) -> mlua::Result<Value> {
    Ok(match value {
        LuaValue::Nil | LuaValue::LightUserData(_) => Value::Null,
        LuaValue::Boolean(boolean) => Value::Bool(*boolean),
        LuaValue::Integer(integer) => Value::from(*integer),
        LuaValue::Number(number) => json_number(*number),
        LuaValue::String(text) => Value::from(text.to_string_lossy()),
        LuaValue::Table(table) if is_array(table)? => {
            let elements = LuaArray(table).elements()?;
            Value::Array(elements.iter().map(to_json).collect::<mlua::Result<_>>()?)
        }
        LuaValue::Table(table) => {
            let mut map = Map::new();
            for pair in table.pairs::<LuaValue, LuaValue>() {
                let (name, item) = pair?;
                map.insert(text(&name)?, to_json(&item)?);
            }
            Value::Object(map)
        }
        other => {
            return Err(mlua::Error::runtime(format!(
                "cannot serialise {}",
                other.type_name()
            )));
        }
    })
}

pub(super) fn named(lua: &Lua, named: Vec<Named>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let single = |value: Single| {
        Ok(match value {
            Single::Text(text) => LuaValue::String(lua.create_string(text)?),
            Single::Flag => LuaValue::Boolean(true),
        })
    };
    for (name, mut values) in named {
        let value = match values.len() {
            1 => single(values.remove(0))?,
            _ => LuaValue::Table(
                lua.create_sequence_from(
                    values
                        .into_iter()
                        .map(single)
                        .collect::<mlua::Result<Vec<_>>>()?,
                )?,
            ),
        };
        table.raw_set(lua.create_string(name)?, value)?;
    }
    Ok(table)
}

/// The values of a header: a string, a number, a boolean, or a list of strings.
pub(super) fn header_values(value: &LuaValue) -> mlua::Result<Vec<Vec<u8>>> {
    match value {
        LuaValue::Table(table) => LuaArray(table)
            .elements()?
            .iter()
            .map(|element| match element {
                LuaValue::String(text) => Ok(text.as_bytes().to_vec()),
                other => Err(mlua::Error::runtime(format!(
                    "invalid header value in array: got {}",
                    other.type_name()
                ))),
            })
            .collect(),
        LuaValue::Nil => Err(mlua::Error::runtime("invalid header value: got nil")),
        other => Ok(vec![text(other)?.into_bytes()]),
    }
}

/// `tostring`, of what has a plain text.
pub(super) fn text(value: &LuaValue) -> mlua::Result<String> {
    Ok(match value {
        LuaValue::String(text) => text.to_string_lossy(),
        LuaValue::Integer(integer) => integer.to_string(),
        LuaValue::Number(number) => format_number(*number),
        LuaValue::Boolean(boolean) => boolean.to_string(),
        LuaValue::Nil => "nil".to_owned(),
        other => {
            return Err(mlua::Error::runtime(format!(
                "got {}, expected a string",
                other.type_name()
            )));
        }
    })
}

/// Whole numbers as Lua prints them, without a fraction.
pub(crate) fn format_number(number: f64) -> String {
    if is_whole(number) {
        format!("{number:.0}")
    } else {
        number.to_string()
    }
}

/// As cjson writes it: whole numbers have no fraction, and what JSON lacks is null.
pub(crate) fn json_number(number: f64) -> Value {
    let whole = is_whole(number)
        .then(|| format_number(number).parse::<i64>().ok())
        .flatten();
    whole.map_or_else(|| Value::from(number), Value::from)
}

fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 1e15
}
