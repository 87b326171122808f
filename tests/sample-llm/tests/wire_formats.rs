//! The provider over real HTTP: plain and streamed answers report the same usage in each vendor's shape.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

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
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client
            .post(format!("http://{}{path}", self.address))
            .json(&body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
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
