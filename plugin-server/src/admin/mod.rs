//! The admin listener: health, metrics, counters to look at and correct, tokens to revoke, and a page that shows the counters.
//!
//! # Layout
//!
//! In the order a request meets them: [`listener`] accepts it, `access` says whether it may ask and whether it may change,
//! then `metrics`, `counters`, `reservations`, `revocations`, `activity` or `page` answers; `books` is their way to the stores,
//! `answer` the one place that turns problems into HTTP.
//!
//! # Failure
//!
//! Without a listener nothing else changes. A store that is away is a 503 here. A watcher that is too slow misses refusals;
//! nobody waits for it.

mod access;
mod activity;
mod answer;
mod books;
mod counters;
pub mod listener;
mod metrics;
mod page;
mod reservations;
mod revocations;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{self, DefaultBodyLimit};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{delete, get, post};
use kong_pdk::server::Counters;
use tokio::sync::{Semaphore, watch};

use self::access::Access;
use self::books::Books;
use self::listener::Listener;
use self::metrics::Metrics;
use self::token::AdminToken;
use crate::jwt::process::Process;
use crate::rate_limiting::outcomes::Outcomes;
use crate::stores::Stores;
use crate::stores::state_file::StateFileStatus;
use crate::webhook::WebhookStatus;

/// The longest body that is read, in bytes: a change is a few words.
const LONGEST_BODY: usize = 4 * 1024;
/// The most that may watch events at a time.
const MOST_WATCHERS: usize = 64;

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

/// What the listener shows, and what it may change.
#[derive(Debug)]
pub struct Parts {
    /// Events of Kong's protocol.
    pub counters: Arc<Counters>,
    /// What `llm-jwt` keeps and counts, how its keys stand, and what it takes for revoked.
    pub jwt: Arc<Process>,
    /// What became of the requests of `llm-rate-limiting`.
    pub outcomes: Arc<Outcomes>,
    /// Where its counters are.
    pub stores: Arc<Stores>,
    /// What the state file goes through, if there is one.
    pub state_file: Option<Arc<StateFileStatus>>,
    /// What became of the webhook's events, if there is one.
    pub webhook: Option<Arc<WebhookStatus>>,
    /// Where the server is in its life.
    pub readiness: watch::Receiver<Readiness>,
}

/// What every request shares.
#[derive(Debug, Clone)]
struct State {
    outcomes: Arc<Outcomes>,
    jwt: Arc<Process>,
    books: Books,
    metrics: Arc<Metrics>,
    readiness: watch::Receiver<Readiness>,
    watchers: Arc<Semaphore>,
}

/// Serves until the task is aborted. With a token, whoever lacks it sees nothing but health; without one, only a Unix
/// socket takes changes.
pub async fn serve(listener: Listener, parts: Parts, token: Option<AdminToken>) {
    let access = Arc::new(Access::new(&listener, token));
    let routes = routes(parts, access);
    if let Err(error) = listener.serve(routes).await {
        tracing::error!(%error, "the admin listener failed");
    }
}

fn routes(parts: Parts, access: Arc<Access>) -> Router {
    let state = State {
        outcomes: Arc::clone(&parts.outcomes),
        jwt: Arc::clone(&parts.jwt),
        books: Books::new(Arc::clone(&parts.stores)),
        readiness: parts.readiness.clone(),
        watchers: Arc::new(Semaphore::new(MOST_WATCHERS)),
        metrics: Arc::new(Metrics::new(parts)),
    };
    let changes = Router::new()
        .route("/v1/counters/{key}/reset", post(counters::reset))
        .route("/v1/counters/{key}/adjust", post(counters::adjust))
        .route("/v1/counters/{key}/grant", post(counters::grant))
        .route("/v1/reservations/{id}/release", post(reservations::release))
        .route("/v1/revocations", post(revocations::revoke))
        .route("/v1/revocations/{id}", delete(revocations::unrevoke))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&access),
            access::may_change,
        ));
    let reads = Router::new()
        .route("/metrics", get(metrics::show))
        .route("/v1/limits", get(activity::limits))
        .route("/v1/usage", get(activity::usage))
        .route("/v1/refusals", get(activity::refusals))
        .route("/v1/events", get(activity::events))
        .route("/v1/counters", get(counters::list))
        .route("/v1/counters/{key}", get(counters::show))
        .route("/v1/reservations", get(reservations::list))
        .route("/v1/revocations", get(revocations::list))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&access),
            access::may_read,
        ));
    // The page holds nothing of anybody: it must load before somebody can type a token into it.
    let page = Router::new()
        .route("/", get(page::show))
        .merge(reads)
        .merge(changes)
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(middleware::from_fn_with_state(access, access::has_own_host));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(page)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn(answer::with_safe_headers))
        .with_state(state)
}

async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, &'static str) {
    match *state.readiness.borrow() {
        Readiness::Serving => (StatusCode::OK, "ready\n"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// The log target of changes. It is written whatever the level of the rest: see [`crate::logging`].
pub const AUDIT: &str = "audit";

/// A span as the API tells it.
fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The kind of a store, whatever else its name says.
fn kind(store: &str) -> &str {
    store.split_once([':', ' ']).map_or(store, |(kind, _)| kind)
}
