//! Which Redis, and how to reach it.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The time that a call may take, unless configured: several round trips within a data centre, and less than anybody notices
/// on a request to a language model.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(50);

/// A text that appears in no log: whoever formats it reads `[redacted]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides `text` from formatting.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The address of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The `redis` part of a configuration. Equal ones share one client in the process.
///
/// One of three: a single server (`host`), a cluster (`cluster_nodes`), or a primary that sentinels know (`sentinel_nodes`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisConfig {
    /// The server, if neither cluster nor sentinels are named.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// The ACL user; without one, the default user. It needs the keys `~llm:*` and the commands `+@connection +@hash +@string
    /// +@sortedset +@scripting +@keyspace -@dangerous +time`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The database to select; a cluster has only 0.
    pub database: u32,
    /// Whether to speak TLS.
    pub ssl: bool,
    /// Whether the certificate must be valid, and issued for the server's name.
    pub ssl_verify: bool,
    /// PEM certificates of the authorities that are trusted; without any, the machine's own.
    pub ssl_ca: Option<String>,
    /// The name that the certificate must carry, if it is not the host's.
    pub server_name: Option<String>,
    /// The most that one call may take, waiting for a connection included. Connecting itself goes on in the background for up to
    /// a second, so that a handshake slower than this is paid once and not for ever.
    pub timeout: Duration,
    /// Some nodes of a cluster; it tells the others.
    pub cluster_nodes: Vec<Node>,
    /// Sentinels, asked in this order.
    pub sentinel_nodes: Vec<Node>,
    /// The name by which sentinels know the primary.
    pub sentinel_master: Option<String>,
    /// The user for sentinels.
    pub sentinel_username: Option<String>,
    /// The password for sentinels.
    pub sentinel_password: Option<Secret>,
}

impl Default for RedisConfig {
    /// A server on the loopback address, without password or TLS.
    fn default() -> Self {
        Self {
            host: None,
            port: 6379,
            username: None,
            password: None,
            database: 0,
            ssl: false,
            ssl_verify: true,
            ssl_ca: None,
            server_name: None,
            timeout: DEFAULT_TIMEOUT,
            cluster_nodes: Vec::new(),
            sentinel_nodes: Vec::new(),
            sentinel_master: None,
            sentinel_username: None,
            sentinel_password: None,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("redis.{field}: {problem}")]
pub struct InvalidRedisConfig {
    /// The field within `redis`.
    pub field: &'static str,
    /// What is wrong with it, and what would be right. Holds no secret.
    pub problem: &'static str,
}

/// How the server is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology<'a> {
    Single(&'a str, u16),
    Cluster(&'a [Node]),
    Sentinel(&'a [Node], &'a str),
}

impl RedisConfig {
    /// Rules out what types cannot.
    pub fn check(&self) -> Result<(), InvalidRedisConfig> {
        let topology = self.topology()?;
        let clustered = matches!(topology, Topology::Cluster(_));
        let sentinels = matches!(topology, Topology::Sentinel(..));
        let rules = [
            (
                self.timeout.is_zero() || self.timeout > Duration::from_mins(1),
                "timeout",
                "must be from 1 to 60000 milliseconds",
            ),
            (
                self.port == 0 || self.nodes().any(|node| node.port == 0),
                "port",
                "must be from 1 to 65535",
            ),
            (
                self.nodes().any(|node| node.host.is_empty()),
                "host",
                "must not be empty",
            ),
            (
                clustered && self.database != 0,
                "database",
                "must be 0: a cluster has no other",
            ),
            (
                clustered && self.server_name.is_some(),
                "server_name",
                "works with one server only: let the nodes announce the names in their certificates \
                 (cluster-announce-hostname, cluster-preferred-endpoint-type hostname)",
            ),
            (
                self.username.is_some() && self.password.is_none(),
                "password",
                "is needed with a username",
            ),
            (
                self.sentinel_username.is_some() && self.sentinel_password.is_none(),
                "sentinel_password",
                "is needed with a sentinel_username",
            ),
            (
                !sentinels && self.sentinel_password.is_some(),
                "sentinel_password",
                "needs sentinel_nodes",
            ),
            (
                !self.ssl && (self.server_name.is_some() || self.ssl_ca.is_some()),
                "ssl",
                "must be true for server_name or ssl_ca to mean anything",
            ),
        ];
        match rules.iter().find(|(broken, ..)| *broken) {
            Some(&(_, field, problem)) => Err(InvalidRedisConfig { field, problem }),
            None => Ok(()),
        }
    }

    pub(super) fn topology(&self) -> Result<Topology<'_>, InvalidRedisConfig> {
        let invalid = |field, problem| Err(InvalidRedisConfig { field, problem });
        match (
            &self.host,
            &self.cluster_nodes[..],
            &self.sentinel_nodes[..],
            &self.sentinel_master,
        ) {
            (_, [_, ..], [_, ..], _) => {
                invalid("cluster_nodes", "cannot be combined with sentinel_nodes")
            }
            (Some(_), [_, ..], ..) => invalid("host", "cannot be combined with cluster_nodes"),
            (Some(_), _, [_, ..], _) => invalid("host", "cannot be combined with sentinel_nodes"),
            (_, _, [_, ..], None) => invalid("sentinel_master", "is needed with sentinel_nodes"),
            (_, _, [], Some(_)) => invalid("sentinel_nodes", "are needed with sentinel_master"),
            (None, nodes @ [_, ..], ..) => Ok(Topology::Cluster(nodes)),
            (None, [], nodes @ [_, ..], Some(master)) => Ok(Topology::Sentinel(nodes, master)),
            (host, [], [], None) => Ok(Topology::Single(
                host.as_deref().unwrap_or("127.0.0.1"),
                self.port,
            )),
        }
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.cluster_nodes.iter().chain(&self.sentinel_nodes)
    }
}

/// Where the server is, for people; holds no secret.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[Node]| {
            nodes
                .iter()
                .map(|node| format!("{}:{}", node.host, node.port))
                .collect::<Vec<_>>()
                .join(",")
        };
        match self.topology() {
            Ok(Topology::Single(host, port)) => {
                write!(f, "redis://{host}:{port}/{}", self.database)
            }
            Ok(Topology::Cluster(nodes)) => write!(f, "redis cluster {}", list(nodes)),
            Ok(Topology::Sentinel(nodes, master)) => {
                write!(f, "redis {master} of sentinels {}", list(nodes))
            }
            Err(_) => f.write_str("redis"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str) -> Node {
        Node {
            host: host.to_owned(),
            port: 7000,
        }
    }

    #[track_caller]
    fn refused(config: &RedisConfig, text: &str) {
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_field() {
        let plain = RedisConfig::default();
        assert_eq!(plain.check(), Ok(()));
        let cluster = RedisConfig {
            cluster_nodes: vec![node("a")],
            ..plain.clone()
        };
        let sentinel = RedisConfig {
            sentinel_nodes: vec![node("s")],
            sentinel_master: Some("main".to_owned()),
            ..plain.clone()
        };
        assert_eq!(cluster.check(), Ok(()));
        assert_eq!(sentinel.check(), Ok(()));

        let database = RedisConfig {
            database: 3,
            ..cluster.clone()
        };
        refused(&database, "redis.database: must be 0");
        let both = RedisConfig {
            host: Some("h".to_owned()),
            ..cluster.clone()
        };
        refused(&both, "redis.host: cannot be combined with cluster_nodes");
        let nameless = RedisConfig {
            sentinel_master: None,
            ..sentinel
        };
        refused(&nameless, "redis.sentinel_master: is needed");
        let timeless = RedisConfig {
            timeout: Duration::ZERO,
            ..plain.clone()
        };
        refused(&timeless, "redis.timeout: must be from 1 to 60000");
        let user = RedisConfig {
            username: Some("limiter".to_owned()),
            ..plain.clone()
        };
        refused(&user, "redis.password: is needed with a username");
        let name = RedisConfig {
            server_name: Some("redis.example".to_owned()),
            ..plain
        };
        refused(&name, "redis.ssl: must be true");
    }

    #[test]
    fn a_password_is_never_written() {
        let config = RedisConfig {
            password: Some(Secret::new("hunter2")),
            sentinel_password: Some(Secret::new("hunter2")),
            ..RedisConfig::default()
        };
        assert!(!format!("{config:?} {config}").contains("hunter2"));
    }
}
