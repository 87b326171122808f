//! Plugins on a running stand-in: Kong's side of the socket when a plugin server misbehaves, and Lua on streams.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what was not expected is a failure"
)]

mod lua;
mod server;
mod socket;

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kong_standin::{Config, Standin};
use serde_json::{Value, json};
use server::{Seen, Server};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Long enough for anything that is to happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stand-in with one service, to an upstream that streams what the test sends it.
struct World {
    standin: Standin,
    server: Server,
    chunks: mpsc::UnboundedSender<mpsc::UnboundedReceiver<&'static str>>,
}

impl World {
    /// `plugins` are those of the only route, at `/`; `route` is added to it.
    async fn new(plugins: Value, route: Value, workers: usize) -> Self {
        Self::with_phases(plugins, route, workers, &["access", "log"]).await
    }

    async fn with_phases(plugins: Value, route: Value, workers: usize, phases: &[&str]) -> Self {
        let server = Server::start(phases);
        let (chunks, bodies) = mpsc::unbounded_channel();
        let port = upstream(bodies).await;
        let mut definition = json!({"name": "all", "paths": ["/"], "plugins": plugins});
        definition
            .as_object_mut()
            .unwrap()
            .extend(route.as_object().unwrap().clone());
        let configuration = json!({
            "_format_version": "3.0",
            "services": [{"name": "s", "url": format!("http://127.0.0.1:{port}"), "routes": [definition]}],
        });
        let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
        std::fs::write(file.path(), configuration.to_string()).unwrap();
        let standin = Standin::start(Config {
            declarative_config: Some(file.path().to_owned()),
            plugins: vec!["bundled".to_owned(), "probe".to_owned()],
            plugin_servers: vec![server.config()],
            workers,
            ..Config::default()
        })
        .await
        .unwrap();
        Self {
            standin,
            server,
            chunks,
        }
    }

    async fn with_probe() -> Self {
        Self::new(
            json!([{"name": "probe", "config": {"greeting": "hi"}}]),
            json!({}),
            1,
        )
        .await
    }

    /// The upstream's next answer comes in these pieces, as they are sent.
    fn stream(&self) -> mpsc::UnboundedSender<&'static str> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.chunks.send(receiver).unwrap();
        sender
    }

    async fn request(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(self.standin.proxy_addr())
            .await
            .unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request))
            .await
            .unwrap()
            .unwrap();
        // Dropping the sender lets the connection end with the answer.
        drop(sender);
        response
    }

    /// The answer to a GET, with its body still to come.
    async fn answer(&self) -> Response<Incoming> {
        let request = Request::get("/x").header("host", "gw");
        self.request(request.body(Full::default()).unwrap()).await
    }

    async fn get(&self) -> (u16, Value) {
        let response = self.answer().await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Waits until so many things of that kind were seen.
    async fn seen(&self, count: usize, matches: impl Fn(&Seen) -> bool + Copy) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.server.count(matches) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "saw only {:?}", self.server.seen());
    }
}

/// Answers with a stream if the test prepared one, else with an empty object.
async fn upstream(
    mut bodies: mpsc::UnboundedReceiver<mpsc::UnboundedReceiver<&'static str>>,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let prepared = std::sync::Mutex::new(bodies.try_recv().ok());
            let service = service_fn(move |_request: Request<Incoming>| {
                let pieces = prepared.lock().unwrap().take();
                async move {
                    let body = match pieces {
                        Some(pieces) => {
                            let pieces =
                                futures_util::stream::unfold(pieces, |mut pieces| async move {
                                    Some((pieces.recv().await?, pieces))
                                });
                            let frames = pieces
                                .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
                            StreamBody::new(frames).boxed_unsync()
                        }
                        None => Full::from("{}").boxed_unsync(),
                    };
                    Ok::<_, Infallible>(Response::new(body))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    port
}

/// A `String` message.
fn text(value: &str) -> Vec<u8> {
    [
        &[0x0a, u8::try_from(value.len()).unwrap()],
        value.as_bytes(),
    ]
    .concat()
}

async fn next(body: &mut Incoming) -> Option<String> {
    let frame = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .unwrap()?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}
