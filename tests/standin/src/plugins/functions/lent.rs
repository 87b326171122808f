//! What the gateway lends to the sandbox: the PDK and a little of `ngx`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mlua::{FromLuaMulti, IntoLuaMulti, Lua, LuaString, Table, Value as LuaValue, Variadic};

use super::Current;
use super::values::{from_entity, header_values, named, text, to_json};
use crate::clock;
use crate::plugins::pdk::{ExitBody, Single, Throw, permit};
use crate::proxy::{Exchange, QueryValue};

/// Builds functions that know the current request and check their phase.
struct Lender<'a> {
    lua: &'a Lua,
    current: &'a Current,
}

impl Lender<'_> {
    fn current(current: &Current) -> mlua::Result<Arc<Exchange>> {
        current.lock().clone().ok_or_else(|| mlua::Error::runtime("API disabled: no request"))
    }

    /// A PDK function, under its name in [`METHODS`](crate::plugins::pdk::METHODS).
    fn pdk<A, R>(
        &self,
        table: &Table,
        method: &'static str,
        function: impl Fn(&Lua, &Exchange, A) -> mlua::Result<R> + Send + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        let current = self.current.clone();
        let name = method.rsplit('.').next().unwrap_or(method);
        table.raw_set(name, self.lua.create_function(move |lua, arguments: A| {
            let exchange = Self::current(&current)?;
            permit(method, exchange.state().phase).map_err(raise)?;
            function(lua, &exchange, arguments)
        })?)
    }

    /// A function that works in each phase.
    fn free<A, R>(
        &self,
        table: &Table,
        name: &str,
        function: impl Fn(&Lua, &Exchange, A) -> mlua::Result<R> + Send + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        let current = self.current.clone();
        let lent =
            self.lua.create_function(move |lua, arguments: A| function(lua, &*Self::current(&current)?, arguments))?;
        table.raw_set(name, lent)
    }
}

fn raise(throw: Throw) -> mlua::Error {
    mlua::Error::runtime(throw.0)
}

/// The table that `sandbox.lua` gets.
pub(super) fn table(lua: &Lua, current: &Current) -> mlua::Result<Table> {
    let lender = Lender { lua, current };
    let kong = lua.create_table()?;
    for (name, part) in [
        ("request", request(&lender)?),
        ("response", response(&lender)?),
        ("service", service(&lender)?),
        ("client", client(&lender)?),
        ("router", router(&lender)?),
        ("node", node(&lender)?),
    ] {
        kong.raw_set(name, part)?;
    }
    let lent = lua.create_table()?;
    lent.raw_set("kong", kong)?;
    lent.raw_set("ngx", ngx(lua)?)?;
    internals(&lender, &lent)?;
    Ok(lent)
}

fn request(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.request.get_scheme", |_, _, ()| Ok("http"))?;
    lender.pdk(&table, "kong.request.get_host", |_, exchange, ()| Ok(exchange.host()))?;
    lender.pdk(&table, "kong.request.get_port", |_, exchange, ()| Ok(exchange.port()))?;
    lender.pdk(&table, "kong.request.get_forwarded_scheme", |_, _, ()| Ok("http"))?;
    lender.pdk(&table, "kong.request.get_forwarded_host", |_, exchange, ()| Ok(exchange.host()))?;
    lender.pdk(&table, "kong.request.get_forwarded_port", |_, exchange, ()| Ok(exchange.port()))?;
    lender.pdk(&table, "kong.request.get_http_version", |_, exchange, ()| Ok(exchange.http_version()))?;
    lender.pdk(&table, "kong.request.get_method", |_, exchange, ()| Ok(exchange.method()))?;
    lender.pdk(&table, "kong.request.get_path", |lua, exchange, ()| lua.create_string(exchange.path()))?;
    lender.pdk(&table, "kong.request.get_path_with_query", |_, exchange, ()| Ok(exchange.path_with_query()))?;
    lender.pdk(&table, "kong.request.get_raw_query", |_, exchange, ()| Ok(exchange.raw_query()))?;
    lender.pdk(&table, "kong.request.get_query_arg", |lua, exchange, name: LuaString| {
        Ok(match exchange.query_argument(&name.as_bytes()) {
            None => LuaValue::Nil,
            Some(Single::Flag) => LuaValue::Boolean(true),
            Some(Single::Text(value)) => LuaValue::String(lua.create_string(value)?),
        })
    })?;
    lender.pdk(&table, "kong.request.get_query", |lua, exchange, maximum: Option<i64>| {
        named(lua, exchange.query(maximum.unwrap_or(100)).map_err(raise)?)
    })?;
    lender.pdk(&table, "kong.request.get_header", |lua, exchange, name: LuaString| {
        exchange.header(&name.as_bytes()).map(|value| lua.create_string(value)).transpose()
    })?;
    lender.pdk(&table, "kong.request.get_headers", |lua, exchange, maximum: Option<i64>| {
        named(lua, exchange.headers(maximum.unwrap_or(100)).map_err(raise)?)
    })?;
    lender.free(&table, "get_raw_path", |_, exchange, ()| Ok(exchange.original.path().to_owned()))?;
    Ok(table)
}

fn response(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.response.get_status", |_, exchange, ()| Ok(exchange.response_status()))?;
    lender.pdk(&table, "kong.response.get_header", |lua, exchange, name: LuaString| {
        exchange.response_header(&name.as_bytes()).map(|value| lua.create_string(value)).transpose()
    })?;
    lender.pdk(&table, "kong.response.get_headers", |lua, exchange, maximum: Option<i64>| {
        named(lua, exchange.response_headers(maximum.unwrap_or(100)).map_err(raise)?)
    })?;
    lender.pdk(&table, "kong.response.get_source", |_, exchange, ()| Ok(exchange.response_source()))?;
    lender.pdk(&table, "kong.response.set_status", |_, exchange, status: i64| {
        exchange.set_response_status(status).map_err(raise)
    })?;
    lender.pdk(&table, "kong.response.set_header", |_, exchange, (name, value): (LuaString, LuaValue)| {
        exchange.set_response_header(&name.as_bytes(), &header_values(&value)?).map_err(raise)
    })?;
    lender.pdk(&table, "kong.response.add_header", |_, exchange, (name, value): (LuaString, LuaValue)| {
        exchange.add_response_header(&name.as_bytes(), &header_values(&value)?).map_err(raise)
    })?;
    lender.pdk(&table, "kong.response.clear_header", |_, exchange, name: LuaString| {
        exchange.clear_response_header(&name.as_bytes());
        Ok(())
    })?;
    lender.pdk(&table, "kong.response.set_headers", |_, exchange, headers: Table| {
        for (name, values) in header_table(&headers)? {
            exchange.set_response_header(&name, &values).map_err(raise)?;
        }
        Ok(())
    })?;
    lender.pdk(
        &table,
        "kong.response.exit",
        |_, exchange, (status, body, headers): (i64, LuaValue, Option<Table>)| {
            let body = match &body {
                LuaValue::Nil => ExitBody::None,
                LuaValue::String(text) => ExitBody::Raw(text.as_bytes().to_vec().into()),
                LuaValue::Table(_) => ExitBody::Json(to_json(&body)?),
                _ => return Err(mlua::Error::runtime("body must be a nil, string or table")),
            };
            let headers = headers.map(|headers| header_table(&headers)).transpose()?.unwrap_or_default();
            exchange.exit(status, body, &headers).map_err(raise)
        },
    )?;
    lender.free(&table, "error", |_, exchange, (status, message): (u16, Option<String>)| {
        permit("kong.response.exit", exchange.state().phase).map_err(raise)?;
        exchange.error(status, message.as_deref(), &[]).map_err(raise)
    })?;
    Ok(table)
}

fn service(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.service.set_upstream", |_, exchange, name: String| {
        exchange.set_upstream(&name).map_err(raise)
    })?;
    lender.pdk(&table, "kong.service.set_target", |_, exchange, (host, port): (String, i64)| {
        exchange.set_target(&host, port).map_err(raise)
    })?;
    let request = lender.lua.create_table()?;
    lender.pdk(&request, "kong.service.request.set_scheme", |_, exchange, scheme: String| {
        exchange.set_scheme(&scheme).map_err(raise)
    })?;
    lender.pdk(&request, "kong.service.request.set_path", |_, exchange, path: LuaString| {
        exchange.set_path(&path.as_bytes()).map_err(raise)
    })?;
    lender.pdk(&request, "kong.service.request.set_raw_query", |_, exchange, query: LuaString| {
        exchange.set_raw_query(&query.as_bytes());
        Ok(())
    })?;
    lender.pdk(&request, "kong.service.request.set_method", |_, exchange, method: String| {
        exchange.set_method(&method).map_err(raise)
    })?;
    lender.pdk(&request, "kong.service.request.set_query", |_, exchange, arguments: Table| {
        let mut read = Vec::new();
        for pair in arguments.pairs::<LuaString, LuaValue>() {
            let (name, value) = pair?;
            let value = match value {
                LuaValue::Boolean(flag) => QueryValue::Flag(flag),
                other => QueryValue::Texts(header_values(&other)?),
            };
            read.push((name.as_bytes().to_vec(), value));
        }
        exchange.set_query(&read);
        Ok(())
    })?;
    lender.pdk(&request, "kong.service.request.set_header", |_, exchange, (name, value): (LuaString, LuaValue)| {
        exchange.set_request_header(&name.as_bytes(), &header_values(&value)?).map_err(raise)
    })?;
    lender.pdk(&request, "kong.service.request.add_header", |_, exchange, (name, value): (LuaString, LuaValue)| {
        exchange.add_request_header(&name.as_bytes(), &header_values(&value)?).map_err(raise)
    })?;
    lender.pdk(&request, "kong.service.request.clear_header", |_, exchange, name: LuaString| {
        exchange.clear_request_header(&name.as_bytes());
        Ok(())
    })?;
    lender.pdk(&request, "kong.service.request.set_headers", |_, exchange, headers: Table| {
        for (name, values) in header_table(&headers)? {
            exchange.set_request_header(&name, &values).map_err(raise)?;
        }
        Ok(())
    })?;
    lender.pdk(&request, "kong.service.request.set_raw_body", |_, exchange, body: LuaString| {
        exchange.set_request_body(body.as_bytes().to_vec().into());
        Ok(())
    })?;
    table.raw_set("request", request)?;
    let response = lender.lua.create_table()?;
    lender.pdk(&response, "kong.service.response.get_status", |_, exchange, ()| Ok(exchange.service_status()))?;
    lender.pdk(&response, "kong.service.response.get_header", |lua, exchange, name: LuaString| {
        exchange.service_header(&name.as_bytes()).map(|value| lua.create_string(value)).transpose()
    })?;
    lender.pdk(&response, "kong.service.response.get_headers", |lua, exchange, maximum: Option<i64>| {
        named(lua, exchange.service_headers(maximum.unwrap_or(100)).map_err(raise)?)
    })?;
    table.raw_set("response", response)?;
    Ok(table)
}

fn client(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.client.get_ip", |_, exchange, ()| Ok(exchange.client_ip()))?;
    lender.pdk(&table, "kong.client.get_forwarded_ip", |_, exchange, ()| Ok(exchange.client_ip()))?;
    lender.pdk(&table, "kong.client.get_port", |_, exchange, ()| Ok(exchange.connection.client.port()))?;
    lender.pdk(&table, "kong.client.get_forwarded_port", |_, exchange, ()| Ok(exchange.connection.client.port()))?;
    lender.pdk(&table, "kong.client.get_protocol", |_, exchange, ()| Ok(exchange.protocol()))?;
    lender.pdk(&table, "kong.client.get_consumer", |lua, exchange, ()| {
        let consumer = exchange.state().consumer.clone();
        consumer.map(|consumer| from_entity(lua, &consumer.entity)).transpose()
    })?;
    lender.pdk(&table, "kong.client.get_credential", |lua, exchange, ()| {
        let Some(credential) = exchange.state().credential.clone() else { return Ok(None) };
        let table = lua.create_table()?;
        table.raw_set("id", credential.id)?;
        Ok(Some(table))
    })?;
    lender.pdk(&table, "kong.client.load_consumer", |lua, exchange, (id, by_username): (String, Option<bool>)| {
        let consumer = exchange.load_consumer(&id, by_username.unwrap_or(false)).map_err(raise)?;
        consumer.map(|consumer| from_entity(lua, &consumer)).transpose()
    })?;
    Ok(table)
}

fn router(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.router.get_route", |lua, exchange, ()| {
        exchange.route_entity().map(|entity| from_entity(lua, &entity)).transpose()
    })?;
    lender.pdk(&table, "kong.router.get_service", |lua, exchange, ()| {
        exchange.service_entity().map(|entity| from_entity(lua, &entity)).transpose()
    })?;
    Ok(table)
}

fn node(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.node.get_id", |_, exchange, ()| Ok(exchange.node_id.to_string()))?;
    Ok(table)
}

fn ngx(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("null", LuaValue::NULL)?;
    let levels = ["STDERR", "EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO", "DEBUG"];
    for (level, name) in levels.into_iter().enumerate() {
        table.raw_set(name, level)?;
    }
    table.raw_set("now", lua.create_function(|_, ()| Ok(clock::now_seconds()))?)?;
    table.raw_set("time", lua.create_function(|_, ()| Ok(clock::now_seconds().floor()))?)?;
    table.raw_set("log", lua.create_function(move |_, (level, rest): (i64, Variadic<LuaValue>)| {
        let name = levels.get(usize::try_from(level).unwrap_or(usize::MAX)).unwrap_or(&"NOTICE");
        write_log(&name.to_lowercase(), &rest)
    })?)?;
    table.raw_set("encode_base64", lua.create_function(|_, text: LuaString| Ok(STANDARD.encode(text.as_bytes())))?)?;
    table.raw_set("decode_base64", lua.create_function(|lua, text: LuaString| {
        STANDARD.decode(text.as_bytes()).ok().map(|bytes| lua.create_string(bytes)).transpose()
    })?)?;
    Ok(table)
}

fn internals(lender: &Lender<'_>, lent: &Table) -> mlua::Result<()> {
    lender.free(lent, "shared", |_, exchange, ()| Ok(exchange.shared().clone()))?;
    lender.free(lent, "nginx_ctx", |_, exchange, ()| Ok(exchange.nginx_ctx.clone()))?;
    lender.free(lent, "variable", |lua, exchange, name: String| {
        exchange.nginx_variable(&name).map(|value| lua.create_string(value)).transpose()
    })?;
    lender.free(lent, "get_status", |_, exchange, ()| Ok(exchange.response_status()))?;
    lender.free(lent, "put_status", |_, exchange, status| exchange.set_response_status(status).map_err(raise))?;
    lender.free(lent, "get_header", |lua, exchange, name: LuaString| {
        exchange.response_header(&name.as_bytes()).map(|value| lua.create_string(value)).transpose()
    })?;
    lender.free(lent, "put_header", |_, exchange, (name, value): (LuaString, LuaValue)| {
        if value.is_nil() {
            exchange.clear_response_header(&name.as_bytes());
            return Ok(());
        }
        exchange.set_response_header(&name.as_bytes(), &header_values(&value)?).map_err(raise)
    })?;
    lender.pdk(lent, "kong.log.serialize", |lua, exchange, ()| super::values::from_json(lua, &exchange.serialize()))?;
    lender.pdk(lent, "kong.log.set_serialize_value", |_, exchange, (path, value): (String, LuaValue)| {
        let value = to_json(&value)?;
        exchange.state().serialize_values.push((path, value));
        Ok(())
    })?;
    let log = lender.lua.create_function(|_, (level, rest): (String, Variadic<LuaValue>)| write_log(&level, &rest))?;
    lent.raw_set("log", log)
}

/// Writes a line of a plugin at Kong's level.
fn write_log(level: &str, values: &[LuaValue]) -> mlua::Result<()> {
    let message = values.iter().map(text).collect::<mlua::Result<String>>()?;
    crate::plugins::external::write_log(level, &message);
    Ok(())
}

type HeaderTable = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

fn header_table(headers: &Table) -> mlua::Result<HeaderTable> {
    headers
        .pairs::<LuaString, LuaValue>()
        .map(|pair| {
            let (name, value) = pair?;
            Ok((name.as_bytes().to_vec(), header_values(&value)?))
        })
        .collect()
}
