//! One question and its answer, before a vendor puts its own words around them.
//!
//! A `Call` is what arrived; a vendor reads from it what is `Asked`; the `Exchange` holds the answer and what it costs, and
//! sends whatever the vendor's module makes of it, plain or streamed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::fault::{self, Fault};
use crate::prose::{Answer, Finish};
use crate::request_log::Entry;
use crate::stream::{self, Event};
use crate::{Config, Pace};

/// The request header that says how many of the prompt's tokens were read from a cache.
pub const CACHED_HEADER: &str = "x-sample-cached-tokens";
/// The request header that says how many tokens were thought before the answer, and billed with it.
pub const REASONING_HEADER: &str = "x-sample-reasoning-tokens";

/// The most choices that one request gets.
const MOST_CHOICES: u64 = 16;

/// A request as it arrived, noted in the log.
pub(crate) struct Call {
    /// Its JSON; a string with the bytes if they are none.
    pub(crate) body: Value,
    headers: HeaderMap,
    config: Arc<Config>,
    entry: Entry,
}

impl FromRequest<Arc<Config>> for Call {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, config: &Arc<Config>) -> Result<Self, BytesRejection> {
        let (headers, path) = (request.headers().clone(), request.uri().path().to_owned());
        let bytes = Bytes::from_request(request, config).await?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Self {
            entry: config.log.open(&path, &headers, &body),
            body,
            headers,
            config: Arc::clone(config),
        })
    }
}

/// What a request asks for, in no vendor's words.
pub(crate) struct Asked {
    /// Who is asked.
    pub(crate) model: String,
    /// The last thing that was said.
    pub(crate) question: String,
    /// What the prompt costs.
    pub(crate) prompt_tokens: usize,
    /// The most tokens that the answer may have.
    pub(crate) cap: Option<u64>,
    /// How often it is answered; at least once.
    pub(crate) choices: Option<u64>,
}

impl Call {
    /// Answers, or fails with the status that a fault asks for.
    pub(crate) fn answer(self, asked: Asked) -> Result<Exchange, StatusCode> {
        let fault = Fault::of(&self.headers, &asked.model);
        if let Some(Fault::Fail(status)) = fault {
            return Err(status);
        }
        let cap = asked
            .cap
            .map(|cap| usize::try_from(cap).unwrap_or(usize::MAX));
        let answer = Answer::compose(&asked.question, cap, fault == Some(Fault::Full));
        let choices = usize::try_from(asked.choices.unwrap_or(1).clamp(1, MOST_CHOICES))
            .expect("a small number");
        let reasoning = number(&self.headers, REASONING_HEADER);
        let usage = match fault {
            Some(Fault::NoUsage) => None,
            Some(Fault::LyingUsage) => Some(Usage {
                prompt: 1,
                completion: 1,
                ..Usage::default()
            }),
            _ => Some(Usage {
                prompt: asked.prompt_tokens,
                cached: number(&self.headers, CACHED_HEADER).min(asked.prompt_tokens),
                completion: answer.tokens() * choices + reasoning,
                reasoning,
            }),
        };
        Ok(Exchange {
            id: self.entry.id(),
            model: asked.model,
            answer,
            choices,
            usage,
            pace: fault::pace(fault, self.config.pace),
            breaks: fault == Some(Fault::Drop),
            entry: self.entry,
        })
    }
}

fn number(headers: &HeaderMap, name: &str) -> usize {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What a request is billed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Tokens of the prompt, the cached ones among them.
    pub(crate) prompt: usize,
    /// Tokens of the prompt that were read from a cache.
    pub(crate) cached: usize,
    /// Tokens of all choices, the reasoning among them.
    pub(crate) completion: usize,
    /// Tokens that were thought and not said.
    pub(crate) reasoning: usize,
}

impl Usage {
    pub(crate) fn total(self) -> usize {
        self.prompt + self.completion
    }

    /// Tokens of the prompt that no cache held.
    pub(crate) fn fresh(self) -> usize {
        self.prompt - self.cached
    }

    /// Tokens that were said.
    pub(crate) fn spoken(self) -> usize {
        self.completion - self.reasoning
    }
}

/// A request and its answer.
pub(crate) struct Exchange {
    /// The request's number.
    pub(crate) id: u64,
    pub(crate) model: String,
    pub(crate) answer: Answer,
    pub(crate) choices: usize,
    /// What is reported; `None` where a fault keeps it back.
    pub(crate) usage: Option<Usage>,
    pub(crate) pace: Pace,
    breaks: bool,
    entry: Entry,
}

/// What one event of a stream says.
pub(crate) struct Chunk {
    pub(crate) text: String,
    tokens: usize,
    delay: Duration,
}

impl Chunk {
    /// `event`, at this chunk's time and with its tokens.
    pub(crate) fn carried_by(&self, event: Event) -> Event {
        event.spoken(self.delay, self.tokens)
    }
}

impl Exchange {
    /// The answer, cut at the provider's pace.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk> {
        self.answer
            .pieces
            .chunks(self.pace.tokens_per_chunk)
            .map(|pieces| Chunk {
                text: pieces.concat(),
                tokens: pieces.len(),
                delay: self.pace.token_delay * u32::try_from(pieces.len()).unwrap_or(u32::MAX),
            })
    }

    /// The vendor's word for why the answer ended.
    pub(crate) fn finish(&self, stop: &'static str, length: &'static str) -> &'static str {
        match self.answer.finish {
            Finish::Stop => stop,
            Finish::Length => length,
        }
    }

    /// Sends `body` when the first token is due.
    pub(crate) async fn plain(mut self, body: Value) -> Response {
        tokio::time::sleep(self.pace.first_token_delay).await;
        self.entry.speak(self.answer.tokens() * self.choices);
        self.entry.complete();
        Json(body).into_response()
    }

    /// Sends `events` one by one; half of them where the connection is to break.
    pub(crate) fn stream(self, content_type: &'static str, events: VecDeque<Event>) -> Response {
        let broken_after = self.breaks.then_some(events.len() / 2);
        stream::respond(content_type, events, broken_after, self.entry)
    }
}
