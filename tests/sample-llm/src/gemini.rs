//! Gemini's wire format: `generateContent`, and its stream as server-sent events or as one JSON array.

use std::collections::{HashMap, VecDeque};

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::exchange::{Asked, Call, Exchange, Usage};
use crate::stream::{Event, SERVER_SENT_EVENTS};
use crate::tokens;

/// `POST /v1beta/models/MODEL:generateContent` and `…:streamGenerateContent`, with or without `?alt=sse`
pub(crate) async fn generate(
    Path(target): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    call: Call,
) -> Response {
    let (model, method) = target.rsplit_once(':').unwrap_or((&target, ""));
    let streamed = match method {
        "generateContent" => false,
        "streamGenerateContent" => true,
        _ => return error(StatusCode::NOT_FOUND, "no such method"),
    };
    let body = &call.body;
    let Some(contents) = body["contents"].as_array() else {
        return error(
            StatusCode::BAD_REQUEST,
            "the body must be JSON with contents",
        );
    };
    let messages: Vec<Value> = body
        .get("systemInstruction")
        .into_iter()
        .chain(contents)
        .map(|content| json!({"role": content["role"], "content": content["parts"]}))
        .collect();
    let settings = &body["generationConfig"];
    let asked = Asked {
        model: model.to_owned(),
        question: tokens::last_text(&messages),
        prompt_tokens: tokens::count_messages(&messages),
        cap: settings["maxOutputTokens"].as_u64(),
        choices: settings["candidateCount"].as_u64(),
    };
    let exchange = match call.answer(asked) {
        Ok(exchange) => exchange,
        Err(status) => return error(status, "a fault was asked for"),
    };
    if !streamed {
        let text = exchange.answer.text();
        let body = answer(&exchange, &text, Some(finish_reason(&exchange)));
        let body = with_usage(body, exchange.usage);
        return exchange.plain(body).await;
    }
    if query.get("alt").is_some_and(|alt| alt == "sse") {
        // Its lines end as HTTP's do.
        let events = stream(&exchange, |_, part| format!("data: {part}\r\n\r\n"));
        return exchange.stream(SERVER_SENT_EVENTS, events);
    }
    let mut events = stream(&exchange, |index, part| {
        format!("{}{part}", if index == 0 { "[" } else { "\n,\r\n" })
    });
    events.push_back(Event::of("\n]\n"));
    exchange.stream("application/json", events)
}

/// The parts of a streamed answer, each with what was used up to it.
fn stream(exchange: &Exchange, framed: impl Fn(usize, Value) -> String) -> VecDeque<Event> {
    let mut events = VecDeque::new();
    let mut said = 0;
    for chunk in exchange.chunks() {
        said += tokens::count(&chunk.text) * exchange.choices;
        let so_far = exchange.usage.map(|usage| Usage {
            completion: said + usage.reasoning,
            ..usage
        });
        let part = with_usage(answer(exchange, &chunk.text, None), so_far);
        events.push_back(chunk.carried_by(Event::of(framed(events.len(), part))));
    }
    let last = answer(exchange, "", Some(finish_reason(exchange)));
    let last = with_usage(last, exchange.usage);
    events.push_back(Event::of(framed(events.len(), last)));
    if let Some(first) = events.front_mut() {
        first.delay += exchange.pace.first_token_delay;
    }
    events
}

fn answer(exchange: &Exchange, text: &str, finish: Option<&str>) -> Value {
    let candidates: Vec<Value> = (0..exchange.choices)
        .map(|index| {
            let content = json!({"parts": [{"text": text}], "role": "model"});
            let mut candidate = json!({"content": content, "index": index});
            if let Some(reason) = finish {
                candidate["finishReason"] = reason.into();
            }
            candidate
        })
        .collect();
    json!({
        "candidates": candidates,
        "modelVersion": exchange.model,
        "responseId": format!("{:08}", exchange.id),
    })
}

fn with_usage(mut answer: Value, usage: Option<Usage>) -> Value {
    let Some(usage) = usage else {
        return answer;
    };
    let mut metadata = json!({
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.spoken(),
        "totalTokenCount": usage.total(),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt}],
    });
    // What is zero is left out, and thoughts are no part of the candidates.
    for (name, count) in [
        ("cachedContentTokenCount", usage.cached),
        ("thoughtsTokenCount", usage.reasoning),
    ] {
        if count > 0 {
            metadata[name] = count.into();
        }
    }
    answer["usageMetadata"] = metadata;
    answer
}

fn finish_reason(exchange: &Exchange) -> &'static str {
    exchange.finish("STOP", "MAX_TOKENS")
}

fn error(status: StatusCode, message: &str) -> Response {
    let name = match status {
        StatusCode::BAD_REQUEST => "INVALID_ARGUMENT",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::TOO_MANY_REQUESTS => "RESOURCE_EXHAUSTED",
        StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
        status if status.is_server_error() => "INTERNAL",
        _ => "FAILED_PRECONDITION",
    };
    let error = json!({"code": status.as_u16(), "message": message, "status": name});
    (status, Json(json!({"error": error}))).into_response()
}
