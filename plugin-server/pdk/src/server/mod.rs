//! The server: plugins, the socket they share, and the life of its connections.
//!
//! # Life of an event
//!
//! 1. `connection` reads a request; an event names an instance and a phase.
//! 2. `instances` finds the instance. An unknown one is the only reason to close a connection during an event: Kong then
//!    starts the instance anew and repeats the event.
//! 3. `hosted` runs the handler, fenced: a panic, an error, a passed deadline and a lack of room each end in the answer that
//!    the plugin's [`Limits`](crate::plugin::Limits) configure.
//! 4. The connection ends the protocol properly and reads the next request.
//!
//! # Reload
//!
//! Kong and orchestrators let the old and the new server live side by side for a while. [`bind`] makes the socket under a
//! temporary name and renames it over the old one, nobody ever unlinks it, and instance ids start at a random place, so that
//! ids of another server are unknown here and never mean another instance.

mod connection;
mod counters;
mod hosted;
mod instances;
mod parent;
mod socket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use counters::{Counters, Snapshot};
pub use parent::ParentWatch;
pub use socket::bind;

use crate::frame::DEFAULT_MAX_FRAME;
use crate::plugin::{Plugin, Registration};
use hosted::{Hosted, HostedPlugin};
use instances::Instances;

/// How long an instance that no event names is kept. Kong does not say when a plugin is deleted.
const DEFAULT_INSTANCE_IDLE: Duration = Duration::from_hours(24);

/// How many instances are kept; the one that was idle longest makes room.
const DEFAULT_MAX_INSTANCES: usize = 65_536;

/// How often idle instances are looked for.
const COLLECT_EVERY: Duration = Duration::from_mins(1);

/// The pause after a failed accept: usually there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The runtime threads that serve best beside a Kong on the same machine: half of its processors, at least one.
///
/// Kong's workers take a processor each, and a request is handed back and forth between one of them and one of these
/// threads. A thread more than there is work for is woken for every event to look for some, on a processor that Kong needs.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

/// Why a server cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no plugin.
    #[error("a server needs a plugin")]
    NoPlugin,
    /// Two plugins have one name.
    #[error("two plugins are named {0}")]
    DuplicateName(&'static str),
    /// A plugin implements no phase, so Kong would never call it.
    #[error("the plugin {0} implements no phase")]
    NoPhase(&'static str),
}

/// A server of one or more plugins. Cloning shares it.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    drain: Duration,
}

/// What every connection shares.
pub(crate) struct Shared {
    plugins: Vec<Arc<dyn Hosted>>,
    instances: Instances,
    counters: Arc<Counters>,
    max_frame: usize,
    storm: instances::StormGuard,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that still had an event under way when the time limit came, and were cut.
    pub cut: usize,
}

/// Makes a [`Server`].
#[must_use]
pub struct Builder {
    plugins: Vec<Arc<dyn Hosted>>,
    drain: Duration,
    max_frame: usize,
    instance_idle: Duration,
    max_instances: usize,
}

impl Server {
    /// Starts with no plugin.
    pub fn builder() -> Builder {
        Builder {
            plugins: Vec::new(),
            drain: Duration::from_secs(20),
            max_frame: DEFAULT_MAX_FRAME,
            instance_idle: DEFAULT_INSTANCE_IDLE,
            max_instances: DEFAULT_MAX_INSTANCES,
        }
    }

    /// The names of the plugins.
    pub fn plugin_names(&self) -> impl Iterator<Item = &'static str> {
        self.shared
            .plugins
            .iter()
            .map(|plugin| plugin.description().name)
    }

    /// What Kong's query command must print for this plugin; `None` if there is none of that name.
    pub fn dump(&self, plugin: &str, socket: &str) -> Option<serde_json::Value> {
        let (_, plugin) = self.shared.plugin(plugin.as_bytes())?;
        Some(plugin.description().dump(socket))
    }

    /// The server's counters, alive.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Serves until `shutdown` completes, then drains: accepts nothing more, closes idle connections, lets events end, and
    /// cuts what is left after the drain time.
    pub async fn serve(
        &self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()>,
    ) -> Drained {
        let (draining, drain) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut collect = tokio::time::interval(COLLECT_EVERY);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection::run(stream, Arc::clone(&self.shared), drain.clone()));
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => report(ended),
                _ = collect.tick() => {
                    let collected = self.shared.instances.collect_idle();
                    if collected > 0 {
                        tracing::info!(collected, "dropped instances that no event has named for long");
                    }
                }
            }
        }
        drop(listener);
        draining.send_replace(true);
        let drained = tokio::time::timeout(self.drain, async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        });
        let cut = if drained.await.is_ok() {
            0
        } else {
            connections.len()
        };
        connections.shutdown().await;
        Drained { cut }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

impl Shared {
    /// The plugin of this name, with its place.
    fn plugin(&self, name: &[u8]) -> Option<(usize, &Arc<dyn Hosted>)> {
        self.plugins
            .iter()
            .enumerate()
            .find(|(_, plugin)| plugin.description().name.as_bytes() == name)
    }
}

impl Builder {
    /// Adds a plugin: `registration!(MyPlugin::new())`.
    pub fn plugin<T: Plugin>(mut self, registration: Registration<T>) -> Self {
        self.plugins.push(Arc::new(HostedPlugin::new(registration)));
        self
    }

    /// How long a drain may take: 20 seconds unless set.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// The longest frame in bytes that is accepted from Kong: 32 MiB unless set.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// How long an instance is kept that no event names: a day unless set. Dropping one that Kong still knows costs Kong a
    /// restart of the plugin's instances, nothing more.
    pub fn instance_idle(mut self, limit: Duration) -> Self {
        self.instance_idle = limit;
        self
    }

    /// How many instances are kept at most.
    pub fn max_instances(mut self, count: usize) -> Self {
        self.max_instances = count;
        self
    }

    /// Builds the server.
    pub fn build(self) -> Result<Server, BuildError> {
        if self.plugins.is_empty() {
            return Err(BuildError::NoPlugin);
        }
        for (index, plugin) in self.plugins.iter().enumerate() {
            let description = plugin.description();
            let name = description.name;
            if description.phases.is_empty() {
                return Err(BuildError::NoPhase(name));
            }
            if self.plugins[..index]
                .iter()
                .any(|other| other.description().name == name)
            {
                return Err(BuildError::DuplicateName(name));
            }
        }
        Ok(Server {
            shared: Arc::new(Shared {
                plugins: self.plugins,
                instances: Instances::new(self.instance_idle, self.max_instances),
                counters: Arc::default(),
                max_frame: self.max_frame,
                storm: instances::StormGuard::default(),
            }),
            drain: self.drain,
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("plugins", &self.plugin_names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .plugins
            .iter()
            .map(|plugin| plugin.description().name)
            .collect();
        f.debug_struct("Builder")
            .field("plugins", &names)
            .finish_non_exhaustive()
    }
}
