//! An operator's receiver of events, as it meets a running server.

use std::fs::{self, File};
use std::sync::Arc;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::net::TcpListener;

use crate::server::{Server, until};

const KEY: &[u8] = b"thirty-two bytes of randomness..";
/// A part of the address that nobody else may learn.
const CAPABILITY: &str = "T0PS3CR3T";

type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = received.lock().unwrap();
    received.push((headers, body));
    // Not at the first time.
    if received.len() == 1 {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    }
}

/// The body, if its signature is right.
fn verified((headers, body): &(HeaderMap, Bytes)) -> Value {
    let header = |name: &str| headers[name].to_str().unwrap();
    let signed = [
        header("webhook-id").as_bytes(),
        b".",
        header("webhook-timestamp").as_bytes(),
        b".",
        body,
    ]
    .concat();
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).unwrap();
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn a_receiver_hears_once_of_a_warning_and_once_of_a_refusal() {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{CAPABILITY}", listener.local_addr().unwrap());
    let routes = Router::new()
        .route(&format!("/{CAPABILITY}"), post(take))
        .with_state(Arc::clone(&received));
    tokio::spawn(async { axum::serve(listener, routes).await });

    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    let server = Server::start(dir.path(), |command| {
        command
            .args(["--webhook-url", &url])
            .env("LLM_PLUGIN_SERVER_WEBHOOK_SECRET", &secret)
            .env("LLM_PLUGIN_SERVER_LOG_LEVEL", "trace")
            .stderr(File::create(&log).unwrap());
    })
    .await;
    let config = json!({"limits": [
        {"name": "hourly", "unit": "requests", "limit": 5, "window_size": 3600, "warn_at": 0.8},
    ]});
    assert_eq!(server.requests(&config, "alice", 50).await, 5);
    assert_eq!(server.requests(&config, "bob", 4).await, 4);
    // Three events, one of them twice.
    until("all is told", || received.lock().unwrap().len() == 4).await;
    let outcome = "llm_webhook_events_total{outcome=\"delivered\"}";
    while server.metric(outcome).await < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.metric("llm_webhook_retries_total").await, 1);
    server.stop().await;

    let received = received.lock().unwrap();
    let told: Vec<Value> = received
        .iter()
        .map(|request| {
            let event = verified(request);
            let data = &event["data"];
            json!([
                event["type"],
                data["values"]["consumer"],
                data["used"],
                data["remaining"]
            ])
        })
        .collect();
    let warning = json!(["limit.warning", "alice", 4, 1]);
    assert_eq!(
        told,
        [
            warning.clone(),
            warning,
            json!(["limit.refusal", "alice", 5, 0]),
            json!(["limit.warning", "bob", 4, 1]),
        ]
    );
    assert_eq!(received[0].0["webhook-id"], received[1].0["webhook-id"]);

    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("serving Kong"));
    for hidden in [CAPABILITY, &secret, &STANDARD.encode(KEY)] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
}
