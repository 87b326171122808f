//! JWKS endpoints that are slow, huge, redirecting, lying or away, over real HTTP on loopback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::sync::Notify;

use super::config::{Issuer, KeySource};
use super::keys::KeyHealth;
use super::refusal::{InvalidToken, Refusal};
use super::testing::endpoint::{Behaviour, Endpoint};
use super::testing::*;

fn key() -> &'static TestKey {
    TestKey::p256()
}

fn token(kid: &str) -> String {
    key().token(&json!({"alg": "ES256", "kid": kid}), &claims())
}

fn is_unavailable(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::KeysUnavailable { .. })
}

#[tokio::test]
async fn keys_are_fetched_once_for_many_requests_and_before_the_first() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert_eq!(
        endpoint.requests(),
        0,
        "loading a configuration does no I/O"
    );
    bench.authenticator.warm();
    endpoint.settled(&bench, 1).await;
    let token = token("k1");
    let all = futures_util::future::join_all((0..50).map(|_| bench.accepts(&token))).await;
    assert!(all.into_iter().all(|accepted| accepted));
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn simultaneous_first_requests_share_one_fetch() {
    let release = Arc::new(Notify::new());
    let endpoint = Endpoint::start(Behaviour::Held(release.clone(), vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    let token = token("k1");
    let all = futures_util::future::join_all((0..50).map(|_| bench.accepts(&token)));
    let (all, ()) = tokio::join!(all, async { release.notify_one() });
    assert!(all.into_iter().all(|accepted| accepted));
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn two_configurations_with_the_same_endpoint_share_its_keys() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    let mut other = endpoint.settings();
    other.time_bounds.leeway = 0;
    let other = bench.process.authenticator(other).unwrap();
    assert!(bench.accepts(&token("k1")).await);
    assert!(
        other
            .authenticate(&super::presented::Presented::bearer(token("k1").as_bytes()))
            .await
            .is_ok()
    );
    assert_eq!(endpoint.requests(), 1);
}

/// A cooldown is for what anyone can cause: a fetch for age uses up none of it.
#[tokio::test]
async fn a_key_that_is_rotated_right_after_a_refresh_is_found_at_its_first_token() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    endpoint.becomes(Behaviour::Keys(vec![key().jwk("k2")]));
    bench.clock.advance(1);
    assert!(bench.accepts(&token("k2")).await);
    endpoint.becomes(Behaviour::Keys(vec![key().jwk("k3")]));
    bench.clock.advance(29);
    assert!(!bench.accepts(&token("k3")).await, "in the cooldown");
    bench.clock.advance(1);
    assert!(bench.accepts(&token("k3")).await);
    assert_eq!(endpoint.requests(), 3);
}

/// What a fetch brings may have been read before the token's key was published.
#[tokio::test]
async fn a_token_that_comes_during_a_refresh_waits_for_a_fetch_of_its_own() {
    let release = Arc::new(Notify::new());
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    for (read_before, published) in [("k1", "k2"), ("k3", "k4")] {
        let read_before = vec![key().jwk(read_before)];
        endpoint.becomes(Behaviour::Held(release.clone(), read_before));
        bench.clock.advance(500);
        bench.authenticator.keys[0].at_once().expect("fresh enough");
        let asked = endpoint.requests() + 1;
        while endpoint.requests() < asked {
            tokio::task::yield_now().await;
        }
        endpoint.becomes(Behaviour::Keys(vec![key().jwk(published)]));
        bench.clock.advance(1);
        let newest = key().token(
            &json!({"alg": "ES256", "kid": published}),
            &claims_with("exp", json!(NOW + 5000)),
        );
        let (accepted, ()) = tokio::join!(bench.accepts(&newest), async {
            release.notify_one();
        });
        assert!(accepted);
        assert_eq!(endpoint.requests(), asked + 1);
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_at_its_first_token() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    endpoint.becomes(Behaviour::Keys(vec![key().jwk("k2")]));
    bench.clock.advance(30);
    assert!(bench.accepts(&token("k2")).await);
    assert_eq!(endpoint.requests(), 2);
    assert!(
        !bench.accepts(&token("k1")).await,
        "a removed key is gone, for remembered tokens too"
    );
}

/// Some providers publish their keys without names, and some give a new key the name of the one that it replaces.
#[tokio::test]
async fn a_key_that_replaces_one_of_the_same_name_or_of_none_is_found_at_its_first_token() {
    let nameless = |key: &TestKey| {
        let mut jwk = key.jwk("k1");
        jwk.as_object_mut().unwrap().shift_remove("kid");
        jwk
    };
    let named = |key: &TestKey| key.jwk("k1");
    let publish: [&dyn Fn(&TestKey) -> serde_json::Value; 2] = [&nameless, &named];
    for published in publish {
        let endpoint = Endpoint::start(Behaviour::Keys(vec![published(key())])).await;
        let bench = Bench::new(endpoint.settings());
        assert!(bench.accepts(&token("k1")).await);
        let successor = TestKey::new_p256();
        endpoint.becomes(Behaviour::Keys(vec![published(&successor)]));
        bench.clock.advance(30);
        let newest = successor.token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
        assert!(bench.accepts(&newest).await);
        assert!(!bench.accepts(&token("k1")).await, "its key is gone");
        assert_eq!(endpoint.requests(), 2);
    }
}

#[tokio::test]
async fn a_thousand_wrong_signatures_cause_one_fetch_a_cooldown_too() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    let honest = token("k1");
    let (message, _) = honest.rsplit_once('.').unwrap();
    for cooldown in 1..=3 {
        bench.clock.advance(30);
        for at in 0..1000_u32 {
            let signature = BASE64_URL_SAFE_NO_PAD.encode([at.to_be_bytes(); 16].concat());
            assert_eq!(
                bench.refusal(&format!("{message}.{signature}")).await,
                Refusal::Invalid(InvalidToken::Signature)
            );
        }
        assert_eq!(endpoint.requests(), 1 + cooldown);
    }
    assert!(bench.accepts(&honest).await);
}

#[tokio::test]
async fn a_thousand_random_kids_a_second_cause_one_fetch_a_cooldown() {
    const COOLDOWN: usize = 3;
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let mut settings = endpoint.settings();
    settings.fetch.cooldown = Duration::from_secs(COOLDOWN as u64);
    let bench = Bench::new(settings);
    assert!(bench.accepts(&token("k1")).await);
    let before = endpoint.requests();
    let honest = token("k1");
    let (_, claims_and_signature) = honest.split_once('.').unwrap();
    for second in 0..3 * COOLDOWN {
        bench.clock.advance(1);
        for at in 0..1000 {
            let header = json!({"alg": "ES256", "kid": format!("random-{second}-{at}")});
            let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
            let forged = format!("{header}.{claims_and_signature}");
            assert_eq!(
                bench.refusal(&forged).await,
                Refusal::Invalid(InvalidToken::UnknownKey)
            );
        }
        assert_eq!(endpoint.requests() - before, 1 + second / COOLDOWN);
    }
    assert!(bench.accepts(&token("k1")).await);
}

#[tokio::test]
async fn keys_are_refreshed_in_the_background_before_they_expire() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    // Nobody waits for the refresh: it is held back until the requests have passed.
    let release = Arc::new(Notify::new());
    endpoint.becomes(Behaviour::Held(
        release.clone(),
        vec![key().jwk("k1"), key().jwk("k2")],
    ));
    bench.clock.advance(481);
    let token_again = key().token(
        &json!({"alg": "ES256", "kid": "k1"}),
        &claims_with("exp", json!(NOW + 5000)),
    );
    assert!(bench.accepts(&token_again).await);
    release.notify_one();
    endpoint.settled(&bench, 2).await;
    let renewed = key().token(
        &json!({"alg": "ES256", "kid": "k2"}),
        &claims_with("exp", json!(NOW + 5000)),
    );
    assert!(bench.accepts(&renewed).await);
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test]
async fn an_unchanged_set_keeps_the_remembered_tokens() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let mut settings = endpoint.settings();
    settings.token_cache_ttl = Duration::from_hours(1);
    let bench = Bench::new(settings);
    let token = key().token(
        &json!({"alg": "ES256", "kid": "k1"}),
        &claims_with("exp", json!(NOW + 5000)),
    );
    assert!(bench.accepts(&token).await);
    bench.clock.advance(500);
    assert!(bench.accepts(&token).await);
    endpoint.settled(&bench, 2).await;
    assert!(bench.accepts(&token).await);
    assert_eq!(bench.process.outcomes().lookups(), (2, 1));
}

#[tokio::test]
async fn stale_keys_serve_while_the_provider_is_away_and_end_in_503() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    let long_lived = |seconds: i64| {
        key().token(
            &json!({"alg": "ES256", "kid": "k1"}),
            &claims_with("exp", json!(NOW + seconds)),
        )
    };
    assert!(bench.accepts(&token("k1")).await);
    endpoint.becomes(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE));
    bench.clock.advance(700);
    assert!(
        bench.accepts(&long_lived(1000)).await,
        "expired, and one failed fetch later still serving"
    );
    bench.clock.advance(86_000);
    assert!(
        bench.accepts(&long_lived(87_000)).await,
        "at the end of jwks_stale_ttl"
    );
    endpoint.settled(&bench, 3).await;
    bench.clock.advance(1000);
    assert!(
        is_unavailable(&bench.refusal(&long_lived(90_000)).await),
        "beyond it"
    );
    endpoint.becomes(Behaviour::Keys(vec![key().jwk("k1")]));
    bench.clock.advance(30);
    assert!(bench.accepts(&long_lived(90_000)).await, "back again");
}

#[tokio::test]
async fn operators_see_how_an_issuer_s_keys_stand() {
    let endpoint = Endpoint::start(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE)).await;
    let bench = Bench::new(endpoint.settings());
    let health = || bench.process.key_health()[ISSUER];
    let hours = |count: u64| Duration::from_hours(count);
    assert_eq!(
        health(),
        KeyHealth {
            age: Duration::ZERO,
            serve_for: Duration::ZERO,
            stale: false
        },
        "nobody has asked yet"
    );
    assert!(is_unavailable(&bench.refusal(&token("k1")).await));
    bench.clock.advance(60);
    assert_eq!(
        health(),
        KeyHealth {
            age: Duration::from_mins(1),
            serve_for: Duration::ZERO,
            stale: true
        },
        "never loaded"
    );
    endpoint.becomes(Behaviour::Keys(vec![key().jwk("k1")]));
    assert!(bench.accepts(&token("k1")).await);
    let served = Duration::from_mins(10) + hours(24);
    assert_eq!(
        health(),
        KeyHealth {
            age: Duration::ZERO,
            serve_for: served,
            stale: false
        }
    );
    bench.clock.advance(3600);
    let long_lived = key().token(
        &json!({"alg": "ES256", "kid": "k1"}),
        &claims_with("exp", json!(NOW + 7200)),
    );
    assert!(!health().stale, "old, and nobody has asked since");
    endpoint.becomes(Behaviour::Status(StatusCode::NOT_FOUND));
    assert!(bench.accepts(&long_lived).await);
    assert_eq!(
        health(),
        KeyHealth {
            age: hours(1),
            serve_for: served.saturating_sub(hours(1)),
            stale: true
        },
        "the provider is away"
    );
}

#[tokio::test]
async fn keys_that_were_never_loaded_are_503_with_a_time_to_retry_and_few_fetches() {
    let endpoint = Endpoint::start(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR)).await;
    let bench = Bench::new(endpoint.settings());
    for _ in 0..100 {
        let refusal = bench.refusal(&token("k1")).await;
        assert_eq!(
            refusal,
            Refusal::KeysUnavailable {
                retry_after: Duration::from_secs(1)
            }
        );
    }
    assert_eq!(endpoint.requests(), 1, "one fetch until the pause is over");
    bench.clock.advance(1);
    let refusal = bench.refusal(&token("k1")).await;
    assert_eq!(
        refusal,
        Refusal::KeysUnavailable {
            retry_after: Duration::from_secs(2)
        }
    );
    endpoint.becomes(Behaviour::Keys(vec![key().jwk("k1")]));
    bench.clock.advance(2);
    assert!(bench.accepts(&token("k1")).await);
}

#[tokio::test]
async fn answers_that_are_no_usable_keys_are_failures_and_change_nothing() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    let inner = Endpoint::start(Behaviour::Keys(vec![key().jwk("k2")])).await;
    let lies = [
        Behaviour::Text("<html>"),
        Behaviour::Text("{}"),
        Behaviour::Text(r#"{"keys":{}}"#),
        Behaviour::Text(r#"{"keys":[]}"#),
        Behaviour::Keys(vec![json!({"kty": "oct", "k": "AAAA", "kid": "k2"})]),
        Behaviour::Status(StatusCode::NOT_FOUND),
        Behaviour::Status(StatusCode::NO_CONTENT),
        Behaviour::RedirectTo(inner.url.clone()),
        Behaviour::Huge(300_000),
        Behaviour::HugeStream(100 * 1024 * 1024),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        endpoint.becomes(lie);
        bench.clock.advance(30);
        assert_eq!(
            bench.refusal(&token("k2")).await,
            Refusal::Invalid(InvalidToken::UnknownKey),
            "lie {number}"
        );
        assert_eq!(endpoint.requests(), 2 + number);
        assert!(
            bench
                .accepts(&key().token(
                    &json!({"alg": "ES256", "kid": "k1"}),
                    &claims_with("exp", json!(NOW + 3600))
                ))
                .await
        );
    }
    assert_eq!(inner.requests(), 0, "a redirect is not followed");
    let counted: Vec<_> = bench
        .process
        .outcomes()
        .fetches()
        .map(|(how, count)| (how.label(), count))
        .collect();
    assert_eq!(
        counted,
        [
            ("success", 1),
            ("timeout", 0),
            ("unreachable", 0),
            ("status", 3),
            ("too_large", 2),
            ("metadata", 0),
            ("no_keys", 5),
            ("fault", 0)
        ]
    );
}

#[tokio::test]
async fn a_slow_drip_costs_the_timeout_and_no_more() {
    let endpoint = Endpoint::start(Behaviour::Drip).await;
    let mut settings = endpoint.settings();
    settings.fetch.timeout = Duration::from_millis(100);
    let bench = Bench::new(settings);
    let started = Instant::now();
    assert!(is_unavailable(&bench.refusal(&token("k1")).await));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_stalled_endpoint_holds_up_nobody_whose_keys_are_loaded() {
    let release = Arc::new(Notify::new());
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(&token("k1")).await);
    endpoint.becomes(Behaviour::Held(release.clone(), vec![key().jwk("k1")]));
    bench.clock.advance(30);
    let (other_kid, known) = (token("k9"), token("k1"));
    let waiting = bench.refusal(&other_kid);
    let passing = async {
        while endpoint.requests() < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert!(bench.accepts(&known).await);
        }
        release.notify_one();
    };
    let (refusal, ()) = tokio::join!(waiting, passing);
    assert_eq!(refusal, Refusal::Invalid(InvalidToken::UnknownKey));
}

/// On one thread: a lock that is held over the wait would stop the test for ever.
#[tokio::test]
async fn a_stalled_endpoint_costs_its_own_tokens_the_timeout_once_and_those_of_others_nothing() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let mut settings = endpoint.settings();
    // Long enough for the tokens of others on a busy machine.
    settings.fetch.timeout = Duration::from_secs(2);
    let other = Issuer {
        name: "https://other.example".to_owned(),
        ..issuer(jwks(&[TestKey::ed25519().jwk("k1")]))
    };
    settings.issuers.push(other);
    settings.token_cache_size = 0;
    let bench = Bench::new(settings);
    assert!(bench.accepts(&token("k1")).await);

    // Its keys have expired, and the answer to the request for new ones does not come.
    endpoint.becomes(Behaviour::Stalled);
    bench.clock.advance(700);
    let long_lived = claims_with("exp", json!(NOW + 5000));
    let own = key().token(&json!({"alg": "ES256", "kid": "k1"}), &long_lived);
    let mut claims = long_lived.clone();
    claims["iss"] = json!("https://other.example");
    let foreign = TestKey::ed25519().token(&json!({"alg": "EdDSA", "kid": "k1"}), &claims);
    let passing = async {
        while endpoint.requests() < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            assert!(bench.accepts(&foreign).await);
        }
        assert_eq!(Endpoint::fetches(&bench), (1, 0), "it stalls yet");
    };
    let (accepted, ()) = tokio::join!(bench.accepts(&own), passing);
    assert!(accepted, "the older keys serve");
    assert_eq!(Endpoint::fetches(&bench), (1, 1));

    // It stalls the next fetch too, for which nobody waits any more.
    bench.clock.advance(60);
    for _ in 0..10 {
        assert!(bench.accepts(&own).await);
    }
    assert_eq!(Endpoint::fetches(&bench), (1, 1));
    endpoint.settled(&bench, 3).await;
    assert_eq!(endpoint.requests(), 3);
}

#[tokio::test]
async fn a_request_that_leaves_does_not_end_the_fetch() {
    let release = Arc::new(Notify::new());
    let endpoint = Endpoint::start(Behaviour::Held(release.clone(), vec![key().jwk("k1")])).await;
    let bench = Bench::new(endpoint.settings());
    let token = token("k1");
    let left = tokio::time::timeout(Duration::from_millis(50), bench.accepts(&token)).await;
    assert!(left.is_err());
    release.notify_one();
    assert!(bench.accepts(&token).await);
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn a_name_that_points_inside_is_refused_when_connecting() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![key().jwk("k1")])).await;
    let mut settings = settings(KeySource::JwksEndpoint(
        endpoint.url.replace("127.0.0.1", "localhost"),
    ));
    settings.fetch.reach.allow_private = false;
    let bench = Bench::new(settings);
    assert!(is_unavailable(&bench.refusal(&token("k1")).await));
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_503() {
    let endpoint = Endpoint::start(Behaviour::Keys(vec![])).await;
    let settings = endpoint.settings();
    endpoint.server.abort();
    drop(endpoint);
    tokio::task::yield_now().await;
    assert!(is_unavailable(
        &Bench::new(settings).refusal(&token("k1")).await
    ));
}
