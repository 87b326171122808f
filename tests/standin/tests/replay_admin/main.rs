//! Replays what a real Kong 3.9.1 answered on its Admin API, with PostgreSQL and without a database, call by call.
//!
//! Every call must have the same status, the same headers of those recorded, and the same body: the same members at
//! each level, the same scalars. What the server makes (ids, keys, hashes, times) is compared by identity: where the
//! recording repeats an id, so must the answers. [`EXCEPTIONS`] lists all that is judged less strictly, and why.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod recording;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kong_standin::{Config, Database, Standin};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;

use compare::{Comparison, Strictness};
use recording::{Call, Recording};

/// The parts of bodies that are judged less strictly: the recording, the call's number, the parts, how, why.
const EXCEPTIONS: &[(&str, u64, &[&str], Strictness, &str)] = &[
    (POSTGRES, 0, &["/server"], Strictness::Shape, CONNECTIONS),
    (POSTGRES, 0, &["/memory"], Strictness::Nothing, NO_LUA),
    (
        POSTGRES,
        75,
        &["/fields", "/message"],
        Strictness::Shape,
        "OpenSSL's words for what is no PEM",
    ),
    (
        POSTGRES,
        88,
        &["/data"],
        Strictness::Shape,
        "which consumers are on a page follows from random ids",
    ),
    (
        POSTGRES,
        89,
        &["/data"],
        Strictness::Shape,
        "which consumers are on a page follows from random ids",
    ),
    (DBLESS, 0, &["/server"], Strictness::Shape, CONNECTIONS),
    (DBLESS, 0, &["/memory"], Strictness::Nothing, NO_LUA),
    (DBLESS, 5, &["/server"], Strictness::Shape, CONNECTIONS),
    (DBLESS, 5, &["/memory"], Strictness::Nothing, NO_LUA),
    (DBLESS, 10, &["/config"], Strictness::Shape, LUAS_ORDER),
    (
        DBLESS,
        14,
        &["/fields", "/message"],
        Strictness::Shape,
        "another YAML parser's words",
    ),
    (
        CHAINS_POSTGRES,
        44,
        &["/fields/5"],
        Strictness::Nothing,
        SEEN_IN_USE,
    ),
    (
        CHAINS_DBLESS,
        10,
        &["/config"],
        Strictness::Shape,
        LUAS_ORDER,
    ),
    (
        CHAINS_DBLESS,
        29,
        &["/config"],
        Strictness::Shape,
        LUAS_ORDER,
    ),
    (
        CHAINS_OFF,
        1,
        &["/fields/0", "/fields/1", "/fields/8"],
        Strictness::Nothing,
        SEEN_IN_USE,
    ),
    (
        CHAINS_NONE,
        1,
        &["/fields/0", "/fields/1", "/fields/8"],
        Strictness::Nothing,
        SEEN_IN_USE,
    ),
    (KINDS_POSTGRES, 0, &["/data"], Strictness::Part, SERVED),
    (
        KINDS_POSTGRES,
        1,
        &[
            "/fields/0",
            "/fields/3",
            "/fields/5",
            "/fields/6",
            "/fields/7",
            "/fields/8",
        ],
        Strictness::Nothing,
        SEEN_IN_USE,
    ),
    (
        KINDS_POSTGRES,
        2,
        &["/fields/0", "/fields/5"],
        Strictness::Nothing,
        SEEN_IN_USE,
    ),
    (KINDS_DBLESS, 0, &["/data"], Strictness::Part, SERVED),
    (
        KINDS_DBLESS,
        1,
        &[
            "/fields/0",
            "/fields/3",
            "/fields/5",
            "/fields/6",
            "/fields/7",
            "/fields/8",
        ],
        Strictness::Nothing,
        SEEN_IN_USE,
    ),
    (
        KINDS_DBLESS,
        12,
        &["/config"],
        Strictness::Shape,
        LUAS_ORDER,
    ),
    (
        KINDS_DBLESS,
        51,
        &["/config"],
        Strictness::Shape,
        LUAS_ORDER,
    ),
];

const CONNECTIONS: &str = "counters of connections";
const NO_LUA: &str = "the stand-in has no shared dictionaries and no Lua VM per worker";
const LUAS_ORDER: &str = "YAML whose members stand in the order of Lua's hash tables";
const SERVED: &str = "the stand-in lists what it serves";
const SEEN_IN_USE: &str = "Kong adds to a schema what it fills in when it first judges a value";
const POSTGRES: &str = "admin-api-postgres.jsonl";
const DBLESS: &str = "admin-api-dbless.jsonl";
const CHAINS_POSTGRES: &str = "filter-chains-postgres.jsonl";
const CHAINS_DBLESS: &str = "filter-chains-dbless.jsonl";
const CHAINS_OFF: &str = "filter-chains-off.jsonl";
const CHAINS_NONE: &str = "filter-chains-none.jsonl";
const KINDS_POSTGRES: &str = "quota-plans-postgres.jsonl";
const KINDS_DBLESS: &str = "quota-plans-dbless.jsonl";

#[tokio::test]
async fn database_mode_answers_as_recorded() {
    replay(
        POSTGRES,
        include_str!("../fixtures/admin-api-postgres.jsonl"),
        Config {
            database: Database::Memory,
            ..Config::default()
        },
        104,
    )
    .await;
}

#[tokio::test]
async fn dbless_mode_answers_as_recorded() {
    replay(
        DBLESS,
        include_str!("../fixtures/admin-api-dbless.jsonl"),
        Config::default(),
        19,
    )
    .await;
}

/// With two filters: `guard`, which says nothing of its configuration, and `headers`, which has a schema for it.
#[tokio::test]
async fn filter_chains_in_database_mode_are_answered_as_recorded() {
    let filters = filters();
    let config = Config {
        database: Database::Memory,
        wasm: true,
        wasm_filters_path: Some(filters.path().to_owned()),
        ..Config::default()
    };
    let recording = include_str!("../fixtures/filter-chains-postgres.jsonl");
    replay(CHAINS_POSTGRES, recording, config, 116).await;
}

#[tokio::test]
async fn filter_chains_in_dbless_mode_are_answered_as_recorded() {
    let filters = filters();
    let config = Config {
        wasm: true,
        wasm_filters_path: Some(filters.path().to_owned()),
        ..Config::default()
    };
    let recording = include_str!("../fixtures/filter-chains-dbless.jsonl");
    replay(CHAINS_DBLESS, recording, config, 30).await;
}

#[tokio::test]
async fn without_webassembly_filter_chains_are_refused_as_recorded() {
    let recording = include_str!("../fixtures/filter-chains-off.jsonl");
    replay(CHAINS_OFF, recording, Config::default(), 25).await;
}

#[tokio::test]
async fn without_any_filter_chains_are_refused_as_recorded() {
    let config = Config {
        wasm: true,
        ..Config::default()
    };
    let recording = include_str!("../fixtures/filter-chains-none.jsonl");
    replay(CHAINS_NONE, recording, config, 25).await;
}

/// With the two kinds of a plugin: `quota_plans`, which have names, and `quota_members`, which have none.
#[tokio::test]
async fn custom_kinds_in_database_mode_are_answered_as_recorded() {
    let config = Config {
        database: Database::Memory,
        kinds: Some(kinds()),
        ..Config::default()
    };
    let recording = include_str!("../fixtures/quota-plans-postgres.jsonl");
    replay(KINDS_POSTGRES, recording, config, 164).await;
}

#[tokio::test]
async fn custom_kinds_in_dbless_mode_are_answered_as_recorded() {
    let config = Config {
        kinds: Some(kinds()),
        ..Config::default()
    };
    let recording = include_str!("../fixtures/quota-plans-dbless.jsonl");
    replay(KINDS_DBLESS, recording, config, 52).await;
}

fn kinds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quota-plans.kinds.json")
}

fn filters() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let metadata = include_str!("../fixtures/headers.meta.json");
    for (name, text) in [
        ("guard.wasm", ""),
        ("headers.wasm", ""),
        ("headers.meta.json", metadata),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[tokio::test]
async fn a_plugin_that_only_a_real_kong_has_is_refused_by_name() {
    let standin = Standin::start(Config {
        database: Database::Memory,
        ..Config::default()
    })
    .await
    .unwrap();
    let client = client();
    for (name, message) in [
        (
            "rate-limiting",
            "plugin 'rate-limiting' not enabled; a real Kong has it, the stand-in gateway does not",
        ),
        (
            "nope",
            "plugin 'nope' not enabled; add it to the 'plugins' configuration property",
        ),
    ] {
        let request = Request::post(format!("http://{}/plugins", standin.admin_addr()))
            .header("content-type", "application/json")
            .body(Full::from(serde_json::json!({"name": name}).to_string()))
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.status(), 400);
        let body: Value =
            serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes())
                .unwrap();
        assert_eq!(body["fields"]["name"], message);
    }
    standin.shutdown().await;
}

async fn replay(name: &'static str, text: &str, config: Config, calls: usize) {
    let schema_only = ["correlation-id", "cors", "rate-limiting"];
    let config = Config {
        schema_only_plugins: schema_only.map(str::to_owned).to_vec(),
        ..config
    };
    let standin = Standin::start(config).await.unwrap();
    let client = client();
    let (certificate, key) = certificate_authority();
    let recording = Recording::parse(text, &certificate, &key);
    assert_eq!(recording.calls.len(), calls);

    let mut comparison = Comparison::default();
    let mut differences = Vec::new();
    for call in &recording.calls {
        let call_differences =
            check(&client, standin.admin_addr(), call, name, &mut comparison).await;
        let title = format!("{} {} {}", call.number, call.method, call.path);
        differences.extend(
            call_differences
                .into_iter()
                .map(|difference| format!("{title}: {difference}")),
        );
    }
    standin.shutdown().await;
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Makes one call and lists how the answer differs from the recorded one.
async fn check(
    client: &Client<HttpConnector, Full<Bytes>>,
    admin: SocketAddr,
    call: &Call,
    recording: &str,
    comparison: &mut Comparison,
) -> Vec<String> {
    let path = comparison.translate(&call.path);
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(format!("http://{admin}{path}"));
    if let Some(content_type) = &call.content_type {
        request = request.header("content-type", content_type);
    }
    let body = comparison.translate(call.body.as_deref().unwrap_or_default());
    let response = client
        .request(request.body(Full::from(body)).unwrap())
        .await
        .unwrap();

    let mut differences = Vec::new();
    if response.status() != call.status {
        differences.push(format!(
            "status {} instead of {}",
            response.status().as_u16(),
            call.status
        ));
    }
    for (name, recorded) in &call.headers {
        let header = response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap());
        if header != Some(recorded.as_str()) {
            differences.push(format!("header {name}: {header:?} instead of {recorded:?}"));
        }
    }
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    let lenient: Vec<(&str, Strictness)> = EXCEPTIONS
        .iter()
        .filter(|(name, number, ..)| *name == recording && *number == call.number)
        .flat_map(|(_, _, parts, strictness, _)| parts.iter().map(|part| (*part, *strictness)))
        .collect();
    // Targets are listed newest first; any other list is in the order of ids, which are random.
    comparison.ordered = call.path.ends_with("/targets") || call.path.ends_with("/health");
    differences.extend(comparison.bodies(&call.answer, &body, &lenient));
    differences
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A certificate and its key, both in PEM: the recorded certificate's key was not recorded.
fn certificate_authority() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
