//! One connection to Redis that mends itself.
//!
//! # Model
//!
//! All calls of a process share one multiplexed connection (to a cluster, one per node, which the client keeps). It is opened when
//! it is first needed, by a task of its own: a caller waits for it no longer than its timeout, while the task goes on for up to
//! [`CONNECT`], so that a handshake that is slower than a call may be still ends in a connection. Whoever sees a connection fail
//! forgets it, and the next call opens another.
//!
//! # Failure
//!
//! A call whose connection breaks fails, and is not repeated: it may have been carried out.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::io::AsyncDNSResolver;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisFuture, RedisResult, ServerErrorKind, TlsCertificates,
    TlsMode, Value,
};

use super::config::{Node, RedisConfig, Secret, Topology};

/// The longest that opening a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Keys that a node looks at in one step of a listing.
const PAGE: usize = 1_000;
/// Steps of a listing on each node.
const PAGES: usize = 100;

/// An open connection; its clones share it.
#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// One slot of each primary; of a single server, none.
    async fn shards(&mut self) -> RedisResult<Vec<Option<u16>>> {
        let Self::Cluster(connection) = self else {
            return Ok(vec![None]);
        };
        let ranges: Vec<Vec<Value>> = redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query_async(connection)
            .await?;
        let mut seen = Vec::new();
        let mut shards = Vec::new();
        for range in ranges {
            if let [Value::Int(first), _, primary, ..] = &range[..]
                && !seen.contains(primary)
            {
                seen.push(primary.clone());
                shards.push(u16::try_from(*first).ok());
            }
        }
        Ok(shards)
    }

    /// Runs a command without a key on the primary of `shard`.
    async fn query_on(&mut self, shard: Option<u16>, command: Cmd) -> RedisResult<Value> {
        match (self, shard) {
            (Self::Single(connection), _) => command.query_async(connection).await,
            (Self::Cluster(connection), None) => command.query_async(connection).await,
            (Self::Cluster(connection), Some(slot)) => {
                let route = Route::new(slot, SlotAddr::Master);
                let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
                connection.route_command(command, routing).await
            }
        }
    }
}

type Opening = Shared<BoxFuture<'static, RedisResult<Connection>>>;

/// The way to one Redis.
pub(super) struct Link {
    config: Arc<RedisConfig>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections opened so far: tells a caller's connection from the one that has replaced it.
    generation: u64,
    opening: Option<Opening>,
}

impl Link {
    pub(super) fn new(config: Arc<RedisConfig>) -> Self {
        Self {
            config,
            state: Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// Runs `command`, on the node that its first key lives on.
    pub(super) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        let (generation, opening) = self.opening();
        let answer = match opening.await {
            Ok(Connection::Single(mut connection)) => command.query_async(&mut connection).await,
            Ok(Connection::Cluster(mut connection)) => command.query_async(&mut connection).await,
            Err(error) => {
                self.forget(generation);
                return Err(error);
            }
        };
        if let Err(error) = &answer
            && is_broken(error)
        {
            self.forget(generation);
        }
        answer
    }

    /// Up to `most` of the keys that match `pattern`, on every node. Looks at no more than [`PAGES`] pages a node, so that
    /// a listing never walks a large database to its end.
    pub(super) async fn keys(&self, pattern: &str, most: usize) -> RedisResult<Vec<String>> {
        let (generation, opening) = self.opening();
        let mut connection = opening.await?;
        let mut found = Vec::new();
        for shard in connection.shards().await? {
            let mut cursor = 0_u64;
            for _ in 0..PAGES {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor)
                    .arg("MATCH")
                    .arg(pattern)
                    .arg("COUNT")
                    .arg(PAGE);
                let page = connection
                    .query_on(shard, scan)
                    .await
                    .inspect_err(|error| {
                        if is_broken(error) {
                            self.forget(generation);
                        }
                    })?;
                let (next, keys): (u64, Vec<String>) = redis::from_redis_value(page)?;
                found.extend(keys);
                cursor = next;
                if cursor == 0 || found.len() >= most {
                    break;
                }
            }
        }
        found.truncate(most);
        Ok(found)
    }

    /// Drops the present connection; calls under way on it end by themselves.
    pub(super) fn reset(&self) {
        self.state.lock().opening = None;
    }

    fn forget(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.opening = None;
        }
    }

    fn opening(&self) -> (u64, Opening) {
        let mut state = self.state.lock();
        if let Some(opening) = &state.opening {
            return (state.generation, opening.clone());
        }
        let task = tokio::spawn(within(CONNECT, open(self.config.clone())));
        let opening = async move {
            task.await.unwrap_or_else(|_| {
                Err(RedisError::from((
                    ErrorKind::Io,
                    "the process is shutting down",
                )))
            })
        }
        .boxed()
        .shared();
        state.generation += 1;
        state.opening = Some(opening.clone());
        (state.generation, opening)
    }
}

/// Whether another connection may do better. A primary that was demoted answers, but only reads.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

pub(super) async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

async fn open(config: Arc<RedisConfig>) -> RedisResult<Connection> {
    let topology = config.topology().map_err(|error| {
        RedisError::from((
            ErrorKind::InvalidClientConfig,
            "invalid configuration",
            error.to_string(),
        ))
    })?;
    match topology {
        Topology::Single(host, port) => single(&config, host, port).await,
        Topology::Sentinel(sentinels, master) => {
            let node = primary(&config, sentinels, master).await?;
            single(&config, &node.host, node.port).await
        }
        Topology::Cluster(nodes) => cluster(&config, nodes).await,
    }
}

async fn single(config: &RedisConfig, host: &str, port: u16) -> RedisResult<Connection> {
    let settings = settings(config.username.as_deref(), config.password.as_ref())
        .set_db(i64::from(config.database));
    connect(config, host, port, settings)
        .await
        .map(Connection::Single)
}

async fn connect(
    config: &RedisConfig,
    host: &str,
    port: u16,
    settings: RedisConnectionInfo,
) -> RedisResult<MultiplexedConnection> {
    let name = config.server_name.as_deref().unwrap_or(host);
    let info = address(config, name, port)
        .into_connection_info()?
        .set_redis_settings(settings);
    let client = match certificates(config) {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    };
    let options = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(None)
        .set_dns_resolver(Resolver(host.to_owned()));
    client
        .get_multiplexed_async_connection_with_config(&options)
        .await
}

/// Asks the sentinels, one after another, where the primary is.
async fn primary(config: &RedisConfig, sentinels: &[Node], master: &str) -> RedisResult<Node> {
    let settings = || {
        settings(
            config.sentinel_username.as_deref(),
            config.sentinel_password.as_ref(),
        )
    };
    let mut last = RedisError::from((
        ErrorKind::MasterNameNotFoundBySentinel,
        "no sentinel knows the primary",
    ));
    // Each gets its share of the time, so that one that hangs does not hide the others.
    let share = CONNECT / u32::try_from(sentinels.len() + 1).unwrap_or(u32::MAX);
    for node in sentinels {
        let ask = async {
            let mut sentinel = connect(config, &node.host, node.port, settings()).await?;
            redis::cmd("SENTINEL")
                .arg("get-master-addr-by-name")
                .arg(master)
                .query_async::<Option<(String, u16)>>(&mut sentinel)
                .await
        };
        match within(share, ask).await {
            Ok(Some((host, port))) => return Ok(Node { host, port }),
            Ok(None) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn cluster(config: &RedisConfig, nodes: &[Node]) -> RedisResult<Connection> {
    let nodes = nodes
        .iter()
        .map(|node| address(config, &node.host, node.port).into_connection_info())
        .collect::<RedisResult<Vec<_>>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(CONNECT)
        // A command that fails is not repeated for longer than a caller waits.
        .retries(1)
        .response_timeout(config.timeout)
        .overall_response_timeout(None);
    if let Some(username) = &config.username {
        builder = builder.username(username);
    }
    if let Some(password) = &config.password {
        builder = builder.password(password.reveal());
    }
    if config.ssl {
        builder = builder.tls(if config.ssl_verify {
            TlsMode::Secure
        } else {
            TlsMode::Insecure
        });
    }
    if let Some(certificates) = certificates(config) {
        builder = builder.certs(certificates);
    }
    let connection = builder.build()?.get_async_connection().await?;
    Ok(Connection::Cluster(connection))
}

fn settings(username: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default()
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.reveal());
    }
    settings
}

fn address(config: &RedisConfig, host: &str, port: u16) -> ConnectionAddr {
    if config.ssl {
        ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: !config.ssl_verify,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host.to_owned(), port)
    }
}

fn certificates(config: &RedisConfig) -> Option<TlsCertificates> {
    let root_cert = config.ssl_ca.as_ref()?.clone().into_bytes();
    config.ssl.then_some(TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    })
}

/// Resolves the configured host whatever it is asked for: the client takes the name in the certificate from the address that it
/// connects to, and `server_name` may be another.
struct Resolver(String);

impl AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        async move {
            let addresses = tokio::net::lookup_host((self.0.as_str(), port)).await?;
            Ok(Box::new(addresses) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        }
        .boxed()
    }
}
