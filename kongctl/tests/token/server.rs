//! A plugin server of few words: revocations as its API tells them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What changes need.
pub(crate) const TOKEN: &str = "limiter-s3cret";

/// A running server; it ends with the test's runtime.
#[derive(Clone, Default)]
pub(crate) struct Server {
    revocations: Arc<Mutex<Vec<Value>>>,
    bodies: Arc<Mutex<Vec<String>>>,
    has_no_denylist: bool,
}

impl Server {
    pub(crate) fn without_denylist() -> Self {
        Self {
            has_no_denylist: true,
            ..Self::default()
        }
    }

    /// Serves on a free port.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/revocations", get(list).post(revoke))
            .route("/v1/revocations/{id}", delete(unrevoke))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// The bodies of the changes so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        if self.has_no_denylist {
            return Some(refused(
                StatusCode::CONFLICT,
                "no llm-jwt at work here looks for revoked tokens",
                "set denylist.policy of the plugin to memory or redis; a plugin is at work from its first request on",
            ));
        }
        let right = headers
            .get("authorization")
            .is_some_and(|value| value == format!("Bearer {TOKEN}").as_str());
        let hint = "send it as a bearer token";
        (!right).then(|| refused(StatusCode::UNAUTHORIZED, "this needs the admin token", hint))
    }
}

fn refused(status: StatusCode, message: &str, hint: &str) -> Response {
    (status, Json(json!({"message": message, "hint": hint}))).into_response()
}

async fn list(
    State(server): State<Server>,
    Query(query): Query<HashMap<String, usize>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = server.refusal(&headers) {
        return refusal;
    }
    let revocations = server.revocations.lock().unwrap();
    let end = (query["offset"] + query["size"]).min(revocations.len());
    let next = (end < revocations.len()).then_some(end);
    let data = &revocations[query["offset"].min(end)..end];
    Json(json!({"data": data, "total": revocations.len(), "next": next})).into_response()
}

async fn revoke(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = server.refusal(&headers) {
        return refusal;
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    server.bodies.lock().unwrap().push(text);
    let mut revocation: Value = serde_json::from_slice(&body).unwrap();
    let mut revocations = server.revocations.lock().unwrap();
    let kind = ["jti", "subject"]
        .into_iter()
        .find(|kind| revocation.get(kind).is_some());
    revocation["kind"] = json!(kind.unwrap_or("token"));
    revocation["id"] = json!(format!("{:032x}", 0xabc0 + revocations.len()));
    revocation["revoked_at"] = json!(1_767_225_600);
    if revocation.get("expires_at").is_none() {
        revocation["expires_at"] = json!(1_767_312_000);
    }
    revocation["store"] = json!("memory");
    let is_known = revocation
        .get("issuer")
        .map(|issuer| issuer == "https://idp.example");
    revocations.push(revocation.clone());
    Json(json!({"data": [revocation], "issuer_is_known": is_known})).into_response()
}

async fn unrevoke(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    if let Some(refusal) = server.refusal(&headers) {
        return refusal;
    }
    let mut revocations = server.revocations.lock().unwrap();
    match revocations.iter().position(|one| one["id"] == *id) {
        Some(at) => Json(json!({"data": [revocations.remove(at)]})).into_response(),
        None => refused(
            StatusCode::NOT_FOUND,
            "no such revocation",
            "GET /v1/revocations lists those that there are",
        ),
    }
}
