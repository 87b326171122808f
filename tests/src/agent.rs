//! A small agent behind the gateway: it tells what reached it, and is slow, ill or gone when it is told to.
//!
//! # Model
//!
//! Every answer is JSON that names the agent, numbers the request and repeats it: `agent`, `request`, `method`, `path`, `query`, `headers`,
//! `body`. It says `X-Powered-By: sample-agent`, as a server does that tells too much. The request's headers [`DELAY_HEADER`] and
//! [`STATUS_HEADER`] slow it and choose its status. `GET /health` answers 200, or 503 while the agent is not [well](Agent::set_well);
//! it is no request.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A request header: milliseconds until it is answered.
pub const DELAY_HEADER: &str = "x-agent-delay-ms";
/// A request header: the status of its answer.
pub const STATUS_HEADER: &str = "x-agent-status";
/// The largest request body that is read, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What an agent is and was asked.
#[derive(Debug)]
struct Life {
    name: String,
    well: bool,
    /// How often its health was asked for.
    checks: usize,
    delay: Duration,
    /// The status of every answer to a request that names none.
    status: StatusCode,
    requests: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Life>>);

impl Shared {
    fn new(name: &str, status: StatusCode) -> Self {
        Self(Arc::new(Mutex::new(Life {
            name: name.to_owned(),
            well: true,
            checks: 0,
            delay: Duration::ZERO,
            status,
            requests: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running agent in this process.
#[derive(Debug)]
pub struct Agent {
    address: SocketAddr,
    shared: Shared,
    running: Option<(oneshot::Sender<()>, JoinHandle<io::Result<()>>)>,
}

impl Agent {
    /// Starts one on a free port of loopback.
    pub async fn start(name: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut agent = Self {
            address: listener.local_addr()?,
            shared: Shared::new(name, StatusCode::OK),
            running: None,
        };
        agent.run(listener);
        Ok(agent)
    }

    fn run(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(self.shared.clone());
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            // A dropped agent stops too.
            let _ = stopped.await;
        });
        self.running = Some((stop, tokio::spawn(server.into_future())));
    }

    /// Ends it: connections are closed, and new ones refused.
    pub async fn stop(&mut self) -> Result<()> {
        let (stop, server) = self.running.take().context("the agent does not run")?;
        drop(stop);
        server.await??;
        Ok(())
    }

    /// Starts it again, on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.run(listener);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its health check passes from now on.
    pub fn set_well(&self, well: bool) {
        self.shared.lock().well = well;
    }

    /// How often its health was asked for.
    pub fn checks(&self) -> usize {
        self.shared.lock().checks
    }

    /// How long it takes to answer from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// The status with which it answers from now on.
    pub fn set_status(&self, status: u16) -> Result<()> {
        self.shared.lock().status = StatusCode::from_u16(status)?;
        Ok(())
    }

    /// What reached it, oldest first, as it told in its answers.
    pub fn requests(&self) -> Vec<Value> {
        self.shared.lock().requests.clone()
    }

    /// How many requests reached it.
    pub fn count(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// Forgets what reached it.
    pub fn forget(&self) {
        self.shared.lock().requests.clear();
    }
}

/// Serves an agent that answers with `status` until `shutdown` resolves.
pub async fn serve(
    listener: TcpListener,
    name: &str,
    status: StatusCode,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(Shared::new(name, status)))
        .with_graceful_shutdown(shutdown)
        .await
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/health", get(health))
        .fallback(answer)
        .with_state(shared)
}

async fn health(State(shared): State<Shared>) -> StatusCode {
    let mut life = shared.lock();
    life.checks += 1;
    if life.well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let told = |header: &str| {
        let value = parts.headers.get(header)?.to_str().ok()?;
        value.parse::<u64>().ok()
    };
    let (delay, status) = (told(DELAY_HEADER), told(STATUS_HEADER));
    let mut headers = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .unwrap_or_else(|_| Bytes::new());
    let (seen, status, delay) = {
        let mut life = shared.lock();
        let seen = json!({
            "agent": life.name, "request": life.requests.len() + 1,
            "method": parts.method.as_str(), "path": parts.uri.path(), "query": parts.uri.query(),
            "headers": headers, "body": String::from_utf8_lossy(&body),
        });
        life.requests.push(seen.clone());
        let named = status.and_then(|status| StatusCode::from_u16(status.try_into().ok()?).ok());
        let delay = delay.map_or(life.delay, Duration::from_millis);
        (seen, named.unwrap_or(life.status), delay)
    };
    // Counted on arrival: a gateway that does not wait is told by what it sent.
    tokio::time::sleep(delay).await;
    (status, [("x-powered-by", "sample-agent")], Json(seen)).into_response()
}
