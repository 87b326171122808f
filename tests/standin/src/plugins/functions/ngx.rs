//! The little of `ngx` that the sandbox has, and what its own Lua needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mlua::{Lua, LuaString, Table, Value as LuaValue, Variadic};

use super::lent::{Lender, raise};
use super::values::{from_json, header_values, text, to_json};
use crate::clock;

/// `ngx`.
pub(super) fn ngx(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("null", LuaValue::NULL)?;
    let levels = [
        "STDERR", "EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO", "DEBUG",
    ];
    for (level, name) in levels.into_iter().enumerate() {
        table.raw_set(name, level)?;
    }
    table.raw_set(
        "now",
        lua.create_function(|_, ()| Ok(clock::now_seconds()))?,
    )?;
    table.raw_set(
        "time",
        lua.create_function(|_, ()| Ok(clock::now_seconds().floor()))?,
    )?;
    table.raw_set(
        "log",
        lua.create_function(move |_, (level, rest): (i64, Variadic<LuaValue>)| {
            let name = levels
                .get(usize::try_from(level).unwrap_or(usize::MAX))
                .unwrap_or(&"NOTICE");
            write_log(&name.to_lowercase(), &rest)
        })?,
    )?;
    table.raw_set(
        "encode_base64",
        lua.create_function(|_, text: LuaString| Ok(STANDARD.encode(text.as_bytes())))?,
    )?;
    table.raw_set(
        "decode_base64",
        lua.create_function(|lua, text: LuaString| {
            STANDARD
                .decode(text.as_bytes())
                .ok()
                .map(|bytes| lua.create_string(bytes))
                .transpose()
        })?,
    )?;
    Ok(table)
}

/// What `sandbox.lua` builds proxies from.
pub(super) fn internals(lender: &Lender<'_>, lent: &Table) -> mlua::Result<()> {
    lender.free(lent, "shared", |_, exchange, ()| {
        Ok(exchange.shared().clone())
    })?;
    lender.free(lent, "nginx_ctx", |_, exchange, ()| {
        Ok(exchange.nginx_ctx.clone())
    })?;
    lender.free(lent, "variable", |lua, exchange, name: String| {
        exchange
            .nginx_variable(&name)
            .map(|value| lua.create_string(value))
            .transpose()
    })?;
    lender.free(lent, "get_status", |_, exchange, ()| {
        Ok(exchange.response_status())
    })?;
    lender.free(lent, "put_status", |_, exchange, status| {
        exchange.set_response_status(status).map_err(raise)
    })?;
    lender.free(lent, "get_header", |lua, exchange, name: LuaString| {
        exchange
            .response_header(&name.as_bytes())
            .map(|value| lua.create_string(value))
            .transpose()
    })?;
    lender.free(
        lent,
        "put_header",
        |_, exchange, (name, value): (LuaString, LuaValue)| {
            if value.is_nil() {
                exchange.clear_response_header(&name.as_bytes());
                return Ok(());
            }
            exchange
                .set_response_header(&name.as_bytes(), &header_values(&value)?)
                .map_err(raise)
        },
    )?;
    lender.pdk(lent, "kong.log.serialize", |lua, exchange, ()| {
        from_json(lua, &exchange.serialize())
    })?;
    lender.pdk(
        lent,
        "kong.log.set_serialize_value",
        |_, exchange, (path, value): (String, LuaValue)| {
            let value = to_json(&value)?;
            exchange.state().serialize_values.push((path, value));
            Ok(())
        },
    )?;
    let log = lender
        .lua
        .create_function(|_, (level, rest): (String, Variadic<LuaValue>)| {
            write_log(&level, &rest)
        })?;
    lent.raw_set("log", log)
}

/// Writes a line of a plugin at Kong's level.
fn write_log(level: &str, values: &[LuaValue]) -> mlua::Result<()> {
    let message = values.iter().map(text).collect::<mlua::Result<String>>()?;
    crate::plugins::external::write_log(level, &message);
    Ok(())
}
