//! One running gateway, whichever it is.

mod compose;
mod kong;

use std::iter::once;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use kong_standin::{Config, Database, PluginServer as PluginServerConfig, Standin};

pub use compose::Compose;
pub use kong::{Cluster, Kong, Role, Settings};

use crate::plugin_server::PluginServer;

/// What `nginx_http_client_body_buffer_size` is set to, in bytes, as in `kong/kong.conf`.
const BODY_BUFFER: usize = 1024 * 1024;
/// Workers that a gateway runs: more than one, because each keeps plugin instances of its own.
pub const WORKERS: usize = 2;

/// What a gateway may know besides, for configurations to name.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// A directory of WebAssembly filters.
    pub filters: Option<PathBuf>,
    /// The definitions of a custom plugin's kinds.
    pub kinds: Option<PathBuf>,
}

/// A gateway that answers.
#[derive(Debug)]
pub enum Gateway {
    /// In this process.
    Standin(Standin),
    /// A `kong` that we started.
    Kong(Box<Kong>),
    /// Containers that we started.
    Compose(Compose),
}

impl Gateway {
    /// Starts the stand-in with the two plugins of `plugins`, and with filters and kinds where there are.
    pub async fn standin(
        plugins: &PluginServer,
        database: Database,
        extensions: Extensions,
    ) -> Result<Self> {
        let external = plugins.plugins();
        let config = Config {
            database,
            workers: WORKERS,
            plugins: once("bundled")
                .chain(external.iter().map(|plugin| plugin.name))
                .map(str::to_owned)
                .collect(),
            plugin_servers: external
                .into_iter()
                .map(|plugin| PluginServerConfig {
                    name: plugin.server_name(),
                    socket: plugin.socket,
                    query_cmd: plugin.query_command,
                })
                .collect(),
            wasm: extensions.filters.is_some(),
            wasm_filters_path: extensions.filters,
            kinds: extensions.kinds,
            client_body_buffer_size: BODY_BUFFER,
            ..Config::default()
        };
        Ok(Self::Standin(Standin::start(config).await?))
    }

    /// Where clients connect.
    pub fn proxy_url(&self) -> String {
        match self {
            Self::Standin(standin) => url(standin.proxy_addr()),
            Self::Kong(kong) => kong.proxy_url(),
            Self::Compose(compose) => compose.proxy_url(),
        }
    }

    /// Where clients connect with TLS. The stand-in has none, and the containers' port is published for people.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Kong(kong) => Some(kong.tls_address()),
            Self::Standin(_) | Self::Compose(_) => None,
        }
    }

    /// Where its Admin API answers.
    pub fn admin_url(&self) -> String {
        match self {
            Self::Standin(standin) => url(standin.admin_addr()),
            Self::Kong(kong) => kong.admin_url(),
            Self::Compose(compose) => compose.admin_url(),
        }
    }

    /// Replaces its workers while it serves, as `kong reload` does.
    pub async fn reload(&self) -> Result<()> {
        match self {
            Self::Standin(_) => bail!("the stand-in has no reload"),
            Self::Kong(kong) => kong.reload().await,
            Self::Compose(compose) => compose.reload().await,
        }
    }

    /// What ends all its processes as `kill -9` does; its database stays.
    pub fn killer(&self) -> Result<impl Fn() -> Result<()> + Clone + Send + Sync + use<>> {
        match self {
            Self::Kong(kong) => kong.killer(),
            Self::Standin(_) | Self::Compose(_) => bail!("only a process of ours is killed"),
        }
    }

    /// Starts the one that was killed.
    pub async fn restart(&self) -> Result<()> {
        match self {
            Self::Kong(kong) => kong.restart().await,
            Self::Standin(_) | Self::Compose(_) => bail!("only a process of ours is restarted"),
        }
    }

    /// Its error log, all of it. The stand-in keeps none.
    pub fn error_log(&self) -> Result<Option<String>> {
        match self {
            Self::Standin(_) => Ok(None),
            Self::Kong(kong) => kong.error_log().map(Some),
            Self::Compose(compose) => compose.error_log().map(Some),
        }
    }

    /// How often it has tried an event again because a plugin server closed on it: Kong warns each time.
    pub fn retries(&self) -> Result<Option<usize>> {
        let warnings = |log: String| {
            log.lines()
                .filter(|line| line.contains("[warn]") && line.contains("closed"))
                .count()
        };
        Ok(self.error_log()?.map(warnings))
    }

    /// What it said last, for a failed story.
    pub fn last_words(&self) -> String {
        match self {
            Self::Standin(_) => String::new(),
            Self::Kong(kong) => kong.last_words(),
            Self::Compose(compose) => compose.last_words(),
        }
    }

    /// Ends it.
    pub async fn stop(self) -> Result<()> {
        match self {
            // Connections that a story left open would keep an orderly shutdown waiting.
            Self::Standin(standin) => drop(standin),
            Self::Kong(kong) => kong.stop().await?,
            Self::Compose(compose) => compose.stop().await?,
        }
        Ok(())
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The Kong's configuration that ships, which every real Kong is started with.
fn shipped_configuration(repository: &Path) -> PathBuf {
    repository.join("kong").join("kong.conf")
}
