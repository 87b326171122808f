//! Plugins: those built in, and those that a plugin server answers for.
//!
//! # Model
//!
//! A plugin runs at most once in a request. Of several configurations under one name the most specific applies:
//! route + service + consumer, route + consumer, service + consumer, route + service, consumer, route, service, global.
//! Names run from the highest priority down. What applies is settled one name after another in `access`, so that an
//! authentication plugin's consumer counts for the plugins after it; later phases run what `access` collected.

mod config;
mod dump;
pub(crate) mod external;
pub(crate) mod functions;
mod key_auth;
pub(crate) mod pdk;
mod request_termination;

use std::sync::Arc;

use config::Handler;
pub(crate) use config::{Catalog, PluginConfig};
pub use dump::{DumpError, PluginDump};
use pdk::Phase;

use crate::proxy::Exchange;

/// Runs `rewrite`: global plugins only, since there is no route yet.
pub(crate) async fn rewrite(exchange: &Arc<Exchange>) {
    exchange.enter(Phase::Rewrite);
    for plugin in global(exchange) {
        run(exchange, &plugin, Phase::Rewrite).await;
        if exchange.state().exit.is_some() {
            return;
        }
    }
}

/// Runs `access` and collects the plugins for the phases after it. After an exit it still collects.
pub(crate) async fn access(exchange: &Arc<Exchange>) {
    exchange.enter(Phase::Access);
    let mut name = None;
    for plugin in &exchange.compiled.plugins {
        if name == Some(&plugin.name) {
            continue;
        }
        name = Some(&plugin.name);
        let Some(applying) = most_specific(exchange, &plugin.name) else {
            continue;
        };
        let exited = {
            let mut state = exchange.state();
            state.collected.push(applying.clone());
            state.exit.is_some()
        };
        if !exited {
            run(exchange, &applying, Phase::Access).await;
        }
    }
}

/// Whether a collected plugin wants the whole answer before the client sees any of it.
pub(crate) fn wants_response(exchange: &Exchange) -> bool {
    exchange
        .state()
        .collected
        .iter()
        .any(|plugin| plugin.handles(Phase::Response))
}

/// Runs `response`, on a buffered answer.
pub(crate) async fn response(exchange: &Arc<Exchange>) {
    exchange.enter(Phase::Response);
    for plugin in later(exchange) {
        run(exchange, &plugin, Phase::Response).await;
        if exchange.state().exit.is_some() {
            return;
        }
    }
}

/// Runs `header_filter`. Errors are logged; the answer goes on.
pub(crate) fn header_filter(exchange: &Arc<Exchange>) {
    exchange.enter(Phase::HeaderFilter);
    for plugin in later(exchange)
        .iter()
        .filter(|plugin| plugin.has_functions(Phase::HeaderFilter))
    {
        if let Err(error) = exchange
            .worker
            .lua
            .run(exchange, plugin, Phase::HeaderFilter)
        {
            tracing::error!(plugin = plugin.name, %error, "header_filter failed");
        }
    }
}

/// The plugins with a `body_filter`, in order.
pub(crate) fn body_filters(exchange: &Exchange) -> Vec<Arc<PluginConfig>> {
    later(exchange)
        .into_iter()
        .filter(|plugin| plugin.has_functions(Phase::BodyFilter))
        .collect()
}

/// Runs `log`: Lua at once, external plugins in the background.
pub(crate) fn log(exchange: &Arc<Exchange>) {
    let plugins = later(exchange);
    exchange.enter(Phase::Log);
    for plugin in plugins
        .iter()
        .filter(|plugin| plugin.has_functions(Phase::Log))
    {
        if let Err(error) = exchange.worker.lua.run(exchange, plugin, Phase::Log) {
            tracing::error!(plugin = plugin.name, %error, "log failed");
        }
    }
    exchange.enter(Phase::LogTimer);
    for plugin in plugins
        .into_iter()
        .filter(|plugin| plugin.handles(Phase::LogTimer))
    {
        let exchange = exchange.clone();
        tokio::spawn(async move {
            if let Err(error) = external::handle_event(&exchange, &plugin, Phase::LogTimer).await {
                tracing::error!(plugin = plugin.name, %error, "log failed");
            }
        });
    }
}

/// What phases after `access` run: the collected, or the global ones if `access` was never reached.
fn later(exchange: &Exchange) -> Vec<Arc<PluginConfig>> {
    let state = exchange.state();
    if state.matched.is_some() {
        return state.collected.clone();
    }
    drop(state);
    global(exchange).collect()
}

fn global(exchange: &Exchange) -> impl Iterator<Item = Arc<PluginConfig>> {
    exchange
        .compiled
        .plugins
        .iter()
        .filter(|plugin| plugin.scope.is_global())
        .cloned()
}

fn most_specific(exchange: &Exchange, name: &str) -> Option<Arc<PluginConfig>> {
    let state = exchange.state();
    let matched = state.matched.as_ref();
    let route = matched.map(|matched| matched.route.id.as_str());
    let service = matched
        .and_then(|matched| matched.service.as_ref())
        .map(|service| service.id.as_str());
    let consumer = state.consumer.as_ref().map(|consumer| consumer.id.as_str());
    let named = exchange
        .compiled
        .plugins
        .iter()
        .filter(|plugin| plugin.name == name);
    let applying = named.filter(|plugin| plugin.scope.covers(route, service, consumer));
    applying.max_by_key(|plugin| plugin.scope.rank()).cloned()
}

async fn run(exchange: &Arc<Exchange>, plugin: &Arc<PluginConfig>, phase: Phase) {
    let outcome = match &plugin.handler {
        Handler::KeyAuth(config) if phase == Phase::Access => {
            key_auth::access(exchange, config).map_err(|throw| throw.0)
        }
        Handler::RequestTermination(config) if phase == Phase::Access => {
            request_termination::access(exchange, config).map_err(|throw| throw.0)
        }
        Handler::Functions if plugin.has_functions(phase) => {
            exchange.worker.lua.run(exchange, plugin, phase)
        }
        Handler::External(_) if plugin.handles(phase) => {
            external::handle_event(exchange, plugin, phase)
                .await
                .map_err(|throw| throw.0)
        }
        Handler::Absent => Err(format!(
            "the stand-in does not have the plugin `{}`; a real Kong has it",
            plugin.name
        )),
        _ => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::error!(plugin = plugin.name, phase = phase.name(), %error, "a plugin failed");
        exchange.unexpected_error();
    }
}
