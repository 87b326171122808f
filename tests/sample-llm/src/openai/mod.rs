//! OpenAI's wire formats: chat completions, completions, responses, embeddings, models.

mod chat;
mod completions;
mod embeddings;
mod responses;

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::exchange::Usage;

pub(crate) use chat::chat;
pub(crate) use completions::completions;
pub(crate) use embeddings::embeddings;
pub(crate) use responses::responses;

/// Seconds since the epoch that every answer carries as `created`: answers are deterministic.
const CREATED: u64 = 1_750_000_000;

/// `usage` as chat and completions report it.
fn reported(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// Whether a streamed request asks for a last chunk with its usage.
fn asks_for_usage(body: &Value) -> bool {
    body["stream_options"]["include_usage"].as_bool() == Some(true)
}

/// `GET /v1/models`
pub(crate) async fn models() -> Json<Value> {
    let models = [
        "gpt-4o-mini",
        "gpt-4o",
        "claude-sample",
        "text-embedding-3-small",
    ];
    let data: Vec<Value> = models
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "sample"}))
        .collect();
    Json(json!({"object": "list", "data": data}))
}

/// Any other path.
pub(crate) async fn not_found(uri: Uri) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!("unknown request URL: {}", uri.path()),
    )
}

/// A request that lacks what it needs.
fn incomplete(required: &str) -> Response {
    error(
        StatusCode::BAD_REQUEST,
        &format!("the body must be JSON with {required}"),
    )
}

/// A fault that was asked for.
fn failed(status: StatusCode) -> Response {
    error(status, "a fault was asked for")
}

fn error(status: StatusCode, message: &str) -> Response {
    let kind = if status.is_server_error() {
        "server_error"
    } else {
        "invalid_request_error"
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (status, Json(body)).into_response()
}
