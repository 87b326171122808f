//! An Admin API of few words: an empty node with a database, whose answers a test may replace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::PATIENCE;

/// A call that reached the node.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) at: Instant,
}

/// How the node answers a call.
pub(crate) enum Answer {
    /// As an empty node with a database does.
    Usual,
    This(Response),
    /// Not at all, while the connection stays open.
    Silence,
    /// As usual, once there is a permit.
    Held(Arc<Semaphore>),
}

impl Answer {
    pub(crate) fn status(status: StatusCode) -> Self {
        Self::This((status, r#"{"message": "not now"}"#).into_response())
    }
}

/// Chooses the answer to a call, by the number of equal calls before it.
type Script = dyn Fn(&Call, usize) -> Answer + Send + Sync;

/// A running node; it ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Node {
    script: Arc<Script>,
    calls: watch::Sender<Vec<Call>>,
}

impl Node {
    pub(crate) fn new(script: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            calls: watch::Sender::default(),
        }
    }

    /// Serves on a free port.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        self.serve(listener);
        format!("http://{address}")
    }

    /// Serves on any kind of listener.
    pub(crate) fn serve<L>(&self, listener: L)
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
    {
        let node = self.clone();
        let router = Router::new().fallback(move |method: Method, uri: Uri, body: Bytes| {
            let node = node.clone();
            async move { node.answer(method, &uri, body).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// The calls so far whose method is `method`.
    pub(crate) fn calls(&self, method: &Method) -> Vec<Call> {
        let calls = self.calls.borrow();
        calls
            .iter()
            .filter(|call| call.method == method)
            .cloned()
            .collect()
    }

    /// Waits until as many calls came.
    pub(crate) async fn has_seen(&self, method: &Method, count: usize) {
        let mut calls = self.calls.subscribe();
        let seen = calls.wait_for(|calls| {
            let of_method = calls.iter().filter(|call| call.method == method);
            of_method.count() >= count
        });
        tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the calls come")
            .unwrap();
    }

    async fn answer(&self, method: Method, uri: &Uri, body: Bytes) -> Response {
        let call = Call {
            method,
            path: uri.path().to_owned(),
            at: Instant::now(),
        };
        let mut earlier = 0;
        self.calls.send_modify(|calls| {
            let equal = |other: &&Call| other.method == call.method && other.path == call.path;
            earlier = calls.iter().filter(equal).count();
            calls.push(call.clone());
        });
        match (self.script)(&call, earlier) {
            Answer::Usual => {}
            Answer::This(response) => return response,
            Answer::Silence => return std::future::pending().await,
            Answer::Held(gate) => gate.acquire().await.unwrap().forget(),
        }
        usual(&call, body)
    }
}

fn usual(call: &Call, body: Bytes) -> Response {
    let json = |body: Bytes| ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    if call.method != Method::GET {
        return json(body);
    }
    match call.path.as_str() {
        "/status" => json(Bytes::from_static(
            br#"{"server": {}, "database": {"reachable": true}}"#,
        )),
        path if path.starts_with("/schemas/") => StatusCode::NOT_FOUND.into_response(),
        _ => json(Bytes::from_static(br#"{"data": []}"#)),
    }
}
