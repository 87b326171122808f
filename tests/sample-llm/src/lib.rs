//! A small LLM provider: it speaks the wire formats that gateways meet, and answers the same question the same way each time.
//!
//! # Layout
//!
//! A request meets [`serve`]'s router and becomes a call in [`exchange`]: noted in the [`RequestLog`], it may be turned away by a
//! [`fault`], and is answered. The words come from [`prose`], their price from [`tokens`] (a real tokenizer, so that usage is what
//! a provider would bill). What it looks like is the vendor's module: `openai`, `anthropic`, `gemini`, `bedrock` (whose streams are
//! frames of `event_stream`), `cohere`, `ollama`; and `stream` paces it.
//!
//! # Model
//!
//! - An answer uses three quarters of the output cap that the request names, or [`prose::DEFAULT_LENGTH`] tokens without one, so that what was
//!   reserved for it and what it really used differ, as they do with a real model. A model named `full-…` runs into the cap.
//! - The headers [`exchange::CACHED_HEADER`] and [`exchange::REASONING_HEADER`] make some of the prompt cached and some of the
//!   completion thought.
//! - Faults are chosen by the model's name or by the header `x-sample-fault`: see [`fault::Fault`].
//! - `GET /requests` lists what reached the provider, `DELETE /requests` forgets it.

pub mod exchange;
pub mod fault;
pub mod prose;
pub mod request_log;
pub mod tokens;

mod anthropic;
mod bedrock;
mod cohere;
mod event_stream;
mod gemini;
mod ollama;
mod openai;
mod stream;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use request_log::{Outcome, Record, RequestLog};

/// The largest request body that is read, in bytes.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// How fast an answer is spoken.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time from the request to the first token, for plain answers too.
    pub first_token_delay: Duration,
    /// Time between a streamed chunk and the next, for each token that it carries.
    pub token_delay: Duration,
    /// Tokens in one streamed chunk; at least one.
    pub tokens_per_chunk: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_token_delay: Duration::ZERO,
            token_delay: Duration::ZERO,
            tokens_per_chunk: 1,
        }
    }
}

/// What a provider is started with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How fast it speaks.
    pub pace: Pace,
    /// Where it notes what reached it; keep a clone to read along.
    pub log: RequestLog,
}

/// Serves until `shutdown` resolves, then lets running answers end.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(config))
        .with_graceful_shutdown(shutdown)
        .await
}

fn router(config: Config) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/responses", post(openai::responses))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1beta/models/{call}", post(gemini::generate))
        .route("/model/{model}/converse", post(bedrock::converse))
        .route(
            "/model/{model}/converse-stream",
            post(bedrock::converse_stream),
        )
        .route("/v2/chat", post(cohere::chat))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/requests", get(list_requests).delete(forget_requests))
        .fallback(openai::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(config))
}

async fn list_requests(State(config): State<Arc<Config>>) -> Json<Value> {
    Json(json!({"data": config.log.records()}))
}

async fn forget_requests(State(config): State<Arc<Config>>) -> StatusCode {
    config.log.clear();
    StatusCode::NO_CONTENT
}
