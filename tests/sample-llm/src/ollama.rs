//! Ollama's wire format: a JSON object a line unless `stream` is false.

use std::collections::VecDeque;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::exchange::{Asked, Call, Exchange};
use crate::stream::{Event, JSON_LINES};
use crate::tokens;

/// When every answer was made: answers are deterministic.
const CREATED_AT: &str = "2025-06-15T15:06:40Z";

/// `POST /api/chat`
pub(crate) async fn chat(call: Call) -> Response {
    let messages = call.body["messages"].as_array().cloned();
    let text = |text: &str| ("message", json!({"role": "assistant", "content": text}));
    answer(call, messages, text).await
}

/// `POST /api/generate`
pub(crate) async fn generate(call: Call) -> Response {
    let prompt = call.body["prompt"].as_str();
    let messages = prompt.map(|prompt| vec![json!({"role": "user", "content": prompt})]);
    answer(call, messages, |text| ("response", text.into())).await
}

/// Answers `messages`; `text` puts what is said where the interface has it.
async fn answer(
    call: Call,
    messages: Option<Vec<Value>>,
    text: impl Fn(&str) -> (&'static str, Value),
) -> Response {
    let (Some(model), Some(messages)) = (call.body["model"].as_str(), messages) else {
        return error(
            StatusCode::BAD_REQUEST,
            "the body must be JSON with model and messages or prompt",
        );
    };
    let asked = Asked {
        model: model.to_owned(),
        question: tokens::last_text(&messages),
        prompt_tokens: tokens::count_messages(&messages),
        cap: call.body["options"]["num_predict"].as_u64(),
        choices: None,
    };
    let streamed = call.body["stream"] != false;
    let exchange = match call.answer(asked) {
        Ok(exchange) => exchange,
        Err(status) => return error(status, "a fault was asked for"),
    };
    if !streamed {
        let body = last(&exchange, text(&exchange.answer.text()));
        return exchange.plain(body).await;
    }
    let mut events: VecDeque<Event> = exchange
        .chunks()
        .map(|chunk| {
            let (name, value) = text(&chunk.text);
            let mut object = json!({"model": exchange.model, "created_at": CREATED_AT});
            object[name] = value;
            object["done"] = false.into();
            chunk.carried_by(Event::line(&object))
        })
        .collect();
    events.push_back(Event::line(&last(&exchange, text(""))));
    if let Some(first) = events.front_mut() {
        first.delay += exchange.pace.first_token_delay;
    }
    exchange.stream(JSON_LINES, events)
}

/// The object that ends an answer. A count of zero is left out, as Ollama does.
fn last(exchange: &Exchange, (name, value): (&str, Value)) -> Value {
    let mut object = json!({"model": exchange.model, "created_at": CREATED_AT});
    object[name] = value;
    object["done"] = true.into();
    object["done_reason"] = exchange.finish("stop", "length").into();
    object["total_duration"] = 2_000_000.into();
    object["load_duration"] = 1_000_000.into();
    if let Some(usage) = exchange.usage {
        for (name, count) in [
            ("prompt_eval_count", usage.prompt),
            ("eval_count", usage.completion),
        ] {
            if count > 0 {
                object[name] = count.into();
            }
        }
    }
    object
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}
