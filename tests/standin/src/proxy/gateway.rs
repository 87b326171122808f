//! Client connections, the simulated workers, and the configuration in force.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::compiled::Compiled;
use super::exchange::Connection;
use super::lifecycle;
use super::upstream;
use crate::node::Node;
use crate::plugins::Catalog;
use crate::plugins::external::{Instances, Pool};
use crate::plugins::functions::LuaWorker;
use crate::store::Snapshot;

/// What connections share.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) node: Node,
    catalog: Catalog,
    workers: Vec<Arc<Worker>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    compiled: Mutex<Arc<Compiled>>,
}

/// What one of nginx's worker processes keeps to itself.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) lua: LuaWorker,
    pub(crate) instances: Instances,
    /// Sockets to plugin servers.
    pub(crate) pool: Pool,
    /// Connections to upstreams.
    pub(super) upstreams: upstream::Pool,
}

impl Gateway {
    fn new(node: Node) -> mlua::Result<Self> {
        let catalog = Catalog::new(&node.external_plugins);
        let snapshots = node.store.subscribe();
        let compiled = Mutex::new(Arc::new(Compiled::new(&snapshots.borrow(), &catalog, None)));
        let workers = Worker::start(node.config.workers)?;
        Ok(Self {
            node,
            catalog,
            workers,
            snapshots,
            compiled,
        })
    }

    /// The configuration in force, made ready the first time that a request needs it.
    pub(super) fn compiled(&self) -> Arc<Compiled> {
        let snapshot = self.snapshots.borrow().clone();
        let mut compiled = self.compiled.lock();
        if compiled.version != snapshot.version {
            *compiled = Arc::new(Compiled::new(&snapshot, &self.catalog, Some(&compiled)));
        }
        compiled.clone()
    }
}

impl Worker {
    /// So many workers, at least one.
    pub(crate) fn start(count: usize) -> mlua::Result<Vec<Arc<Self>>> {
        Instances::for_workers(count.max(1))
            .into_iter()
            .map(|instances| {
                let lua = LuaWorker::new()?;
                Ok(Arc::new(Self {
                    lua,
                    instances,
                    pool: Pool::default(),
                    upstreams: upstream::Pool::default(),
                }))
            })
            .collect()
    }
}

/// Serves clients on `listener` until `shutdown` fires; then lets running requests end.
pub(crate) async fn serve(listener: TcpListener, node: Node, shutdown: CancellationToken) {
    let gateway = match Gateway::new(node) {
        Ok(gateway) => Arc::new(gateway),
        Err(error) => return tracing::error!(%error, "the proxy has no Lua"),
    };
    let graceful = GracefulShutdown::new();
    // Dropped with this future: then connections end at once.
    let mut connections = JoinSet::new();
    // Connections take their workers in turn.
    for worker in gateway.workers.iter().cycle() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, client)) => {
                if let Some(connection) = connection(&gateway, worker, stream, client, &graceful) {
                    connections.spawn(connection);
                }
            }
            Err(error) => tracing::warn!(%error, "a connection was not accepted"),
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connection(
    gateway: &Arc<Gateway>,
    worker: &Arc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    graceful: &GracefulShutdown,
) -> Option<impl Future<Output = ()> + use<>> {
    let server = stream.local_addr().ok()?;
    // Small writes of a stream must not wait for each other.
    let _ = stream.set_nodelay(true);
    let (gateway, worker) = (gateway.clone(), worker.clone());
    let ends = Connection { client, server };
    let service = service_fn(move |request| {
        let answer = lifecycle::answer(gateway.clone(), worker.clone(), ends, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    Some(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a client's connection ended early");
        }
    })
}
