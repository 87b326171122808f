//! The Admin API.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// Answers the Admin API on `listener` until `shutdown` fires.
pub(crate) async fn serve(listener: TcpListener, node: Node, shutdown: CancellationToken) {
    let router = axum::Router::new().with_state(node);
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
    {
        tracing::error!(%error, "the Admin API stopped");
    }
}
