//! One connection: requests in, answers out, until Kong or a drain ends it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::Shared;
use super::counters::{Open, count};
use super::hosted::Hosted;
use super::instances::{Instance, Made};
use crate::argument::Status;
use crate::clock;
use crate::phase::PhaseName;
use crate::plugin::{Ended, FailureMode, Flow};
use crate::response::Exit;
use crate::session::{Error, Session};
use crate::wire::rpc_call::Call;
use crate::wire::rpc_return::Return;
use crate::wire::{CmdHandleEvent, InstanceStatus, PluginInfo, PluginNames, RpcCall};

/// Whether a connection goes on after a request.
enum Next {
    Read(Box<Session>),
    Close,
}

/// Serves a connection until Kong ends it, or until the server drains and nothing is under way.
pub(super) async fn run(stream: UnixStream, shared: Arc<Shared>, mut drain: watch::Receiver<bool>) {
    let _open = Open::new(&shared.counters);
    let mut session = Box::new(Session::new(stream, shared.max_frame));
    loop {
        let request = tokio::select! {
            biased;
            request = session.next_request() => request,
            () = begun(&mut drain) => {
                // The last answer may still be on its way: leave nothing unread.
                if session.settle().await.is_err() || session.is_quiet() {
                    return;
                }
                session.next_request().await
            }
        };
        match request {
            Ok(Some(request)) => match answer(session, &shared, request).await {
                Ok(Next::Read(next)) => session = next,
                Ok(Next::Close) => return,
                Err(error) => return report(&shared, &error),
            },
            Ok(None) => return,
            Err(error) => return report(&shared, &error),
        }
    }
}

/// Completes when the server drains.
async fn begun(drain: &mut watch::Receiver<bool>) {
    // An error means that the server is gone: drain as well.
    drop(drain.wait_for(|draining| *draining).await);
}

fn report(shared: &Shared, error: &Error) {
    match error {
        Error::Protocol(error) => {
            count(&shared.counters.protocol_errors);
            tracing::error!(%error, "closed a connection");
        }
        error => tracing::debug!(%error, "a connection ended"),
    }
}

async fn answer(
    mut session: Box<Session>,
    shared: &Shared,
    request: RpcCall,
) -> Result<Next, Error> {
    let sequence = request.sequence;
    let answer = match request.call {
        Some(Call::CmdHandleEvent(event)) => {
            session.begin_event(sequence);
            return handle_event(session, shared, event).await;
        }
        Some(Call::CmdStartInstance(start)) => {
            let Some((place, plugin)) = shared.plugin(&start.name) else {
                // Kong has no error to be told; this request gets a 500, and no loop follows.
                tracing::error!(plugin = %String::from_utf8_lossy(&start.name), "kong asks for a plugin that is not here");
                return Ok(Next::Close);
            };
            count(&shared.counters.started_instances);
            let started_at = clock::unix_seconds();
            let instance_id =
                shared
                    .instances
                    .start(place, plugin.as_ref(), &start.config, started_at);
            Some(Return::InstanceStatus(InstanceStatus {
                name: start.name,
                instance_id,
                config: None,
                started_at,
            }))
        }
        Some(Call::CmdCloseInstance(close)) => {
            shared.instances.close(close.instance_id);
            None
        }
        Some(Call::CmdGetInstanceStatus(get)) => {
            shared.instances.get(get.instance_id).map(|instance| {
                Return::InstanceStatus(InstanceStatus {
                    name: text(shared.plugins[instance.plugin].description().name),
                    instance_id: get.instance_id,
                    // The configuration may hold secrets.
                    config: None,
                    started_at: instance.started_at,
                })
            })
        }
        Some(Call::CmdGetPluginNames(_)) => Some(Return::PluginNames(PluginNames {
            names: shared
                .plugins
                .iter()
                .map(|plugin| text(plugin.description().name))
                .collect(),
        })),
        Some(Call::CmdGetPluginInfo(get)) => shared
            .plugin(&get.name)
            .map(|(_, plugin)| Return::PluginInfo(info(plugin.as_ref()))),
        // A call that this version of the protocol does not have: an empty answer keeps the connection in step.
        None => None,
    };
    session.answer(sequence, answer).await?;
    Ok(Next::Read(session))
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn info(plugin: &dyn Hosted) -> PluginInfo {
    let description = plugin.description();
    PluginInfo {
        name: text(description.name),
        updated_at: 0,
        loaded_at: 0,
        phases: description.phase_names().map(text).collect(),
        version: text(description.version),
        priority: description.priority,
        schema: description.schema().to_string().into(),
    }
}

async fn handle_event(
    session: Box<Session>,
    shared: &Shared,
    event: CmdHandleEvent,
) -> Result<Next, Error> {
    let counters = &shared.counters;
    let Some(instance) = shared.instances.get(event.instance_id) else {
        count(&counters.unknown_instances);
        let delay = shared.storm.delay();
        tracing::info!(
            id = event.instance_id,
            ?delay,
            "closing a connection: kong names an instance of another time"
        );
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        return Ok(Next::Close);
    };
    count(&counters.events);
    let plugin = shared.plugins[instance.plugin].as_ref();
    let Some(phase) = PhaseName::from_name(&event.event_name) else {
        return go_on(session).await;
    };
    let made = match instance.made.as_ref() {
        Made::Usable(made) => made,
        Made::Unusable => {
            count(&counters.unusable);
            return end(session, phase, &FailureMode::Closed(unusable(plugin))).await;
        }
    };
    let Some(permit) = plugin.admit() else {
        count(&counters.rejections);
        return end(session, phase, &plugin.limits().overload).await;
    };
    let Instance { scope, .. } = &instance;
    let (session, ended) = match plugin.handle(phase, made.as_ref(), session, Arc::clone(scope)) {
        Ok(handler) => handler.await,
        Err(session) => return go_on(session).await,
    };
    if session.is_broken() {
        count(&counters.interrupted);
        if let Ended::Failed(error) = ended {
            tracing::debug!(%phase, error = &*error as &dyn std::error::Error, "kong ended an event");
        }
        return Ok(Next::Close);
    }
    let name = plugin.description().name;
    match ended {
        Ended::Completed(Flow::Continue) => return go_on(session).await,
        Ended::Completed(Flow::Exit(exit)) => {
            count(&counters.exits);
            drop(permit);
            return leave(session, phase, &exit).await;
        }
        Ended::Failed(error) => {
            count(&counters.failures);
            tracing::error!(plugin = name, %phase, error = &*error as &dyn std::error::Error, "a handler failed");
        }
        Ended::Panicked(message) => {
            count(&counters.panics);
            tracing::error!(plugin = name, %phase, message, "a handler panicked");
        }
        Ended::TimedOut => {
            count(&counters.deadlines);
            tracing::error!(plugin = name, %phase, deadline = ?plugin.limits().deadline, "a handler took too long");
        }
    }
    let mut session = session;
    session.drop_deferred();
    drop(permit);
    end(session, phase, &plugin.limits().failure).await
}

/// What requests get from a plugin whose configuration cannot be used.
fn unusable(plugin: &dyn Hosted) -> Exit {
    let message = format!(
        "The plugin {} is configured with values it cannot use",
        plugin.description().name
    );
    Exit::message(Status::INTERNAL_SERVER_ERROR, &message)
}

/// Ends an event that the plugin did not decide.
async fn end(session: Box<Session>, phase: PhaseName, mode: &FailureMode) -> Result<Next, Error> {
    match mode {
        FailureMode::Closed(exit) if phase.can_exit() => leave(session, phase, exit).await,
        FailureMode::Closed(_) | FailureMode::Open => go_on(session).await,
    }
}

/// Kong goes on with the request.
async fn go_on(mut session: Box<Session>) -> Result<Next, Error> {
    session.finish().await?;
    Ok(Next::Read(session))
}

/// Kong answers the client, and ends the connection when the request ends.
async fn leave(mut session: Box<Session>, phase: PhaseName, exit: &Exit) -> Result<Next, Error> {
    session.exit(phase, exit).await?;
    session.await_end().await;
    Ok(Next::Close)
}
