//! The proxy: from a client's connection to an upstream and back.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// Serves clients on `listener` until `shutdown` fires.
pub(crate) async fn serve(_listener: TcpListener, _node: Node, shutdown: CancellationToken) {
    shutdown.cancelled().await;
}
