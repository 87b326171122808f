//! Anthropic's wire format: messages.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fault::{self, Fault};
use crate::prose::{Answer, Finish};
use crate::stream::{self, Event};
use crate::{Config, Pace, tokens};

/// `POST /v1/messages`
pub(crate) async fn messages(
    State(config): State<Arc<Config>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            StatusCode::BAD_REQUEST,
            "the request body is not valid JSON",
        );
    };
    let mut entry = config.log.open("/v1/messages", &headers, &body);
    let (Some(model), Some(messages), Some(cap)) = (
        body["model"].as_str(),
        body["messages"].as_array(),
        body["max_tokens"].as_u64(),
    ) else {
        return error(
            StatusCode::BAD_REQUEST,
            "model, messages, max_tokens: field required",
        );
    };
    let fault = Fault::of(&headers, model);
    if let Some(Fault::Fail(status)) = fault {
        return error(status, "a fault was asked for");
    }
    let pace = fault::pace(fault, config.pace);
    let question = messages
        .last()
        .map(|message| tokens::content_text(&message["content"]))
        .unwrap_or_default();
    let cap = usize::try_from(cap).unwrap_or(usize::MAX);
    let answer = Answer::compose(&question, Some(cap), fault == Some(Fault::Full));
    let system = tokens::count(&tokens::content_text(&body["system"]));
    let (input, output) = match fault {
        Some(Fault::LyingUsage) => (1, 1),
        _ => (tokens::count_messages(messages) + system, answer.tokens()),
    };
    let message = Message {
        id: entry.id(),
        model,
        answer: &answer,
        input,
        output,
        report: fault != Some(Fault::NoUsage),
    };

    if body["stream"].as_bool() == Some(true) {
        let events = message.events(pace);
        let broken_after = (fault == Some(Fault::Drop)).then_some(events.len() / 2);
        return stream::respond(events, broken_after, entry);
    }
    tokio::time::sleep(pace.first_token_delay).await;
    entry.speak(answer.tokens());
    entry.complete();
    Json(message.plain()).into_response()
}

struct Message<'a> {
    id: u64,
    model: &'a str,
    answer: &'a Answer,
    input: usize,
    output: usize,
    report: bool,
}

impl Message<'_> {
    fn plain(&self) -> Value {
        let content = json!([{"type": "text", "text": self.answer.text()}]);
        self.envelope(&content, Some(self.stop_reason()), self.output)
    }

    /// The event sequence of a streamed message; `output_tokens` is cumulative, so the last figure is the sum.
    fn events(&self, pace: Pace) -> VecDeque<Event> {
        let start = json!({"type": "message_start", "message": self.envelope(&json!([]), None, 1)});
        let mut events = VecDeque::from([
            Event::named(&start).spoken(pace.first_token_delay, 0),
            Event::named(&json!({
                "type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""},
            })),
            Event::named(&json!({"type": "ping"})),
        ]);
        for pieces in self.answer.pieces.chunks(pace.tokens_per_chunk) {
            let spoken = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            let delta = json!({"type": "text_delta", "text": pieces.concat()});
            let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
            events.push_back(Event::named(&event).spoken(pace.token_delay * spoken, pieces.len()));
        }
        events.push_back(Event::named(
            &json!({"type": "content_block_stop", "index": 0}),
        ));
        let mut end = json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
        });
        if self.report {
            end["usage"] = json!({"output_tokens": self.output});
        }
        events.push_back(Event::named(&end));
        events.push_back(Event::named(&json!({"type": "message_stop"})));
        events
    }

    fn envelope(&self, content: &Value, stop_reason: Option<&str>, output: usize) -> Value {
        let mut message = json!({
            "id": format!("msg_{:08}", self.id),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
        });
        if self.report {
            message["usage"] = json!({
                "input_tokens": self.input,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": output,
            });
        }
        message
    }

    fn stop_reason(&self) -> &'static str {
        match self.answer.finish {
            Finish::Stop => "end_turn",
            Finish::Length => "max_tokens",
        }
    }
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
