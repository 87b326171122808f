//! Anthropic's wire format: messages.

use std::collections::VecDeque;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::exchange::{Asked, Call, Exchange};
use crate::stream::{Event, SERVER_SENT_EVENTS};
use crate::tokens;

/// `POST /v1/messages`
pub(crate) async fn messages(call: Call) -> Response {
    let body = &call.body;
    let (Some(model), Some(messages), Some(cap)) = (
        body["model"].as_str(),
        body["messages"].as_array(),
        body["max_tokens"].as_u64(),
    ) else {
        return error(
            StatusCode::BAD_REQUEST,
            "the body must be JSON with model, messages and max_tokens",
        );
    };
    let system = tokens::count(&tokens::content_text(&body["system"]));
    let asked = Asked {
        model: model.to_owned(),
        question: tokens::last_text(messages),
        prompt_tokens: tokens::count_messages(messages) + system,
        cap: Some(cap),
        choices: None,
    };
    let streamed = body["stream"] == true;
    let exchange = match call.answer(asked) {
        Ok(exchange) => exchange,
        Err(status) => return error(status, "a fault was asked for"),
    };
    if streamed {
        let events = events(&exchange);
        return exchange.stream(SERVER_SENT_EVENTS, events);
    }
    let output = exchange.usage.map_or(0, |usage| usage.completion);
    let content = json!([{"type": "text", "text": exchange.answer.text()}]);
    let body = envelope(&exchange, &content, Some(stop_reason(&exchange)), output);
    exchange.plain(body).await
}

/// The event sequence of a streamed message; `output_tokens` is cumulative, so the last figure is the sum.
fn events(exchange: &Exchange) -> VecDeque<Event> {
    let message = envelope(exchange, &json!([]), None, 1);
    let mut events = VecDeque::from([
        Event::named(&json!({"type": "message_start", "message": message}))
            .spoken(exchange.pace.first_token_delay, 0),
        Event::named(&json!({
            "type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""},
        })),
        Event::named(&json!({"type": "ping"})),
    ]);
    for chunk in exchange.chunks() {
        let delta = json!({"type": "text_delta", "text": chunk.text});
        let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
        events.push_back(chunk.carried_by(Event::named(&event)));
    }
    events.push_back(Event::named(
        &json!({"type": "content_block_stop", "index": 0}),
    ));
    let mut end = json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(exchange), "stop_sequence": null},
    });
    if let Some(usage) = exchange.usage {
        end["usage"] = json!({"output_tokens": usage.completion});
    }
    events.push_back(Event::named(&end));
    events.push_back(Event::named(&json!({"type": "message_stop"})));
    events
}

fn envelope(
    exchange: &Exchange,
    content: &Value,
    stop_reason: Option<&str>,
    output: usize,
) -> Value {
    let mut message = json!({
        "id": format!("msg_{:08}", exchange.id),
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
    });
    if let Some(usage) = exchange.usage {
        // Anthropic counts as input what no cache held: the prompt is the sum of the three.
        message["usage"] = json!({
            "input_tokens": usage.fresh(),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached,
            "output_tokens": output,
        });
    }
    message
}

fn stop_reason(exchange: &Exchange) -> &'static str {
    exchange.finish("end_turn", "max_tokens")
}

fn error(status: StatusCode, message: &str) -> Response {
    let kind = if status.is_server_error() {
        "api_error"
    } else {
        "invalid_request_error"
    };
    (
        status,
        Json(json!({"type": "error", "error": {"type": kind, "message": message}})),
    )
        .into_response()
}
