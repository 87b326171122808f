//! `llm-rate-limiting` over the socket, against Kong's side of the protocol: what it asks, what it sets, in how many writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kong_pdk::frame::{self, DEFAULT_MAX_FRAME, Decoder};
use kong_pdk::wire::rpc_call::Call;
use kong_pdk::wire::rpc_return::Return;
use kong_pdk::wire::{
    self, CmdHandleEvent, CmdStartInstance, Consumer, ExitArgs, Kv, RawBodyResult, RpcCall,
    RpcReturn, raw_body_result,
};
use kong_pdk::{Server, Value};
use llm_plugin_server::clock::SystemClock;
use llm_plugin_server::kong::rate_limiting::RateLimiting;
use llm_plugin_server::rate_limiting::outcomes::Outcomes;
use llm_plugin_server::stores::Stores;
use llm_plugin_server::telemetry::Telemetry;
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const CHAT: &str =
    r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Hello, world!"}]}"#;

/// Kong with one plugin, and one request after another.
struct Kong {
    stream: UnixStream,
    decoder: Decoder,
    sequence: i64,
    instance: i32,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

/// A request, and what the plugin made of it.
#[derive(Default)]
struct Request {
    consumer: &'static str,
    body: Bytes,
    body_in_file: bool,
    status: i32,
    shared: HashMap<String, Value>,
    response_headers: HashMap<String, String>,
    upstream: HashMap<String, Bytes>,
    asked: Vec<String>,
}

impl Request {
    fn chat(consumer: &'static str, body: &'static str) -> Self {
        Self {
            consumer,
            body: body.into(),
            status: 200,
            ..Self::default()
        }
    }

    fn answered(mut self, body: &str) -> Self {
        let tap = json!({
            "tail": body, "bytes": body.len(), "folded": body.len(), "eof": true, "status": self.status,
            "handle": self.shared.get("llm_rate_limiting").and_then(Value::as_str),
        });
        self.shared.insert("llm_tap".to_owned(), tap.into());
        self
    }

    /// Kong's reply to a getter.
    fn reply(&self, method: &str, arguments: &Bytes) -> Vec<u8> {
        match method {
            "kong.request.get_path" => wire::String {
                v: "/v1/chat/completions".into(),
            }
            .encode_to_vec(),
            "kong.client.get_forwarded_ip" => wire::String {
                v: "192.0.2.1".into(),
            }
            .encode_to_vec(),
            "kong.client.get_consumer" => Consumer {
                id: self.consumer.into(),
                ..Consumer::default()
            }
            .encode_to_vec(),
            "kong.request.get_raw_body" => {
                let kind = if self.body_in_file {
                    raw_body_result::Kind::BodyFilepath("/nonexistent/body".into())
                } else {
                    raw_body_result::Kind::Content(self.body.clone())
                };
                RawBodyResult { kind: Some(kind) }.encode_to_vec()
            }
            "kong.request.get_headers" => wire::Struct {
                fields: vec![wire::FieldsEntry {
                    key: "x-agent".into(),
                    value: Some(Value::from(text(&self.body)).into()),
                }],
            }
            .encode_to_vec(),
            "kong.request.get_header" => wire::String {
                v: self.body.len().to_string().into(),
            }
            .encode_to_vec(),
            "kong.ctx.shared.get" => {
                let key = wire::String::decode(arguments.clone()).expect("a key").v;
                let value = self
                    .shared
                    .get(std::str::from_utf8(&key).expect("a name"))
                    .cloned()
                    .unwrap_or_default();
                wire::Value::from(value).encode_to_vec()
            }
            "kong.response.get_status" => wire::Int { v: self.status }.encode_to_vec(),
            other => panic!("an unexpected question: {other}"),
        }
    }

    /// What a setter does to the request.
    fn set(&mut self, method: &str, arguments: Bytes) {
        match method {
            "kong.ctx.shared.set" => {
                let Kv { k, v } = Kv::decode(arguments).expect("a key and a value");
                self.shared.insert(text(&k), v.expect("a value").into());
            }
            "kong.response.set_headers" => {
                for entry in wire::Struct::decode(arguments).expect("headers").fields {
                    let value = Value::from(entry.value.expect("a value"));
                    self.response_headers
                        .insert(text(&entry.key), value.as_str().expect("text").to_owned());
                }
            }
            "kong.service.request.set_header" => {
                let Kv { k, v } = Kv::decode(arguments).expect("a key and a value");
                let value = Value::from(v.expect("a value"));
                self.upstream
                    .insert(text(&k), value.as_bytes().expect("text").to_vec().into());
            }
            "kong.service.request.set_raw_body" => {
                let body = wire::ByteString::decode(arguments).expect("a body").v;
                self.upstream.insert("body".to_owned(), body);
            }
            other => panic!("an unexpected setter: {other}"),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

impl Kong {
    async fn start(config: serde_json::Value) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("plugins.sock");
        let server = Server::builder()
            .plugin(RateLimiting::registration(
                Arc::new(Stores::default()),
                Arc::new(Outcomes::new(Arc::new(SystemClock::new()), false)),
                Telemetry::off(),
            ))
            .build()
            .expect("one plugin is a server");
        let listener = kong_pdk::server::bind(&path, 0o600).expect("a socket");
        tokio::spawn(async move { server.serve(listener, std::future::pending::<()>()).await });
        let mut kong = Self {
            stream: UnixStream::connect(&path)
                .await
                .expect("the server listens"),
            decoder: Decoder::new(DEFAULT_MAX_FRAME),
            sequence: 0,
            instance: 0,
            path,
            _directory: directory,
        };
        let start = CmdStartInstance {
            name: "llm-rate-limiting".into(),
            config: config.to_string().into(),
        };
        kong.send(Call::CmdStartInstance(start)).await;
        let answer = RpcReturn::decode(kong.frame().await.expect("an answer")).expect("a return");
        let Some(Return::InstanceStatus(status)) = answer.r#return else {
            panic!("no status: {answer:?}")
        };
        kong.instance = status.instance_id;
        kong
    }

    async fn send(&mut self, call: Call) {
        self.sequence += 1;
        let mut bytes = BytesMut::new();
        frame::put(
            &mut bytes,
            &RpcCall {
                sequence: self.sequence,
                call: Some(call),
            }
            .encode_to_vec(),
        );
        self.stream
            .write_all(&bytes)
            .await
            .expect("the server reads");
    }

    /// The next frame; a server that sends none fails the test.
    async fn frame(&mut self) -> Option<Bytes> {
        tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if let Some(frame) = self.decoder.next_frame().expect("a frame") {
                    return Some(frame);
                }
                if !matches!(
                    self.stream.read_buf(self.decoder.read_buffer()).await,
                    Ok(1..)
                ) {
                    return None;
                }
            }
        })
        .await
        .expect("the server has something to say")
    }

    /// Takes in setters until the phase ends, and only then gives them their empty replies. A getter that comes this late is answered
    /// at once.
    async fn finish(&mut self, request: &mut Request) -> Option<ExitArgs> {
        let mut replies = BytesMut::new();
        loop {
            let method = self.frame().await.expect("a method or the end");
            let arguments = self.frame().await.expect("arguments or the return");
            match &method[..] {
                b"" => {
                    self.stream
                        .write_all(&replies)
                        .await
                        .expect("the server reads");
                    return None;
                }
                b"kong.response.exit" => {
                    self.stream = UnixStream::connect(&self.path)
                        .await
                        .expect("the server listens");
                    return Some(ExitArgs::decode(arguments).expect("an exit"));
                }
                _ if text(&method).contains(".get_") => {
                    frame::put(&mut replies, &request.reply(&text(&method), &arguments));
                    request.asked.push(text(&method));
                    self.stream
                        .write_all(&replies.split())
                        .await
                        .expect("the server reads");
                }
                _ => {
                    request.set(&text(&method), arguments);
                    frame::put(&mut replies, b"");
                }
            }
        }
    }

    /// Runs one phase in which exactly these getters must come before the first reply, and everything else after them without
    /// one: two writes. Returns the exit, if that is how it ended.
    async fn run(
        &mut self,
        phase: &'static str,
        request: &mut Request,
        getters: usize,
    ) -> Option<ExitArgs> {
        let event = CmdHandleEvent {
            instance_id: self.instance,
            event_name: phase.into(),
        };
        self.send(Call::CmdHandleEvent(event)).await;
        let mut replies = BytesMut::new();
        for _ in 0..getters {
            let method = text(&self.frame().await.expect("a method"));
            let arguments = self.frame().await.expect("arguments");
            frame::put(&mut replies, &request.reply(&method, &arguments));
            request.asked.push(method);
        }
        self.stream
            .write_all(&replies)
            .await
            .expect("the server reads");
        self.finish(request).await
    }
}

fn token_limit(limit: u64) -> serde_json::Value {
    json!({"limits": [{"name": "tokens", "limit": limit, "window_size": 60, "limit_by": ["consumer"]}]})
}

#[tokio::test]
async fn a_request_is_asked_about_once_answered_once_and_settled_with_what_it_cost() {
    let mut kong = Kong::start(token_limit(300)).await;
    let mut first = Request::chat("a", CHAT);
    assert_eq!(kong.run("access", &mut first, 3).await, None);
    assert_eq!(
        first.asked,
        [
            "kong.client.get_consumer",
            "kong.request.get_path",
            "kong.request.get_raw_body"
        ]
    );
    assert_eq!(
        first.response_headers["x-ratelimit-remaining-tokens"],
        "189"
    );
    assert_eq!(
        first.response_headers["RateLimit-Policy"],
        r#""tokens";q=300;w=60;qu="tokens""#
    );
    assert_eq!(&first.upstream["Accept-Encoding"][..], b"identity");
    assert!(
        !first.upstream.contains_key("body") && !first.shared.contains_key("llm_tap_hide_usage")
    );

    let mut first =
        first.answered(r#"{"usage":{"prompt_tokens":11,"completion_tokens":9,"total_tokens":20}}"#);
    assert_eq!(kong.run("log", &mut first, 1).await, None);
    let mut second = Request::chat("a", CHAT);
    kong.run("access", &mut second, 3).await;
    assert_eq!(
        second.response_headers["x-ratelimit-remaining-tokens"],
        "169"
    );
}

#[tokio::test]
async fn a_spent_budget_is_one_exit_in_openais_form() {
    let mut kong = Kong::start(token_limit(150)).await;
    assert_eq!(
        kong.run("access", &mut Request::chat("a", CHAT), 3).await,
        None
    );
    let mut refused = Request::chat("a", CHAT);
    let exit = kong
        .run("access", &mut refused, 3)
        .await
        .expect("the budget is spent");
    assert_eq!(exit.status, 429);
    let body: serde_json::Value = serde_json::from_slice(&exit.body).expect("JSON");
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    let headers: Vec<_> = exit
        .headers
        .expect("headers")
        .fields
        .iter()
        .map(|entry| text(&entry.key))
        .collect();
    for name in ["Retry-After", "retry-after-ms", "RateLimit", "Content-Type"] {
        assert!(
            headers.iter().any(|header| header == name),
            "{name} in {headers:?}"
        );
    }
    assert!(refused.shared.is_empty() && refused.upstream.is_empty());
    let mut refused = refused.answered("{}");
    kong.run("log", &mut refused, 1).await;
    assert_eq!(
        kong.run("access", &mut Request::chat("b", CHAT), 3).await,
        None
    );
}

#[tokio::test]
async fn a_stream_is_asked_for_its_usage_which_the_tap_shall_hide() {
    let stream = r#"{"stream":true,"model":"gpt-4o","messages":[]}"#;
    let mut kong = Kong::start(token_limit(10_000)).await;
    let mut request = Request::chat("a", stream);
    kong.run("access", &mut request, 3).await;
    assert_eq!(
        text(&request.upstream["body"]),
        r#"{"stream_options":{"include_usage":true},"stream":true,"model":"gpt-4o","messages":[]}"#
    );
    assert_eq!(request.shared["llm_tap_hide_usage"], Value::Bool(true));
}

#[tokio::test]
async fn only_requests_are_counted_without_the_body_and_without_a_word_to_the_upstream() {
    let mut kong = Kong::start(
        json!({"limits": [{"name": "calls", "unit": "requests", "limit": 1, "window_size": 60}]}),
    )
    .await;
    let mut request = Request::chat("a", CHAT);
    kong.run("access", &mut request, 1).await;
    assert!(request.upstream.is_empty());
    assert!(request.shared.is_empty());
    kong.run("log", &mut request, 0).await;
    let mut refused = Request::chat("a", CHAT);
    let exit = kong.run("access", &mut refused, 1).await;
    assert_eq!(exit.map(|exit| exit.status), Some(429));
    // A refusal takes the form of the API that was asked.
    let asked = ["kong.client.get_consumer", "kong.request.get_path"];
    assert_eq!(refused.asked, asked);
    let mut nobody = Request::chat("", CHAT);
    assert_eq!(kong.run("access", &mut nobody, 1).await, None);
    let asked = ["kong.client.get_consumer", "kong.client.get_forwarded_ip"];
    assert_eq!(nobody.asked, asked);
}

#[tokio::test]
async fn a_claim_is_read_from_what_llm_jwt_verified() {
    let mut kong = Kong::start(json!({"limits": [
        {"name": "calls", "unit": "requests", "limit": 1, "window_size": 60, "limit_by": ["claim:tenant"]},
    ]}))
    .await;
    let of = |tenant: &str| {
        let mut request = Request::chat("", CHAT);
        let jwt = json!({"iss": "i", "sub": "s", "claims": {"tenant": tenant}});
        request.shared.insert("llm_jwt".to_owned(), jwt.into());
        request
    };
    assert_eq!(kong.run("access", &mut of("acme"), 1).await, None);
    assert_eq!(kong.run("access", &mut of("globex"), 1).await, None);
    assert_eq!(
        kong.run("access", &mut of("acme"), 1)
            .await
            .map(|exit| exit.status),
        Some(429)
    );
}

#[tokio::test]
async fn without_the_claim_each_subject_of_an_issuer_has_a_counter_of_its_own() {
    let mut kong = Kong::start(json!({"limits": [
        {"name": "calls", "unit": "requests", "limit": 1, "window_size": 60, "limit_by": ["claim:tenant"]},
    ]}))
    .await;
    let of = |issuer: &str, subject: &str| {
        let mut request = Request::chat("", CHAT);
        let jwt = json!({"iss": issuer, "sub": subject, "claims": {}});
        request.shared.insert("llm_jwt".to_owned(), jwt.into());
        request
    };
    for (issuer, subject) in [("a", "alice"), ("a", "bob"), ("b", "alice")] {
        let mut request = of(issuer, subject);
        assert_eq!(kong.run("access", &mut request, 1).await, None);
        assert_eq!(request.asked, ["kong.ctx.shared.get"], "no address");
    }
    let again = kong.run("access", &mut of("a", "alice"), 1).await;
    assert_eq!(again.map(|exit| exit.status), Some(429));
}

#[tokio::test]
async fn a_header_is_asked_for_only_where_it_is_limited_by() {
    let mut kong = Kong::start(json!({"limits": [
        {"name": "calls", "unit": "requests", "limit": 1, "window_size": 60, "limit_by": ["header:X-Agent"]},
    ]}))
    .await;
    // The mock sends the body as the header's value.
    let mut first = Request::chat("a", "planner");
    assert_eq!(kong.run("access", &mut first, 1).await, None);
    assert_eq!(first.asked, ["kong.request.get_headers"]);
    let mut other = Request::chat("a", "writer");
    assert_eq!(kong.run("access", &mut other, 1).await, None);
    let mut again = Request::chat("b", "planner");
    assert_eq!(
        kong.run("access", &mut again, 1)
            .await
            .map(|exit| exit.status),
        Some(429)
    );
}

#[tokio::test]
async fn a_body_that_only_nginx_can_read_is_priced_by_its_length() {
    let mut kong = Kong::start(token_limit(10_000)).await;
    let event = CmdHandleEvent {
        instance_id: kong.instance,
        event_name: "access".into(),
    };
    let mut request = Request {
        body: Bytes::from(vec![b'x'; 4_000]),
        body_in_file: true,
        ..Request::chat("a", "")
    };
    kong.send(Call::CmdHandleEvent(event)).await;
    for _ in 0..4 {
        let method = text(&kong.frame().await.expect("a method"));
        let arguments = kong.frame().await.expect("arguments");
        let mut reply = BytesMut::new();
        frame::put(&mut reply, &request.reply(&method, &arguments));
        kong.stream
            .write_all(&reply)
            .await
            .expect("the server reads");
    }
    assert_eq!(kong.finish(&mut request).await, None);
    // 4,000 bytes are 1,000 tokens, and an answer without a cap 1,024.
    assert_eq!(
        request.response_headers["x-ratelimit-remaining-tokens"],
        "7976"
    );
}
