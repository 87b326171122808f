//! Where an issuer's keys are published, by a host that cannot be trusted to answer.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, header};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Time between two bytes of [`Conduct::Drip`].
const DRIP: Duration = Duration::from_millis(20);
/// One piece of [`Conduct::Endless`], in bytes.
const PIECE: usize = 64 * 1024;

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Conduct {
    /// Answers with the keys.
    Honest,
    /// Answers with something else.
    Lies(&'static str),
    /// Sends the client to where the keys are, inside.
    Redirects,
    /// Sends as much as the client takes.
    Endless,
    /// Sends a byte now and then.
    Drip,
    /// Takes the request and never answers.
    Stalls,
}

/// A JWK set on a loopback port of its own.
#[derive(Debug)]
pub struct KeyEndpoint {
    port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    keys: String,
    conduct: Mutex<Conduct>,
    requests: AtomicUsize,
    /// Requests that came where redirects lead to.
    followed: AtomicUsize,
}

impl Shared {
    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyEndpoint {
    /// Starts one that publishes `keys`, honestly.
    pub async fn start(keys: &[Value]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            keys: json!({ "keys": keys }).to_string(),
            conduct: Mutex::new(Conduct::Honest),
            requests: AtomicUsize::default(),
            followed: AtomicUsize::default(),
        });
        let (asked, inside) = (Arc::clone(&shared), Arc::clone(&shared));
        let app = Router::new()
            .route(
                "/jwks",
                get(async move || {
                    asked.requests.fetch_add(1, Ordering::SeqCst);
                    let conduct = asked.conduct().clone();
                    answer(&conduct, &asked.keys).await
                }),
            )
            .route(
                "/inside",
                get(async move || {
                    inside.followed.fetch_add(1, Ordering::SeqCst);
                    inside.keys.clone()
                }),
            );
        let server = tokio::spawn(async move {
            // Ends when it is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            port,
            shared,
            server,
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the set.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/jwks", self.port)
    }

    /// Changes what it does from the next request on.
    pub fn becomes(&self, conduct: Conduct) {
        *self.shared.conduct() = conduct;
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How often its redirects were followed.
    pub fn followed(&self) -> usize {
        self.shared.followed.load(Ordering::SeqCst)
    }
}

impl Drop for KeyEndpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(conduct: &Conduct, keys: &str) -> Response<Body> {
    match conduct {
        Conduct::Honest => Response::new(Body::from(keys.to_owned())),
        Conduct::Lies(text) => Response::new(Body::from(*text)),
        Conduct::Redirects => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::FOUND;
            let inside = header::HeaderValue::from_static("/inside");
            response.headers_mut().insert(header::LOCATION, inside);
            response
        }
        Conduct::Endless => {
            let piece = Bytes::from(vec![b' '; PIECE]);
            let pieces = stream::repeat(piece).map(Ok::<_, Infallible>);
            Response::new(Body::from_stream(pieces))
        }
        Conduct::Drip => {
            let bytes = stream::repeat(()).then(|()| async {
                tokio::time::sleep(DRIP).await;
                Ok::<_, Infallible>(Bytes::from_static(b" "))
            });
            Response::new(Body::from_stream(bytes))
        }
        Conduct::Stalls => std::future::pending().await,
    }
}
