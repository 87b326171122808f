//! Instances: one of each configured plugin in each worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::connection::Fault;
use super::protocol::rpc_call::Call;
use super::protocol::{CmdCloseInstance, CmdStartInstance, rpc_return};
use crate::plugins::PluginConfig;
use crate::proxy::Exchange;

/// A request that finds an instance starting looks again after this.
const WAIT_STEP: Duration = Duration::from_millis(100);
/// … so many times.
const WAIT_STEPS: u32 = 100;

/// The instances that all workers know, and which worker this is.
#[derive(Debug, Clone)]
pub(crate) struct Instances {
    workers: Arc<[Mutex<HashMap<String, Instance>>]>,
    worker: usize,
    sequence: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
struct Instance {
    plugin_name: String,
    /// Absent while the instance starts.
    id: Option<i32>,
    /// The version of the configuration that it was started with.
    version: u64,
}

/// Why an event has no instance to go to.
#[derive(Debug)]
pub(super) enum NoInstance {
    /// Somebody else is starting it, for too long.
    Unclaimed(String),
    /// The start failed.
    NotStarted(String),
}

impl Instances {
    /// One for each worker.
    pub(crate) fn for_workers(count: usize) -> Vec<Self> {
        let workers: Arc<[Mutex<HashMap<String, Instance>>]> =
            (0..count).map(|_| Mutex::default()).collect();
        let sequence = Arc::new(AtomicU64::new(0));
        (0..count)
            .map(|worker| Self {
                workers: workers.clone(),
                worker,
                sequence: sequence.clone(),
            })
            .collect()
    }

    /// Forgets all instances of a plugin in all workers.
    pub(super) fn forget(&self, plugin_name: &str) {
        for worker in self.workers.iter() {
            worker
                .lock()
                .retain(|_, instance| instance.plugin_name != plugin_name);
        }
    }

    /// The instance of this worker; started, or started anew, if the configuration changed since.
    pub(super) async fn obtain(
        &self,
        exchange: &Exchange,
        plugin: &PluginConfig,
    ) -> Result<i32, NoInstance> {
        let version = exchange.compiled.version;
        let mut steps = 0;
        let previous = loop {
            {
                let mut instances = self.workers[self.worker].lock();
                match instances.get_mut(&plugin.id) {
                    Some(instance) if instance.id.is_some() && instance.version == version => {
                        return Ok(instance.id.unwrap_or_default());
                    }
                    Some(instance) if instance.id.is_some() => break instance.id.take(),
                    Some(_) if steps >= WAIT_STEPS => {
                        instances.remove(&plugin.id);
                        return Err(NoInstance::Unclaimed(format!(
                            "Could not claim instance_id for {} (key: {})",
                            plugin.name, plugin.id
                        )));
                    }
                    Some(_) => {}
                    None => {
                        let claim = Instance {
                            plugin_name: String::new(),
                            id: None,
                            version,
                        };
                        instances.insert(plugin.id.clone(), claim);
                        break None;
                    }
                }
            }
            steps += 1;
            tokio::time::sleep(WAIT_STEP).await;
        };
        match self.start(exchange, plugin).await {
            Ok(id) => {
                let instance = Instance {
                    plugin_name: plugin.name.clone(),
                    id: Some(id),
                    version,
                };
                self.workers[self.worker]
                    .lock()
                    .insert(plugin.id.clone(), instance);
                if let Some(instance_id) = previous {
                    let close = Call::CmdCloseInstance(CmdCloseInstance { instance_id });
                    if let Err(fault) = super::call(exchange, plugin, close).await {
                        tracing::debug!(?fault, "an old instance was not closed");
                    }
                }
                Ok(id)
            }
            Err(Fault::Answer(message) | Fault::Refused(message) | Fault::Throw(message)) => {
                tracing::error!(plugin = plugin.name, %message, "starting instance");
                self.workers[self.worker].lock().remove(&plugin.id);
                Err(NoInstance::NotStarted(message))
            }
        }
    }

    async fn start(&self, exchange: &Exchange, plugin: &PluginConfig) -> Result<i32, Fault> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let config = Value::Object(instance_config(
            plugin,
            &exchange.compiled.workspace,
            sequence,
        ))
        .to_string();
        let start = CmdStartInstance {
            name: plugin.name.clone().into(),
            config: config.into(),
        };
        let returned = super::call(exchange, plugin, Call::CmdStartInstance(start)).await?;
        match returned.r#return {
            Some(rpc_return::Return::InstanceStatus(status)) => Ok(status.instance_id),
            _ => Err(Fault::Throw(
                "attempt to index field 'instance_status' (a nil value)".to_owned(),
            )),
        }
    }
}

/// The plugin's configuration with what Kong adds to it.
pub(crate) fn instance_config(
    plugin: &PluginConfig,
    workspace: &str,
    sequence: u64,
) -> Map<String, Value> {
    let mut config = plugin.config.clone();
    let id = |id: &Option<String>| id.clone().unwrap_or_default();
    let scope = &plugin.scope;
    let key = [
        &plugin.name,
        &id(&scope.route),
        &id(&scope.service),
        &id(&scope.consumer),
        "",
        workspace,
    ]
    .join(":");
    config.insert("__key__".to_owned(), format!("plugins:{key}").into());
    config.insert("__seq__".to_owned(), sequence.into());
    config.insert("__plugin_id".to_owned(), plugin.id.clone().into());
    config.insert("__ws_id".to_owned(), workspace.into());
    for (name, value) in [
        ("route_id", &scope.route),
        ("service_id", &scope.service),
        ("consumer_id", &scope.consumer),
        ("plugin_instance_name", &plugin.instance_name),
    ] {
        if let Some(value) = value {
            config.insert(name.to_owned(), value.clone().into());
        }
    }
    config
}
