//! Tokens with made-up keys, a thousand a second, where keys are published over HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::story::{Story, bearer};
use super::support::{Kong, Request};

const SENDERS: u64 = 8;
/// Of one sender; eight of them send a thousand a second.
const PACE: Duration = Duration::from_millis(SENDERS);
const TOKENS: u64 = 4000;
const COOLDOWN: Duration = Duration::from_secs(1);
/// Five times what [`TOKENS`] take at that pace: the machine may have other things to do.
const LONGEST: Duration = Duration::from_secs(20);
/// Time between two tokens that are valid, and the most that one of them may take.
const HONEST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Publishes this key; the address, and how often it was asked.
async fn endpoint(key: &EcdsaKeyPair) -> (String, Arc<AtomicUsize>) {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "kid": "k1",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    let keys = json!({ "keys": [jwk] }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let answer = async move || {
        counted.fetch_add(1, Ordering::SeqCst);
        keys.clone()
    };
    let app = Router::new().route("/jwks", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn request(token: &str) -> Request {
    Request::with_headers(&[("authorization", &bearer(token))])
}

/// Sends a share of the tokens, at its pace.
async fn send(dir: &Path, instance: i32, sender: u64, token: &str) {
    let (_, rest) = token.split_once('.').unwrap();
    let mut pace = interval(PACE);
    for number in 0..TOKENS / SENDERS {
        let header = json!({"alg": "ES256", "kid": format!("{sender}-{number}")});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        pace.tick().await;
        // Kong gives up the connection of an exit.
        let mut kong = Kong::connect(dir).await;
        let event = kong
            .access(instance, &request(&format!("{header}.{rest}")))
            .await;
        assert_eq!(event.exit.unwrap().status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_made_up_keys_a_second_cause_one_fetch_a_cooldown_and_delay_nobody() {
    let mut story = Story::begin().await;
    let (url, asked) = endpoint(&story.key).await;
    let token = story.token(&Value::Null);
    let config = story.config(&json!({
        "issuers": [{"issuer": "https://idp.example", "jwks_endpoint": url, "audience_required": ["llm"]}],
        "jwks_cooldown": COOLDOWN.as_secs(),
        "token_cache_size": 0,
        "allow_http_jwks": true,
        "allow_private_jwks": true,
    }));
    let instance = story.kong.start_instance("llm-jwt", &config).await;
    let honest = request(&token);
    assert!(story.kong.access(instance, &honest).await.exit.is_none());

    let (before, began) = (asked.load(Ordering::SeqCst), Instant::now());
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (dir, token) = (story.dir.path().to_owned(), token.clone());
        senders.spawn(async move { send(&dir, instance, sender, &token).await });
    }
    let (mut pace, most) = (interval(HONEST.0), HONEST.1);
    while !senders.is_empty() {
        pace.tick().await;
        let sent = Instant::now();
        assert!(story.kong.access(instance, &honest).await.exit.is_none());
        assert!(sent.elapsed() < most, "{:?}", sent.elapsed());
        while let Some(ended) = senders.try_join_next() {
            ended.unwrap();
        }
    }
    let (fetches, took) = (asked.load(Ordering::SeqCst) - before, began.elapsed());
    assert!(took < LONGEST, "{TOKENS} tokens took {took:?}");
    // One at the first of them, and one at the end of each cooldown.
    let most = 1 + took.as_secs() / COOLDOWN.as_secs();
    assert!(
        fetches > 1 && fetches as u64 <= most,
        "{fetches} fetches in {took:?}"
    );
    story.end().await;
}
