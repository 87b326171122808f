//! Completions, the interface before chat, which servers like vLLM still speak.

use std::collections::VecDeque;

use axum::response::Response;
use serde_json::{Value, json};

use super::{CREATED, asks_for_usage, failed, incomplete, reported};
use crate::exchange::{Asked, Call, Exchange};
use crate::stream::{Event, SERVER_SENT_EVENTS};
use crate::tokens;

/// `POST /v1/completions`
pub(crate) async fn completions(call: Call) -> Response {
    let body = &call.body;
    let prompts: Vec<&str> = match &body["prompt"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let (Some(model), Some(question)) = (body["model"].as_str(), prompts.last()) else {
        return incomplete("`model` and `prompt`");
    };
    let choices = body["n"].as_u64().unwrap_or(1);
    let asked = Asked {
        model: model.to_owned(),
        question: (*question).to_owned(),
        prompt_tokens: prompts.iter().map(|text| tokens::count(text)).sum(),
        cap: body["max_tokens"].as_u64(),
        choices: Some(choices.saturating_mul(prompts.len() as u64)),
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
    let choices: Vec<Value> = (0..exchange.choices)
        .map(|index| {
            choice(
                index,
                &exchange.answer.text(),
                Some(finish_reason(&exchange)),
            )
        })
        .collect();
    let mut body = envelope(&exchange, &choices);
    if let Some(usage) = exchange.usage {
        body["usage"] = reported(usage);
    }
    exchange.plain(body).await
}

fn events(exchange: &Exchange, include_usage: bool) -> VecDeque<Event> {
    let chunk = |index: usize, text: &str, finish: Option<&str>| {
        Event::data(&envelope(exchange, &[choice(index, text, finish)]))
    };
    let mut events = VecDeque::new();
    for piece in exchange.chunks() {
        for index in 0..exchange.choices {
            events.push_back(piece.carried_by(chunk(index, &piece.text, None)));
        }
    }
    for index in 0..exchange.choices {
        events.push_back(chunk(index, "", Some(finish_reason(exchange))));
    }
    if let (true, Some(usage)) = (include_usage, exchange.usage) {
        let mut last = envelope(exchange, &[]);
        last["usage"] = reported(usage);
        events.push_back(Event::data(&last));
    }
    if let Some(first) = events.front_mut() {
        first.delay = exchange.pace.first_token_delay;
    }
    events.push_back(Event::done());
    events
}

fn choice(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

fn envelope(exchange: &Exchange, choices: &[Value]) -> Value {
    json!({
        "id": format!("cmpl-{:08}", exchange.id),
        "object": "text_completion",
        "created": CREATED,
        "model": exchange.model,
        "choices": choices,
    })
}

fn finish_reason(exchange: &Exchange) -> &'static str {
    exchange.finish("stop", "length")
}
