//! Plugins on a running stand-in: Kong's side of the socket when a plugin server misbehaves, and Lua on streams.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what was not expected is a failure"
)]

mod server;

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kong_standin::{Config, Standin};
use serde_json::{Value, json};
use server::{Seen, Server, Step};
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

    async fn get(&self) -> (u16, Value) {
        let request = Request::get("/x")
            .header("host", "gw")
            .body(Full::default())
            .unwrap();
        let response = self.request(request).await;
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

/// A `KV` message with a text.
fn pair(name: &str, value: &str) -> Vec<u8> {
    let inner = [
        &[0x1a, u8::try_from(value.len()).unwrap()],
        value.as_bytes(),
    ]
    .concat();
    [
        text(name),
        vec![0x12, u8::try_from(inner.len()).unwrap()],
        inner,
    ]
    .concat()
}

fn is_event(phase: &'static str) -> impl Fn(&Seen) -> bool + Copy {
    move |seen| matches!(seen, Seen::Event(of) if of == phase)
}

fn is_start(seen: &Seen) -> bool {
    matches!(seen, Seen::Started(_))
}

#[tokio::test]
async fn an_event_reaches_a_started_instance_and_log_follows_in_the_background() {
    let world = World::with_probe().await;
    world
        .server
        .script("access", [Step::Call("kong.request.get_path", vec![])]);
    world
        .server
        .script("log", [Step::Call("kong.response.get_status", vec![])]);
    assert_eq!(world.get().await.0, 200);
    world
        .seen(1, |seen| {
            matches!(seen, Seen::Reply("kong.response.get_status", _))
        })
        .await;
    assert_eq!(
        world.server.reply("kong.request.get_path"),
        Some(text("/x"))
    );
    assert_eq!(
        world.server.reply("kong.response.get_status"),
        Some(vec![0x08, 0xc8, 0x01])
    );
    let Some(Seen::Started(config)) = world.server.seen().into_iter().find(is_start) else {
        panic!("no start")
    };
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["greeting"], "hi");
    assert!(
        config["__plugin_id"].is_string()
            && config["route_id"].is_string()
            && config.get("service_id").is_none()
    );
}

#[tokio::test]
async fn sockets_are_kept_and_each_worker_has_its_own_instance() {
    let world = World::new(json!([{"name": "probe"}]), json!({}), 2).await;
    for events in 1..=4 {
        assert_eq!(world.get().await.0, 200);
        world.seen(events, is_event("log")).await;
    }
    assert_eq!(world.server.count(is_start), 2);
    // The log event of a request may overlap the next request's access event, on a socket of its own.
    assert!(world.server.count(|seen| *seen == Seen::Connected) <= 4);
}

#[tokio::test]
async fn an_exit_answers_the_client_and_ends_the_socket_without_a_reply() {
    let world = World::with_probe().await;
    let exit = [vec![0x08, 0xad, 0x03, 0x12, 0x07], b"limited".to_vec()].concat();
    world
        .server
        .script("access", [Step::Call("kong.response.exit", exit)]);
    assert_eq!(world.get().await.0, 429);
    world.seen(1, |seen| *seen == Seen::EndOfFile).await;
    world.seen(1, is_event("log")).await;
}

#[tokio::test]
async fn a_close_in_an_event_starts_a_new_instance_and_sends_the_event_again() {
    let world = World::with_probe().await;
    for _ in 0..3 {
        world.server.script("access", [Step::Close]);
    }
    assert_eq!(world.get().await.0, 200);
    assert_eq!(world.server.count(is_event("access")), 4);
    assert_eq!(world.server.count(is_start), 4);
}

#[tokio::test]
async fn a_dropped_event_is_sent_again_without_a_limit_even_when_the_client_left() {
    let world = World::with_probe().await;
    for _ in 0..1000 {
        world.server.script("access", [Step::Close]);
    }
    let request = Request::get("/")
        .header("host", "gw")
        .body(Full::default())
        .unwrap();
    tokio::select! {
        _ = world.request(request) => panic!("the client was to leave before the answer"),
        () = world.seen(1, is_event("access")) => {}
    }
    world.seen(1001, is_event("access")).await;
    world.seen(1, is_event("log")).await;
}

#[tokio::test]
async fn a_response_phase_sees_the_whole_answer_and_may_change_it() {
    let phases = ["response", "log"];
    let world = World::with_phases(json!([{"name": "probe"}]), json!({}), 1, &phases).await;
    world.server.script(
        "response",
        [
            Step::Call("kong.service.response.get_raw_body", vec![]),
            Step::Call("kong.response.set_status", vec![0x08, 0xc9, 0x01]),
        ],
    );
    let pieces = world.stream();
    pieces.send("{\"a\":").unwrap();
    pieces.send("1}").unwrap();
    drop(pieces);
    assert_eq!(world.get().await, (201, json!({"a": 1})));
    let body = world.server.reply("kong.service.response.get_raw_body");
    assert_eq!(body, Some(text("{\"a\":1}")));
}

#[tokio::test]
async fn a_close_on_start_is_one_500_and_no_loop() {
    let world = World::with_probe().await;
    world.server.refuse_starts(1);
    let (status, body) = world.get().await;
    assert_eq!(
        (status, &body["message"]),
        (500, &json!("An unexpected error occurred"))
    );
    assert_eq!(world.server.count(is_event("access")), 0);
    assert_eq!(world.get().await.0, 200);
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_500() {
    let world = World::with_probe().await;
    world.server.vanish();
    assert_eq!(world.get().await.0, 500);
}

#[tokio::test]
async fn wrong_calls_are_a_500_and_end_the_socket() {
    for wrong in ["kong.request.get_everything", "kong.response.get_status"] {
        let world = World::with_probe().await;
        world.server.script("access", [Step::Call(wrong, vec![])]);
        assert_eq!(world.get().await.0, 500, "{wrong}");
        world.seen(1, |seen| *seen == Seen::EndOfFile).await;
        assert_eq!(world.server.count(is_event("access")), 1);
    }
}

#[tokio::test]
async fn a_wrong_sequence_is_a_500() {
    let world = World::with_probe().await;
    world.server.script("access", [Step::WrongSequence]);
    assert_eq!(world.get().await.0, 500);
    assert_eq!(world.server.count(is_event("access")), 1);
}

#[tokio::test]
async fn calls_in_one_write_are_answered_in_order() {
    let world = World::with_probe().await;
    let calls = (0..64)
        .map(|_| ("kong.request.get_method", vec![]))
        .collect();
    world.server.script("access", [Step::Batch(calls)]);
    assert_eq!(world.get().await.0, 200);
    assert_eq!(
        world
            .server
            .count(|seen| *seen == Seen::Reply("kong.request.get_method", text("GET"))),
        64
    );
}

#[tokio::test]
async fn a_long_body_reaches_plugins_as_a_private_file() {
    let world = World::with_probe().await;
    for length in [8192, 8193] {
        world
            .server
            .script("access", [Step::Call("kong.request.get_raw_body", vec![])]);
        let body = Full::from("x".repeat(length));
        let request = Request::post("/")
            .header("host", "gw")
            .header("content-length", length)
            .body(body)
            .unwrap();
        assert_eq!(world.request(request).await.status(), 200);
    }
    let replies: Vec<_> = world.server.seen();
    let replies: Vec<_> = replies
        .iter()
        .filter_map(|seen| {
            if let Seen::Reply(_, reply) = seen {
                Some(reply)
            } else {
                None
            }
        })
        .collect();
    assert_eq!((replies[0][0], replies[0].len()), (0x0a, 8195));
    assert_eq!(replies[1][0], 0x12);
}

#[tokio::test]
async fn the_file_of_a_body_is_readable_for_its_owner_alone() {
    let world = World::with_probe().await;
    world
        .server
        .script("access", [Step::Call("kong.request.get_raw_body", vec![])]);
    let pieces = world.stream();
    let request = Request::post("/")
        .header("host", "gw")
        .header("content-length", 20_000);
    let response = world
        .request(request.body(Full::from("x".repeat(20_000))).unwrap())
        .await;
    // The request is not over while its answer streams.
    let reply = world.server.reply("kong.request.get_raw_body").unwrap();
    let path = String::from_utf8(reply[2..].to_vec()).unwrap();
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (file.permissions().mode() & 0o777, file.len()),
        (0o600, 20_000)
    );
    drop(pieces);
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn lua_and_external_plugins_share_one_table() {
    let plugins = json!([
        {"name": "probe"},
        {"name": "pre-function", "config": {"access": ["kong.ctx.shared.from_lua = {1, 'two'}"]}},
        {"name": "post-function", "config": {
            "header_filter": ["kong.response.set_header('x-seen', kong.ctx.shared.from_probe)"],
        }},
    ]);
    let world = World::new(plugins, json!({}), 1).await;
    world.server.script(
        "access",
        [
            Step::Call("kong.ctx.shared.get", text("from_lua")),
            Step::Call("kong.ctx.shared.set", pair("from_probe", "yes")),
        ],
    );
    let request = Request::get("/")
        .header("host", "gw")
        .body(Full::default())
        .unwrap();
    let response = world.request(request).await;
    assert_eq!(response.headers()["x-seen"], "yes");
    let list = [
        &[0x32, 0x12, 0x0a, 0x09, 0x11][..],
        &1f64.to_le_bytes(),
        &[0x0a, 0x05, 0x1a, 0x03],
        b"two",
    ]
    .concat();
    assert_eq!(world.server.reply("kong.ctx.shared.get"), Some(list));
}

#[tokio::test]
async fn a_filter_that_only_reads_lets_each_piece_pass() {
    let tap = "local s, c = kong.ctx.shared, ngx.arg[1]; s.n = (s.n or 0) + #c; s.eof = ngx.arg[2]";
    let world = World::new(post_function(tap), json!({}), 1).await;
    let pieces = world.stream();
    let request = Request::get("/")
        .header("host", "gw")
        .body(Full::default())
        .unwrap();
    pieces.send("one").unwrap();
    let mut body = world.request(request).await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    pieces.send("two").unwrap();
    assert_eq!(next(&mut body).await.unwrap(), "two");
    drop(pieces);
    assert_eq!(next(&mut body).await, None);
    world
        .server
        .script("log", [Step::Call("kong.ctx.shared.get", text("n"))]);
}

#[tokio::test]
async fn a_filter_that_writes_holds_the_stream_back_unless_the_route_does_not_buffer() {
    let shout = "ngx.arg[1] = ngx.arg[1]:upper()";
    let unbuffered = World::new(
        post_function(shout),
        json!({"response_buffering": false}),
        1,
    )
    .await;
    let pieces = unbuffered.stream();
    let request = || {
        Request::get("/")
            .header("host", "gw")
            .body(Full::default())
            .unwrap()
    };
    pieces.send("one").unwrap();
    let mut body = unbuffered.request(request()).await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "ONE");

    let buffered = World::new(post_function(shout), json!({}), 1).await;
    let pieces = buffered.stream();
    pieces.send("one").unwrap();
    let mut body = buffered.request(request()).await.into_body();
    let early = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
    assert!(early.is_err(), "a piece came before the end");
    pieces.send("two").unwrap();
    drop(pieces);
    assert_eq!(next(&mut body).await.unwrap(), "ONETWO");
}

#[tokio::test]
async fn the_usage_tap_that_ships_runs_on_a_stream() {
    let tap = include_str!("../../../../kong/usage-tap.lua");
    let plugins = json!([
        {"name": "probe"},
        {"name": "pre-function", "config": {"access": ["kong.ctx.shared.llm_tap_hide_usage = true"]}},
        {"name": "post-function", "config": {"body_filter": [tap]}},
    ]);
    let world = World::new(plugins, json!({"response_buffering": false}), 1).await;
    world
        .server
        .script("log", [Step::Call("kong.ctx.shared.get", text("llm_tap"))]);
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"total_tokens\":42}}\n\n";
    let done = "data: [DONE]\n\n";
    let pieces = world.stream();
    pieces.send(event).unwrap();
    let request = Request::get("/")
        .header("host", "gw")
        .body(Full::default())
        .unwrap();
    let mut body = world.request(request).await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), event);
    pieces.send(usage).unwrap();
    pieces.send(done).unwrap();
    drop(pieces);
    assert_eq!(next(&mut body).await.unwrap(), done);
    assert_eq!(next(&mut body).await, None);
    world
        .seen(1, |seen| {
            matches!(seen, Seen::Reply("kong.ctx.shared.get", _))
        })
        .await;
    let tapped =
        String::from_utf8_lossy(&world.server.reply("kong.ctx.shared.get").unwrap()).into_owned();
    assert!(
        tapped.contains(&[event, usage, done].concat()) && tapped.contains("eof"),
        "{tapped}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_in_log_without_eof() {
    let mut plugins = post_function("kong.ctx.shared.eof = tostring(ngx.arg[2])");
    plugins
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "probe"}));
    let world = World::new(plugins, json!({}), 1).await;
    world
        .server
        .script("log", [Step::Call("kong.ctx.shared.get", text("eof"))]);
    let pieces = world.stream();
    pieces.send("one").unwrap();
    let request = Request::get("/")
        .header("host", "gw")
        .body(Full::default())
        .unwrap();
    let mut body = world.request(request).await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    drop(body);
    world
        .seen(1, |seen| {
            matches!(seen, Seen::Reply("kong.ctx.shared.get", _))
        })
        .await;
    assert_eq!(
        world.server.reply("kong.ctx.shared.get"),
        Some(b"\x1a\x05false".to_vec())
    );
}

#[tokio::test]
async fn the_sandbox_lends_no_more_than_kong_does() {
    for (code, status) in [
        (
            "kong.response.exit(201, {ok = pcall(function() kong.response.exit(202) end)})",
            202,
        ),
        (
            "assert(io == nil and os.execute == nil and string.dump == nil and load == nil); kong.response.exit(201)",
            201,
        ),
        ("require('cjson')", 500),
        ("kong.response.get_status()", 500),
        ("string.format = nil", 500),
        ("return function() kong.response.exit(203) end", 203),
    ] {
        let plugins = json!([{"name": "pre-function", "config": {"access": [code]}}]);
        assert_eq!(
            World::new(plugins, json!({}), 1).await.get().await.0,
            status,
            "{code}"
        );
    }
}

fn post_function(body_filter: &str) -> Value {
    json!([{"name": "post-function", "config": {"body_filter": [body_filter]}}])
}

async fn next(body: &mut Incoming) -> Option<String> {
    let frame = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .unwrap()?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}
