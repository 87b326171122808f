//! A plugin server of few words: its admin API as documented, over a handful of counters.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What changes need.
pub(crate) const TOKEN: &str = "limiter-s3cret";
/// The counter of acme's tokens.
pub(crate) const ACME: &str = "0000000000000000000000000000aaaa";
/// The counter of a tenant with a hostile name.
pub(crate) const HOSTILE: &str = "0000000000000000000000000000bbbb";

/// A running server; it ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    counters: Arc<Mutex<Vec<Value>>>,
    /// Method and path of each call.
    calls: Arc<Mutex<Vec<String>>>,
}

fn counter(key: &str, limit: &str, used: u64, values: &Value) -> Value {
    json!({
        "key": key, "limit_name": limit, "unit": "total_tokens", "window_type": "sliding", "window_size": 60,
        "mode": "enforce", "limit": 20_000, "capacity": 20_000, "used": used, "remaining": 20_000_u64.saturating_sub(used),
        "reset_after_ms": 42_000, "scope": {"service": "llm", "route": null, "consumer": null}, "values": values,
        "store": "memory", "last_seen_ms_ago": 1500,
    })
}

impl Server {
    pub(crate) fn new() -> Self {
        let mut counters = vec![
            counter(
                ACME,
                "tokens-per-minute",
                15_000,
                &json!({"claim:tenant": "acme", "model": "gpt-4o"}),
            ),
            counter(
                HOSTILE,
                "tokens-per-minute",
                21_000,
                &json!({"claim:tenant": "\u{1b}[2J\u{9b}31m\u{202e}evil\r\n日本語"}),
            ),
        ];
        // More than one page.
        counters.extend((0..148).map(|number| {
            counter(
                &format!("{number:032x}"),
                "requests",
                number,
                &json!({"consumer": format!("user-{number}")}),
            )
        }));
        Self {
            counters: Arc::new(Mutex::new(counters)),
            calls: Arc::default(),
        }
    }

    /// Serves on a free port.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.serve(listener);
        url
    }

    pub(crate) fn serve<L>(&self, listener: L)
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
    {
        let router = Router::new()
            .route("/v1/counters", get(list))
            .route("/v1/counters/{key}", get(one))
            .route("/v1/counters/{key}/{verb}", post(correct))
            .route("/v1/reservations", get(reservations))
            .route("/v1/reservations/{id}/release", post(release))
            .route("/v1/usage", get(usage))
            .route("/v1/refusals", get(refusals))
            .layer(axum::middleware::from_fn_with_state(self.clone(), recorded))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// The changes that came so far.
    pub(crate) fn changes(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let posts = calls.iter().filter(|call| call.starts_with("POST"));
        posts.cloned().collect()
    }

    fn find(&self, key: &str) -> Option<Value> {
        let counters = self.counters.lock().unwrap();
        counters
            .iter()
            .find(|counter| counter["key"] == key)
            .cloned()
    }
}

async fn recorded(
    State(server): State<Server>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let call = format!("{} {}", request.method(), request.uri().path());
    server.calls.lock().unwrap().push(call);
    assert!(!request.headers().contains_key("kong-admin-token"));
    next.run(request).await
}

fn refused(status: StatusCode, message: &str, hint: &str) -> Response {
    (status, Json(json!({"message": message, "hint": hint}))).into_response()
}

/// The refusal of a change without the token.
fn unauthorized(headers: &HeaderMap) -> Option<Response> {
    let right = headers
        .get("authorization")
        .is_some_and(|value| value == format!("Bearer {TOKEN}").as_str());
    (!right).then(|| {
        refused(
            StatusCode::UNAUTHORIZED,
            "changing needs the admin token",
            "send it as a bearer token",
        )
    })
}

async fn list(
    State(server): State<Server>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let number = |name: &str, default: usize| {
        query
            .get(name)
            .map_or(default, |text| text.parse().unwrap())
    };
    let (size, offset) = (number("size", 100), number("offset", 0));
    assert!((1..=100).contains(&size));
    let counters = server.counters.lock().unwrap();
    let fitting: Vec<&Value> = counters
        .iter()
        .filter(|counter| {
            query
                .get("limit")
                .is_none_or(|limit| counter["limit_name"] == **limit)
        })
        .filter(|counter| {
            query
                .get("search")
                .is_none_or(|text| counter["values"].to_string().contains(text))
        })
        .collect();
    let end = (offset + size).min(fitting.len());
    Json(json!({
        "data": fitting[offset.min(end)..end],
        "total": fitting.len(),
        "next": (end < fitting.len()).then_some(end),
    }))
}

async fn one(State(server): State<Server>, Path(key): Path<String>) -> Response {
    match server.find(&key) {
        Some(counter) => Json(counter).into_response(),
        None => refused(StatusCode::NOT_FOUND, "no counter has this key", ""),
    }
}

async fn correct(
    State(server): State<Server>,
    Path((key, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = unauthorized(&headers) {
        return refusal;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut counters = server.counters.lock().unwrap();
    let Some(counter) = counters.iter_mut().find(|counter| counter["key"] == *key) else {
        return refused(StatusCode::NOT_FOUND, "no counter has this key", "");
    };
    let used = counter["used"].as_u64().unwrap();
    let used = match verb.as_str() {
        "reset" => 0,
        "grant" => used.saturating_sub(body["amount"].as_u64().unwrap()),
        _ => used.saturating_add_signed(body["by"].as_i64().unwrap()),
    };
    counter["used"] = json!(used);
    counter["remaining"] = json!(20_000_u64.saturating_sub(used));
    Json(counter.clone()).into_response()
}

async fn reservations() -> Json<Value> {
    Json(json!({"data": [{
        "id": "00000000000000000000000000000c0d",
        "expires_in_ms": 599_000,
        "charges": [
            {"key": ACME, "limit_name": "tokens-per-minute", "cost": 812},
            {"key": "0000000000000000000000000000dddd", "limit_name": null, "cost": 1},
        ],
    }]}))
}

async fn release(Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refusal) = unauthorized(&headers) {
        return refusal;
    }
    if id == "00000000000000000000000000000c0d" {
        Json(json!({})).into_response()
    } else {
        refused(StatusCode::NOT_FOUND, "no reservation has this id", "")
    }
}

async fn usage() -> Json<Value> {
    let traffic = |name: &str, value: &str| json!({name: value, "requests": 12, "refused": 3, "tokens": 3000, "cost_microdollars": 45_000, "tokens_per_second": 50.0});
    Json(json!({
        "window_seconds": 60,
        "tenants": [traffic("tenant", "acme"), traffic("tenant", "\u{1b}[2J\u{202e}evil")],
        "models": [traffic("model", "gpt-4o")],
        "totals": {"requests": 24, "refused": 6, "tokens": 6000, "cost_microdollars": 90_000, "tokens_per_second": 100.0},
    }))
}

async fn refusals() -> Json<Value> {
    Json(json!({"data": [{
        "at_ms_ago": 3000, "limit_name": "tokens-per-minute", "unit": "total_tokens", "tenant": "acme", "model": "gpt-4o",
        "kind": "denied", "retry_after_ms": 12_000,
    }]}))
}
