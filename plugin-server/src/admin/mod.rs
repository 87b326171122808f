//! The admin listener: health and metrics over HTTP, on loopback only, and only when it is asked for.

mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kong_pdk::server::Counters;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::jwt::outcomes::Outcomes;

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The socket is not there yet.
    Starting,
    /// Kong is served.
    Serving,
    /// It was told to stop.
    Draining,
}

/// What the listener shows.
#[derive(Debug, Clone)]
pub struct State {
    counters: Arc<Counters>,
    jwt: Arc<Outcomes>,
    readiness: watch::Receiver<Readiness>,
}

impl State {
    /// Shows these counters and this readiness.
    pub fn new(
        counters: Arc<Counters>,
        jwt: Arc<Outcomes>,
        readiness: watch::Receiver<Readiness>,
    ) -> Self {
        Self {
            counters,
            jwt,
            readiness,
        }
    }
}

/// Serves until the task is aborted.
pub async fn serve(listener: TcpListener, state: State) {
    if let Err(error) = axum::serve(listener, routes(state)).await {
        tracing::error!(%error, "the admin listener failed");
    }
}

fn routes(state: State) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .with_state(state)
}

async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, &'static str) {
    match *state.readiness.borrow() {
        Readiness::Serving => (StatusCode::OK, "ready\n"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn show_metrics(extract::State(state): extract::State<State>) -> impl IntoResponse {
    let text = metrics::render(state.counters.snapshot(), &state.jwt);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}
