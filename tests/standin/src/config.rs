//! What the gateway is told at start: the part of `kong.conf` that the stand-in honours, under Kong's names.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How a stand-in is set up. [`Config::default`] listens on free local ports, DB-less and empty.
#[derive(Debug, Clone)]
pub struct Config {
    /// `proxy_listen`: where clients connect. Port 0 takes a free one.
    pub proxy_listen: SocketAddr,
    /// `admin_listen`: where the Admin API answers. Port 0 takes a free one.
    pub admin_listen: SocketAddr,
    /// `database`: who owns the configuration.
    pub database: Database,
    /// `declarative_config`: a YAML or JSON file loaded at start; only with [`Database::Off`].
    pub declarative_config: Option<PathBuf>,
    /// `nginx_worker_processes`: how many workers are simulated. Each keeps its own plugin instances, connections to
    /// plugin servers and Lua state, as Kong's do; a client's connection belongs to one of them.
    pub workers: usize,
    /// `plugins`: the names that a configuration may use; `bundled` stands for the bundled plugins that the stand-in has.
    pub plugins: Vec<String>,
    /// Bundled plugins that may be configured although the stand-in does not run them: for tests of the Admin API.
    pub schema_only_plugins: Vec<String>,
    /// `pluginserver_names` with their settings, in order.
    pub plugin_servers: Vec<PluginServer>,
    /// `wasm`: whether filter chains may be configured. Their filters are known, not run: requests that they apply to fail.
    pub wasm: bool,
    /// `wasm_filters_path`: a directory with one `NAME.wasm` for each filter, and the schema of its configuration in
    /// `NAME.meta.json`. The modules themselves are not read.
    pub wasm_filters_path: Option<PathBuf>,
    /// A JSON file with the kinds of entities that custom plugins bring: a list of definitions in the notation of the stand-in's own, in
    /// `src/schema/entities`, a kind after those that it refers to. Kong has no such setting: there the plugins' Lua says it.
    pub kinds: Option<PathBuf>,
    /// `nginx_http_client_body_buffer_size` in bytes: a longer request body reaches plugins as a path to a file.
    pub client_body_buffer_size: usize,
    /// `allow_debug_header`: whether `Kong-Debug: 1` makes the answer name the route and service that matched.
    pub allow_debug_header: bool,
}

/// Who owns the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// DB-less: the whole configuration arrives at once, by file or `POST /config`.
    Off,
    /// The Admin API writes entities one by one, as with PostgreSQL; they live in memory and die with the process.
    Memory,
}

/// One entry of `pluginserver_names`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginServer {
    /// The name in `pluginserver_names`, for messages.
    pub name: String,
    /// `pluginserver_<name>_socket`: the Unix socket it listens on.
    pub socket: PathBuf,
    /// `pluginserver_<name>_query_cmd`: a shell command that prints the dump as JSON.
    pub query_cmd: String,
}

impl Default for Config {
    fn default() -> Self {
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            proxy_listen: free_port,
            admin_listen: free_port,
            database: Database::Off,
            declarative_config: None,
            workers: 2,
            plugins: vec!["bundled".to_owned()],
            schema_only_plugins: Vec::new(),
            plugin_servers: Vec::new(),
            wasm: false,
            wasm_filters_path: None,
            kinds: None,
            client_body_buffer_size: 8 * 1024,
            allow_debug_header: false,
        }
    }
}
