//! The wiring: both plugins on one socket, their descriptions beside it, the admin listener, the drain.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use kong_pdk::argument::Status;
use kong_pdk::plugin::{FailureMode, Plugin, Registration};
use kong_pdk::{Server, registration, server};
use tokio::sync::watch;

use crate::admin::listener::Listener;
use crate::admin::{self, Readiness};
use crate::clock::SystemClock;
use crate::config::{EventsConfig, ProcessConfig};
use crate::jwt::process::Process;
use crate::kong::jwt::LlmJwt;
use crate::kong::rate_limiting::RateLimiting;
use crate::rate_limiting::outcomes::Outcomes;
use crate::stores::Stores;
use crate::telemetry::Telemetry;
use crate::webhook::Webhook;

/// The socket's name in the directory that is shared with Kong.
pub const SOCKET: &str = "plugins.sock";
/// Kong's workers run as another user, who must be able to connect; the directory says who can get this far.
const SOCKET_MODE: u32 = 0o666;
/// The descriptions hold no secret, and Kong's user must read them.
const DUMP_MODE: u32 = 0o644;

/// Both plugins, and what counts what they do.
#[derive(Debug)]
pub struct Plugins {
    /// The server that hosts them.
    pub server: Server,
    /// What `llm-jwt` keeps, counts, and takes for revoked.
    pub jwt: Arc<Process>,
    /// What became of the requests of `llm-rate-limiting`.
    pub outcomes: Arc<Outcomes>,
    /// Where its counters are.
    pub stores: Arc<Stores>,
    /// Where its spans go.
    pub telemetry: Telemetry,
    clock: Arc<SystemClock>,
}

impl Plugins {
    /// The plugins that every server of this program has.
    pub const NAMES: [&'static str; 2] = [RateLimiting::NAME, LlmJwt::NAME];

    /// The plugins on fresh stores and caches. Where spans are configured, within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When spans cannot be sent as configured; see [`Telemetry::to`].
    pub fn new(config: &ProcessConfig) -> anyhow::Result<Self> {
        let events = &config.events;
        let telemetry = match &config.tracing {
            Some(tracing) => Telemetry::to(tracing)?,
            None => Telemetry::off(),
        };
        let clock = Arc::new(SystemClock::new());
        let outcomes = Arc::new(Outcomes::new(clock.clone(), config.admin.consumer_label));
        let stores = Arc::new(Stores::default());
        let jwt = Arc::new(Process::with_stores(clock.clone(), Arc::clone(&stores)));
        let overload =
            FailureMode::closed(Status::SERVICE_UNAVAILABLE, "The gateway is overloaded");
        let authentication =
            registration!(LlmJwt::new(Arc::clone(&jwt), telemetry.clone())).overload(overload);
        let server = Server::builder()
            .plugin(bounded(
                RateLimiting::registration(
                    Arc::clone(&stores),
                    Arc::clone(&outcomes),
                    telemetry.clone(),
                ),
                events,
            ))
            .plugin(bounded(authentication, events))
            .drain_timeout(events.drain())
            .build()?;
        Ok(Self {
            server,
            jwt,
            outcomes,
            stores,
            telemetry,
            clock,
        })
    }

    /// What Kong's query command must print for `plugin`, whose socket lies in `dir`.
    pub fn dump(&self, plugin: &str, dir: &Path) -> Option<String> {
        let dump = self
            .server
            .dump(plugin, &dir.join(SOCKET).to_string_lossy())?;
        Some(format!("{dump:#}\n"))
    }

    /// Writes what [`dump`](Self::dump) says of each plugin to `dir/PLUGIN.json`, for readers who never see half a file. The directory is
    /// made if it is absent.
    ///
    /// # Errors
    ///
    /// When the directory or a file cannot be written.
    pub fn write_dumps(&self, dir: &Path) -> anyhow::Result<()> {
        make_directory(dir)?;
        for name in self.server.plugin_names() {
            let dump = self
                .dump(name, dir)
                .context("a server describes its own plugins")?;
            write_atomically(&dir.join(name).with_extension("json"), &dump)?;
        }
        Ok(())
    }
}

fn make_directory(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))
}

fn bounded<T: Plugin>(registration: Registration<T>, events: &EventsConfig) -> Registration<T> {
    registration
        .max_concurrency(events.max_concurrency)
        .deadline(events.deadline())
}

/// Serves Kong on `dir` until `shutdown` completes, then drains.
///
/// Kong may start as soon as the socket is there: the descriptions are written before it.
///
/// # Errors
///
/// When the directory, the socket, the admin listener or the state file cannot be used.
pub async fn serve(
    config: &ProcessConfig,
    dir: &Path,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let plugins = Plugins::new(config)?;
    make_directory(dir)?;
    let state_file = match &config.store.state_file {
        Some(path) => Some(plugins.stores.keep_in(path)?),
        None => None,
    };
    let webhook = webhook(config, &plugins)?;
    let (readiness, ready) = watch::channel(Readiness::Starting);
    let admin = match &config.admin.listen {
        Some(address) => {
            let listener = Listener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} (admin.listen)"))?;
            tracing::info!(address = %listener.address()?, "the admin listener is up");
            let parts = admin::Parts {
                counters: plugins.server.counters(),
                jwt: Arc::clone(&plugins.jwt),
                outcomes: Arc::clone(&plugins.outcomes),
                stores: Arc::clone(&plugins.stores),
                state_file: state_file.as_ref().map(|file| Arc::clone(file.status())),
                webhook: webhook.as_ref().map(|webhook| Arc::clone(webhook.status())),
                readiness: ready,
            };
            let token = config.admin.token.clone();
            Some(tokio::spawn(admin::serve(listener, parts, token)))
        }
        None => None,
    };

    plugins.write_dumps(dir)?;
    let socket = dir.join(SOCKET);
    let listener = server::bind(&socket, SOCKET_MODE)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    readiness.send_replace(Readiness::Serving);
    tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "serving Kong");

    let shutdown = async {
        shutdown.await;
        readiness.send_replace(Readiness::Draining);
        tracing::info!("draining");
    };
    let drained = plugins.server.serve(listener, shutdown).await;
    if let Some(admin) = admin {
        admin.abort();
    }
    if let Some(state_file) = state_file {
        state_file.stop().await;
    }
    plugins.stores.flush().await;
    if let Some(webhook) = webhook {
        webhook.stop().await;
    }
    plugins.telemetry.stop().await;
    tracing::info!(cut = drained.cut, "stopped");
    Ok(())
}

/// Begins to tell the receiver, if there is one, what the limits do.
fn webhook(config: &ProcessConfig, plugins: &Plugins) -> anyhow::Result<Option<Webhook>> {
    let Some(config) = &config.webhook else {
        return Ok(None);
    };
    let notices = plugins.outcomes.notices().listen();
    let notices = notices.context("a server's notices have one listener")?;
    let webhook = Webhook::start(config, notices, plugins.clock.clone())
        .context("events cannot be sent to webhook.url")?;
    Ok(Some(webhook))
}

/// Writes a file so that a reader finds the old one or the new one, whole.
fn write_atomically(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("json.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(DUMP_MODE))?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
