//! Callers of the gateway and what they were answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::http;

/// Where a chat request goes, below the base URL.
const CHAT: &str = "/chat/completions";

/// How a caller says who it is.
#[derive(Clone)]
pub enum Credential {
    /// `Authorization: Bearer …`
    Token(String),
    /// `apikey: …`
    Key(String),
    /// Not at all.
    None,
}

fn client() -> reqwest::ClientBuilder {
    http::client().timeout(Duration::from_mins(1))
}

/// Someone who talks to one route.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    base_url: String,
    credential: Credential,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// A caller of `base_url`, which is what an OpenAI client is given: it ends with `/v1`.
    pub fn new(base_url: impl Into<String>, credential: Credential) -> Result<Self> {
        Ok(Self {
            client: client().build()?,
            base_url: base_url.into(),
            credential,
            headers: Vec::new(),
        })
    }

    /// The same caller, opening a connection for each request: a server that closes an idle one just as the next
    /// request goes out would otherwise look like a failure.
    pub fn without_keep_alive(mut self) -> Result<Self> {
        self.client = client().pool_max_idle_per_host(0).build()?;
        Ok(self)
    }

    /// The same caller, saying otherwise who it is.
    #[must_use]
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// The same caller, sending one header more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends a chat request and reads the whole answer.
    pub async fn chat(&self, body: &Value) -> Result<Answer> {
        self.post(CHAT, body).await
    }

    /// Sends a request to `path` below the base URL and reads the whole answer, a stream's too.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        Answer::read(self.send(path, body).await?).await
    }

    /// Sends any bytes as a chat request and reads the whole answer.
    pub async fn post_bytes(&self, media_type: &str, body: Vec<u8>) -> Result<Answer> {
        let request = self.client.post(format!("{}{CHAT}", self.base_url));
        let request = request.header("content-type", media_type).body(body);
        Answer::read(self.identified(request).send().await?).await
    }

    /// Sends a streamed chat request and reads it event by event.
    pub async fn stream(&self, body: &Value) -> Result<Streamed> {
        self.stream_until(body, |_| false).await
    }

    /// Like [`Caller::stream`], but leaves, closing the connection, as soon as `enough` says so.
    pub async fn stream_until(
        &self,
        body: &Value,
        enough: impl Fn(&[Event]) -> bool,
    ) -> Result<Streamed> {
        let mut body = body.clone();
        body["stream"] = true.into();
        let start = Instant::now();
        let answer = self.send(CHAT, &body).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut bytes = answer.bytes_stream();
        let (mut buffer, mut events) = (Vec::new(), Vec::new());
        while let Some(chunk) = bytes.next().await {
            buffer.extend_from_slice(&chunk.context("the stream broke")?);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                let text = String::from_utf8(event)?;
                let data = text
                    .trim()
                    .strip_prefix("data: ")
                    .unwrap_or_default()
                    .to_owned();
                events.push(Event {
                    at: start.elapsed(),
                    data,
                });
            }
            if enough(&events) {
                break;
            }
        }
        Ok(Streamed {
            status,
            headers,
            events,
            rest: String::from_utf8_lossy(&buffer).into_owned(),
            took: start.elapsed(),
        })
    }

    /// What the gateway says is left of the caller's tokens, asked with a request that needs none.
    pub async fn remaining(&self) -> Result<Option<u64>> {
        let answer = self
            .identified(self.client.get(format!("{}/models", self.base_url)))
            .send()
            .await?;
        Ok(number(answer.headers(), "x-ratelimit-remaining-tokens"))
    }

    async fn send(&self, path: &str, body: &Value) -> Result<reqwest::Response> {
        let url = format!("{}{path}", self.base_url);
        let request = self.client.post(url).json(body);
        Ok(self.identified(request).send().await?)
    }

    fn identified(&self, mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request = match &self.credential {
            Credential::Token(token) => request.bearer_auth(token),
            Credential::Key(key) => request.header("apikey", key),
            Credential::None => request,
        };
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }
}

/// A small chat request with an output cap.
pub fn question(text: &str, max_tokens: u32) -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": max_tokens, "messages": [{"role": "user", "content": text}]})
}

/// A plain answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The response headers.
    pub headers: HeaderMap,
    /// The body: JSON, or a string if it is something else.
    pub body: Value,
}

impl Answer {
    /// Reads the whole of it.
    pub async fn read(answer: reqwest::Response) -> Result<Self> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    /// A header's first value; empty where it is absent or no text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// `usage.total_tokens` as the provider reported it.
    pub fn total_tokens(&self) -> Option<u64> {
        self.body["usage"]["total_tokens"].as_u64()
    }

    /// A header's value as a number.
    pub fn number(&self, header: &str) -> Option<u64> {
        number(&self.headers, header)
    }

    /// What is left of a limit by its name, as `RateLimit` says: `"name";r=left;t=seconds, …`.
    pub fn left(&self, limit: &str) -> Option<u64> {
        let states = self.headers.get("ratelimit")?.to_str().ok()?;
        let mut parameters = states
            .split(',')
            .map(|state| state.trim().split(';'))
            .find_map(|mut state| (state.next()? == format!("\"{limit}\"")).then_some(state))?;
        parameters.find_map(|parameter| parameter.trim().strip_prefix("r=")?.parse().ok())
    }

    /// How long a refused caller is told to wait, to the millisecond.
    pub fn retry_after(&self) -> Option<Duration> {
        self.number("retry-after-ms").map(Duration::from_millis)
    }
}

/// One server-sent event.
#[derive(Debug)]
pub struct Event {
    /// Time since the request was sent.
    pub at: Duration,
    /// Its data: JSON, or `[DONE]`.
    pub data: String,
}

impl Event {
    /// The data as JSON; null for `[DONE]`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

/// A streamed answer.
#[derive(Debug)]
pub struct Streamed {
    /// The HTTP status.
    pub status: u16,
    /// The response headers.
    pub headers: HeaderMap,
    /// Its events, as they came.
    pub events: Vec<Event>,
    /// Bytes after the last event: the body, when it was no stream.
    pub rest: String,
    /// Time from the request to the end.
    pub took: Duration,
}

impl Streamed {
    /// The text of all deltas.
    pub fn text(&self) -> String {
        let delta = |event: &Event| {
            event.json()["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        };
        self.events.iter().filter_map(delta).collect()
    }

    /// Whether the stream was ended by `[DONE]`.
    pub fn is_done(&self) -> bool {
        self.events
            .last()
            .is_some_and(|event| event.data == "[DONE]")
    }

    /// A header's value as a number.
    pub fn number(&self, header: &str) -> Option<u64> {
        number(&self.headers, header)
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
