//! What stands before a node and makes it fail on request: as a server that answers errors or not at all, and as a network that is cut.
//!
//! A node that does not answer, because a script killed it, is cut off too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It reaches the node, and its answer comes back.
    Pass,
    /// It is answered so, and never reaches the node.
    Refused(StatusCode),
    /// The node asks to be left alone for a second.
    Later,
    /// It reaches the node; the answer never comes back.
    Swallowed,
    /// It reaches the node, and the network is cut before the answer.
    Cut,
}

/// Chooses the fate of a write: its number from 0, method and path.
type Script = dyn Fn(usize, &Method, &str) -> Fate + Send + Sync;

/// So many writes pass, and every later one is refused.
pub(crate) fn refuses_after(
    passed: usize,
    status: StatusCode,
) -> impl Fn(usize, &Method, &str) -> Fate {
    move |number, _, _| {
        if number < passed {
            Fate::Pass
        } else {
            Fate::Refused(status)
        }
    }
}

/// The way to a node.
#[derive(Clone)]
pub(crate) struct Front {
    node: String,
    script: Arc<Script>,
    writes: Arc<AtomicUsize>,
    cut: watch::Sender<bool>,
    client: reqwest::Client,
}

impl Front {
    /// Stands before `node`; returns itself and its address.
    pub(crate) async fn start(
        node: &str,
        script: impl Fn(usize, &Method, &str) -> Fate + Send + Sync + 'static,
    ) -> (Self, String) {
        let front = Self {
            node: node.to_owned(),
            script: Arc::new(script),
            writes: Arc::default(),
            cut: watch::Sender::new(false),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = inner.local_addr().unwrap();
        let this = front.clone();
        let router = Router::new().fallback(move |request: Request| {
            let this = this.clone();
            async move { this.answer(request).await }
        });
        tokio::spawn(async move { axum::serve(inner, router).await });
        let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = outer.local_addr().unwrap();
        let this = front.clone();
        tokio::spawn(async move { this.network(outer, server).await });
        (front, format!("http://{address}"))
    }

    /// How many writes came, also those that did not reach the node.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Mends the network.
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }

    async fn network(&self, listener: TcpListener, server: SocketAddr) {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut cut = self.cut.subscribe();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = cut.wait_for(|cut| *cut) => {}
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                }
            });
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
        let fate = if parts.method == Method::GET {
            Fate::Pass
        } else {
            let number = self.writes.fetch_add(1, Ordering::SeqCst);
            (self.script)(number, &parts.method, &path)
        };
        match fate {
            Fate::Pass => self.forward(parts.method, &path, body).await,
            Fate::Refused(status) => (status, r#"{"message": "not now"}"#).into_response(),
            Fate::Later => {
                let headers = [(header::RETRY_AFTER, "1")];
                (StatusCode::TOO_MANY_REQUESTS, headers).into_response()
            }
            Fate::Swallowed => {
                self.forward(parts.method, &path, body).await;
                tokio::time::sleep(Duration::from_mins(10)).await;
                StatusCode::OK.into_response()
            }
            Fate::Cut => {
                self.forward(parts.method, &path, body).await;
                self.cut_off().await
            }
        }
    }

    async fn forward(&self, method: Method, path: &str, body: Bytes) -> Response {
        let request = self
            .client
            .request(method, format!("{}{path}", self.node))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let answer = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        };
        match answer.await {
            Ok((status, body)) => {
                let json = [(header::CONTENT_TYPE, "application/json")];
                (status, json, body).into_response()
            }
            Err(_) => self.cut_off().await,
        }
    }

    async fn cut_off(&self) -> Response {
        self.cut.send_replace(true);
        std::future::pending().await
    }
}
