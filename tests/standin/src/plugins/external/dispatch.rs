//! The PDK over the socket: argument bytes in, reply bytes out.
//!
//! Kong encodes replies with lua-protobuf, which leaves zeros and empty strings out, as proto3 does, but always writes a
//! boolean that is there: [`boolean`] and [`route`] do it by hand.

use std::sync::Arc;

use bytes::Bytes;
use mlua::Value as LuaValue;
use prost::Message;

use super::convert;
use super::entities::{consumer, route, said_consumer, service as service_message};
use super::protocol as wire;
use crate::plugins::pdk::{ExitBody, METHODS, Phase, Single, Throw, permit};
use crate::proxy::{Credential, Exchange};

/// What a call leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Value(Bytes),
    /// No reply, ever.
    Exit,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Refusal {
    UnknownMethod(String),
    Throw(Throw),
}

impl From<Throw> for Refusal {
    fn from(throw: Throw) -> Self {
        Self::Throw(throw)
    }
}

/// Answers one call. The request body must have been read before `kong.request.get_raw_body`.
pub(crate) fn dispatch(
    exchange: &Arc<Exchange>,
    phase: Phase,
    method: &str,
    arguments: Bytes,
) -> Result<Reply, Refusal> {
    if !METHODS.iter().any(|(name, _)| *name == method) {
        return Err(Refusal::UnknownMethod(method.to_owned()));
    }
    permit(method, phase)?;
    let (group, function) = method.rsplit_once('.').unwrap_or_default();
    if method == "kong.response.exit" {
        let arguments: wire::ExitArgs = read(arguments)?;
        let headers = arguments
            .headers
            .as_ref()
            .map(convert::headers)
            .transpose()?
            .unwrap_or_default();
        exchange.exit(
            i64::from(arguments.status),
            ExitBody::Raw(arguments.body),
            &headers,
        )?;
        return Ok(Reply::Exit);
    }
    let reply = match group {
        "kong.client" => client(exchange, function, arguments),
        "kong.ctx.shared" => shared(exchange, function, arguments),
        "kong.log" => log(exchange, function, arguments),
        "kong.nginx" => nginx(exchange, function, arguments),
        "kong.node" => Ok(node(exchange, function)),
        "kong.request" => request(exchange, function, arguments),
        "kong.response" => response(exchange, function, arguments),
        "kong.router" => Ok(router(exchange, function)),
        "kong.service" => service(exchange, function, arguments),
        "kong.service.request" => service_request(exchange, function, arguments),
        "kong.service.response" => service_response(exchange, function, arguments),
        // kong.ip.is_trusted: `trusted_ips` is empty.
        _ => Ok(boolean(false)),
    };
    Ok(Reply::Value(reply?))
}

fn client(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    Ok(match function {
        "get_ip" | "get_forwarded_ip" => text(exchange.client_ip()),
        "get_port" | "get_forwarded_port" => integer(exchange.connection.client.port().into()),
        "get_credential" => match exchange.state().credential.clone() {
            Some(credential) => encode(&wire::AuthenticatedCredential {
                id: credential.id.into(),
                consumer_id: credential.consumer_id.into(),
            }),
            None => Bytes::new(),
        },
        "load_consumer" => {
            let spec: wire::ConsumerSpec = read(arguments)?;
            exchange
                .load_consumer(&lossy(&spec.id), spec.by_username)?
                .as_ref()
                .map_or_else(Bytes::new, consumer)
        }
        "get_consumer" => {
            let current = exchange.state().consumer.clone();
            current.map_or_else(Bytes::new, |current| consumer(&current.entity))
        }
        "authenticate" => {
            let arguments: wire::AuthenticateArgs = read(arguments)?;
            let credential = arguments.credential.map(|credential| Credential {
                id: lossy(&credential.id),
                consumer_id: lossy(&credential.consumer_id),
            });
            exchange.authenticate(arguments.consumer.as_ref().map(said_consumer), credential)?;
            Bytes::new()
        }
        _ => {
            // Whether TLS may have ended before the gateway: with no trusted address it makes no difference.
            let _allow_terminated: wire::Bool = read(arguments)?;
            exchange.protocol().map_or_else(Bytes::new, text)
        }
    })
}

fn shared(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    if function == "set" {
        let pair: wire::Kv = read(arguments)?;
        set_in_table(exchange, exchange.shared(), &pair)?;
        return Ok(Bytes::new());
    }
    let name: wire::String = read(arguments)?;
    get_from_table(exchange, exchange.shared(), &name.v)
}

fn log(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    match function {
        "serialize" => return Ok(text(exchange.serialize().to_string())),
        "set_serialize_value" => {
            let pair: wire::Kv = read(arguments)?;
            let value = convert::to_json(pair.v.as_ref());
            exchange
                .state()
                .serialize_values
                .push((lossy(&pair.k), value));
        }
        level => super::write_log(level, &convert::log_line(&read(arguments)?)),
    }
    Ok(Bytes::new())
}

fn nginx(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    match function {
        "get_var" => {
            let name: wire::String = read(arguments)?;
            Ok(exchange
                .nginx_variable(&lossy(&name.v))
                .map_or_else(Bytes::new, bytes))
        }
        "set_ctx" => {
            let pair: wire::Kv = read(arguments)?;
            set_in_table(exchange, &exchange.nginx_ctx, &pair)?;
            Ok(Bytes::new())
        }
        "get_ctx" => {
            let name: wire::String = read(arguments)?;
            get_from_table(exchange, &exchange.nginx_ctx, &name.v)
        }
        "req_start_time" => Ok(encode(&wire::Number {
            v: exchange.start_time(),
        })),
        "get_subsystem" => Ok(text("http")),
        // get_tls1_version_str: the client's connection has no TLS.
        _ => Ok(Bytes::new()),
    }
}

fn node(exchange: &Exchange, function: &str) -> Bytes {
    use wire::memory_stats::{LuaSharedDicts, WorkerLuaVm, lua_shared_dicts::DictStats};
    if function == "get_id" {
        return text(exchange.node_id.to_string());
    }
    // The stand-in has no shared dictionaries: what an idle Kong with default sizes reports.
    let dictionary = |allocated_slabs, capacity| {
        Some(DictStats {
            allocated_slabs,
            capacity,
        })
    };
    encode(&wire::MemoryStats {
        lua_shared_dicts: Some(LuaSharedDicts {
            kong: dictionary(40_960, 5_242_880),
            kong_db_cache: dictionary(798_720, 134_217_728),
        }),
        workers_lua_vms: vec![WorkerLuaVm {
            http_allocated_gc: i64::try_from(exchange.worker.lua.state().used_memory())
                .unwrap_or(i64::MAX),
            pid: std::process::id().into(),
        }],
    })
}

fn request(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    Ok(match function {
        "get_scheme" | "get_forwarded_scheme" => text("http"),
        "get_host" | "get_forwarded_host" => text(exchange.host()),
        "get_port" | "get_forwarded_port" => integer(exchange.port().into()),
        "get_http_version" => encode(&wire::Number {
            v: exchange.http_version(),
        }),
        "get_method" => text(exchange.method()),
        "get_path" => bytes(exchange.path()),
        "get_path_with_query" => text(exchange.path_with_query()),
        "get_raw_query" => text(exchange.raw_query()),
        "get_query_arg" => {
            let name: wire::String = read(arguments)?;
            match exchange.query_argument(&name.v) {
                None => Bytes::new(),
                Some(Single::Text(value)) => bytes(value),
                Some(Single::Flag) => {
                    return Err(Throw::new(
                        "bad argument #2 to 'encode' (string expected for field 'v', got boolean)",
                    ));
                }
            }
        }
        "get_query" => encode(&convert::named(
            exchange.query(read::<wire::Int>(arguments)?.v.into())?,
        )),
        "get_header" => exchange
            .header(&read::<wire::String>(arguments)?.v)
            .map_or_else(Bytes::new, bytes),
        "get_headers" => {
            let maximum: wire::Int = read(arguments)?;
            // After the answer Kong hands over what it saved, whatever the bound.
            let saved = exchange.state().phase == Phase::LogTimer;
            encode(&convert::named(exchange.headers(if saved {
                100
            } else {
                maximum.v.into()
            })?))
        }
        "get_raw_body" => {
            use wire::raw_body_result::Kind;
            let (content, path) = exchange.raw_body();
            let kind = match (content, path) {
                (Some(content), _) => Kind::Content(content),
                (None, Some(path)) => {
                    Kind::BodyFilepath(path.to_string_lossy().into_owned().into())
                }
                (None, None) => Kind::Error(Bytes::from_static(b"Can't read request body")),
            };
            encode(&wire::RawBodyResult { kind: Some(kind) })
        }
        _ => {
            let state = exchange.state();
            let captures = state
                .matched
                .as_ref()
                .map(|matched| matched.captures.clone())
                .unwrap_or_default();
            let named = captures.named.into_iter();
            encode(&wire::UriCapturesResult {
                unnamed: captures.unnamed.into_iter().map(Bytes::from).collect(),
                named: named
                    .map(|(key, value)| wire::NamedEntry {
                        key: key.into(),
                        value: value.into(),
                    })
                    .collect(),
            })
        }
    })
}

fn response(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    Ok(match function {
        "get_status" => integer(exchange.response_status().into()),
        "get_header" => exchange
            .response_header(&read::<wire::String>(arguments)?.v)
            .map_or_else(Bytes::new, bytes),
        "get_headers" => {
            let maximum: wire::Int = read(arguments)?;
            let saved = exchange.state().phase == Phase::LogTimer;
            encode(&convert::named(exchange.response_headers(if saved {
                100
            } else {
                maximum.v.into()
            })?))
        }
        "get_source" => text(exchange.response_source()),
        "set_status" => {
            exchange.set_response_status(read::<wire::Int>(arguments)?.v.into())?;
            Bytes::new()
        }
        "clear_header" => {
            exchange.clear_response_header(&read::<wire::String>(arguments)?.v);
            Bytes::new()
        }
        "set_headers" => {
            for (name, values) in convert::headers(&read(arguments)?)? {
                exchange.set_response_header(&name, &values)?;
            }
            Bytes::new()
        }
        function => {
            let pair: wire::Kv = read(arguments)?;
            let values = convert::header_values(&pair.k, pair.v.as_ref())?;
            if function == "set_header" {
                exchange.set_response_header(&pair.k, &values)?;
            } else {
                exchange.add_response_header(&pair.k, &values)?;
            }
            Bytes::new()
        }
    })
}

fn router(exchange: &Exchange, function: &str) -> Bytes {
    if function == "get_route" {
        return exchange
            .route_entity()
            .as_ref()
            .map_or_else(Bytes::new, route);
    }
    exchange
        .service_entity()
        .as_ref()
        .map_or_else(Bytes::new, service_message)
}

fn service(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    if function == "set_upstream" {
        let name: wire::String = read(arguments)?;
        return Ok(exchange
            .set_upstream(&lossy(&name.v))?
            .map_or_else(Bytes::new, boolean));
    }
    let target: wire::Target = read(arguments)?;
    exchange.set_target(&lossy(&target.host), target.port.into())?;
    Ok(Bytes::new())
}

fn service_request(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    match function {
        "set_scheme" => exchange.set_scheme(&lossy(&read::<wire::String>(arguments)?.v))?,
        "set_path" => exchange.set_path(&read::<wire::String>(arguments)?.v)?,
        "set_raw_query" => exchange.set_raw_query(&read::<wire::String>(arguments)?.v),
        "set_method" => exchange.set_method(&lossy(&read::<wire::String>(arguments)?.v))?,
        "set_query" => exchange.set_query(&convert::query(&read(arguments)?)?),
        "clear_header" => exchange.clear_request_header(&read::<wire::String>(arguments)?.v),
        "set_headers" => {
            for (name, values) in convert::headers(&read(arguments)?)? {
                exchange.set_request_header(&name, &values)?;
            }
        }
        "set_raw_body" => exchange.set_request_body(read::<wire::ByteString>(arguments)?.v),
        function => {
            let pair: wire::Kv = read(arguments)?;
            let values = convert::header_values(&pair.k, pair.v.as_ref())?;
            if function == "set_header" {
                exchange.set_request_header(&pair.k, &values)?;
            } else {
                exchange.add_request_header(&pair.k, &values)?;
            }
        }
    }
    Ok(Bytes::new())
}

fn service_response(exchange: &Exchange, function: &str, arguments: Bytes) -> Result<Bytes, Throw> {
    Ok(match function {
        "get_status" => exchange
            .service_status()
            .map_or_else(Bytes::new, |status| integer(status.into())),
        "get_header" => exchange
            .service_header(&read::<wire::String>(arguments)?.v)
            .map_or_else(Bytes::new, bytes),
        "get_headers" => encode(&convert::named(
            exchange.service_headers(read::<wire::Int>(arguments)?.v.into())?,
        )),
        _ => encode(&wire::ByteString {
            v: exchange.service_body()?,
        }),
    })
}

fn set_in_table(exchange: &Exchange, table: &mlua::Table, pair: &wire::Kv) -> Result<(), Throw> {
    let lua = exchange.worker.lua.state();
    let set = || {
        table.raw_set(
            lua.create_string(&pair.k)?,
            convert::to_lua(lua, pair.v.as_ref())?,
        )
    };
    set().map_err(|error: mlua::Error| Throw(error.to_string()))
}

fn get_from_table(exchange: &Exchange, table: &mlua::Table, name: &[u8]) -> Result<Bytes, Throw> {
    let lua = exchange.worker.lua.state();
    let get = || -> mlua::Result<wire::Value> {
        convert::from_lua(&table.raw_get::<LuaValue>(lua.create_string(name)?)?)
    };
    get()
        .map(|value| encode(&value))
        .map_err(|error| Throw(error.to_string()))
}

fn read<T: Message + Default>(arguments: Bytes) -> Result<T, Throw> {
    T::decode(arguments).map_err(|error| Throw(error.to_string()))
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn text(value: impl Into<String>) -> Bytes {
    encode(&wire::String {
        v: value.into().into(),
    })
}

fn bytes(value: Vec<u8>) -> Bytes {
    encode(&wire::String { v: value.into() })
}

fn integer(value: i32) -> Bytes {
    encode(&wire::Int { v: value })
}

/// `Bool`, written even when false.
fn boolean(value: bool) -> Bytes {
    vec![0x08, u8::from(value)].into()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
