//! The parts of the PDK that change the answer or what the upstream gets.

use mlua::{LuaString, Table, Value as LuaValue};

use super::lent::{Lender, raise};
use super::values::{header_values, named, to_json};
use crate::plugins::pdk::{ExitBody, QueryValue, permit};

/// `kong.response`.
pub(super) fn response(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(&table, "kong.response.get_status", |_, exchange, ()| {
        Ok(exchange.response_status())
    })?;
    lender.pdk(
        &table,
        "kong.response.get_header",
        |lua, exchange, name: LuaString| {
            exchange
                .response_header(&name.as_bytes())
                .map(|value| lua.create_string(value))
                .transpose()
        },
    )?;
    lender.pdk(
        &table,
        "kong.response.get_headers",
        |lua, exchange, maximum: Option<i64>| {
            named(
                lua,
                exchange
                    .response_headers(maximum.unwrap_or(100))
                    .map_err(raise)?,
            )
        },
    )?;
    lender.pdk(&table, "kong.response.get_source", |_, exchange, ()| {
        Ok(exchange.response_source())
    })?;
    lender.pdk(
        &table,
        "kong.response.set_status",
        |_, exchange, status: i64| exchange.set_response_status(status).map_err(raise),
    )?;
    lender.pdk(
        &table,
        "kong.response.set_header",
        |_, exchange, (name, value): (LuaString, LuaValue)| {
            exchange
                .set_response_header(&name.as_bytes(), &header_values(&value)?)
                .map_err(raise)
        },
    )?;
    lender.pdk(
        &table,
        "kong.response.add_header",
        |_, exchange, (name, value): (LuaString, LuaValue)| {
            exchange
                .add_response_header(&name.as_bytes(), &header_values(&value)?)
                .map_err(raise)
        },
    )?;
    lender.pdk(
        &table,
        "kong.response.clear_header",
        |_, exchange, name: LuaString| {
            exchange.clear_response_header(&name.as_bytes());
            Ok(())
        },
    )?;
    lender.pdk(
        &table,
        "kong.response.set_headers",
        |_, exchange, headers: Table| {
            for (name, values) in header_table(&headers)? {
                exchange
                    .set_response_header(&name, &values)
                    .map_err(raise)?;
            }
            Ok(())
        },
    )?;
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
            let headers = headers
                .map(|headers| header_table(&headers))
                .transpose()?
                .unwrap_or_default();
            exchange.exit(status, body, &headers).map_err(raise)
        },
    )?;
    lender.free(
        &table,
        "error",
        |_, exchange, (status, message): (u16, Option<String>)| {
            permit("kong.response.exit", exchange.state().phase).map_err(raise)?;
            exchange
                .error(status, message.as_deref(), &[])
                .map_err(raise)
        },
    )?;
    Ok(table)
}

/// `kong.service`.
pub(super) fn service(lender: &Lender<'_>) -> mlua::Result<Table> {
    let table = lender.lua.create_table()?;
    lender.pdk(
        &table,
        "kong.service.set_upstream",
        |_, exchange, name: String| exchange.set_upstream(&name).map_err(raise),
    )?;
    lender.pdk(
        &table,
        "kong.service.set_target",
        |_, exchange, (host, port): (String, i64)| exchange.set_target(&host, port).map_err(raise),
    )?;
    let request = lender.lua.create_table()?;
    lender.pdk(
        &request,
        "kong.service.request.set_scheme",
        |_, exchange, scheme: String| exchange.set_scheme(&scheme).map_err(raise),
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_path",
        |_, exchange, path: LuaString| exchange.set_path(&path.as_bytes()).map_err(raise),
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_raw_query",
        |_, exchange, query: LuaString| {
            exchange.set_raw_query(&query.as_bytes());
            Ok(())
        },
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_method",
        |_, exchange, method: String| exchange.set_method(&method).map_err(raise),
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_query",
        |_, exchange, arguments: Table| {
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
        },
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_header",
        |_, exchange, (name, value): (LuaString, LuaValue)| {
            exchange
                .set_request_header(&name.as_bytes(), &header_values(&value)?)
                .map_err(raise)
        },
    )?;
    lender.pdk(
        &request,
        "kong.service.request.add_header",
        |_, exchange, (name, value): (LuaString, LuaValue)| {
            exchange
                .add_request_header(&name.as_bytes(), &header_values(&value)?)
                .map_err(raise)
        },
    )?;
    lender.pdk(
        &request,
        "kong.service.request.clear_header",
        |_, exchange, name: LuaString| {
            exchange.clear_request_header(&name.as_bytes());
            Ok(())
        },
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_headers",
        |_, exchange, headers: Table| {
            for (name, values) in header_table(&headers)? {
                exchange.set_request_header(&name, &values).map_err(raise)?;
            }
            Ok(())
        },
    )?;
    lender.pdk(
        &request,
        "kong.service.request.set_raw_body",
        |_, exchange, body: LuaString| {
            exchange.set_request_body(body.as_bytes().to_vec().into());
            Ok(())
        },
    )?;
    table.raw_set("request", request)?;
    let response = lender.lua.create_table()?;
    lender.pdk(
        &response,
        "kong.service.response.get_status",
        |_, exchange, ()| Ok(exchange.service_status()),
    )?;
    lender.pdk(
        &response,
        "kong.service.response.get_header",
        |lua, exchange, name: LuaString| {
            exchange
                .service_header(&name.as_bytes())
                .map(|value| lua.create_string(value))
                .transpose()
        },
    )?;
    lender.pdk(
        &response,
        "kong.service.response.get_headers",
        |lua, exchange, maximum: Option<i64>| {
            named(
                lua,
                exchange
                    .service_headers(maximum.unwrap_or(100))
                    .map_err(raise)?,
            )
        },
    )?;
    table.raw_set("response", response)?;
    Ok(table)
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
