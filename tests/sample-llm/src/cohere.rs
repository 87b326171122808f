//! Cohere's wire format, version 2: chat.

use std::collections::VecDeque;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::exchange::{Asked, Call, Exchange, Usage};
use crate::stream::{Event, SERVER_SENT_EVENTS};
use crate::tokens;

/// `POST /v2/chat`
pub(crate) async fn chat(call: Call) -> Response {
    let body = &call.body;
    let (Some(model), Some(messages)) = (body["model"].as_str(), body["messages"].as_array())
    else {
        return error(
            StatusCode::BAD_REQUEST,
            "the body must be JSON with model and messages",
        );
    };
    let asked = Asked {
        model: model.to_owned(),
        question: tokens::last_text(messages),
        prompt_tokens: tokens::count_messages(messages),
        cap: body["max_tokens"].as_u64(),
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
    let content = json!([{"type": "text", "text": exchange.answer.text()}]);
    let mut body = json!({
        "id": id(&exchange),
        "finish_reason": finish_reason(&exchange),
        "message": {"role": "assistant", "content": content},
    });
    if let Some(usage) = exchange.usage {
        body["usage"] = reported(usage);
    }
    exchange.plain(body).await
}

fn events(exchange: &Exchange) -> VecDeque<Event> {
    let message = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
    let content = json!({"message": {"content": {"type": "text", "text": ""}}});
    let mut events = VecDeque::from([
        Event::named(
            &json!({"type": "message-start", "id": id(exchange), "delta": {"message": message}}),
        )
        .spoken(exchange.pace.first_token_delay, 0),
        Event::named(&json!({"type": "content-start", "index": 0, "delta": content})),
    ]);
    for chunk in exchange.chunks() {
        let delta = json!({"message": {"content": {"text": chunk.text}}});
        let event = json!({"type": "content-delta", "index": 0, "delta": delta});
        events.push_back(chunk.carried_by(Event::named(&event)));
    }
    events.push_back(Event::named(&json!({"type": "content-end", "index": 0})));
    let mut delta = json!({"finish_reason": finish_reason(exchange)});
    if let Some(usage) = exchange.usage {
        delta["usage"] = reported(usage);
    }
    events.push_back(Event::named(
        &json!({"type": "message-end", "delta": delta}),
    ));
    events.push_back(Event::done());
    events
}

/// Both figures of Cohere's, which are the same here.
fn reported(usage: Usage) -> Value {
    let units = json!({"input_tokens": usage.prompt, "output_tokens": usage.completion});
    json!({"billed_units": units, "tokens": units, "cached_tokens": usage.cached})
}

fn id(exchange: &Exchange) -> String {
    format!("{:08}", exchange.id)
}

fn finish_reason(exchange: &Exchange) -> &'static str {
    exchange.finish("COMPLETE", "MAX_TOKENS")
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}
