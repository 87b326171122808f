//! A `kong` from `PATH`, unmodified, with the `kong.conf` that ships and everything local to the test overridden in its environment.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::shipped_configuration;
use crate::plugin_server::{ExternalPlugin, PLUGINS};
use crate::postgres::{Postgres, is_root};
use crate::process::{Guard, run, tail};
use crate::target::find_on_path;
use crate::{filters, kinds, repository, wait};

const STARTUP: Duration = Duration::from_mins(1);

/// What differs from one Kong to another here.
#[derive(Debug)]
pub struct Settings {
    /// The plugins outside of it.
    pub plugins: Vec<ExternalPlugin>,
    /// nginx workers.
    pub workers: usize,
    /// Where it keeps its configuration; `None` for DB-less.
    pub postgres: Option<Postgres>,
    /// Its part in a deployment.
    pub role: Role,
    /// Whether it has the plugin that brings kinds of its own.
    pub kinds: bool,
}

/// What a Kong is in a deployment.
#[derive(Clone, Debug, Default)]
pub enum Role {
    /// All in one.
    #[default]
    Traditional,
    /// It configures data planes, and proxies nothing.
    ControlPlane(Cluster),
    /// It proxies what a control plane configures, and has no Admin API.
    DataPlane(Cluster),
}

/// How the planes of a deployment find and trust each other.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Where the control plane listens for data planes.
    pub address: SocketAddr,
    /// A directory with `cluster.crt` and `cluster.key`, which both sides show.
    pub certificate: PathBuf,
}

impl Cluster {
    /// Draws the certificate of a new deployment into `directory`.
    pub fn new(directory: &Path) -> Result<Self> {
        let mut command = Command::new(find_on_path("kong").context("no `kong` on PATH")?);
        command
            .args(["hybrid", "gen_cert", "cluster.crt", "cluster.key"])
            .current_dir(directory);
        run(&mut command)?;
        let [port] = wait::free_ports()?;
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            certificate: directory.to_owned(),
        })
    }
}

/// A running Kong and, with a database, its PostgreSQL.
#[derive(Debug)]
pub struct Kong {
    program: PathBuf,
    prefix: PathBuf,
    environment: BTreeMap<String, String>,
    ports: Ports,
    postgres: Option<Postgres>,
    guard: Guard,
}

/// Where one listens on loopback.
#[derive(Clone, Copy, Debug)]
struct Ports {
    proxy: u16,
    proxy_tls: u16,
    admin: u16,
}

impl Kong {
    /// Starts one under `directory`: DB-less without `postgres`, else with a fresh schema in it.
    pub async fn start(directory: &Path, settings: Settings) -> Result<Self> {
        let program = find_on_path("kong").context("no `kong` on PATH")?;
        let prefix = directory.join("kong");
        fs::create_dir(&prefix)?;
        let [proxy, proxy_tls, admin] = wait::free_ports()?;
        let ports = Ports {
            proxy,
            proxy_tls,
            admin,
        };
        let mut environment = environment(&prefix, &settings, ports);
        // Of no account unless its `wasm` is on.
        let filters = filters::write(directory)?.display().to_string();
        environment.insert("KONG_WASM_FILTERS_PATH".to_owned(), filters);
        let role = settings.role.clone();
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
            ports,
            postgres: settings.postgres,
            guard,
        };
        if kong.postgres.is_some() {
            kong.run(&["migrations", "bootstrap"]).await?;
        }
        kong.run(&["start"])
            .await
            .with_context(|| kong.last_words())?;
        let (url, statuses) = match role {
            // It has nothing to route until its control plane says so.
            Role::DataPlane(_) => (kong.proxy_url(), &[404][..]),
            _ => (format!("{}/status", kong.admin_url()), &[200][..]),
        };
        wait::until_status(&url, statuses, STARTUP).await?;
        Ok(kong)
    }

    pub(super) fn proxy_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.proxy)
    }

    pub(super) fn tls_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.proxy_tls).into()
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    pub(super) async fn reload(&self) -> Result<()> {
        self.run(&["reload"]).await.map(drop)
    }

    /// What ends the master and its workers, which are a process group, as `kill -9` does.
    pub(super) fn killer(&self) -> Result<impl Fn() -> Result<()> + Clone + Send + Sync + use<>> {
        let pid = fs::read_to_string(self.prefix.join("pids").join("nginx.pid"))?;
        let pid: u32 = pid.trim().parse()?;
        Ok(move || {
            let group = format!("-{pid}");
            run(Command::new("kill").args(["-9", "--", &group])).map(drop)
        })
    }

    /// Starts it anew under its prefix.
    pub(super) async fn restart(&self) -> Result<()> {
        // A master that nobody has reaped yet would pass for one that runs.
        let _ = fs::remove_file(self.prefix.join("pids").join("nginx.pid"));
        self.run(&["start"])
            .await
            .with_context(|| self.last_words())?;
        wait::until_status(&format!("{}/status", self.admin_url()), &[200], STARTUP).await
    }

    pub(super) fn error_log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log())?).into_owned())
    }

    pub(super) fn last_words(&self) -> String {
        tail(&self.log(), 30)
    }

    fn log(&self) -> PathBuf {
        self.prefix.join("logs").join("error.log")
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.run(&["stop"]).await?;
        self.guard.disarm();
        self.postgres.take().map_or(Ok(()), Postgres::stop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
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
        command
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || run(&mut command)).await?
    }
}

impl Drop for Kong {
    /// Stops a Kong that nobody stopped, before its prefix goes away.
    fn drop(&mut self) {
        if self.guard.is_armed() && run(&mut self.command(&["stop"])).is_ok() {
            self.guard.disarm();
        }
    }
}

fn environment(prefix: &Path, settings: &Settings, ports: Ports) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        environment.insert(format!("KONG_{}", name.to_uppercase()), value.to_owned());
    };
    set("prefix", &prefix.display().to_string());
    let Ports {
        proxy,
        proxy_tls,
        admin,
    } = ports;
    set(
        "proxy_listen",
        &format!("127.0.0.1:{proxy}, 127.0.0.1:{proxy_tls} ssl"),
    );
    set("admin_listen", &format!("127.0.0.1:{admin}"));
    for listener in [
        "admin_gui_listen",
        "status_listen",
        "proxy_access_log",
        "admin_access_log",
        "anonymous_reports",
    ] {
        set(listener, "off");
    }
    set("nginx_worker_processes", &settings.workers.to_string());
    set("log_level", "notice");
    // Stories watch a change arrive: look for it often.
    set("worker_state_update_frequency", "0.2");
    set("db_update_frequency", "0.2");
    if is_root() {
        // Root's master would give the prefix, which only root can enter here, to workers of the user `nobody`.
        set("nginx_user", "root root");
    }

    let mut names: Vec<&str> = settings.plugins.iter().map(|plugin| plugin.name).collect();
    if settings.kinds {
        names.push(kinds::PLUGIN);
        set("lua_package_path", &kinds::lua_package_path());
    }
    if names != PLUGINS {
        let servers: Vec<String> = settings
            .plugins
            .iter()
            .map(ExternalPlugin::server_name)
            .collect();
        set("plugins", &format!("bundled,{}", names.join(",")));
        set("pluginserver_names", &servers.join(","));
    }
    for plugin in &settings.plugins {
        let server = plugin.server_name();
        set(
            &format!("pluginserver_{server}_socket"),
            &plugin.socket.display().to_string(),
        );
        set(
            &format!("pluginserver_{server}_query_cmd"),
            &plugin.query_command,
        );
    }

    match &settings.role {
        Role::Traditional => {}
        Role::ControlPlane(cluster) => {
            set("role", "control_plane");
            set("proxy_listen", "off");
            set("cluster_listen", &format!("{} ssl", cluster.address));
        }
        Role::DataPlane(cluster) => {
            set("role", "data_plane");
            set("admin_listen", "off");
            set("cluster_control_plane", &cluster.address.to_string());
        }
    }
    if let Role::ControlPlane(cluster) | Role::DataPlane(cluster) = &settings.role {
        let file = |name: &str| cluster.certificate.join(name).display().to_string();
        set("cluster_mtls", "shared");
        set("cluster_cert", &file("cluster.crt"));
        set("cluster_cert_key", &file("cluster.key"));
        // Nobody sends telemetry here, and its port is one for all.
        set("cluster_telemetry_listen", "off");
    }

    match &settings.postgres {
        None => set("database", "off"),
        Some(postgres) => {
            set("database", "postgres");
            set("pg_host", "127.0.0.1");
            set("pg_port", &postgres.port().to_string());
            set("pg_user", "kong");
            set("pg_database", "postgres");
        }
    }
    environment
}
