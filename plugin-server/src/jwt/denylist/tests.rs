use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::revocation::{Revocation, Target, TokenDigest};
use super::*;
use crate::jwt::algorithm::Algorithm;
use crate::jwt::testing::endpoint::Behaviour;
use crate::jwt::testing::introspection::{IntrospectionEndpoint, active};
use crate::jwt::testing::{Bench, ISSUER, NOW, TestKey, claims, claims_with, jwks, settings};
use crate::jwt::{Settings, cache, keys};
use crate::stores::redis::config::RedisConfig;

fn with_denylist(store: StoreConfig, on_error: OnError) -> Settings {
    let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
    settings.denylist = Some(DenylistSettings { store, on_error });
    settings
}

fn token(claims: &Value) -> String {
    TestKey::p256().token(&json!({"alg": "ES256", "kid": "k1"}), claims)
}

async fn revoke(bench: &Bench, target: Target) {
    let [list] = &bench.process.denylists().lists[..] else {
        panic!("one list is at work");
    };
    let revocation = Revocation {
        target,
        revoked_at: NOW,
        expires_at: NOW + 600,
    };
    list.revoke(revocation, NOW).await.unwrap();
}

fn jti(name: &str) -> Target {
    Target::Jti {
        issuer: ISSUER.into(),
        jti: name.into(),
    }
}

fn subject(issued_before: i64) -> Target {
    Target::Subject {
        issuer: ISSUER.into(),
        subject: "agent-7".into(),
        issued_before,
    }
}

const REVOKED: Refusal = Refusal::Invalid(InvalidToken::Revoked);

#[tokio::test]
async fn a_remembered_token_is_refused_once_it_is_revoked() {
    let bench = Bench::new(with_denylist(StoreConfig::Memory, OnError::Closed));
    let (revoked, other) = (
        token(&claims_with("jti", json!("1"))),
        token(&claims_with("jti", json!("2"))),
    );
    assert!(bench.accepts(&revoked).await && bench.accepts(&other).await);
    revoke(&bench, jti("1")).await;
    assert_eq!(bench.refusal(&revoked).await, REVOKED);
    assert!(bench.accepts(&other).await);
    let (hits, misses) = bench.process.outcomes().lookups();
    assert_eq!((hits, misses), (2, 2));

    let [list] = &bench.process.denylists().lists[..] else {
        panic!("one list is at work");
    };
    list.unrevoke(jti("1").id(), NOW).await.unwrap().unwrap();
    assert!(bench.accepts(&revoked).await);
}

#[tokio::test]
async fn a_token_without_a_jti_is_revoked_by_its_hash() {
    let mut settings = with_denylist(StoreConfig::Memory, OnError::Closed);
    settings.token_cache_size = 0;
    let bench = Bench::new(settings);
    let token = token(&claims_with("jti", Value::Null));
    revoke(
        &bench,
        Target::Token {
            token_sha256: TokenDigest(cache::hash(token.as_bytes())),
        },
    )
    .await;
    assert_eq!(bench.refusal(&token).await, REVOKED);
}

/// The same token with its other signature: who holds the one can make it.
fn with_other_signature(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let twin = keys::twin(Algorithm::Es256, &signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(twin))
}

#[tokio::test]
async fn a_token_revoked_by_its_hash_is_refused_with_its_other_signature_too() {
    for remembered in [0, 10_000] {
        let mut settings = with_denylist(StoreConfig::Memory, OnError::Closed);
        settings.token_cache_size = remembered;
        let bench = Bench::new(settings);
        let revoked = token(&claims_with("jti", Value::Null));
        let twin = with_other_signature(&revoked);
        assert!(bench.accepts(&revoked).await && bench.accepts(&twin).await);
        let token_sha256 = TokenDigest(cache::hash(revoked.as_bytes()));
        revoke(&bench, Target::Token { token_sha256 }).await;
        assert_eq!(bench.refusal(&revoked).await, REVOKED);
        assert_eq!(bench.refusal(&twin).await, REVOKED);
        let other = token(&claims_with("sub", json!("agent-8")));
        assert!(bench.accepts(&other).await);
    }
}

#[tokio::test]
async fn an_introspected_jwt_revoked_by_its_hash_is_refused_with_its_other_signature_too() {
    let endpoint = IntrospectionEndpoint::start(Behaviour::Json(active())).await;
    let mut settings = endpoint.settings();
    settings.introspection.as_mut().unwrap().introspects_jwts = true;
    settings.denylist = Some(DenylistSettings {
        store: StoreConfig::Memory,
        on_error: OnError::Closed,
    });
    let bench = Bench::new(settings);
    let revoked = token(&claims());
    let token_sha256 = TokenDigest(cache::hash(revoked.as_bytes()));
    revoke(&bench, Target::Token { token_sha256 }).await;
    assert_eq!(
        bench.refusal(&with_other_signature(&revoked)).await,
        REVOKED
    );
}

#[tokio::test]
async fn a_subjects_tokens_are_revoked_by_when_they_were_issued() {
    let bench = Bench::new(with_denylist(StoreConfig::Memory, OnError::Closed));
    let at = |iat: Value| token(&claims_with("iat", iat));
    let (old, new, undated) = (at(json!(NOW - 1)), at(json!(NOW)), at(Value::Null));
    let other = token(&claims_with("sub", json!("agent-8")));
    revoke(&bench, subject(NOW)).await;
    assert_eq!(bench.refusal(&old).await, REVOKED);
    assert_eq!(bench.refusal(&undated).await, REVOKED);
    assert!(bench.accepts(&new).await && bench.accepts(&other).await);
}

#[tokio::test]
async fn a_revocation_is_of_one_issuer() {
    let bench = Bench::new(with_denylist(StoreConfig::Memory, OnError::Closed));
    let elsewhere = Target::Jti {
        issuer: "https://other.example".into(),
        jti: "1".into(),
    };
    revoke(&bench, elsewhere).await;
    assert!(bench.accepts(&token(&claims_with("jti", json!("1")))).await);
}

#[tokio::test]
async fn a_revocation_outlives_its_configuration_and_not_its_tokens() {
    let bench = Bench::new(with_denylist(StoreConfig::Memory, OnError::Closed));
    revoke(&bench, jti("1")).await;
    let mut changed = with_denylist(StoreConfig::Memory, OnError::Closed);
    changed.realm = "another".into();
    let Bench { clock, process, .. } = bench;
    let authenticator = process.authenticator(changed).unwrap();
    let bench = Bench {
        clock,
        process,
        authenticator,
    };
    let long = token(
        &json!({"iss": ISSUER, "aud": "llm", "sub": "agent-7", "jti": "1", "exp": NOW + 80_000}),
    );
    assert_eq!(bench.refusal(&long).await, REVOKED);
    bench.clock.advance(600 + 359);
    assert_eq!(bench.refusal(&long).await, REVOKED);
    bench.clock.advance(1);
    assert!(bench.accepts(&long).await, "it was said to expire earlier");
}

#[tokio::test]
async fn a_list_that_is_away_refuses_or_lets_pass_as_configured() {
    let nowhere = || {
        StoreConfig::Redis(Box::new(RedisConfig {
            // A port that nobody listens on.
            port: 1,
            ..RedisConfig::default()
        }))
    };
    let token = token(&claims_with("jti", json!("1")));
    let bench = Bench::new(with_denylist(nowhere(), OnError::Closed));
    for _ in 0..5 {
        let refusal = bench.refusal(&token).await;
        assert!(
            matches!(refusal, Refusal::DenylistUnavailable { retry_after } if retry_after == RETRY)
        );
        assert!(!refusal.admits_anonymous());
    }
    let open = with_denylist(nowhere(), OnError::Open);
    let open = bench.process.authenticator(open).unwrap();
    let presented = crate::jwt::presented::Presented::bearer(token.as_bytes());
    assert!(open.authenticate(&presented).await.is_ok());
    let counted: Vec<_> = bench.process.outcomes().denials().collect();
    assert_eq!(
        counted,
        [
            (Denial::NotRevoked, 0),
            (Denial::Revoked, 0),
            (Denial::Unchecked, 1),
            (Denial::Refused, 5)
        ]
    );
    assert_eq!(bench.process.denylists().lists.len(), 1, "both share it");
}

#[tokio::test]
async fn what_is_at_work_is_what_configurations_look_into() {
    let bench = Bench::new(settings(jwks(&[TestKey::p256().jwk("k1")])));
    assert!(bench.process.denylists().lists.is_empty());
    let mut unbounded = with_denylist(StoreConfig::Memory, OnError::Closed);
    let bounded = bench.process.authenticator(unbounded.clone()).unwrap();
    let at_work = bench.process.denylists();
    assert_eq!(at_work.maximum_expiration, Some(86_400));
    assert_eq!(at_work.issuers, [ISSUER]);
    unbounded.time_bounds.maximum_expiration = 0;
    let unbounded: Arc<_> = bench.process.authenticator(unbounded).unwrap();
    let at_work = bench.process.denylists();
    assert_eq!((at_work.maximum_expiration, at_work.lists.len()), (None, 1));
    drop((bounded, unbounded));
    assert!(bench.process.denylists().lists.is_empty());
}
