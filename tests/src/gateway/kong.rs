//! A `kong` from `PATH`, unmodified, with the `kong.conf` that ships and everything local to the test overridden in its environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{BODY_BUFFER, WORKERS, shipped_configuration};
use crate::plugin_server::PluginServer;
use crate::postgres::{Postgres, is_root};
use crate::process::{Guard, run, tail};
use crate::target::find_on_path;
use crate::{repository, wait};

const STARTUP: Duration = Duration::from_mins(1);

/// A running Kong and, with a database, its PostgreSQL.
#[derive(Debug)]
pub struct Kong {
    program: PathBuf,
    prefix: PathBuf,
    environment: BTreeMap<String, String>,
    proxy_port: u16,
    admin_port: u16,
    postgres: Option<Postgres>,
    guard: Guard,
}

impl Kong {
    /// Starts one under `directory`: DB-less without `postgres`, else with a fresh schema in it.
    pub async fn start(
        directory: &Path,
        plugins: &PluginServer,
        postgres: Option<Postgres>,
    ) -> Result<Self> {
        let program = find_on_path("kong").context("no `kong` on PATH")?;
        let prefix = directory.join("kong");
        fs::create_dir(&prefix)?;
        let [proxy_port, admin_port] = wait::free_ports()?;
        let environment = environment(&prefix, plugins, postgres.as_ref(), proxy_port, admin_port);
        // A daemon: nothing ties it to us, so it must be stopped by name of its prefix should we die.
        let guard = Guard::new(&format!(
            "'{}' stop --prefix '{}'",
            program.display(),
            prefix.display()
        ))?;
        let kong = Self {
            program,
            prefix,
            environment,
            proxy_port,
            admin_port,
            postgres,
            guard,
        };
        if kong.postgres.is_some() {
            kong.run(&["migrations", "bootstrap"]).await?;
        }
        kong.run(&["start"])
            .await
            .with_context(|| kong.last_words())?;
        wait::until_status(&format!("{}/status", kong.admin_url()), &[200], STARTUP).await?;
        Ok(kong)
    }

    pub(super) fn proxy_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy_port)
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    pub(super) async fn reload(&self) -> Result<()> {
        self.run(&["reload"]).await.map(drop)
    }

    pub(super) fn last_words(&self) -> String {
        tail(&self.prefix.join("logs").join("error.log"), 30)
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.run(&["stop"]).await?;
        self.guard.disarm();
        self.postgres.take().map_or(Ok(()), Postgres::stop)
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .envs(&self.environment)
            .current_dir(&self.prefix);
        if arguments == ["stop"] {
            command.arg("--prefix").arg(&self.prefix);
        } else {
            command
                .arg("--conf")
                .arg(shipped_configuration(&repository()));
        }
        tokio::task::spawn_blocking(move || run(&mut command)).await?
    }
}

fn environment(
    prefix: &Path,
    plugins: &PluginServer,
    postgres: Option<&Postgres>,
    proxy_port: u16,
    admin_port: u16,
) -> BTreeMap<String, String> {
    let query = |dump: &str| format!("cat {}", plugins.directory().join(dump).display());
    let socket = plugins.socket().display().to_string();
    let mut environment = BTreeMap::from(
        [
            ("PREFIX", prefix.display().to_string()),
            ("PROXY_LISTEN", format!("127.0.0.1:{proxy_port}")),
            ("ADMIN_LISTEN", format!("127.0.0.1:{admin_port}")),
            ("ADMIN_GUI_LISTEN", "off".to_owned()),
            ("STATUS_LISTEN", "off".to_owned()),
            ("NGINX_WORKER_PROCESSES", WORKERS.to_string()),
            (
                "NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE",
                BODY_BUFFER.to_string(),
            ),
            ("PROXY_ACCESS_LOG", "off".to_owned()),
            ("ADMIN_ACCESS_LOG", "off".to_owned()),
            ("LOG_LEVEL", "notice".to_owned()),
            ("ANONYMOUS_REPORTS", "off".to_owned()),
            // Stories watch a change arrive: look for it often.
            ("WORKER_STATE_UPDATE_FREQUENCY", "0.2".to_owned()),
            ("DB_UPDATE_FREQUENCY", "0.2".to_owned()),
            ("PLUGINSERVER_LLM_RATE_LIMITING_SOCKET", socket.clone()),
            (
                "PLUGINSERVER_LLM_RATE_LIMITING_QUERY_CMD",
                query("llm-rate-limiting.json"),
            ),
            ("PLUGINSERVER_LLM_JWT_SOCKET", socket),
            ("PLUGINSERVER_LLM_JWT_QUERY_CMD", query("llm-jwt.json")),
        ]
        .map(|(name, value)| (format!("KONG_{name}"), value)),
    );
    let mut set =
        |name: &str, value: &str| environment.insert(format!("KONG_{name}"), value.to_owned());
    if is_root() {
        // Root's master would give the prefix, which only root can enter here, to workers of the user `nobody`.
        set("NGINX_USER", "root root");
    }
    match postgres {
        None => {
            set("DATABASE", "off");
        }
        Some(postgres) => {
            set("DATABASE", "postgres");
            set("PG_HOST", "127.0.0.1");
            set("PG_PORT", &postgres.port().to_string());
            set("PG_USER", "kong");
            set("PG_DATABASE", "postgres");
        }
    }
    environment
}
