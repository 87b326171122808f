//! Chat completions.

use std::collections::VecDeque;
use std::time::Duration;

use axum::response::Response;
use serde_json::{Value, json};

use super::{CREATED, asks_for_usage, failed, incomplete, reported};
use crate::exchange::{Asked, Call, Exchange};
use crate::stream::{Event, SERVER_SENT_EVENTS};
use crate::tokens;

/// `POST /v1/chat/completions`
pub(crate) async fn chat(call: Call) -> Response {
    let body = &call.body;
    let (Some(model), Some(messages)) = (body["model"].as_str(), body["messages"].as_array())
    else {
        return incomplete("`model` and `messages`");
    };
    let asked = Asked {
        model: model.to_owned(),
        question: tokens::last_text(messages),
        prompt_tokens: tokens::count_messages(messages),
        cap: ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|name| body[name].as_u64()),
        choices: body["n"].as_u64(),
    };
    let (streamed, include_usage) = (body["stream"] == true, asks_for_usage(body));
    let exchange = match call.answer(asked) {
        Ok(exchange) => exchange,
        Err(status) => return failed(status),
    };
    if streamed {
        let events = events(&exchange, include_usage);
        return exchange.stream(SERVER_SENT_EVENTS, events);
    }
    let body = plain(&exchange);
    exchange.plain(body).await
}

fn plain(exchange: &Exchange) -> Value {
    let choices: Vec<Value> = (0..exchange.choices)
        .map(|index| {
            json!({
                "index": index,
                "message": {"role": "assistant", "content": exchange.answer.text(), "refusal": null},
                "logprobs": null,
                "finish_reason": finish_reason(exchange),
            })
        })
        .collect();
    let mut body = envelope(exchange, "chat.completion", &choices.into());
    if let Some(usage) = exchange.usage {
        body["usage"] = reported(usage);
    }
    body
}

fn events(exchange: &Exchange, include_usage: bool) -> VecDeque<Event> {
    let chunk = |index: usize, delta: &Value, finish: Value| {
        let choice =
            json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish});
        let mut chunk = envelope(exchange, "chat.completion.chunk", &json!([choice]));
        if include_usage {
            chunk["usage"] = Value::Null;
        }
        Event::data(&chunk)
    };
    let mut events = VecDeque::new();
    for index in 0..exchange.choices {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        let delay = if index == 0 {
            exchange.pace.first_token_delay
        } else {
            Duration::ZERO
        };
        events.push_back(chunk(index, &delta, Value::Null).spoken(delay, 0));
    }
    for piece in exchange.chunks() {
        for index in 0..exchange.choices {
            let delta = json!({"content": piece.text});
            events.push_back(piece.carried_by(chunk(index, &delta, Value::Null)));
        }
    }
    for index in 0..exchange.choices {
        events.push_back(chunk(index, &json!({}), finish_reason(exchange).into()));
    }
    if let (true, Some(usage)) = (include_usage, exchange.usage) {
        let mut chunk = envelope(exchange, "chat.completion.chunk", &json!([]));
        chunk["usage"] = reported(usage);
        events.push_back(Event::data(&chunk));
    }
    events.push_back(Event::done());
    events
}

fn envelope(exchange: &Exchange, object: &str, choices: &Value) -> Value {
    json!({
        "id": format!("chatcmpl-{:08}", exchange.id),
        "object": object,
        "created": CREATED,
        "model": exchange.model,
        "choices": choices,
        "service_tier": "default",
        "system_fingerprint": "fp_sample",
    })
}

fn finish_reason(exchange: &Exchange) -> &'static str {
    exchange.finish("stop", "length")
}
