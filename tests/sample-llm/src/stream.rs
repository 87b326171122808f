//! Streamed answers: server-sent events, lines or frames at the provider's pace.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;

use crate::request_log::Entry;

/// The media type of server-sent events.
pub(crate) const SERVER_SENT_EVENTS: &str = "text/event-stream";
/// The media type of JSON objects, one a line.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";

/// Time between the last event that is sent and a connection that breaks on demand.
const BEFORE_THE_BREAK: Duration = Duration::from_millis(20);

/// One event and what comes before it.
pub(crate) struct Event {
    /// Time to wait before it is sent.
    pub(crate) delay: Duration,
    /// Completion tokens that it carries.
    pub(crate) tokens: usize,
    /// Its bytes on the wire.
    pub(crate) bytes: Bytes,
}

impl Event {
    /// An event of data alone, as OpenAI sends.
    pub(crate) fn data(data: &Value) -> Self {
        Self::of(format!("data: {data}\n\n"))
    }

    /// A named event, as Anthropic and others send: its name is the data's `type`.
    pub(crate) fn named(data: &Value) -> Self {
        Self::of(format!(
            "event: {}\ndata: {data}\n\n",
            data["type"].as_str().unwrap_or("message")
        ))
    }

    /// A JSON object in a line of its own.
    pub(crate) fn line(object: &Value) -> Self {
        Self::of(format!("{object}\n"))
    }

    /// The end mark of OpenAI's streams.
    pub(crate) fn done() -> Self {
        Self::of("data: [DONE]\n\n")
    }

    /// The same event, `delay` later, carrying `tokens`.
    pub(crate) fn spoken(self, delay: Duration, tokens: usize) -> Self {
        Self {
            delay,
            tokens,
            ..self
        }
    }

    /// These bytes, at once.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        Self {
            delay: Duration::ZERO,
            tokens: 0,
            bytes: bytes.into(),
        }
    }
}

/// Sends `events` in order. With `broken_after`, the connection breaks when that many were sent.
pub(crate) fn respond(
    content_type: &'static str,
    events: VecDeque<Event>,
    broken_after: Option<usize>,
    entry: Entry,
) -> Response {
    let body = stream::unfold(
        (events, broken_after, Some(entry)),
        |(mut events, mut left, mut entry)| async move {
            if left == Some(0) {
                drop(entry.take());
                // What was said must be on its way before the connection breaks.
                tokio::time::sleep(BEFORE_THE_BREAK).await;
                return Some((
                    Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                    (events, left, None),
                ));
            }
            let Some(event) = events.pop_front() else {
                entry?.complete();
                return None;
            };
            if !event.delay.is_zero() {
                tokio::time::sleep(event.delay).await;
            }
            entry.as_mut()?.speak(event.tokens);
            left = left.map(|left| left - 1);
            Some((Ok(event.bytes), (events, left, entry)))
        },
    );
    (
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")],
        Body::from_stream(body),
    )
        .into_response()
}
