//! A provider on loopback that can be slow, huge, redirecting, lying or away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, header};
use axum::routing::{MethodRouter, get};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Bench, ISSUER, settings};
use crate::jwt::config::{KeySource, Settings};
use crate::jwt::outcomes::Fetched;

/// What a page does with the next request.
#[derive(Clone)]
pub(crate) enum Behaviour {
    Keys(Vec<Value>),
    Json(Value),
    Text(&'static str),
    Status(StatusCode),
    RedirectTo(String),
    /// Announces and sends this many bytes.
    Huge(usize),
    /// The same without announcing them.
    HugeStream(usize),
    /// A byte every few milliseconds, for ever.
    Drip,
    /// No answer, ever.
    Stalled,
    /// Answers with these keys when told to.
    Held(Arc<Notify>, Vec<Value>),
    /// Answers with this document when told to.
    HeldJson(Arc<Notify>, Value),
}

/// One path of the provider.
#[derive(Clone)]
pub(crate) struct Page {
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<AtomicUsize>,
}

impl Page {
    fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
        }
    }

    fn route(&self) -> MethodRouter {
        let page = self.clone();
        get(move || {
            page.requests.fetch_add(1, Ordering::SeqCst);
            let behaviour = page.behaviour.lock().clone();
            answer(behaviour)
        })
    }

    pub(crate) fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A JWK set, and metadata that name it.
pub(crate) struct Endpoint {
    /// Of the JWK set.
    pub(crate) url: String,
    pub(crate) metadata_url: String,
    pub(crate) metadata: Page,
    keys: Page,
    pub(crate) server: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{origin}/jwks.json");
        let keys = Page::new(behaviour);
        let metadata = Page::new(metadata(ISSUER, &url));
        let app = Router::new()
            .route("/jwks.json", keys.route())
            .route("/.well-known/openid-configuration", metadata.route());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            metadata_url: format!("{origin}/.well-known/openid-configuration"),
            metadata,
            keys,
            server,
        }
    }

    /// Changes what the JWK set's address does.
    pub(crate) fn becomes(&self, behaviour: Behaviour) {
        self.keys.becomes(behaviour);
    }

    /// How often the JWK set was asked for.
    pub(crate) fn requests(&self) -> usize {
        self.keys.requests()
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(KeySource::JwksEndpoint(self.url.clone()))
    }

    pub(crate) fn discovery_settings(&self) -> Settings {
        settings(KeySource::DiscoveryEndpoint(self.metadata_url.clone()))
    }

    /// Fetches so far: (successes, failures).
    pub(crate) fn fetches(bench: &Bench) -> (u64, u64) {
        let ended = bench.process.outcomes().fetches();
        ended.fold((0, 0), |(successes, failures), (how, count)| {
            if how == Fetched::Success {
                (successes + count, failures)
            } else {
                (successes, failures + count)
            }
        })
    }

    /// Waits until this many fetches have ended.
    pub(crate) async fn settled(&self, bench: &Bench, fetches: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let (successes, failures) = Self::fetches(bench);
            if successes + failures >= fetches {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{fetches} fetches were expected, {successes} + {failures} ended"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Metadata of this issuer that name this JWK set.
pub(crate) fn metadata(issuer: &str, jwks_uri: &str) -> Behaviour {
    Behaviour::Json(json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "token_endpoint": "https://idp.example/token",
        "response_types_supported": ["code"],
    }))
}

pub(super) async fn answer(behaviour: Behaviour) -> Response<Body> {
    let respond = |body: Body| Response::new(body);
    match behaviour {
        Behaviour::Keys(keys) => respond(json!({ "keys": keys }).to_string().into()),
        Behaviour::Json(document) => respond(document.to_string().into()),
        Behaviour::Text(text) => respond(text.into()),
        Behaviour::Status(status) => Response::builder()
            .status(status)
            .body(Body::empty())
            .unwrap(),
        Behaviour::RedirectTo(url) => Response::builder()
            .status(StatusCode::FOUND)
            .header(header::LOCATION, url)
            .body(Body::empty())
            .unwrap(),
        Behaviour::Huge(bytes) => respond(vec![b' '; bytes].into()),
        Behaviour::HugeStream(bytes) => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            let chunks = bytes / chunk.len();
            respond(Body::from_stream(
                stream::iter(std::iter::repeat_n(chunk, chunks)).map(Ok::<_, std::io::Error>),
            ))
        }
        Behaviour::Drip => respond(Body::from_stream(stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b" "))
        }))),
        Behaviour::Stalled => std::future::pending().await,
        Behaviour::Held(release, keys) => {
            release.notified().await;
            respond(json!({ "keys": keys }).to_string().into())
        }
        Behaviour::HeldJson(release, document) => {
            release.notified().await;
            respond(document.to_string().into())
        }
    }
}
