//! OpenAI's wire format: chat completions, embeddings, models.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fault::{self, Fault};
use crate::prose::{Answer, Finish};
use crate::stream::{self, Event};
use crate::{Config, Pace, tokens};

/// Seconds since the epoch that every answer carries as `created`: answers are deterministic.
const CREATED: u64 = 1_750_000_000;
/// Dimensions of an embedding.
const DIMENSIONS: usize = 8;

#[derive(Clone, Copy)]
struct Usage {
    prompt: usize,
    completion: usize,
}

impl Usage {
    fn reported(self, fault: Option<Fault>) -> Option<Value> {
        let Self { prompt, completion } = match fault {
            Some(Fault::NoUsage) => return None,
            Some(Fault::LyingUsage) => Self {
                prompt: 1,
                completion: 1,
            },
            _ => self,
        };
        Some(json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }))
    }
}

/// `POST /v1/chat/completions`
pub(crate) async fn chat(
    State(config): State<Arc<Config>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            StatusCode::BAD_REQUEST,
            "we could not parse the JSON body of your request",
        );
    };
    let mut entry = config.log.open("/v1/chat/completions", &headers, &body);
    let (Some(model), Some(messages)) = (body["model"].as_str(), body["messages"].as_array())
    else {
        return error(
            StatusCode::BAD_REQUEST,
            "`model` and `messages` are required",
        );
    };
    let fault = Fault::of(&headers, model);
    if let Some(Fault::Fail(status)) = fault {
        return error(status, "a fault was asked for");
    }
    let pace = fault::pace(fault, config.pace);
    let cap = ["max_completion_tokens", "max_tokens"]
        .iter()
        .find_map(|name| body[name].as_u64());
    let question = messages
        .last()
        .map(|message| tokens::content_text(&message["content"]))
        .unwrap_or_default();
    let cap = cap.map(|cap| usize::try_from(cap).unwrap_or(usize::MAX));
    let answer = Answer::compose(&question, cap, fault == Some(Fault::Full));
    let choices = usize::try_from(body["n"].as_u64().unwrap_or(1))
        .unwrap_or(1)
        .clamp(1, 16);
    let usage = Usage {
        prompt: tokens::count_messages(messages),
        completion: answer.tokens() * choices,
    };
    let completion = Completion {
        id: entry.id(),
        model,
        answer: &answer,
        choices,
        usage: usage.reported(fault),
    };

    if body["stream"].as_bool() == Some(true) {
        let include_usage = body["stream_options"]["include_usage"].as_bool() == Some(true);
        let events = completion.events(include_usage, pace);
        let broken_after = (fault == Some(Fault::Drop)).then_some(events.len() / 2);
        return stream::respond(events, broken_after, entry);
    }
    tokio::time::sleep(pace.first_token_delay).await;
    entry.speak(usage.completion);
    entry.complete();
    Json(completion.plain()).into_response()
}

struct Completion<'a> {
    id: u64,
    model: &'a str,
    answer: &'a Answer,
    choices: usize,
    usage: Option<Value>,
}

impl Completion<'_> {
    fn plain(&self) -> Value {
        let choices: Vec<Value> = (0..self.choices)
            .map(|index| {
                json!({
                    "index": index,
                    "message": {"role": "assistant", "content": self.answer.text(), "refusal": null},
                    "logprobs": null,
                    "finish_reason": self.finish_reason(),
                })
            })
            .collect();
        let mut body = self.envelope("chat.completion", &choices.into());
        if let Some(usage) = &self.usage {
            body["usage"] = usage.clone();
        }
        body
    }

    fn events(&self, include_usage: bool, pace: Pace) -> VecDeque<Event> {
        let chunk = |index: usize, delta: &Value, finish: Value| {
            let choice =
                json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish});
            let mut chunk = self.envelope("chat.completion.chunk", &json!([choice]));
            if include_usage {
                chunk["usage"] = Value::Null;
            }
            Event::data(&chunk)
        };
        let mut events = VecDeque::new();
        for index in 0..self.choices {
            let delta = json!({"role": "assistant", "content": "", "refusal": null});
            let delay = if index == 0 {
                pace.first_token_delay
            } else {
                std::time::Duration::ZERO
            };
            events.push_back(chunk(index, &delta, Value::Null).spoken(delay, 0));
        }
        for pieces in self.answer.pieces.chunks(pace.tokens_per_chunk) {
            for index in 0..self.choices {
                let spoken = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
                let delta = json!({"content": pieces.concat()});
                events.push_back(
                    chunk(index, &delta, Value::Null)
                        .spoken(pace.token_delay * spoken, pieces.len()),
                );
            }
        }
        for index in 0..self.choices {
            events.push_back(chunk(index, &json!({}), self.finish_reason().into()));
        }
        if let (true, Some(usage)) = (include_usage, &self.usage) {
            let mut chunk = self.envelope("chat.completion.chunk", &json!([]));
            chunk["usage"] = usage.clone();
            events.push_back(Event::data(&chunk));
        }
        events.push_back(Event::done());
        events
    }

    fn envelope(&self, object: &str, choices: &Value) -> Value {
        json!({
            "id": format!("chatcmpl-{:08}", self.id),
            "object": object,
            "created": CREATED,
            "model": self.model,
            "choices": choices,
            "service_tier": "default",
            "system_fingerprint": "fp_sample",
        })
    }

    fn finish_reason(&self) -> &'static str {
        match self.answer.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
        }
    }
}

/// `POST /v1/embeddings`
pub(crate) async fn embeddings(
    State(config): State<Arc<Config>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(
            StatusCode::BAD_REQUEST,
            "we could not parse the JSON body of your request",
        );
    };
    let entry = config.log.open("/v1/embeddings", &headers, &body);
    let inputs: Vec<&str> = match &body["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let (Some(model), false) = (body["model"].as_str(), inputs.is_empty()) else {
        return error(StatusCode::BAD_REQUEST, "`model` and `input` are required");
    };
    let fault = Fault::of(&headers, model);
    if let Some(Fault::Fail(status)) = fault {
        return error(status, "a fault was asked for");
    }
    let prompt: usize = inputs.iter().map(|text| tokens::count(text)).sum();
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": embedding(text)}))
        .collect();
    let mut answer = json!({"object": "list", "data": data, "model": model});
    if let Some(usage) = (Usage {
        prompt,
        completion: 0,
    })
    .reported(fault)
    {
        answer["usage"] = json!({"prompt_tokens": usage["prompt_tokens"], "total_tokens": usage["prompt_tokens"]});
    }
    entry.complete();
    Json(answer).into_response()
}

/// A unit vector that depends on the text alone.
fn embedding(text: &str) -> [f64; DIMENSIONS] {
    let mut vector = [1.0; DIMENSIONS];
    for (position, byte) in text.bytes().enumerate() {
        vector[position % DIMENSIONS] += f64::from(byte) / 255.0;
    }
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    vector.map(|value| value / length)
}

/// `GET /v1/models`
pub(crate) async fn models() -> Json<Value> {
    let models = [
        "gpt-4o-mini",
        "gpt-4o",
        "claude-sample",
        "text-embedding-3-small",
    ];
    let data: Vec<Value> = models
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "sample"}))
        .collect();
    Json(json!({"object": "list", "data": data}))
}

/// Any other path.
pub(crate) async fn not_found(uri: Uri) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!("unknown request URL: {}", uri.path()),
    )
}

fn error(status: StatusCode, message: &str) -> Response {
    let kind = if status.is_server_error() {
        "server_error"
    } else {
        "invalid_request_error"
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (status, Json(body)).into_response()
}
