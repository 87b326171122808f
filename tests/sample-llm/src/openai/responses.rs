//! Responses: named events, each with a running number, and the usage in the last one's `response`.

use std::collections::VecDeque;

use axum::response::Response;
use serde_json::{Value, json};

use super::{CREATED, failed, incomplete};
use crate::exchange::{Asked, Call, Exchange};
use crate::stream::{Event, SERVER_SENT_EVENTS};
use crate::tokens;

/// `POST /v1/responses`
pub(crate) async fn responses(call: Call) -> Response {
    let body = &call.body;
    let mut messages = match &body["input"] {
        Value::String(text) => vec![json!({"role": "user", "content": text})],
        Value::Array(items) => items.clone(),
        _ => vec![],
    };
    let (Some(model), false) = (body["model"].as_str(), messages.is_empty()) else {
        return incomplete("`model` and `input`");
    };
    if let Some(instructions) = body["instructions"].as_str() {
        messages.insert(0, json!({"role": "developer", "content": instructions}));
    }
    let asked = Asked {
        model: model.to_owned(),
        question: tokens::last_text(&messages),
        prompt_tokens: tokens::count_messages(&messages),
        cap: body["max_output_tokens"].as_u64(),
        choices: None,
    };
    let (cap, streamed) = (body["max_output_tokens"].clone(), body["stream"] == true);
    let exchange = match call.answer(asked) {
        Ok(exchange) => exchange,
        Err(status) => return failed(status),
    };
    let told = Told {
        exchange: &exchange,
        cap,
    };
    if streamed {
        let events = told.events();
        return exchange.stream(SERVER_SENT_EVENTS, events);
    }
    let body = told.ended();
    exchange.plain(body).await
}

/// Events, numbered from 0.
#[derive(Default)]
struct Events(VecDeque<Event>);

impl Events {
    fn push(&mut self, kind: &str, fields: Value) {
        let event = self.next(kind, fields);
        self.0.push_back(event);
    }

    fn next(&self, kind: &str, fields: Value) -> Event {
        let mut event = json!({"type": kind, "sequence_number": self.0.len()});
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        Event::named(&event)
    }
}

struct Told<'a> {
    exchange: &'a Exchange,
    cap: Value,
}

impl Told<'_> {
    fn events(&self) -> VecDeque<Event> {
        let begun = self.response("in_progress", &[]);
        let text = self.exchange.answer.text();
        let item = |item: Value| json!({"output_index": 0, "item": item});
        let content = |name: &str, value: Value| json!({"item_id": self.item_id(), "output_index": 0, "content_index": 0, name: value});
        let mut events = Events::default();
        events.push("response.created", json!({"response": begun}));
        events.push("response.in_progress", json!({"response": begun}));
        let added = self.item("in_progress", &[]);
        events.push("response.output_item.added", item(added));
        events.push("response.content_part.added", content("part", part("")));
        for chunk in self.exchange.chunks() {
            let delta = content("delta", chunk.text.as_str().into());
            let event = events.next("response.output_text.delta", delta);
            events.0.push_back(chunk.carried_by(event));
        }
        let done = content("text", text.as_str().into());
        events.push("response.output_text.done", done);
        events.push("response.content_part.done", content("part", part(&text)));
        events.push("response.output_item.done", item(self.said()));
        let last = self
            .exchange
            .finish("response.completed", "response.incomplete");
        events.push(last, json!({"response": self.ended()}));
        if let Some(first) = events.0.front_mut() {
            first.delay = self.exchange.pace.first_token_delay;
        }
        events.0
    }

    /// The response when all is said.
    fn ended(&self) -> Value {
        let mut response = self.response(
            self.exchange.finish("completed", "incomplete"),
            &[self.said()],
        );
        if response["status"] == "incomplete" {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        if let Some(usage) = self.exchange.usage {
            response["usage"] = json!({
                "input_tokens": usage.prompt,
                "input_tokens_details": {"cached_tokens": usage.cached},
                "output_tokens": usage.completion,
                "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                "total_tokens": usage.total(),
            });
        }
        response
    }

    fn response(&self, status: &str, output: &[Value]) -> Value {
        json!({
            "id": format!("resp_{:08}", self.exchange.id),
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": self.cap,
            "model": self.exchange.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "store": false,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": null,
            "user": null,
            "metadata": {},
        })
    }

    fn said(&self) -> Value {
        let status = self.exchange.finish("completed", "incomplete");
        self.item(status, &[part(&self.exchange.answer.text())])
    }

    fn item(&self, status: &str, content: &[Value]) -> Value {
        json!({"id": self.item_id(), "type": "message", "status": status, "role": "assistant", "content": content})
    }

    fn item_id(&self) -> String {
        format!("msg_{:08}", self.exchange.id)
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}
