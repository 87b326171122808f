//! The provider over real HTTP: plain and streamed answers report the same usage in each vendor's shape.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use sample_llm::exchange::{CACHED_HEADER, REASONING_HEADER};
use sample_llm::{Config, Outcome, RequestLog, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

struct Provider {
    address: SocketAddr,
    log: RequestLog,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::default();
        let log = config.log.clone();
        tokio::spawn(serve(listener, config, std::future::pending()));
        Self { address, log }
    }

    async fn post(&self, path: &str, body: Value) -> (u16, String) {
        let answer = self.send(path, &[], &body).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.json(body).send().await.unwrap()
    }

    async fn post_json(&self, path: &str, body: Value) -> Value {
        let (status, text) = self.post(path, body).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn data_lines(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn chat(extra: &[(&str, Value)]) -> Value {
    let mut body = json!({"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "What is a gateway?"}]});
    for (name, value) in extra {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_streamed_chat_says_and_bills_what_a_plain_one_does() {
    let provider = Provider::start().await;
    let plain = provider.post_json("/v1/chat/completions", chat(&[])).await;
    let asked = chat(&[
        ("stream", true.into()),
        ("stream_options", json!({"include_usage": true})),
    ]);
    let (_, stream) = provider.post("/v1/chat/completions", asked).await;
    let chunks = data_lines(&stream);
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    let last = chunks.last().unwrap();

    assert_eq!(plain["choices"][0]["message"]["content"], text);
    assert_eq!(plain["usage"]["completion_tokens"], 15);
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], plain["usage"]);
    assert!(
        chunks[..chunks.len() - 1]
            .iter()
            .all(|chunk| chunk["usage"].is_null())
    );
    assert!(stream.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_stream_reports_usage_only_when_asked_to() {
    let provider = Provider::start().await;
    let (_, stream) = provider
        .post("/v1/chat/completions", chat(&[("stream", true.into())]))
        .await;
    assert!(
        data_lines(&stream)
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
}

#[tokio::test]
async fn anthropic_events_come_in_order_and_the_last_usage_is_the_total() {
    let provider = Provider::start().await;
    let plain = provider.post_json("/v1/messages", chat(&[])).await;
    let (_, stream) = provider
        .post("/v1/messages", chat(&[("stream", true.into())]))
        .await;
    let events = data_lines(&stream);
    let mut kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    kinds.dedup();

    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(
        events[0]["message"]["usage"]["input_tokens"],
        plain["usage"]["input_tokens"]
    );
    assert_eq!(
        events[events.len() - 2]["usage"]["output_tokens"],
        plain["usage"]["output_tokens"]
    );
    assert_eq!(plain["usage"]["output_tokens"], 15);
}

#[tokio::test]
async fn embeddings_cost_their_input() {
    let provider = Provider::start().await;
    let answer = provider
        .post_json(
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": ["hello", "hello"]}),
        )
        .await;
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 2, "total_tokens": 2})
    );
    assert_eq!(
        answer["data"][0]["embedding"],
        answer["data"][1]["embedding"]
    );
}

#[tokio::test]
async fn faults_are_chosen_by_model() {
    let provider = Provider::start().await;
    let ask = async |model: &str, stream: bool| {
        provider
            .post(
                "/v1/chat/completions",
                chat(&[("model", model.into()), ("stream", stream.into())]),
            )
            .await
    };
    assert_eq!(ask("fail-503", false).await.0, 503);
    assert!(!ask("no-usage", false).await.1.contains("total_tokens"));
    assert!(
        ask("lying-usage", false)
            .await
            .1
            .contains(r#""total_tokens":2"#)
    );
    assert!(
        ask("full", false)
            .await
            .1
            .contains(r#""completion_tokens":20"#)
    );
}

#[tokio::test]
async fn a_dropped_stream_breaks_and_is_logged_as_aborted() {
    let provider = Provider::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("http://{}/v1/chat/completions", provider.address))
        .header("x-case", "dropped")
        .json(&chat(&[("model", "drop".into()), ("stream", true.into())]))
        .send()
        .await
        .unwrap();
    assert!(answer.text().await.is_err());
    let record = provider.log.last_with_header("x-case", "dropped").unwrap();
    assert_eq!(record.outcome, Outcome::Aborted);
    assert!(record.spoken > 0 && record.spoken < 15, "{}", record.spoken);
}

/// Three of the prompt's tokens from a cache, five thought before the answer.
const DETAILS: [(&str, &str); 2] = [(CACHED_HEADER, "3"), (REASONING_HEADER, "5")];

/// The same 12 tokens in each vendor's words.
#[tokio::test]
async fn every_vendor_bills_the_same_question_alike() {
    let provider = Provider::start().await;
    let messages = json!([{"role": "user", "content": "What is a gateway?"}]);
    let parts = json!([{"role": "user", "parts": [{"text": "What is a gateway?"}]}]);
    let blocks = json!([{"role": "user", "content": [{"text": "What is a gateway?"}]}]);
    let cases = [
        (
            "/v1/chat/completions",
            chat(&[]),
            "/usage",
            json!({
                "prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32,
                "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 5},
            }),
        ),
        (
            "/v1/responses",
            json!({"model": "gpt-4o", "input": messages, "max_output_tokens": 20}),
            "/usage",
            json!({
                "input_tokens": 12, "input_tokens_details": {"cached_tokens": 3},
                "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 32,
            }),
        ),
        (
            "/v1/messages",
            chat(&[]),
            "/usage",
            json!({
                "input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 20,
            }),
        ),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            json!({"contents": parts, "generationConfig": {"maxOutputTokens": 20}}),
            "/usageMetadata",
            json!({
                "promptTokenCount": 12, "candidatesTokenCount": 15, "totalTokenCount": 32,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
                "cachedContentTokenCount": 3, "thoughtsTokenCount": 5,
            }),
        ),
        (
            "/model/amazon.nova-lite-v1%3A0/converse",
            json!({"messages": blocks, "inferenceConfig": {"maxTokens": 20}}),
            "/usage",
            json!({
                "inputTokens": 9, "outputTokens": 20, "totalTokens": 32, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 0,
            }),
        ),
        (
            "/v2/chat",
            chat(&[]),
            "/usage",
            json!({
                "billed_units": {"input_tokens": 12, "output_tokens": 20},
                "tokens": {"input_tokens": 12, "output_tokens": 20}, "cached_tokens": 3,
            }),
        ),
        (
            "/api/chat",
            json!({"model": "llama", "messages": messages, "stream": false, "options": {"num_predict": 20}}),
            "/eval_count",
            20.into(),
        ),
        (
            "/api/generate",
            json!({"model": "llama", "prompt": "What is a gateway?", "stream": false, "options": {"num_predict": 20}}),
            "/prompt_eval_count",
            12.into(),
        ),
    ];
    for (path, body, pointer, usage) in cases {
        let answer: Value = provider
            .send(path, &DETAILS, &body)
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(answer.pointer(pointer), Some(&usage), "{path}: {answer}");
        assert!(answer.to_string().contains("You asked: “What"), "{answer}");
    }
}

#[tokio::test]
async fn a_streamed_response_numbers_its_events_and_ends_with_the_whole() {
    let provider = Provider::start().await;
    let ask = |model: &str, stream: bool| json!({"model": model, "input": "Why?", "max_output_tokens": 12, "stream": stream});
    let plain = provider
        .post_json("/v1/responses", ask("gpt-4o", false))
        .await;
    let (_, stream) = provider.post("/v1/responses", ask("gpt-4o", true)).await;
    let events = data_lines(&stream);
    let mut kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    assert!(
        (0..)
            .zip(&events)
            .all(|(number, event)| event["sequence_number"] == number)
    );
    let text: String = events
        .iter()
        .filter_map(|event| event["delta"].as_str())
        .collect();
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], text);
    assert_eq!(last["usage"], plain["usage"]);
    assert_eq!(plain["usage"]["output_tokens"], 9);

    let (_, cut) = provider.post("/v1/responses", ask("full", true)).await;
    let last = data_lines(&cut).pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(
        last["response"]["incomplete_details"]["reason"],
        "max_output_tokens"
    );
}

#[tokio::test]
async fn a_completion_streams_what_it_says_plainly_for_each_prompt() {
    let provider = Provider::start().await;
    let ask =
        json!({"model": "gpt-3.5-turbo-instruct", "prompt": ["Why?", "Why?"], "max_tokens": 12});
    let plain = provider.post_json("/v1/completions", ask.clone()).await;
    let mut asked = ask;
    asked["stream"] = true.into();
    asked["stream_options"] = json!({"include_usage": true});
    let (_, stream) = provider.post("/v1/completions", asked).await;
    let chunks = data_lines(&stream);
    let second: String = chunks
        .iter()
        .filter(|chunk| chunk["choices"][0]["index"] == 1)
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(plain["choices"][1]["text"], second);
    assert_eq!(plain["usage"]["completion_tokens"], 18);
    assert_eq!(chunks.last().unwrap()["usage"], plain["usage"]);
    assert!(stream.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn gemini_streams_cumulative_usage_as_events_or_as_one_array() {
    let provider = Provider::start().await;
    let path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
    let ask = json!({"contents": [{"parts": [{"text": "Why?"}]}], "generationConfig": {"maxOutputTokens": 12}});
    let (_, stream) = provider.post(&format!("{path}?alt=sse"), ask.clone()).await;
    let parts = data_lines(&stream);
    let counts: Vec<u64> = parts
        .iter()
        .map(|part| {
            part["usageMetadata"]["candidatesTokenCount"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts.last(), Some(&9));
    assert_eq!(
        parts.last().unwrap()["candidates"][0]["finishReason"],
        "STOP"
    );
    assert!(stream.ends_with("}\r\n\r\n"));

    let (_, array) = provider.post(path, ask).await;
    let array: Vec<Value> = serde_json::from_str(&array).unwrap();
    assert_eq!(array.len(), parts.len());
    let error = provider
        .post("/v1beta/models/gemini:explain", json!({}))
        .await;
    assert!(error.0 == 404 && error.1.contains("NOT_FOUND"), "{error:?}");
}

/// The events of a binary stream, by name; panics where a length or a checksum is wrong.
fn frames(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let number = |at: &[u8]| u32::from_be_bytes(at[..4].try_into().unwrap());
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = bytes.split_at(number(bytes) as usize);
        let (content, checksum) = frame.split_at(frame.len() - 4);
        assert_eq!(number(&frame[8..]), crc32fast::hash(&frame[..8]));
        assert_eq!(number(checksum), crc32fast::hash(content));
        let (headers, payload) = content[12..].split_at(number(&frame[4..]) as usize);
        let name = headers.strip_prefix(b"\x0b:event-type\x07\x00").unwrap();
        let name = &name[1..=usize::from(name[0])];
        frames.push((
            String::from_utf8(name.to_vec()).unwrap(),
            serde_json::from_slice(payload).unwrap(),
        ));
        bytes = rest;
    }
    frames
}

#[tokio::test]
async fn bedrock_streams_frames_and_ends_with_metadata() {
    let provider = Provider::start().await;
    let ask = json!({
        "messages": [{"role": "user", "content": [{"text": "What is a gateway?"}]}],
        "inferenceConfig": {"maxTokens": 20},
    });
    let path = "/model/amazon.nova-lite-v1%3A0/converse";
    let plain = provider.post_json(path, ask.clone()).await;
    let answer = provider.send(&format!("{path}-stream"), &[], &ask).await;
    assert_eq!(
        answer.headers()["content-type"],
        "application/vnd.amazon.eventstream"
    );
    let frames = frames(&answer.bytes().await.unwrap());
    let mut kinds: Vec<&str> = frames.iter().map(|(kind, _)| kind.as_str()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "messageStart",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
            "metadata"
        ]
    );
    let text: String = frames
        .iter()
        .filter_map(|(_, event)| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(plain["output"]["message"]["content"][0]["text"], text);
    assert_eq!(frames.last().unwrap().1["usage"], plain["usage"]);
    assert_eq!(plain["usage"]["outputTokens"], 15);
}

#[tokio::test]
async fn cohere_ends_its_stream_with_the_usage() {
    let provider = Provider::start().await;
    let plain = provider.post_json("/v2/chat", chat(&[])).await;
    let (_, stream) = provider
        .post("/v2/chat", chat(&[("stream", true.into())]))
        .await;
    let events = data_lines(&stream);
    let last = events.last().unwrap();
    assert_eq!(last["type"], "message-end");
    assert_eq!(last["delta"]["usage"], plain["usage"]);
    let text: String = events
        .iter()
        .filter_map(|event| event["delta"]["message"]["content"]["text"].as_str())
        .collect();
    assert_eq!(plain["message"]["content"][0]["text"], text);
    assert!(stream.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn ollama_streams_a_line_a_token_unless_told_not_to() {
    let provider = Provider::start().await;
    let ask = json!({"model": "llama", "prompt": "Why?", "options": {"num_predict": 12}});
    let (_, stream) = provider.post("/api/generate", ask.clone()).await;
    let lines: Vec<Value> = stream
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 9 + 1);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["done"], &last["eval_count"]),
        (&json!(true), &json!(9))
    );
    assert!(lines[..9].iter().all(|line| line["done"] == false));

    let mut asked = ask;
    asked["stream"] = false.into();
    let plain = provider.post_json("/api/generate", asked).await;
    let text: String = lines
        .iter()
        .filter_map(|line| line["response"].as_str())
        .collect();
    assert_eq!(plain["response"], text);
}

#[tokio::test]
async fn each_vendor_refuses_in_its_own_words() {
    let provider = Provider::start().await;
    for (path, error) in [
        ("/v1/responses", "/error/type"),
        ("/v1/completions", "/error/type"),
        ("/v1/messages", "/error/type"),
        ("/v1beta/models/gemini:generateContent", "/error/status"),
        ("/model/nova/converse", "/message"),
        ("/model/nova/converse-stream", "/message"),
        ("/v2/chat", "/message"),
        ("/api/chat", "/error"),
        ("/api/generate", "/error"),
    ] {
        let (status, text) = provider.post(path, json!([])).await;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status, 400, "{path}");
        assert!(body.pointer(error).is_some_and(Value::is_string), "{body}");
    }
    let (status, _) = provider
        .post(
            "/model/fail-503/converse",
            json!({"messages": [{"role": "user", "content": [{"text": "?"}]}]}),
        )
        .await;
    assert_eq!(status, 503);
}
