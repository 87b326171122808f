//! A small stand-in for Kong Gateway 3.9, for tests and demonstrations where no Kong is at hand. Never for production.
//!
//! # Layout
//!
//! In the order in which a request meets them:
//!
//! - [`config`]: what the gateway is told at start.
//! - `proxy`: client connections, the router, the balancer, the upstream.
//! - `plugins`: the few bundled plugins it has, and Kong's side of the socket to a plugin server.
//! - [`store`]: the configuration in force, as snapshots that the proxy follows.
//! - `admin`: the Admin API, which changes it; `schema`: what it may hold; `declarative`: all of it in one document.
//! - `filters`: the WebAssembly filters that it may name.

pub mod config;
pub mod store;

mod admin;
mod clock;
mod declarative;
mod filters;
mod node;
mod plugins;
mod proxy;
mod schema;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use config::{Config, Database, PluginServer};
pub use filters::FilterError;
use filters::Filters;
use node::Node;
pub use plugins::{DumpError, PluginDump};
use schema::Registry;
pub use schema::{KNOWN_TO_KONG, SchemaError};
use store::Store;

/// A running gateway. Dropping it stops it at once; [`Standin::shutdown`] lets running requests end.
#[derive(Debug)]
pub struct Standin {
    proxy_addr: SocketAddr,
    admin_addr: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A plugin server's `query_cmd` failed.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// A plugin server declared a schema that Kong would not take, or a custom kind is none.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The WebAssembly filters cannot be had.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The kinds of custom plugins cannot be read.
    #[error("cannot read the kinds in {}", path.display())]
    Kinds {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The declarative configuration cannot be read.
    #[error("cannot read the declarative configuration {}", path.display())]
    Read {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The declarative configuration is faulty.
    #[error("{}: {reason}", path.display())]
    Declarative {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it, in Kong's words.
        reason: String,
    },
}

impl Standin {
    /// Asks the plugin servers for their dumps, loads the declarative configuration, then listens.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut external_plugins = Vec::with_capacity(config.plugin_servers.len());
        for server in &config.plugin_servers {
            external_plugins.push(PluginDump::query(server).await?);
        }
        let filters = Filters::find(config.wasm, config.wasm_filters_path.as_deref())?;
        let registry = registry(&config, &external_plugins, &filters)?;
        let store = Store::new();
        if let Some(path) = config.declarative_config.clone() {
            let text = match tokio::fs::read_to_string(&path).await {
                Ok(text) => text,
                Err(source) => return Err(StartError::Read { path, source }),
            };
            declarative::load(&text, &registry, &store)
                .map_err(|reason| StartError::Declarative { path, reason })?;
        }
        let node = Node {
            id: Uuid::new_v4(),
            config: Arc::new(config),
            external_plugins: external_plugins.into(),
            filters: Arc::new(filters),
            registry: Arc::new(registry),
            store,
        };
        let (proxy, proxy_addr) = listen(node.config.proxy_listen).await?;
        let (admin, admin_addr) = listen(node.config.admin_listen).await?;
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(proxy::serve(proxy, node.clone(), shutdown.clone()));
        tasks.spawn(admin::serve(admin, node, shutdown.clone()));
        Ok(Self {
            proxy_addr,
            admin_addr,
            shutdown,
            tasks,
        })
    }

    /// Where clients connect.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy_addr
    }

    /// Where the Admin API answers.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Stops accepting, lets running requests end, and returns when all is quiet.
    pub async fn shutdown(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The schemas of what a configuration may use: the plugins that `plugins` names, those that are only checked, filters, and custom kinds.
fn registry(
    config: &Config,
    external: &[PluginDump],
    filters: &Filters,
) -> Result<Registry, StartError> {
    let named = |name: &str| config.plugins.iter().any(|plugin| plugin == name);
    let bundled = schema::RUNNABLE_PLUGINS
        .into_iter()
        .filter(|plugin| named("bundled") || named(plugin));
    let enabled: Vec<String> = bundled
        .map(str::to_owned)
        .chain(config.schema_only_plugins.iter().cloned())
        .collect();
    let external = external.iter().filter(|plugin| named(&plugin.name));
    let external: Vec<_> = external
        .map(|plugin| (plugin.name.as_str(), &plugin.schema))
        .collect();
    let names = enabled.iter().map(String::as_str);
    let mut names = names.chain(external.iter().map(|(name, _)| *name));
    if let Some(name) = names.find(|name| filters.get(name).is_some()) {
        return Err(FilterError::Duplicate(name.to_owned()).into());
    }
    let kinds = match &config.kinds {
        Some(path) => custom_kinds(path)?,
        None => Vec::new(),
    };
    Ok(Registry::new(&enabled, external, filters, kinds)?)
}

/// What a file of kinds defines, in its order.
fn custom_kinds(path: &Path) -> Result<Vec<Value>, StartError> {
    let text = std::fs::read(path);
    text.and_then(|text| serde_json::from_slice(&text).map_err(Into::into))
        .map_err(|source| StartError::Kinds {
            path: path.to_owned(),
            source,
        })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
