//! Every vendor's API, plain and streamed: what is charged is what the vendor reports, cached and reasoning tokens included.

use anyhow::{Context, Result, ensure};
use sample_llm::exchange::{CACHED_HEADER, REASONING_HEADER};
use sample_llm::tokens;
use serde_json::{Value, json};
use stories::world::World;

use crate::limits::{LIMIT, granted, until_charged};

const QUESTION: &str = "How does a doorkeeper read a foreign letter?";
/// The cap on each answer, three quarters of which are said.
const CAP: u64 = 40;
const SAID: u64 = 30;
/// Tokens that are thought and not said: reservation, report and a count of the text all differ.
const THOUGHT: u64 = 5;

/// A path with its query, and what is sent there.
type Request = (&'static str, Value);

fn messages() -> Value {
    json!([{"role": "user", "content": QUESTION}])
}

fn chat(stream: bool) -> Value {
    json!({"model": "gpt-4o", "messages": messages(), "max_tokens": CAP, "stream": stream})
}

fn response(stream: bool) -> Value {
    json!({"model": "gpt-4o", "input": messages(), "max_output_tokens": CAP, "stream": stream})
}

fn gemini() -> Value {
    json!({
        "contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
        "generationConfig": {"maxOutputTokens": CAP},
    })
}

fn converse() -> Value {
    json!({
        "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
        "inferenceConfig": {"maxTokens": CAP},
    })
}

fn ollama(stream: bool) -> Value {
    json!({"model": "llama", "messages": messages(), "options": {"num_predict": CAP}, "stream": stream})
}

fn generate(stream: bool) -> Value {
    json!({"model": "llama", "prompt": QUESTION, "options": {"num_predict": CAP}, "stream": stream})
}

/// Sends each request as a tenant of its own, and waits until each has been charged what its vendor reported.
async fn until_each_is_charged(
    world: &World,
    how: &str,
    requests: impl IntoIterator<Item = Request>,
) -> Result<()> {
    let messages = messages();
    let prompt = tokens::count_messages(messages.as_array().context("a list")?) as u64;
    for (path, body) in requests {
        let tenant = format!("{how} {path}");
        let caller = world
            .tenant("/any", &tenant)
            .await?
            .with_header(CACHED_HEADER, "3")
            .with_header(REASONING_HEADER, &THOUGHT.to_string());
        let answer = caller.post(path, &body).await?;
        ensure!(
            answer.status == 200,
            "{path} answered {}: {}",
            answer.status,
            answer.body
        );
        let probe = world.tenant("/any/v1", &tenant).await?;
        until_charged(&probe, LIMIT, prompt + SAID + THOUGHT)
            .await
            .with_context(|| format!("{path} {how}"))?;
    }
    Ok(())
}

pub(crate) async fn every_answer_is_metered_exactly(world: &mut World) -> Result<()> {
    let requests = [
        ("/v1/chat/completions", chat(false)),
        ("/v1/responses", response(false)),
        ("/v1/messages", chat(false)),
        ("/v1beta/models/gemini-2.5-flash:generateContent", gemini()),
        ("/model/amazon.nova-lite-v1%3A0/converse", converse()),
        ("/v2/chat", chat(false)),
        ("/api/chat", ollama(false)),
        ("/api/generate", generate(false)),
    ];
    until_each_is_charged(world, "plain", requests).await
}

pub(crate) async fn every_stream_is_metered_exactly(world: &mut World) -> Result<()> {
    let requests = [
        ("/v1/chat/completions", chat(true)),
        ("/v1/responses", response(true)),
        ("/v1/messages", chat(true)),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            gemini(),
        ),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            gemini(),
        ),
        ("/model/amazon.nova-lite-v1%3A0/converse-stream", converse()),
        ("/v2/chat", chat(true)),
        ("/api/chat", ollama(true)),
        ("/api/generate", generate(true)),
    ];
    until_each_is_charged(world, "streamed", requests).await
}

pub(crate) async fn a_refusal_has_the_form_of_the_api_that_was_asked(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/shadow/v1", "polyglot").await?;
    for _ in 0..3 {
        granted(&caller, &chat(false)).await?;
    }
    for (path, pointer, kind) in [
        ("/chat/completions", "/error/code", "rate_limit_exceeded"),
        ("/messages", "/type", "error"),
        ("/messages", "/error/type", "rate_limit_error"),
    ] {
        let refusal = caller.post(path, &chat(false)).await?;
        ensure!(refusal.status == 429, "{path} answered {}", refusal.status);
        ensure!(
            refusal.body.pointer(pointer) == Some(&kind.into()),
            "{path}: the body is {}",
            refusal.body
        );
    }
    Ok(())
}
