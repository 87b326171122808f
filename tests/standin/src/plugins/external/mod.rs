//! External plugins: Kong's side of the socket to a plugin server, with the quirks of Kong 3.9.
//!
//! # Algorithm
//!
//! An event needs an instance of the configured plugin, started once in each worker ([`instances`]). The event is one call
//! on a connection from the worker's pool ([`connection`]); while it lasts the plugin server may call the PDK
//! ([`dispatch`]).
//!
//! # Failure
//!
//! The protocol has no error field, and Kong guesses. A connection that closes during an event, however far the event was,
//! makes Kong forget all instances of that plugin in all workers, start anew and send the event again, without a limit:
//! so does the stand-in. Anything else is a 500 before the answer and a line in the log after it: a refused connection, 60
//! seconds of silence, an unknown method, a PDK call that throws, a wrong sequence, a close while an instance starts.

mod connection;
mod convert;
mod dispatch;
mod entities;
mod instances;
mod protocol;

#[cfg(test)]
mod golden;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::config::PluginConfig;
use super::pdk::{Phase, Throw};
use crate::proxy::Exchange;
use connection::{Connection, Fault};
use dispatch::Reply as Answer;
pub(crate) use instances::Instances;
use protocol::rpc_call::Call;
use protocol::{CmdHandleEvent, RpcCall, RpcReturn};

pub(crate) use connection::Pool;

/// How an event ended.
enum Event {
    Done,
    /// `kong.response.exit`: Kong never replies, and the socket closes with the request.
    Exited,
}

/// Sends one event and serves the calls that it makes.
pub(crate) async fn handle_event(
    exchange: &Arc<Exchange>,
    plugin: &PluginConfig,
    phase: Phase,
) -> Result<(), Throw> {
    loop {
        let outcome = match exchange.worker.instances.obtain(exchange, plugin).await {
            Ok(instance_id) => event(exchange, plugin, instance_id, phase).await,
            Err(instances::NoInstance::Unclaimed(message)) => Err(Fault::Answer(message)),
            Err(instances::NoInstance::NotStarted(message)) => return Err(Throw(message)),
        };
        match outcome {
            Ok(Event::Done | Event::Exited) => return Ok(()),
            Err(Fault::Throw(message)) => return Err(Throw(message)),
            Err(Fault::Answer(message))
                if message.contains("closed") || message.contains("no plugin instance") =>
            {
                tracing::warn!(plugin = plugin.name, %message, "a plugin server dropped an event; it is sent again");
                exchange.worker.instances.forget(&plugin.name);
                tokio::task::yield_now().await;
            }
            Err(Fault::Answer(message) | Fault::Refused(message)) => {
                tracing::error!(plugin = plugin.name, %message, "pluginserver error");
                return if phase == Phase::LogTimer {
                    Err(Throw(message))
                } else {
                    exchange.error(500, None, &[])
                };
            }
        }
    }
}

async fn event(
    exchange: &Arc<Exchange>,
    plugin: &PluginConfig,
    instance_id: i32,
    phase: Phase,
) -> Result<Event, Fault> {
    let command = CmdHandleEvent {
        instance_id,
        event_name: Bytes::from_static(phase.name().as_bytes()),
    };
    let mut connection = Connection::open(&exchange.worker, plugin).await?;
    let sequence = connection.send(Call::CmdHandleEvent(command)).await?;
    let outcome = serve(exchange, &mut connection, phase).await;
    match outcome {
        Ok(Event::Done) => {
            connection.returned(sequence).await?;
            connection.keep();
        }
        Err(Fault::Answer(_)) => {}
        // nginx closes a sound socket that nobody gave back when the request ends.
        Ok(Event::Exited) | Err(Fault::Refused(_) | Fault::Throw(_)) => {
            exchange.state().held.push(connection.into_socket());
        }
    }
    outcome
}

/// The PDK loop: a method, its arguments, one reply, until an empty method.
async fn serve(
    exchange: &Arc<Exchange>,
    connection: &mut Connection,
    phase: Phase,
) -> Result<Event, Fault> {
    loop {
        let method = connection.read_frame().await?;
        if method.is_empty() {
            return Ok(Event::Done);
        }
        let arguments = connection.read_frame().await?;
        let method = String::from_utf8_lossy(&method);
        if method == "kong.request.get_raw_body" {
            exchange.read_body().await;
        }
        match dispatch::dispatch(exchange, phase, &method, arguments) {
            Ok(Answer::Value(reply)) => connection.write_frame(&reply).await?,
            Ok(Answer::Exit) => return Ok(Event::Exited),
            Err(dispatch::Refusal::UnknownMethod(name)) => {
                return Err(Fault::Refused(format!("method {name:?} not found")));
            }
            Err(dispatch::Refusal::Throw(throw)) => return Err(Fault::Throw(throw.0)),
        }
    }
}

/// A call outside events: `start_instance`, `close_instance`.
async fn call(
    exchange: &Exchange,
    plugin: &PluginConfig,
    command: Call,
) -> Result<RpcReturn, Fault> {
    let mut connection = Connection::open(&exchange.worker, plugin).await?;
    let sequence = connection.send(command).await?;
    let returned = connection.returned(sequence).await?;
    connection.keep();
    Ok(returned)
}

fn encode(sequence: i64, call: Call) -> Vec<u8> {
    RpcCall {
        sequence,
        call: Some(call),
    }
    .encode_to_vec()
}

/// Writes a plugin's line at Kong's level.
pub(crate) fn write_log(level: &str, message: &str) {
    match level {
        "emerg" | "alert" | "crit" | "err" | "stderr" => {
            tracing::error!(target: "kong_standin::plugin", level, "{message}");
        }
        "warn" => tracing::warn!(target: "kong_standin::plugin", "{message}"),
        "debug" | "inspect" => tracing::debug!(target: "kong_standin::plugin", "{message}"),
        _ => tracing::info!(target: "kong_standin::plugin", level, "{message}"),
    }
}
