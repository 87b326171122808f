//! What the gateway lends to the sandbox: the PDK and a little of `ngx`.

use std::sync::Arc;

use mlua::{FromLuaMulti, IntoLuaMulti, Lua, LuaString, Table, Value as LuaValue};

use super::Current;
use super::ngx::{internals, ngx};
use super::setters::{response, service};
use super::values::{from_entity, named};
use crate::plugins::pdk::{Single, Throw, permit};
use crate::proxy::Exchange;

/// Builds functions that know the current request and check their phase.
pub(super) struct Lender<'a> {
    pub(super) lua: &'a Lua,
    current: &'a Current,
}

impl Lender<'_> {
    fn current(current: &Current) -> mlua::Result<Arc<Exchange>> {
        current
            .lock()
            .clone()
            .ok_or_else(|| mlua::Error::runtime("API disabled: no request"))
    }

    /// A PDK function, under its name in [`METHODS`](crate::plugins::pdk::METHODS).
    pub(super) fn pdk<A, R>(
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
        table.raw_set(
            name,
            self.lua.create_function(move |lua, arguments: A| {
                let exchange = Self::current(&current)?;
                permit(method, exchange.state().phase).map_err(raise)?;
                function(lua, &exchange, arguments)
            })?,
        )
    }

    /// A function that works in each phase.
    pub(super) fn free<A, R>(
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
        let lent = self.lua.create_function(move |lua, arguments: A| {
            function(lua, &*Self::current(&current)?, arguments)
        })?;
        table.raw_set(name, lent)
    }
}

pub(super) fn raise(throw: Throw) -> mlua::Error {
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
    lender.pdk(&table, "kong.request.get_host", |_, exchange, ()| {
        Ok(exchange.host())
    })?;
    lender.pdk(&table, "kong.request.get_port", |_, exchange, ()| {
        Ok(exchange.port())
    })?;
    lender.pdk(&table, "kong.request.get_forwarded_scheme", |_, _, ()| {
        Ok("http")
    })?;
    lender.pdk(
        &table,
        "kong.request.get_forwarded_host",
        |_, exchange, ()| Ok(exchange.host()),
    )?;
    lender.pdk(
        &table,
        "kong.request.get_forwarded_port",
        |_, exchange, ()| Ok(exchange.port()),
    )?;
    lender.pdk(
        &table,
        "kong.request.get_http_version",
        |_, exchange, ()| Ok(exchange.http_version()),
    )?;
    lender.pdk(&table, "kong.request.get_method", |_, exchange, ()| {
        Ok(exchange.method())
    })?;
    lender.pdk(&table, "kong.request.get_path", |lua, exchange, ()| {
        lua.create_string(exchange.path())
    })?;
    lender.pdk(
        &table,
        "kong.request.get_path_with_query",
        |_, exchange, ()| Ok(exchange.path_with_query()),
    )?;
    lender.pdk(&table, "kong.request.get_raw_query", |_, exchange, ()| {
        Ok(exchange.raw_query())
    })?;
    lender.pdk(
        &table,
        "kong.request.get_query_arg",
        |lua, exchange, name: LuaString| {
            Ok(match exchange.query_argument(&name.as_bytes()) {
                None => LuaValue::Nil,
                Some(Single::Flag) => LuaValue::Boolean(true),
                Some(Single::Text(value)) => LuaValue::String(lua.create_string(value)?),
            })
        },
    )?;
    lender.pdk(
        &table,
        "kong.request.get_query",
        |lua, exchange, maximum: Option<i64>| {
            named(lua, exchange.query(maximum.unwrap_or(100)).map_err(raise)?)
        },
    )?;
    lender.pdk(
        &table,
        "kong.request.get_header",
        |lua, exchange, name: LuaString| {
            exchange
                .header(&name.as_bytes())
                .map(|value| lua.create_string(value))
                .transpose()
        },
    )?;
    lender.pdk(
        &table,
        "kong.request.get_headers",
        |lua, exchange, maximum: Option<i64>| {
            named(
                lua,
                exchange.headers(maximum.unwrap_or(100)).map_err(raise)?,
            )
        },
    )?;
    lender.free(&table, "get_raw_path", |_, exchange, ()| {
        Ok(exchange.original.path().to_owned())
    })?;
    Ok(table)
}

fn client(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.client.get_ip", |_, exchange, ()| {
        Ok(exchange.client_ip())
    })?;
    lender.pdk(&table, "kong.client.get_forwarded_ip", |_, exchange, ()| {
        Ok(exchange.client_ip())
    })?;
    lender.pdk(&table, "kong.client.get_port", |_, exchange, ()| {
        Ok(exchange.connection.client.port())
    })?;
    lender.pdk(
        &table,
        "kong.client.get_forwarded_port",
        |_, exchange, ()| Ok(exchange.connection.client.port()),
    )?;
    lender.pdk(&table, "kong.client.get_protocol", |_, exchange, ()| {
        Ok(exchange.protocol())
    })?;
    lender.pdk(&table, "kong.client.get_consumer", |lua, exchange, ()| {
        let consumer = exchange.state().consumer.clone();
        consumer
            .map(|consumer| from_entity(lua, &consumer.entity))
            .transpose()
    })?;
    lender.pdk(&table, "kong.client.get_credential", |lua, exchange, ()| {
        let Some(credential) = exchange.state().credential.clone() else {
            return Ok(None);
        };
        let table = lua.create_table()?;
        table.raw_set("id", credential.id)?;
        Ok(Some(table))
    })?;
    lender.pdk(
        &table,
        "kong.client.load_consumer",
        |lua, exchange, (id, by_username): (String, Option<bool>)| {
            let consumer = exchange
                .load_consumer(&id, by_username.unwrap_or(false))
                .map_err(raise)?;
            consumer
                .map(|consumer| from_entity(lua, &consumer))
                .transpose()
        },
    )?;
    Ok(table)
}

fn router(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.router.get_route", |lua, exchange, ()| {
        exchange
            .route_entity()
            .map(|entity| from_entity(lua, &entity))
            .transpose()
    })?;
    lender.pdk(&table, "kong.router.get_service", |lua, exchange, ()| {
        exchange
            .service_entity()
            .map(|entity| from_entity(lua, &entity))
            .transpose()
    })?;
    Ok(table)
}

fn node(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.node.get_id", |_, exchange, ()| {
        Ok(exchange.node_id.to_string())
    })?;
    Ok(table)
}
