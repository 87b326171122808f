//! The record `redis`, the same for every plugin that shares something through one.

use std::time::Duration;

use kong_pdk::PluginConfig;
use serde::Deserialize;

use crate::stores::redis::config::{Node, RedisConfig, Secret};

/// Where a Redis is, and how to reach it.
#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct RedisSection {
    /// Name or address of the server; not with a cluster or sentinels, which have nodes.
    #[kong(len_min = 1)]
    host: Option<String>,
    /// The server's port.
    #[kong(default = 6379, between = [1, 65535])]
    port: u16,
    /// The ACL user; without one, the default user.
    #[kong(referenceable)]
    username: Option<String>,
    /// The user's password.
    #[kong(referenceable, encrypted)]
    password: Option<String>,
    /// The database; a cluster has only 0.
    #[kong(default = 0, between = [0, 1_000_000])]
    database: u32,
    /// Whether to speak TLS.
    #[kong(default = false)]
    ssl: bool,
    /// Whether the server's certificate must be valid.
    #[kong(default = true)]
    ssl_verify: bool,
    /// PEM certificates of the authorities to trust; by default those of the plugin server's machine.
    #[kong(len_min = 1)]
    ssl_ca: Option<String>,
    /// The name that the certificate must carry, if it is not the host's.
    #[kong(len_min = 1)]
    server_name: Option<String>,
    /// The most milliseconds that a request waits for Redis.
    #[kong(default = 50, between = [1, 60000])]
    timeout: u64,
    /// Some nodes of a cluster; it tells the others.
    #[kong(len_min = 1)]
    cluster_nodes: Option<Vec<NodeConfig>>,
    /// Sentinels, which know the primary.
    #[kong(len_min = 1)]
    sentinel_nodes: Option<Vec<NodeConfig>>,
    /// The primary's name among sentinels.
    #[kong(len_min = 1)]
    sentinel_master: Option<String>,
    /// The user for sentinels.
    #[kong(referenceable)]
    sentinel_username: Option<String>,
    /// The password for sentinels.
    #[kong(referenceable, encrypted)]
    sentinel_password: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct NodeConfig {
    /// Name or address of the node.
    #[kong(default = "127.0.0.1", len_min = 1)]
    host: String,
    /// The node's port.
    #[kong(default = 6379, between = [1, 65535])]
    port: u16,
}

impl RedisSection {
    /// Whether it says where Redis is.
    pub(super) fn is_located(&self) -> bool {
        self.host.is_some() || self.cluster_nodes.is_some() || self.sentinel_nodes.is_some()
    }

    /// The same in the stores' terms.
    pub(super) fn read(self) -> RedisConfig {
        let nodes = |nodes: Option<Vec<NodeConfig>>| -> Vec<Node> {
            nodes
                .unwrap_or_default()
                .into_iter()
                .map(|NodeConfig { host, port }| Node { host, port })
                .collect()
        };
        RedisConfig {
            host: self.host,
            port: self.port,
            username: self.username,
            password: self.password.map(Secret::new),
            database: self.database,
            ssl: self.ssl,
            ssl_verify: self.ssl_verify,
            ssl_ca: self.ssl_ca,
            server_name: self.server_name,
            timeout: Duration::from_millis(self.timeout),
            cluster_nodes: nodes(self.cluster_nodes),
            sentinel_nodes: nodes(self.sentinel_nodes),
            sentinel_master: self.sentinel_master,
            sentinel_username: self.sentinel_username,
            sentinel_password: self.sentinel_password.map(Secret::new),
        }
    }
}
