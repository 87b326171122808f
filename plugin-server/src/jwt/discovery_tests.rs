//! Issuers found by their metadata, over real HTTP on loopback: honest, moving, lying, stalled and away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use tokio::sync::Notify;

use super::config::KeySource;
use super::refusal::{InvalidToken, Refusal};
use super::testing::endpoint::{Behaviour, Endpoint, metadata};
use super::testing::*;

async fn provider() -> Endpoint {
    Endpoint::start(Behaviour::Keys(vec![TestKey::p256().jwk("k1")])).await
}

/// Valid for two hours: the clock is moved past the keys' time in these tests.
fn token(kid: &str) -> String {
    TestKey::p256().token(
        &json!({"alg": "ES256", "kid": kid}),
        &claims_with("exp", json!(NOW + 7200)),
    )
}

fn is_unavailable(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::KeysUnavailable { .. })
}

/// Documents that lead to no keys.
fn lies(elsewhere: &Endpoint) -> Vec<Behaviour> {
    let keys = elsewhere.url.as_str();
    vec![
        metadata("https://idp.example/", keys),
        metadata("https://evil.example", keys),
        metadata("", keys),
        metadata(ISSUER, "file:///etc/passwd"),
        metadata(ISSUER, "/jwks.json"),
        metadata(ISSUER, "http://user:secret@127.0.0.1/jwks.json"),
        Behaviour::Json(json!({"issuer": ISSUER})),
        Behaviour::Json(json!({"issuer": ISSUER, "jwks_uri": [keys]})),
        Behaviour::Json(json!({"issuer": [ISSUER], "jwks_uri": keys})),
        Behaviour::Json(json!(null)),
        Behaviour::Text("<html>"),
        Behaviour::Text(""),
        Behaviour::Status(StatusCode::NOT_FOUND),
        Behaviour::Status(StatusCode::NO_CONTENT),
        Behaviour::RedirectTo(elsewhere.metadata_url.clone()),
        Behaviour::Huge(300_000),
        Behaviour::HugeStream(100 * 1024 * 1024),
    ]
}

#[tokio::test]
async fn metadata_lead_to_the_keys_once_for_all_requests() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert_eq!(provider.metadata.requests(), 0, "loading does no I/O");
    let token = token("k1");
    let all = futures_util::future::join_all((0..50).map(|_| bench.accepts(&token))).await;
    assert!(all.into_iter().all(|accepted| accepted));
    assert_eq!((provider.metadata.requests(), provider.requests()), (1, 1));
}

#[tokio::test]
async fn an_unknown_kid_goes_straight_to_the_set() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    provider.becomes(Behaviour::Keys(vec![TestKey::p256().jwk("k2")]));
    bench.clock.advance(30);
    assert!(bench.accepts(&token("k2")).await);
    assert_eq!((provider.metadata.requests(), provider.requests()), (1, 2));
}

#[tokio::test]
async fn a_set_that_has_moved_is_found_again() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    let new_home = Endpoint::start(Behaviour::Keys(vec![TestKey::p256().jwk("k2")])).await;
    provider.becomes(Behaviour::Status(StatusCode::GONE));
    provider.metadata.becomes(metadata(ISSUER, &new_home.url));
    bench.clock.advance(30);
    assert!(bench.accepts(&token("k2")).await);
    assert_eq!((provider.metadata.requests(), provider.requests()), (2, 2));
    bench.clock.advance(30);
    assert!(!bench.accepts(&token("k3")).await);
    assert_eq!(provider.requests(), 2, "the old home is forgotten");
    assert_eq!(new_home.requests(), 2);
}

#[tokio::test]
async fn metadata_are_fetched_again_with_the_keys() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    bench.clock.advance(481);
    assert!(bench.accepts(&token("k1")).await);
    provider.settled(&bench, 2).await;
    assert_eq!((provider.metadata.requests(), provider.requests()), (2, 2));
}

#[tokio::test]
async fn lying_metadata_are_503_and_nobody_is_asked_for_keys() {
    let elsewhere = provider().await;
    for (number, lie) in lies(&elsewhere).into_iter().enumerate() {
        let provider = provider().await;
        provider.metadata.becomes(lie);
        let bench = Bench::new(provider.discovery_settings());
        assert!(
            is_unavailable(&bench.refusal(&token("k1")).await),
            "lie {number}"
        );
        assert_eq!(provider.requests(), 0, "lie {number}");
    }
    assert_eq!(
        (elsewhere.metadata.requests(), elsewhere.requests()),
        (0, 0)
    );
}

#[tokio::test]
async fn keys_go_on_serving_while_metadata_lie() {
    let (provider, elsewhere) = (provider().await, provider().await);
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    bench.clock.advance(600);
    for (number, lie) in lies(&elsewhere).into_iter().enumerate() {
        provider.metadata.becomes(lie);
        bench.clock.advance(30);
        assert!(bench.accepts(&token("k1")).await, "lie {number}");
        provider.settled(&bench, 2 + number as u64).await;
    }
    assert_eq!(elsewhere.requests(), 0);
    provider.metadata.becomes(metadata(ISSUER, &provider.url));
    bench.clock.advance(30);
    assert!(bench.accepts(&token("k1")).await);
}

#[tokio::test]
async fn a_thousand_random_kids_cause_one_fetch_a_cooldown_here_too() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    bench.clock.advance(30);
    let known = token("k1");
    let (_, rest) = known.split_once('.').unwrap();
    for at in 0..1000 {
        let header = json!({"alg": "ES256", "kid": format!("random-{at}")}).to_string();
        let header = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header);
        assert_eq!(
            bench.refusal(&format!("{header}.{rest}")).await,
            Refusal::Invalid(InvalidToken::UnknownKey)
        );
    }
    assert_eq!((provider.metadata.requests(), provider.requests()), (1, 2));
}

#[tokio::test]
async fn metadata_and_keys_together_cost_the_timeout_and_no_more() {
    for (document, keys) in [
        (Some(Behaviour::Drip), Behaviour::Drip),
        (Some(Behaviour::Stalled), Behaviour::Drip),
        (None, Behaviour::Drip),
        (None, Behaviour::Stalled),
    ] {
        let provider = Endpoint::start(keys).await;
        if let Some(document) = document {
            provider.metadata.becomes(document);
        }
        let mut settings = provider.discovery_settings();
        settings.fetch.timeout = Duration::from_millis(100);
        let started = Instant::now();
        assert!(is_unavailable(
            &Bench::new(settings).refusal(&token("k1")).await
        ));
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn stalled_metadata_hold_up_nobody_whose_keys_are_loaded() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    provider.metadata.becomes(Behaviour::Stalled);
    bench.clock.advance(481);
    let started = Instant::now();
    for _ in 0..100 {
        assert!(bench.accepts(&token("k1")).await);
    }
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(Endpoint::fetches(&bench), (1, 0), "still under way");
}

#[tokio::test]
async fn simultaneous_tokens_of_a_new_key_share_one_fetch() {
    let provider = provider().await;
    let bench = Bench::new(provider.discovery_settings());
    assert!(bench.accepts(&token("k1")).await);
    let release = Arc::new(Notify::new());
    let held = Behaviour::Held(release.clone(), vec![TestKey::p256().jwk("k2")]);
    provider.becomes(held);
    bench.clock.advance(30);
    let token = token("k2");
    let all = futures_util::future::join_all((0..50).map(|_| bench.accepts(&token)));
    let (all, ()) = tokio::join!(all, async { release.notify_one() });
    assert!(all.into_iter().all(|accepted| accepted));
    assert_eq!((provider.metadata.requests(), provider.requests()), (1, 2));
}

#[tokio::test]
async fn metadata_at_a_name_that_points_inside_are_not_asked_for() {
    let provider = provider().await;
    let mut settings = settings(KeySource::DiscoveryEndpoint(
        provider.metadata_url.replace("127.0.0.1", "localhost"),
    ));
    settings.fetch.reach.allow_private = false;
    let bench = Bench::new(settings);
    assert!(is_unavailable(&bench.refusal(&token("k1")).await));
    assert_eq!(provider.metadata.requests(), 0);
}

#[tokio::test]
async fn two_issuers_never_share_what_one_document_says() {
    let provider = provider().await;
    let mut settings = provider.discovery_settings();
    let mut other = issuer(settings.issuers[0].keys.clone());
    other.name = "https://other.example".into();
    settings.issuers.push(other);
    let bench = Bench::new(settings);
    assert!(bench.accepts(&token("k1")).await);
    let of_other = TestKey::p256().token(
        &json!({"alg": "ES256", "kid": "k1"}),
        &claims_with("iss", json!("https://other.example")),
    );
    assert!(is_unavailable(&bench.refusal(&of_other).await));
}
