//! Amazon Bedrock's wire format: Converse, whose streams are binary messages.

use std::collections::VecDeque;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::event_stream;
use crate::exchange::{Asked, Call, Exchange, Usage};
use crate::stream::Event;
use crate::tokens;

/// `POST /model/MODEL/converse`
pub(crate) async fn converse(Path(model): Path<String>, call: Call) -> Response {
    let exchange = match begin(model, call) {
        Ok(exchange) => exchange,
        Err((status, message)) => return error(status, message),
    };
    let content = json!([{"text": exchange.answer.text()}]);
    let mut body = json!({
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason(&exchange),
        "metrics": {"latencyMs": 1},
    });
    if let Some(usage) = exchange.usage {
        body["usage"] = reported(usage);
    }
    exchange.plain(body).await
}

/// `POST /model/MODEL/converse-stream`
pub(crate) async fn converse_stream(Path(model): Path<String>, call: Call) -> Response {
    match begin(model, call) {
        Ok(exchange) => {
            let events = events(&exchange);
            exchange.stream(event_stream::CONTENT_TYPE, events)
        }
        Err((status, message)) => error(status, message),
    }
}

fn begin(model: String, call: Call) -> Result<Exchange, (StatusCode, &'static str)> {
    let body = &call.body;
    let Some(messages) = body["messages"].as_array() else {
        return Err((
            StatusCode::BAD_REQUEST,
            "the body must be JSON with messages",
        ));
    };
    let system = tokens::count(&tokens::content_text(&body["system"]));
    let asked = Asked {
        model,
        question: tokens::last_text(messages),
        prompt_tokens: tokens::count_messages(messages) + system,
        cap: body["inferenceConfig"]["maxTokens"].as_u64(),
        choices: None,
    };
    call.answer(asked)
        .map_err(|status| (status, "a fault was asked for"))
}

fn events(exchange: &Exchange) -> VecDeque<Event> {
    let event = |kind: &str, payload: &Value| Event::of(event_stream::event(kind, payload));
    let mut events = VecDeque::from([event("messageStart", &json!({"role": "assistant"}))
        .spoken(exchange.pace.first_token_delay, 0)]);
    for chunk in exchange.chunks() {
        let payload = json!({"contentBlockIndex": 0, "delta": {"text": chunk.text}});
        events.push_back(chunk.carried_by(event("contentBlockDelta", &payload)));
    }
    events.push_back(event("contentBlockStop", &json!({"contentBlockIndex": 0})));
    let stop = json!({"stopReason": stop_reason(exchange)});
    events.push_back(event("messageStop", &stop));
    let mut metadata = json!({"metrics": {"latencyMs": 1}});
    if let Some(usage) = exchange.usage {
        metadata["usage"] = reported(usage);
    }
    events.push_back(event("metadata", &metadata));
    events
}

/// As Anthropic's models report it there: what a cache held is no part of `inputTokens`, but of the total.
fn reported(usage: Usage) -> Value {
    json!({
        "inputTokens": usage.fresh(),
        "outputTokens": usage.completion,
        "totalTokens": usage.total(),
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": 0,
    })
}

fn stop_reason(exchange: &Exchange) -> &'static str {
    exchange.finish("end_turn", "max_tokens")
}

fn error(status: StatusCode, message: &str) -> Response {
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "ThrottlingException",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableException",
        status if status.is_server_error() => "InternalServerException",
        _ => "ValidationException",
    };
    let body = Json(json!({"message": message}));
    (status, [("x-amzn-errortype", kind)], body).into_response()
}
