//! 270 recorded PDK calls of a real Kong, put to our dispatcher in the same situation: the same reply bytes, and a throw
//! where Kong threw.
//!
//! lua-protobuf writes fields in no fixed order, so that replies are compared as sets of fields. What differs from run to
//! run is compared by its form: see [`VARYING`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use serde_json::{Value, json};
use uuid::Uuid;

use super::dispatch::{Refusal, Reply, dispatch};
use crate::config::Config;
use crate::filters::Filters;
use crate::node::Node;
use crate::plugins::Catalog;
use crate::plugins::pdk::Phase;
use crate::proxy::{
    Captures, Compiled, Connection, Consumer, Credential, Exchange, Match, RequestBody, Route,
    Service, Source, Target, Worker,
};
use crate::store::{Entity, Snapshot, Store};

const RECORDING: &str = include_str!("../../../tests/fixtures/plugin-socket.jsonl");

/// Calls whose replies differ from run to run, and why. The same fields must be there.
const VARYING: [(&str, &str); 4] = [
    ("kong.nginx.req_start_time", "the time"),
    ("kong.node.get_memory_stats", "memory and process id"),
    (
        "kong.log.serialize",
        "times, sizes and the order of members: compared below, member by member",
    ),
    ("kong.node.get_id", "random"),
];

const CONSUMER: &str = "b32379d9-3d28-5683-a79c-72139be6e34f";
const SERVICE: &str = "c01215fb-acce-5a3f-8bfa-a00f3f3c9618";
const CREDENTIAL: &str = "79097807-008d-460c-b0d0-c169e314352d";
const CREATED_AT: u64 = 1_795_414_243;

#[test]
fn every_recorded_call_is_answered_alike() {
    let situation = Situation::new();
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut ports = HashMap::new();
    let recorded = RECORDING
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    for (number, call) in recorded.filter(|call| call["kind"] == "pdk").enumerate() {
        compared += 1;
        let text = |field: &str| call[field].as_str().unwrap();
        let (phase, method) = (text("phase"), text("method"));
        let theirs = call["reply"].as_str().map(unhex);
        let client_port = match (&theirs, method) {
            (Some(reply), "kong.client.get_port" | "kong.client.get_forwarded_port") => {
                varint(&reply[1..]).0
            }
            _ => *ports.entry(phase.to_owned()).or_insert(40_000),
        };
        let exchange = situation.exchange(phase, method, number, client_port, theirs.as_deref());
        let timer = if phase == "log" {
            Phase::LogTimer
        } else {
            exchange.state().phase
        };
        let ours = match dispatch(&exchange, timer, method, unhex(text("args")).into()) {
            Ok(Reply::Value(reply)) => Some(reply),
            Ok(Reply::Exit) | Err(Refusal::Throw(_)) => None,
            Err(Refusal::UnknownMethod(name)) => panic!("{name} is unknown"),
        };
        let same = match (&theirs, &ours) {
            (None, None) => true,
            (Some(theirs), Some(ours)) if method == "kong.log.serialize" => {
                same_members(&json_of(theirs), &json_of(ours))
            }
            // `request_id` is random; other variables are not.
            (Some(theirs), Some(ours)) if method == "kong.nginx.get_var" && theirs.len() == 34 => {
                ours.len() == 34
            }
            (Some(theirs), Some(ours)) if VARYING.iter().any(|(name, _)| *name == method) => {
                theirs.is_empty() == ours.is_empty() && shape(theirs) == shape(ours)
            }
            (Some(theirs), Some(ours)) => fields(theirs) == fields(ours),
            _ => false,
        };
        if !same {
            let show = |reply: Option<&[u8]>| {
                reply.map_or("a throw".to_owned(), |reply| {
                    reply.escape_ascii().to_string()
                })
            };
            differences.push(format!(
                "{phase} {method}: {} instead of {}",
                show(ours.as_deref()),
                show(theirs.as_deref())
            ));
        }
    }
    assert_eq!(compared, 270);
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn an_instance_starts_with_the_recorded_configuration() {
    let recorded: Value = serde_json::from_str(RECORDING.lines().next().unwrap()).unwrap();
    let mut expected = recorded["config"].clone();
    let plugin = entity(json!({
        "id": expected["__plugin_id"], "name": "rec", "route": {"id": expected["route_id"]}, "service": null, "consumer": null,
        "config": {"phase": "access", "tokens": 3.0, "method": "kong.client.get_ip", "unset": null},
    }));
    let plugin = crate::plugins::PluginConfig::read(&plugin, &Catalog::default());
    let workspace = expected["__ws_id"].as_str().unwrap().to_owned();
    let config = super::instances::instance_config(&plugin, &workspace, 917);
    assert_eq!(Value::Object(config), expected.take());
}

/// The request of the recording: `POST /c<i>/x?q=1&q=2&flag`, authenticated by key-auth as alice.
struct Situation {
    worker: Arc<Worker>,
    node: Node,
    compiled: Arc<Compiled>,
    alice: Entity,
}

impl Situation {
    fn new() -> Self {
        let store = Store::new();
        let alice = entity(json!({
            "id": CONSUMER, "username": "alice", "custom_id": "tenant-1", "tags": ["gold"],
            "created_at": CREATED_AT, "updated_at": CREATED_AT,
        }));
        let pool = entity(json!({"id": Uuid::new_v4().to_string(), "name": "pool"}));
        store.replace(
            vec![
                ("consumers".to_owned(), alice.clone()),
                ("upstreams".to_owned(), pool),
            ],
            String::new(),
        );
        let snapshot: Arc<Snapshot> = store.subscribe().borrow().clone();
        let compiled = Arc::new(Compiled::new(&snapshot, &Catalog::default(), None));
        let config = Arc::new(Config::default());
        let registry = crate::registry(&config, &[], &Filters::default()).unwrap();
        let node = Node {
            filters: Arc::default(),
            id: Uuid::new_v4(),
            config,
            external_plugins: Arc::new([]),
            registry: Arc::new(registry),
            store,
        };
        let worker = Worker::start(1).unwrap().remove(0);
        Self {
            worker,
            node,
            compiled,
            alice,
        }
    }

    /// `number` names the path; the route's id is what Kong's reply says, if it says one.
    fn exchange(
        &self,
        phase: &str,
        method: &str,
        number: usize,
        client_port: u64,
        reply: Option<&[u8]>,
    ) -> Arc<Exchange> {
        // The recorded paths count on; those of the log phase have a longer prefix.
        let path = match reply.filter(|_| method.starts_with("kong.request.get_path")) {
            Some(reply) => String::from_utf8(reply[2..].to_vec())
                .unwrap()
                .split('?')
                .next()
                .unwrap()
                .to_owned(),
            None => format!("/c{number}/x"),
        };
        let head = Request::post(format!("{path}?q=1&q=2&flag"))
            .header("host", "127.0.0.1:57000")
            .header("accept-encoding", "identity")
            .header("x-one", "1")
            .header("x-two", "a")
            .header("x-two", "b")
            .header("content-type", "application/json")
            .header("content-length", "32")
            .header("apikey", "k1")
            .header("x-consumer-id", CONSUMER)
            .header("x-consumer-custom-id", "tenant-1")
            .header("x-consumer-username", "alice")
            .header("x-credential-identifier", CREDENTIAL)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let connection = Connection {
            client: ([127, 0, 0, 1], u16::try_from(client_port).unwrap()).into(),
            server: ([127, 0, 0, 1], 57_000).into(),
        };
        let exchange = Exchange::new(
            self.compiled.clone(),
            self.worker.clone(),
            &self.node,
            connection,
            (&head, None),
        )
        .unwrap();
        let exchange = Arc::new(exchange);
        let alice = Consumer {
            id: CONSUMER.to_owned(),
            entity: self.alice.clone(),
        };
        let credential = Credential {
            id: CREDENTIAL.to_owned(),
            ..Credential::default()
        };
        exchange
            .authenticate(Some(alice), Some(credential))
            .unwrap();
        {
            let mut state = exchange.state();
            let route_id = reply
                .filter(|_| method == "kong.router.get_route")
                .and_then(|reply| {
                    let fields = fields(reply);
                    fields
                        .iter()
                        .find(|(number, _)| *number == 1)
                        .map(|(_, id)| String::from_utf8(id.clone()).unwrap())
                });
            let name = match reply.filter(|_| method == "kong.router.get_route") {
                Some(reply) => String::from_utf8(
                    fields(reply)
                        .into_iter()
                        .find(|(of, _)| *of == 4)
                        .unwrap()
                        .1,
                )
                .unwrap(),
                None => format!("c{number}"),
            };
            let service = entity(json!({
                "id": SERVICE, "name": "llm", "protocol": "http", "host": "127.0.0.1", "port": 47091, "retries": 5,
                "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000, "path": null, "tags": null,
                "enabled": true, "created_at": CREATED_AT, "updated_at": CREATED_AT, "ws_id": "w",
            }));
            let route = entity(json!({
                "id": route_id.unwrap_or_default(), "paths": [format!("/{name}/x")], "name": name,
                "protocols": ["http", "https"], "strip_path": false, "preserve_host": false, "regex_priority": 0,
                "https_redirect_status_code": 426, "path_handling": "v0", "request_buffering": true,
                "response_buffering": true, "service": {"id": SERVICE}, "created_at": CREATED_AT,
                "updated_at": CREATED_AT, "ws_id": "w",
            }));
            state.body =
                RequestBody::Memory(Bytes::from_static(br#"{"model":"gpt-4o","messages":[]}"#));
            state.matched = Some(Match {
                route: Arc::new(Route::read(&route).unwrap()),
                service: Some(Arc::new(Service::read(&service).unwrap())),
                prefix: None,
                captures: Captures::default(),
            });
            state.target = Some(Target {
                scheme: "http".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 47091,
                path,
                host_header: None,
                broken: false,
            });
        }
        self.answered(&exchange, phase);
        exchange
    }

    /// What is there after `access`: the upstream's answer, and values of each type in `kong.ctx.shared`.
    fn answered(&self, exchange: &Exchange, phase: &str) {
        if phase == "access" {
            return exchange.enter(Phase::Access);
        }
        let body = Bytes::from_static(
            br#"{"id":"x","usage":{"prompt_tokens":12,"completion_tokens":30,"total_tokens":42}}"#,
        );
        let lua = self.worker.lua.state();
        let values = lua.load("return { t_true = true, t_false = false, t_num = 2.5, t_list = {'a', 'b'}, t_map = {a = 1, b = 'x'} }");
        let values: mlua::Table = values.eval().unwrap();
        for pair in values.pairs::<String, mlua::Value>() {
            let (name, value) = pair.unwrap();
            exchange.shared().raw_set(name, value).unwrap();
        }
        let mut state = exchange.state();
        state.source = Source::Service;
        state.upstream_status = Some(200);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("date", "Mon, 23 Nov 2026 06:10:53 GMT"),
            ("content-length", "80"),
            ("content-type", "application/json"),
            ("x-up", "1"),
            ("server", "BaseHTTP/0.6 Python/3.11.7"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        state.upstream_headers = headers.clone();
        state.response.headers = headers;
        if phase == "response" {
            state.buffered_body = Some(body);
            state.phase = Phase::Response;
            return;
        }
        for (name, value) in [
            ("date", "Mon, 23 Nov 2026 06:11:00 GMT"),
            ("via", "1.1 kong/3.9.1"),
            ("x-kong-proxy-latency", "1"),
            ("x-kong-upstream-latency", "1"),
            ("x-kong-request-id", "9ce7f41625d8b942ff1e0813117dda68"),
        ] {
            state
                .response
                .headers
                .insert(name, HeaderValue::from_static(value));
        }
        state.latencies.waiting = Some(1);
        state.tries.push(json!({
            "ip": "127.0.0.1", "port": 47091, "balancer_start": 1, "balancer_start_ns": 1.0, "balancer_latency": 0,
            "balancer_latency_ns": 1,
        }));
        state.phase = Phase::LogTimer;
        drop(state);
        let usage = r#"{"prompt_tokens":12,"completion_tokens":30,"total_tokens":42}"#;
        exchange.shared().raw_set("llm_usage", usage).unwrap();
    }
}

fn entity(value: Value) -> Entity {
    let Value::Object(map) = value else {
        panic!("an object")
    };
    Arc::new(map)
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap())
        .collect()
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let value = bytes[..=end]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, &bytes[end + 1..])
}

/// The fields of a message, sorted; those of messages inside it too, as far as bytes read as messages.
fn fields(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut read = try_fields(bytes).expect("a reply is a message");
    for (_, value) in &mut read {
        if let Some(inner) = try_fields(value).filter(|inner| !inner.is_empty()) {
            let mut inner: Vec<_> = inner
                .into_iter()
                .map(|(number, value)| (number, sorted(&value)))
                .collect();
            inner.sort();
            *value = format!("{inner:?}").into_bytes();
        }
    }
    read.sort();
    read
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    match try_fields(bytes).filter(|inner| !inner.is_empty()) {
        Some(inner) => {
            let mut inner: Vec<_> = inner
                .into_iter()
                .map(|(number, value)| (number, sorted(&value)))
                .collect();
            inner.sort();
            format!("{inner:?}").into_bytes()
        }
        None => bytes.to_vec(),
    }
}

fn try_fields(mut bytes: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut read = Vec::new();
    while !bytes.is_empty() {
        bytes.iter().position(|byte| byte & 0x80 == 0)?;
        let (tag, rest) = varint(bytes);
        let (number, length) = match tag & 7 {
            0 => (tag >> 3, rest.iter().position(|byte| byte & 0x80 == 0)? + 1),
            1 => (tag >> 3, 8),
            2 => {
                rest.iter().position(|byte| byte & 0x80 == 0)?;
                let (length, after) = varint(rest);
                let length = usize::try_from(length).ok()?;
                read.push((tag >> 3, after.get(..length)?.to_vec()));
                bytes = &after[length..];
                continue;
            }
            _ => return None,
        };
        read.push((number, rest.get(..length)?.to_vec()));
        bytes = &rest[length..];
    }
    (!read.iter().any(|(number, _)| *number == 0)).then_some(read)
}

/// Which fields there are, at any depth.
fn shape(bytes: &[u8]) -> BTreeMap<u64, usize> {
    let mut shape = BTreeMap::new();
    for (number, _) in try_fields(bytes).unwrap_or_default() {
        *shape.entry(number).or_insert(0) += 1;
    }
    shape
}

/// The JSON text in a `String` message.
fn json_of(reply: &[u8]) -> Value {
    let (_, text) = try_fields(reply).unwrap().remove(0);
    serde_json::from_slice(&text).unwrap()
}

/// The same members with values of the same type, at any depth; numbers and texts may differ.
fn same_members(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            theirs.len() == ours.len()
                && theirs
                    .iter()
                    .all(|(name, value)| ours.get(name).is_some_and(|of| same_members(value, of)))
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len()
                && theirs
                    .iter()
                    .zip(ours)
                    .all(|(one, other)| same_members(one, other))
        }
        (theirs, ours) => std::mem::discriminant(theirs) == std::mem::discriminant(ours),
    }
}
