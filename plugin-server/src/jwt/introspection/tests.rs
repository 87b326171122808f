//! Over real HTTP on loopback: what an endpoint that answers as it should is asked, and what its answers are worth.

mod endpoint;
mod sent;

use std::time::Duration;

use axum::http::header;
use serde_json::{Value, json};

use super::*;
use crate::jwt::claims::{ClaimValues, ScopeSet, UnacceptableClaims};
use crate::jwt::config::InvalidSetting;
use crate::jwt::identity::UpstreamHeader;
use crate::jwt::presented::Presented;
use crate::jwt::proof::Mode;
use crate::jwt::refusal::Forbidden;
use crate::jwt::testing::endpoint::{Behaviour, Endpoint};
use crate::jwt::testing::introspection::{IntrospectionEndpoint, active, active_with};
use crate::jwt::testing::*;

const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA";

async fn start(document: Value) -> IntrospectionEndpoint {
    IntrospectionEndpoint::start(Behaviour::Json(document)).await
}

fn changed(
    endpoint: &IntrospectionEndpoint,
    change: impl FnOnce(&mut IntrospectionSettings),
) -> Settings {
    let mut settings = endpoint.settings();
    change(settings.introspection.as_mut().unwrap());
    settings
}

fn unavailable(seconds: u64) -> Refusal {
    Refusal::IntrospectionUnavailable {
        retry_after: Duration::from_secs(seconds),
    }
}

#[tokio::test]
async fn the_endpoint_is_asked_as_the_standard_says() {
    let endpoint = start(active()).await;
    let settings = changed(&endpoint, |it| {
        it.client.id = "gate way:1".to_owned();
        it.client.secret = crate::jwt::keys::Secret::from_text("h%u/s+h");
    });
    assert!(Bench::new(settings).accepts("a+b/c=~").await);
    let question = &endpoint.questions()[0];
    assert_eq!(
        question.header(header::CONTENT_TYPE),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(question.header(header::ACCEPT), Some("application/json"));
    // base64 of gate+way%3A1:h%25u%2Fs%2Bh
    assert_eq!(
        question.header(header::AUTHORIZATION),
        Some("Basic Z2F0ZSt3YXklM0ExOmglMjV1JTJGcyUyQmg=")
    );
    assert_eq!(
        question.form,
        [("token", "a+b/c=~"), ("token_type_hint", "access_token")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );

    let settings = changed(&endpoint, |it| {
        it.client.method = ClientAuthentication::Post;
        it.hint = "urn:opaque".to_owned();
    });
    assert!(Bench::new(settings).accepts(TOKEN).await);
    let question = &endpoint.questions()[1];
    assert_eq!(question.header(header::AUTHORIZATION), None);
    assert_eq!(question.field("client_id"), Some("gateway"));
    assert_eq!(question.field("client_secret"), Some("hush"));
    assert_eq!(question.field("token_type_hint"), Some("urn:opaque"));
}

#[tokio::test]
async fn an_active_token_says_as_much_as_a_jwt() {
    let endpoint = start(active_with("org", json!({"id": "acme"}))).await;
    let mut settings = endpoint.settings();
    settings.upstream_headers = vec![UpstreamHeader {
        name: "x-tenant".into(),
        path: path(&["org", "id"]),
        required: true,
    }];
    settings.consumer_claims = vec![path(&["client_id"])];
    settings.limiter_claims = vec![("tenant".into(), path(&["org", "id"]))];
    let bench = Bench::new(settings);
    let presented = Presented::bearer(TOKEN.as_bytes());
    let verified = bench.authenticator.authenticate(&presented).await.unwrap();
    let identity = &verified.identity;
    assert_eq!(identity.issuer, ISSUER);
    assert_eq!(identity.subject.as_deref(), Some("agent-7"));
    assert_eq!(identity.headers, [("x-tenant".into(), "acme".into())]);
    assert_eq!(identity.consumer_names, ["cli"]);
    assert_eq!(identity.limiter_claims["tenant"], "acme");
}

#[tokio::test]
async fn an_answer_is_remembered_for_its_time_and_never_beyond_exp() {
    let endpoint = start(active_with("exp", json!(NOW + 100))).await;
    let bench = Bench::new(endpoint.settings());
    for (advance, asked) in [(0, 1), (59, 1), (1, 2), (39, 2)] {
        bench.clock.advance(advance);
        assert!(bench.accepts(TOKEN).await);
        assert_eq!(endpoint.asked(), asked);
    }
    // 99 s have passed; the leeway is 30 s.
    let mut settings = endpoint.settings();
    settings.introspection.as_mut().unwrap().cache_ttl = Duration::from_hours(1);
    settings.time_bounds.leeway = 0;
    let bench = Bench::new(settings);
    assert!(bench.accepts(TOKEN).await);
    bench.clock.advance(100);
    assert_eq!(
        bench.refusal(TOKEN).await,
        UnacceptableClaims::Expired.into()
    );
    assert_eq!(endpoint.asked(), 3);
}

#[tokio::test]
async fn without_a_cache_each_request_asks() {
    let endpoint = start(active()).await;
    let forgetful = changed(&endpoint, |it| it.cache_ttl = Duration::ZERO);
    let mut sizeless = endpoint.settings();
    sizeless.token_cache_size = 0;
    for settings in [forgetful, sizeless] {
        let before = endpoint.asked();
        let bench = Bench::new(settings);
        for _ in 0..3 {
            assert!(bench.accepts(TOKEN).await);
        }
        assert_eq!(endpoint.asked(), before + 3);
        endpoint.becomes(Behaviour::Json(json!({"active": false})));
        assert!(!bench.accepts(TOKEN).await, "a revocation counts at once");
        endpoint.becomes(Behaviour::Json(active()));
        assert!(bench.accepts(TOKEN).await);
    }
}

#[tokio::test]
async fn an_inactive_token_is_refused_and_soon_asked_about_again() {
    // Members beside `active` say nothing then.
    let endpoint = start(active_with("active", json!(false))).await;
    let bench = Bench::new(endpoint.settings());
    for _ in 0..3 {
        assert_eq!(bench.refusal(TOKEN).await, InvalidToken::Inactive.into());
    }
    assert_eq!(endpoint.asked(), 1);
    endpoint.becomes(Behaviour::Json(active()));
    bench.clock.advance(4);
    assert!(!bench.accepts(TOKEN).await);
    bench.clock.advance(1);
    assert!(bench.accepts(TOKEN).await);
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test]
async fn invented_tokens_drive_no_good_one_out() {
    let endpoint = start(active()).await;
    let mut settings = endpoint.settings();
    settings.token_cache_size = 10;
    let bench = Bench::new(settings);
    assert!(bench.accepts(TOKEN).await);
    endpoint.becomes(Behaviour::Json(json!({"active": false})));
    for number in 0..200 {
        assert!(!bench.accepts(&format!("invented-{number}")).await);
    }
    assert!(bench.accepts(TOKEN).await);
    assert_eq!(endpoint.asked(), 201);
}

#[tokio::test]
async fn an_active_token_whose_claims_are_not_acceptable_is_refused() {
    use UnacceptableClaims::{Audience, Impossible, LivesTooLong, Missing, NotYet};
    let endpoint = start(active()).await;
    let bench = Bench::new(endpoint.settings());
    let cases: [(&str, Value, InvalidToken); 13] = [
        ("iss", json!("https://other.example"), InvalidToken::Issuer),
        ("iss", json!([ISSUER]), InvalidToken::Issuer),
        ("aud", Value::Null, Audience.into()),
        ("aud", json!("billing"), Audience.into()),
        ("aud", json!(["billing", 7]), Audience.into()),
        ("exp", Value::Null, Missing("exp".into()).into()),
        ("exp", json!(NOW - 60), UnacceptableClaims::Expired.into()),
        (
            "exp",
            json!((NOW + 600).to_string()),
            Impossible("exp").into(),
        ),
        ("exp", json!(1e300), Impossible("exp").into()),
        ("exp", json!(NOW + 1_000_000), LivesTooLong.into()),
        ("nbf", json!(NOW + 60), NotYet.into()),
        ("sub", Value::Null, Missing("sub".into()).into()),
        ("sub", json!(7), Impossible("sub").into()),
    ];
    for (number, (name, value, reason)) in cases.into_iter().enumerate() {
        endpoint.becomes(Behaviour::Json(active_with(name, value.clone())));
        let token = format!("token-{number}");
        for _ in 0..2 {
            assert_eq!(
                bench.refusal(&token).await,
                reason.clone().into(),
                "{name}: {value}"
            );
        }
        assert_eq!(endpoint.asked(), number + 1, "{name}: {value}");
    }
    endpoint.becomes(Behaviour::Json(active_with("iss", Value::Null)));
    assert!(bench.accepts(TOKEN).await, "the endpoint need not name iss");
}

#[tokio::test]
async fn a_refresh_or_id_token_is_no_access_token_though_it_is_active() {
    let endpoint = start(active()).await;
    let bench = Bench::new(endpoint.settings());
    for (name, value) in [
        ("token_use", "refresh_token"),
        ("token_use", "id"),
        ("token_type", "refresh_token"),
        ("token_type", "ID_TOKEN"),
        ("typ", "Refresh"),
        ("typ", "Offline"),
        ("typ", "ID"),
    ] {
        endpoint.becomes(Behaviour::Json(active_with(name, json!(value))));
        let refusal = bench.refusal(&format!("{name}-{value}")).await;
        assert_eq!(refusal, InvalidToken::Use.into(), "{name}: {value}");
    }
    for (name, value) in [
        ("token_use", json!("access_token")),
        ("token_use", json!("access")),
        ("token_type", json!("Bearer")),
        ("token_type", json!("DPoP")),
        ("typ", json!("Bearer")),
        ("typ", json!(["ID"])),
    ] {
        endpoint.becomes(Behaviour::Json(active_with(name, value.clone())));
        assert!(
            bench.accepts(&format!("{name}-{value}-")).await,
            "{name}: {value}"
        );
    }
}

/// What the endpoint has said is remembered, yet the signature that was looked at before is not believed longer than its key.
#[tokio::test]
async fn an_introspected_jwt_whose_key_was_removed_is_refused() {
    let keys = Endpoint::start(Behaviour::Keys(vec![TestKey::p256().jwk("k1")])).await;
    let endpoint = start(active()).await;
    let mut settings = changed(&endpoint, |it| {
        it.introspects_jwts = true;
        it.cache_ttl = Duration::from_hours(1);
    });
    settings.issuers = keys.settings().issuers;
    let bench = Bench::new(settings);
    let sign =
        |key: &TestKey, kid: &str| key.token(&json!({"alg": "ES256", "kid": kid}), &claims());
    let (old, successor) = (sign(TestKey::p256(), "k1"), TestKey::new_p256());
    for _ in 0..2 {
        assert!(bench.accepts(&old).await);
    }
    assert_eq!(endpoint.asked(), 1);
    keys.becomes(Behaviour::Keys(vec![successor.jwk("k2")]));
    bench.clock.advance(30);
    assert!(bench.accepts(&sign(&successor, "k2")).await);
    assert_eq!(bench.refusal(&old).await, InvalidToken::UnknownKey.into());
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test]
async fn what_a_route_asks_for_is_asked_of_opaque_tokens_too() {
    let endpoint = start(active()).await;
    let refusal = async |change: fn(&mut Settings)| {
        let mut settings = endpoint.settings();
        change(&mut settings);
        Bench::new(settings).refusal(TOKEN).await
    };
    assert_eq!(
        refusal(|it| it.scopes_required = vec![ScopeSet::parse("admin").unwrap()]).await,
        Forbidden::Scopes.into()
    );
    let banned = |it: &mut Settings| {
        it.claims_forbidden = vec![ClaimValues {
            path: path(&["client_id"]),
            one_of: vec!["cli".into()],
        }];
    };
    assert_eq!(
        refusal(banned).await,
        Forbidden::ForbiddenClaim("client_id".into()).into()
    );
    let expression = |it: &mut Settings| {
        it.expression =
            Some(crate::jwt::expression::Expression::compile("claims.client_id == 'web'").unwrap());
    };
    assert!(matches!(
        refusal(expression).await,
        Refusal::Forbidden(Forbidden::Expression(_))
    ));
}

#[tokio::test]
async fn a_bound_opaque_token_needs_its_proof() {
    let endpoint = start(active_with(
        "cnf",
        json!({"jkt": "thumb", "x5t#S256": "print"}),
    ))
    .await;
    let mut settings = endpoint.settings();
    settings.proof_of_possession.dpop = Mode::Optional;
    let bench = Bench::new(settings);
    assert_eq!(bench.refusal(TOKEN).await, InvalidToken::SentPlain.into());
    let mut settings = endpoint.settings();
    settings.proof_of_possession.mtls = Mode::Optional;
    let bench = Bench::new(settings);
    assert_eq!(
        bench.refusal(TOKEN).await,
        InvalidToken::NoCertificate.into()
    );
}

#[tokio::test]
async fn no_issuer_is_needed_beside_an_endpoint() {
    let endpoint = start(active()).await;
    let mut settings = endpoint.settings();
    settings.issuers.clear();
    assert!(Bench::new(settings).accepts(TOKEN).await);
}

#[tokio::test]
async fn what_cannot_work_is_reported_by_its_field() {
    type Case = (&'static str, fn(&mut IntrospectionSettings));

    let endpoint = start(active()).await;
    let problem = |change: fn(&mut IntrospectionSettings)| -> InvalidSetting {
        changed(&endpoint, change).check().expect_err("cannot work")
    };
    let cases: [Case; 9] = [
        ("introspection_endpoint", |it| it.reach.allow_http = false),
        ("introspection_endpoint", |it| {
            it.reach.allow_private = false;
        }),
        ("introspection_endpoint", |it| it.endpoint = "/here".into()),
        ("introspection_issuer", |it| it.issuer.clear()),
        ("introspection_client_id", |it| it.client.id.clear()),
        ("introspection_client_secret", |it| {
            it.client.secret = crate::jwt::keys::Secret::from_text("");
        }),
        ("introspection_hint", |it| it.hint.clear()),
        ("introspection_audience_required", |it| {
            it.audience_required = Some(vec![]);
        }),
        ("introspection_timeout", |it| it.timeout = Duration::ZERO),
    ];
    for (field, change) in cases {
        assert_eq!(problem(change).field, field);
    }
    assert!(
        problem(|it| it.reach.allow_http = false)
            .problem
            .contains("allow_http_introspection")
    );
    let mut nobody = endpoint.settings();
    nobody.issuers.clear();
    nobody.introspection = None;
    assert_eq!(nobody.check().expect_err("nobody").field, "issuers");
}

#[tokio::test]
async fn nothing_shows_the_secret() {
    let endpoint = start(active()).await;
    let bench = Bench::new(endpoint.settings());
    let shown = format!("{:?} {:?}", bench.authenticator, endpoint.settings());
    assert!(!shown.contains("hush") && shown.contains("[redacted]"));
}
