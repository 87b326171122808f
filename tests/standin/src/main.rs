//! The stand-in as a program: flags under the names of `kong.conf`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use kong_standin::{Config, Database, PluginServer, Standin};

/// A small stand-in for Kong Gateway 3.9, for tests. Never for production.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:8000")]
    proxy_listen: SocketAddr,
    /// Where the Admin API answers.
    #[arg(long, default_value = "127.0.0.1:8001")]
    admin_listen: SocketAddr,
    /// Who owns the configuration: `off` is DB-less, `memory` stands for a database and forgets at exit.
    #[arg(long, value_enum, default_value = "off")]
    database: DatabaseFlag,
    /// The configuration to start with, YAML or JSON (only with `--database off`).
    #[arg(long)]
    declarative_config: Option<PathBuf>,
    /// How many nginx workers to simulate.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    nginx_worker_processes: u8,
    /// The plugins that a configuration may use.
    #[arg(long, value_delimiter = ',', default_value = "bundled")]
    plugins: Vec<String>,
    /// A plugin server: `NAME,SOCKET,QUERY_CMD`, for `pluginserver_names` and its two settings. May be repeated.
    #[arg(long, value_name = "NAME,SOCKET,QUERY_CMD")]
    pluginserver: Vec<PluginServerFlag>,
    /// Let filter chains be configured; their filters do not run.
    #[arg(long)]
    wasm: bool,
    /// Where the filters are: `NAME.wasm`, and `NAME.meta.json` with the schema of its configuration.
    #[arg(long, requires = "wasm")]
    wasm_filters_path: Option<PathBuf>,
    /// A JSON file with the kinds of entities that custom plugins bring: in Kong, their `daos.lua`.
    #[arg(long, value_name = "FILE")]
    kinds: Option<PathBuf>,
    /// The longest request body, in bytes, that plugins get inline.
    #[arg(long, default_value_t = 8192)]
    nginx_http_client_body_buffer_size: usize,
    /// Let `Kong-Debug: 1` name the route that matched.
    #[arg(long)]
    allow_debug_header: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DatabaseFlag {
    Off,
    Memory,
}

#[derive(Debug, Clone)]
struct PluginServerFlag(PluginServer);

impl FromStr for PluginServerFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ',');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (Some(name), Some(socket), Some(query_cmd)) = (next(), next(), next()) else {
            return Err("expected NAME,SOCKET,QUERY_CMD");
        };
        Ok(Self(PluginServer {
            name: name.to_owned(),
            socket: socket.into(),
            query_cmd: query_cmd.to_owned(),
        }))
    }
}

impl From<Flags> for Config {
    fn from(flags: Flags) -> Self {
        Self {
            proxy_listen: flags.proxy_listen,
            admin_listen: flags.admin_listen,
            database: match flags.database {
                DatabaseFlag::Off => Database::Off,
                DatabaseFlag::Memory => Database::Memory,
            },
            declarative_config: flags.declarative_config,
            workers: flags.nginx_worker_processes.into(),
            plugins: flags.plugins,
            plugin_servers: flags
                .pluginserver
                .into_iter()
                .map(|server| server.0)
                .collect(),
            wasm: flags.wasm,
            wasm_filters_path: flags.wasm_filters_path,
            kinds: flags.kinds,
            client_body_buffer_size: flags.nginx_http_client_body_buffer_size,
            allow_debug_header: flags.allow_debug_header,
            ..Self::default()
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let flags = Flags::parse();
    let standin = Standin::start(flags.into())
        .await
        .context("the stand-in did not start")?;
    println!(
        "proxy on http://{}, Admin API on http://{}",
        standin.proxy_addr(),
        standin.admin_addr()
    );
    tokio::signal::ctrl_c().await?;
    standin.shutdown().await;
    Ok(())
}
