//! Revoked tokens, and a denylist that is away.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;

use super::story::{Story, bearer};
use super::support::{Kong, Request};

#[tokio::test]
async fn a_revoked_token_is_refused_as_any_other_that_is_not_valid() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"jti": "7f3a"})));
    let request = Request::with_headers(&[("authorization", &token)]);
    let config = story.config(&json!({"denylist": {"policy": "memory"}}));
    let instance = story.kong.start_instance("llm-jwt", &config).await;
    assert!(story.kong.access(instance, &request).await.exit.is_none());

    let admin = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(story.dir.path().join("admin.sock"))
        .build()
        .unwrap();
    let revoked = admin
        .post("http://admin/v1/revocations")
        .body(r#"{"issuer": "https://idp.example", "jti": "7f3a"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 200);
    let event = story.kong.access(instance, &request).await;
    let exit = event.exit.as_ref().unwrap();
    assert_eq!(exit.status, 401);
    assert_eq!(&exit.body[..], br#"{"message":"Unauthorized"}"#);
    let challenge = event.exit_header("WWW-Authenticate").unwrap();
    assert!(
        challenge.contains(
            r#"error="invalid_token", error_description="The access token is not valid""#
        ),
        "{challenge}"
    );
    story.end().await;
}

#[tokio::test]
async fn a_denylist_that_is_away_is_503_without_challenge_or_lets_pass() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"jti": "7f3a"})));
    let request = Request::with_headers(&[("authorization", &token)]);
    // A port that nobody listens on.
    let redis = json!({"host": "127.0.0.1", "port": 1});
    let open = json!({"denylist": {"policy": "redis", "on_error": "open"}, "redis": redis});
    let config = story.config(&open);
    assert!(story.access(config, &request).await.exit.is_none());
    let closed = json!({"denylist": {"policy": "redis"}, "redis": redis, "anonymous": "guest"});
    let config = story.config(&closed);
    let event = story.access(config, &request).await;
    assert_eq!(event.exit.as_ref().unwrap().status, 503);
    assert_eq!(event.exit_header("Retry-After").as_deref(), Some("1"));
    assert_eq!(event.exit_header("WWW-Authenticate"), None);
    story.end().await;
}

#[tokio::test]
async fn a_stalled_denylist_costs_its_timeout_a_few_times_and_nobody_else_anything() {
    // It takes connections, and never says a word.
    let stalled = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stalled.local_addr().unwrap().port();
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"jti": "7f3a"})));
    let request = Request::with_headers(&[("authorization", &token)]);
    let config = story.config(&json!({
        "denylist": {"policy": "redis"},
        "redis": {"host": "127.0.0.1", "port": port, "timeout": 200},
    }));
    let beside = story.config(&json!({"denylist": {"policy": "memory"}}));
    let began = Instant::now();
    for _ in 0..20 {
        let event = story.access(config.clone(), &request).await;
        assert_eq!(event.exit.unwrap().status, 503);
        // Kong gives up the connection of an exit.
        story.kong = Kong::connect(story.dir.path()).await;
        let event = story.access(beside.clone(), &request).await;
        assert!(event.exit.is_none());
    }
    // Twenty timeouts would be four seconds; three open the breaker.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    story.end().await;
}
