//! A gateway and all that stands around it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use kong_standin::Database;
use tempfile::TempDir;

use crate::chat::{Caller, Credential};
use crate::gateway::{Compose, Extensions, Gateway, Kong, Role, Settings, WORKERS};
use crate::issuer::Issuer;
use crate::kongctl::Kongctl;
use crate::plugin_server::PluginServer;
use crate::postgres::Postgres;
use crate::provider::Provider;
use crate::redis::Redis;
use crate::target::Target;
use crate::token_server::TokenServer;
use crate::{filters, http, kinds, wait};

/// Patience with a configuration that was accepted and must reach every worker.
const PROPAGATION: Duration = Duration::from_secs(20);
/// Requests in a row, each on a connection of its own, that must find a route before every worker is taken to have it: the kernel gives
/// each connection to either of two workers, and all of them to the same one once in 2²³ times.
const SIGHTINGS: usize = 24;

/// Keys that the configuration files read from the environment, for the two consumers of the key route.
pub const KEYS: [(&str, &str); 2] = [
    ("NIGHTLY_REPORT_KEY", "key-of-the-nightly-report"),
    ("SUPPORT_BOT_KEY", "key-of-the-support-bot"),
];

/// Everything that one target needs, running.
#[derive(Debug)]
pub struct World {
    /// Which gateway it is.
    pub target: Target,
    /// The gateway.
    pub gateway: Gateway,
    /// The provider behind it.
    pub provider: Provider,
    /// Who signs tokens.
    pub issuer: Arc<Issuer>,
    /// Who gives out opaque tokens, and knows what they stand for.
    pub token_server: Arc<TokenServer>,
    /// The command that configures it.
    pub kongctl: Kongctl,
    plugins: Plugins,
    redis: Option<Redis>,
    // Last: what lives in it is dropped before it.
    directory: TempDir,
}

#[derive(Debug)]
enum Plugins {
    Process(PluginServer),
    Container,
}

impl World {
    /// Starts all of it, unconfigured.
    pub async fn start(target: Target) -> Result<Self> {
        Self::try_start(target, None, false)
            .await
            .with_context(|| format!("{target} did not start"))
    }

    /// The same with all that a configuration may name: a custom plugin's kinds of entities, and WebAssembly filters, which a real Kong has if
    /// it is told to.
    pub async fn start_extended(target: Target) -> Result<Self> {
        Self::try_start(target, None, true)
            .await
            .with_context(|| format!("{target} did not start"))
    }

    /// Starts another node: a gateway and a plugin server of their own, with the same issuer, provider and Redis.
    pub async fn start_beside(&self) -> Result<Self> {
        Self::try_start(self.target, Some(self), false)
            .await
            .with_context(|| format!("another {} did not start", self.target))
    }

    async fn try_start(target: Target, beside: Option<&Self>, extended: bool) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("stories-").tempdir()?;
        // Kong and PostgreSQL may run as other users.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let issuer = match beside {
            Some(world) => Arc::clone(&world.issuer),
            None => Arc::new(Issuer::generate(&directory.path().join("issuer.pem"))?),
        };
        let token_server = match beside {
            Some(world) => Arc::clone(&world.token_server),
            None => Arc::new(TokenServer::start().await?),
        };
        let mut variables =
            BTreeMap::from(KEYS.map(|(name, key)| (name.to_owned(), key.to_owned())));
        variables.insert(
            "LLM_JWT_PUBLIC_KEY".to_owned(),
            issuer.public_key().to_owned(),
        );
        variables.insert(
            "LLM_INTROSPECTION_ENDPOINT".to_owned(),
            token_server.endpoint(),
        );

        let (gateway, provider, plugins) = if target == Target::Compose {
            let compose = Compose::start(&issuer, &variables).await?;
            let provider = compose.provider();
            (Gateway::Compose(compose), provider, Plugins::Container)
        } else {
            let plugins = PluginServer::start(directory.path()).await?;
            let extensions = if extended {
                Extensions {
                    filters: Some(filters::write(directory.path())?),
                    kinds: Some(kinds::definitions()),
                }
            } else {
                Extensions::default()
            };
            let gateway = start_gateway(target, directory.path(), &plugins, extensions)
                .await
                .with_context(|| plugins.last_words())?;
            let provider = match beside {
                Some(world) => world.provider.again(),
                None => Provider::start().await?,
            };
            (gateway, provider, Plugins::Process(plugins))
        };
        let redis = match beside {
            None if target != Target::Compose && Redis::absence().is_none() => {
                Some(Redis::start(directory.path()).await?)
            }
            _ => None,
        };
        let (redis_host, redis_port) = match redis.as_ref().or(beside.and_then(Self::redis)) {
            Some(redis) => ("127.0.0.1", redis.port()),
            None => ("valkey", 6379),
        };
        variables.insert("REDIS_HOST".to_owned(), redis_host.to_owned());
        variables.insert("REDIS_PORT".to_owned(), redis_port.to_string());
        variables.insert("LLM_HOST".to_owned(), provider.host.clone());
        variables.insert("LLM_PORT".to_owned(), provider.port.to_string());
        // Journals, profiles and caches are the test's, not those of whoever runs it.
        for (variable, name) in [
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
        ] {
            let path = directory.path().join(name).display().to_string();
            variables.insert(variable.to_owned(), path);
        }
        let kongctl = Kongctl::new(&gateway.admin_url(), variables)?;
        Ok(Self {
            target,
            gateway,
            provider,
            issuer,
            token_server,
            kongctl,
            plugins,
            redis,
            directory,
        })
    }

    /// Applies a configuration through kongctl and waits until each worker has all of it.
    pub async fn configure(&self, file: &Path) -> Result<()> {
        self.configure_with(&[file], &[]).await
    }

    /// The same of several files together, which may read `variables` as well.
    pub async fn configure_with(&self, files: &[&Path], variables: &[(&str, &str)]) -> Result<()> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let kongctl = self.kongctl.clone().with_variables(variables.collect());
        kongctl.with_files(&["sync", "--yes"], files).await?;
        self.until_applied().await
    }

    /// Waits until each worker has all that was configured before.
    ///
    /// What a database holds reaches each worker's router, plugins and caches by ways of their own, so that a route may be served before its
    /// plugins are. As Kong's own tests do, this configures something more, which is seen last: a route and a plugin that no worker had
    /// before. The next sync deletes them.
    pub async fn until_applied(&self) -> Result<()> {
        static MARKERS: AtomicUsize = AtomicUsize::new(0);
        let marker = format!("applied-{}", MARKERS.fetch_add(1, Ordering::Relaxed));
        let file = self.directory().join(format!("{marker}.yml"));
        let text = format!(
            "_format_version: '3.0'\n\
             routes:\n\
             - name: {marker}\n  \
               paths: [/{marker}]\n  \
               plugins: [{{name: request-termination, config: {{status_code: 204}}}}]\n"
        );
        fs::write(&file, text)?;
        self.kongctl
            .with_files(&["apply", "--yes"], &[&file])
            .await?;
        let url = format!("{}/{marker}", self.gateway.proxy_url());
        until_each_worker_answers(&url, |status| status == 204).await
    }

    /// Waits until each worker routes `path`.
    pub async fn until_routed(&self, path: &str) -> Result<()> {
        until_routed(&self.gateway.proxy_url(), path).await
    }

    /// A caller of the route under `path`.
    pub fn caller(&self, path: &str, credential: Credential) -> Result<Caller> {
        Caller::new(format!("{}{path}", self.gateway.proxy_url()), credential)
    }

    /// A caller with a minted token of `tenant`, in the free tier.
    pub async fn tenant(&self, path: &str, tenant: &str) -> Result<Caller> {
        self.tenant_in_tier(path, tenant, "free").await
    }

    /// A caller with a minted token of `tenant` in `tier`.
    pub async fn tenant_in_tier(&self, path: &str, tenant: &str, tier: &str) -> Result<Caller> {
        let token = self.issuer.mint(&self.kongctl, tenant, tier).await?;
        self.caller(path, Credential::Token(token))
    }

    /// A directory for a story's own files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// `kill -9` of the plugin server.
    pub async fn kill_plugin_server(&mut self) -> Result<()> {
        match (&mut self.plugins, &self.gateway) {
            (Plugins::Process(server), _) => server.kill(),
            (Plugins::Container, Gateway::Compose(compose)) => compose.kill_plugin_server().await,
            (Plugins::Container, _) => unreachable!("only compose has containers"),
        }
    }

    /// Starts the plugin server that was killed.
    pub async fn restart_plugin_server(&mut self) -> Result<()> {
        match (&mut self.plugins, &self.gateway) {
            (Plugins::Process(server), _) => server.restart().await,
            (Plugins::Container, Gateway::Compose(compose)) => {
                compose.restart_plugin_server().await
            }
            (Plugins::Container, _) => unreachable!("only compose has containers"),
        }
    }

    /// The plugin server, where it is a process of ours.
    pub fn plugin_server(&self) -> Option<&PluginServer> {
        match &self.plugins {
            Plugins::Process(server) => Some(server),
            Plugins::Container => None,
        }
    }

    /// The Redis, where it is a process of ours.
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// The same, to kill and restart it.
    pub fn redis_mut(&mut self) -> Option<&mut Redis> {
        self.redis.as_mut()
    }

    /// What gateway and plugin server said last.
    pub fn last_words(&self) -> String {
        let plugins = self
            .plugin_server()
            .map(PluginServer::last_words)
            .unwrap_or_default();
        format!(
            "--- plugin server\n{plugins}\n--- gateway\n{}\n",
            self.gateway.last_words()
        )
    }

    /// Stops all of it, the gateway first.
    pub async fn stop(self) -> Result<()> {
        self.gateway.stop().await
    }
}

/// Waits until each worker of the gateway at `proxy_url` routes `path`.
pub async fn until_routed(proxy_url: &str, path: &str) -> Result<()> {
    let url = format!("{proxy_url}{path}");
    until_each_worker_answers(&url, |status| status != 404 && status != 503).await
}

async fn until_each_worker_answers(url: &str, wanted: impl Fn(u16) -> bool) -> Result<()> {
    let client = http::client()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(5))
        .build()?;
    wait::until(
        "the configuration reaches every worker",
        PROPAGATION,
        async || {
            for _ in 0..SIGHTINGS {
                let status = client.get(url).send().await?.status().as_u16();
                anyhow::ensure!(wanted(status), "{url} answers {status}");
            }
            Ok(())
        },
    )
    .await
}

async fn start_gateway(
    target: Target,
    directory: &Path,
    plugins: &PluginServer,
    extensions: Extensions,
) -> Result<Gateway> {
    let kinds = extensions.kinds.is_some();
    match target {
        Target::StandinMemory => Gateway::standin(plugins, Database::Memory, extensions).await,
        Target::StandinDbless => Gateway::standin(plugins, Database::Off, extensions).await,
        Target::BinaryDbless => start_kong(directory, plugins, None, kinds).await,
        Target::BinaryPostgres => {
            let postgres = Postgres::start(directory).await?;
            start_kong(directory, plugins, Some(postgres), kinds).await
        }
        Target::Compose => unreachable!("compose brings its own plugin server"),
    }
}

async fn start_kong(
    directory: &Path,
    plugins: &PluginServer,
    postgres: Option<Postgres>,
    kinds: bool,
) -> Result<Gateway> {
    let settings = Settings {
        plugins: plugins.plugins(),
        workers: WORKERS,
        postgres,
        role: Role::Traditional,
        kinds,
    };
    Ok(Gateway::Kong(Box::new(
        Kong::start(directory, settings).await?,
    )))
}
