//! Attacks on the whole policy, each with its outcome. Those on a single part are tested beside it: the form of a token
//! in `token`, dates and audiences in `claims`, addresses in `keys::address`, keys in `key_attacks`, endpoints in
//! `endpoint_tests` and `discovery_tests`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::algorithm::Algorithm;
use super::answer::Answer;
use super::claims::{ClaimValues, ScopeSet, UnacceptableClaims};
use super::config::KeySource;
use super::expression::{Expression, RequestLine, Unmet};
use super::identity::UpstreamHeader;
use super::presented::{Presented, Scheme};
use super::refusal::{Forbidden, InvalidToken, Refusal};
use super::testing::endpoint::{Behaviour, Endpoint};
use super::testing::*;
use super::token::Malformed;

fn invalid(reason: impl Into<InvalidToken>) -> Refusal {
    Refusal::Invalid(reason.into())
}

fn rsa_bench() -> Bench {
    Bench::new(settings(jwks(&[TestKey::rsa().jwk("k1")])))
}

fn rs256(kid: &str) -> Value {
    json!({"alg": "RS256", "kid": kid})
}

fn good_token() -> String {
    TestKey::rsa().token(&rs256("k1"), &claims())
}

#[tokio::test]
async fn a_good_token_passes_by_every_algorithm_and_source() {
    let keys = [
        TestKey::rsa(),
        TestKey::p256(),
        TestKey::p384(),
        TestKey::ed25519(),
        TestKey::p521(),
    ];
    let jwk_set = jwks(
        &keys
            .iter()
            .enumerate()
            .map(|(at, key)| key.jwk(&format!("k{at}")))
            .collect::<Vec<_>>(),
    );
    let pem_set = KeySource::PublicKeys(keys.iter().map(|key| key.pem()).collect());
    for source in [jwk_set, pem_set] {
        let bench = Bench::new(settings(source));
        let asymmetric = |algorithm: &Algorithm| !algorithm.is_symmetric();
        for algorithm in Algorithm::ALL.into_iter().filter(asymmetric) {
            let at = match algorithm {
                Algorithm::Es256 => 1,
                Algorithm::Es384 => 2,
                Algorithm::EdDsa => 3,
                Algorithm::Es512 => 4,
                _ => 0,
            };
            let header = json!({"alg": algorithm.name(), "kid": format!("k{at}")});
            let token = keys[at].token(&header, &claims());
            let verified = bench
                .authenticator
                .authenticate(&Presented::bearer(token.as_bytes()))
                .await
                .unwrap();
            assert_eq!(
                verified.identity.subject.as_deref(),
                Some("agent-7"),
                "{algorithm}"
            );
            let kidless = keys[at].token(&json!({"alg": algorithm.name()}), &claims());
            assert!(bench.accepts(&kidless).await, "{algorithm} without kid");
        }
    }
}

#[tokio::test]
async fn a_changed_payload_header_or_signature_is_refused() {
    let bench = rsa_bench();
    let token = good_token();
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = rest.split_once('.').unwrap();
    let other_claims = URL_SAFE_NO_PAD.encode(claims_with("sub", json!("root")).to_string());
    assert_eq!(
        bench
            .refusal(&format!("{header}.{other_claims}.{signature}"))
            .await,
        invalid(InvalidToken::Signature)
    );
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[9] ^= 1;
    let flipped = format!("{rest}.{}", URL_SAFE_NO_PAD.encode(&bytes));
    assert_eq!(
        bench.refusal(&flipped).await,
        invalid(InvalidToken::Signature)
    );
    assert!(bench.accepts(&token).await);
}

#[tokio::test]
async fn a_key_is_used_only_for_what_its_jwk_says() {
    let with = |member: &str, value: Value| {
        let mut jwk = TestKey::rsa().jwk("k1");
        jwk[member] = value;
        jwk
    };
    // A second key keeps the set usable; the token is signed by the one that must not be used.
    let spare = TestKey::p256().jwk("spare");
    for jwk in [
        with("alg", json!("RS512")),
        with("alg", json!("ES256")),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!([])),
        with("kid", json!(1)),
    ] {
        let bench = Bench::new(settings(jwks(&[jwk.clone(), spare.clone()])));
        assert_eq!(
            bench.refusal(&good_token()).await,
            invalid(InvalidToken::UnknownKey),
            "{jwk}"
        );
    }
    for jwk in [
        with("alg", json!("RS256")),
        with("use", json!("sig")),
        with("key_ops", json!(["verify"])),
    ] {
        assert!(
            Bench::new(settings(jwks(&[jwk])))
                .accepts(&good_token())
                .await
        );
    }
}

#[tokio::test]
async fn an_algorithm_that_the_issuer_may_not_use_is_refused() {
    let mut settings = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    settings.issuers[0].algorithms = vec![Algorithm::Ps256];
    assert_eq!(
        Bench::new(settings).refusal(&good_token()).await,
        invalid(InvalidToken::Algorithm)
    );
}

#[tokio::test]
async fn keys_in_the_header_are_never_used() {
    let attacker = TestKey::new_p256();
    let elsewhere = Endpoint::start(Behaviour::Keys(vec![attacker.jwk("k1")])).await;
    let bench = Bench::new(settings(jwks(&[TestKey::p256().jwk("k1")])));
    let certificate = STANDARD.encode(b"certificate");
    for (member, value) in [
        ("jwk", attacker.jwk("k1")),
        ("jku", json!(elsewhere.url)),
        ("x5u", json!(elsewhere.url)),
        ("x5c", json!([certificate])),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "k1"});
        header[member] = value;
        let forged = attacker.token(&header, &claims());
        assert_eq!(
            bench.refusal(&forged).await,
            invalid(InvalidToken::Signature),
            "{member}"
        );
        // A provider that sends such a member anyway is not refused for it.
        assert!(
            bench
                .accepts(&TestKey::p256().token(&header, &claims()))
                .await,
            "{member}"
        );
    }
    assert_eq!(elsewhere.requests(), 0, "nobody is asked for them");
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let bench = rsa_bench();
    for typ in [
        "id+jwt",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "",
        "at+jwt ",
    ] {
        let token =
            TestKey::rsa().token(&json!({"alg": "RS256", "kid": "k1", "typ": typ}), &claims());
        assert_eq!(
            bench.refusal(&token).await,
            invalid(InvalidToken::Type),
            "{typ:?}"
        );
    }
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        let token =
            TestKey::rsa().token(&json!({"alg": "RS256", "kid": "k1", "typ": typ}), &claims());
        assert!(bench.accepts(&token).await, "{typ:?}");
    }
}

#[tokio::test]
async fn a_token_without_type_is_a_plain_jwt() {
    let mut settings = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    settings.allowed_typ = vec!["at+jwt".into()];
    assert_eq!(
        Bench::new(settings).refusal(&good_token()).await,
        invalid(InvalidToken::Type)
    );
}

#[tokio::test]
async fn es256_signatures_with_impossible_numbers_are_refused() {
    const ORDER: [u8; 32] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC,
        0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ];
    let bench = Bench::new(settings(jwks(&[TestKey::p256().jwk("k1")])));
    let token = TestKey::p256().token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let good = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = good.split_at(32);
    let zero = [0; 32];
    let forged: [Vec<u8>; 10] = [
        [zero, zero].concat(),
        [&zero, s].concat(),
        [r, &zero].concat(),
        [&ORDER, s].concat(),
        [r, &ORDER].concat(),
        [ORDER, ORDER].concat(),
        good[..63].to_vec(),
        [&good[..], &[0]].concat(),
        [&[0], &good[..]].concat(),
        [&[0x30, 0x44, 0x02, 0x20], r, &[0x02, 0x20], s].concat(),
    ];
    for signature in forged {
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature));
        assert_eq!(
            bench.refusal(&token).await,
            invalid(InvalidToken::Signature),
            "{signature:02x?}"
        );
    }
}

#[tokio::test]
async fn an_issuer_is_one_exact_string() {
    let bench = rsa_bench();
    for iss in [
        json!([ISSUER]),
        json!("https://idp.example/"),
        json!("HTTPS://idp.example"),
        json!(""),
        json!(null),
        json!({}),
    ] {
        let token = TestKey::rsa().token(&rs256("k1"), &claims_with("iss", iss.clone()));
        assert_eq!(
            bench.refusal(&token).await,
            invalid(InvalidToken::Issuer),
            "{iss}"
        );
    }
}

#[tokio::test]
async fn a_key_of_one_issuer_never_signs_for_another_even_by_the_same_kid() {
    let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
    let other_key = TestKey::new_p256();
    let mut other = issuer(jwks(&[other_key.jwk("k1")]));
    other.name = "https://other.example".into();
    settings.issuers.push(other);
    let bench = Bench::new(settings);
    let header = json!({"alg": "ES256", "kid": "k1"});
    assert!(
        bench
            .accepts(&TestKey::p256().token(&header, &claims()))
            .await
    );
    assert!(
        bench
            .accepts(&other_key.token(&header, &claims_with("iss", json!("https://other.example"))))
            .await
    );
    let forged = other_key.token(&header, &claims());
    assert_eq!(
        bench.refusal(&forged).await,
        invalid(InvalidToken::Signature)
    );
}

#[tokio::test]
async fn two_keys_that_share_a_kid_are_both_tried() {
    let second = TestKey::new_p256();
    let bench = Bench::new(settings(jwks(&[
        TestKey::p256().jwk("k1"),
        TestKey::rsa().jwk("k1"),
        second.jwk("k1"),
    ])));
    let header = json!({"alg": "ES256", "kid": "k1"});
    assert!(
        bench
            .accepts(&TestKey::p256().token(&header, &claims()))
            .await
    );
    assert!(bench.accepts(&second.token(&header, &claims())).await);
    assert_eq!(
        bench
            .refusal(&TestKey::new_p256().token(&header, &claims()))
            .await,
        invalid(InvalidToken::Signature)
    );
}

#[tokio::test]
async fn strange_kids_name_no_key() {
    let bench = rsa_bench();
    for kid in ["../../../etc/passwd", "k1\0", "' OR 1=1 --", "K1", ""] {
        let token = TestKey::rsa().token(&rs256(kid), &claims());
        assert_eq!(
            bench.refusal(&token).await,
            invalid(InvalidToken::UnknownKey),
            "{kid:?}"
        );
    }
}

#[tokio::test]
async fn a_required_claim_that_is_absent_is_refused() {
    let bench = rsa_bench();
    for name in ["sub", "exp"] {
        let token = TestKey::rsa().token(&rs256("k1"), &claims_with(name, Value::Null));
        assert_eq!(
            bench.refusal(&token).await,
            invalid(UnacceptableClaims::Missing(name.into()))
        );
    }
}

#[tokio::test]
async fn a_signed_token_with_a_duplicate_claim_is_refused() {
    let claims = claims()
        .to_string()
        .replace(r#""sub":"agent-7""#, r#""sub":"agent-7","sub":"root""#);
    let token = TestKey::rsa().token_of_texts(&rs256("k1").to_string(), &claims);
    assert!(matches!(
        rsa_bench().refusal(&token).await,
        Refusal::Invalid(InvalidToken::Malformed(Malformed::Json("payload", _)))
    ));
}

#[tokio::test]
async fn signed_nonsense_is_refused() {
    let bench = rsa_bench();
    for (name, value) in [
        ("aud", json!(7)),
        ("aud", json!("other")),
        ("exp", json!((NOW + 60).to_string())),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(NOW + 3600)),
        ("iat", json!(NOW + 3600)),
        ("sub", json!(["agent-7"])),
        ("exp", json!(NOW + 90_000)),
    ] {
        let token = TestKey::rsa().token(&rs256("k1"), &claims_with(name, value.clone()));
        assert!(
            matches!(
                bench.refusal(&token).await,
                Refusal::Invalid(InvalidToken::Claims(_))
            ),
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn a_remembered_token_ends_with_its_exp() {
    let bench = rsa_bench();
    let token = TestKey::rsa().token(&rs256("k1"), &claims_with("exp", json!(NOW + 60)));
    assert!(bench.accepts(&token).await);
    assert!(bench.accepts(&token).await);
    assert_eq!(
        bench.process.outcomes().lookups(),
        (1, 1),
        "the second was remembered"
    );
    bench.clock.advance(90);
    assert_eq!(
        bench.refusal(&token).await,
        invalid(UnacceptableClaims::Expired)
    );
}

#[tokio::test]
async fn a_remembered_token_is_forgotten_after_its_time() {
    let bench = rsa_bench();
    assert!(bench.accepts(&good_token()).await);
    bench.clock.advance(300);
    assert!(bench.accepts(&good_token()).await);
    assert_eq!(bench.process.outcomes().lookups(), (0, 2));
}

#[tokio::test]
async fn a_token_remembered_for_one_audience_is_refused_for_another() {
    let clock = crate::clock::ManualClock::new();
    let process = super::process::Process::new(clock);
    let keys = || jwks(&[TestKey::rsa().jwk("k1")]);
    let one = process.authenticator(settings(keys())).unwrap();
    let mut other = settings(keys());
    other.issuers[0].audience_required = Some(vec!["billing".into()]);
    let other = process.authenticator(other).unwrap();
    let token = good_token();
    let presented = Presented::bearer(token.as_bytes());
    assert!(one.authenticate(&presented).await.is_ok());
    let refusal = other
        .authenticate(&presented)
        .await
        .expect_err("another audience");
    assert_eq!(refusal, invalid(UnacceptableClaims::Audience));
}

#[tokio::test]
async fn equal_settings_share_one_authenticator() {
    let bench = rsa_bench();
    let again = bench
        .process
        .authenticator(settings(jwks(&[TestKey::rsa().jwk("k1")])))
        .unwrap();
    assert!(std::sync::Arc::ptr_eq(&bench.authenticator, &again));
}

#[tokio::test]
async fn a_valid_token_without_scope_or_claim_or_with_a_barred_one_is_forbidden_not_invalid() {
    let mut scoped = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    scoped.scopes_required = vec![ScopeSet::parse("chat write").unwrap()];
    assert_eq!(
        Bench::new(scoped).refusal(&good_token()).await,
        Refusal::Forbidden(Forbidden::Scopes)
    );

    let mut claimed = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    claimed.claims_required = vec![ClaimValues {
        path: path(&["org", "tier"]),
        one_of: vec!["gold".into()],
    }];
    assert_eq!(
        Bench::new(claimed).refusal(&good_token()).await,
        Refusal::Forbidden(Forbidden::Claim("org.tier".into()))
    );

    let mut barred = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    barred.claims_forbidden = vec![ClaimValues {
        path: path(&["sub"]),
        one_of: vec!["agent-6".into(), "agent-7".into()],
    }];
    let bench = Bench::new(barred);
    assert_eq!(
        bench.refusal(&good_token()).await,
        Refusal::Forbidden(Forbidden::ForbiddenClaim("sub".into()))
    );
    let other = TestKey::rsa().token(&rs256("k1"), &claims_with("sub", json!("agent-8")));
    assert!(bench.accepts(&other).await);

    let mut conditional = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    conditional.expression =
        Some(Expression::compile("method != 'DELETE' || claims.tier == 'gold'").unwrap());
    let bench = Bench::new(conditional);
    assert!(bench.accepts(&good_token()).await);
    let token = good_token();
    let deletion = Presented {
        request: RequestLine {
            method: "DELETE",
            path: "/v1/files/1",
        },
        ..Presented::bearer(token.as_bytes())
    };
    assert_eq!(
        bench
            .authenticator
            .authenticate(&deletion)
            .await
            .unwrap_err(),
        Refusal::Forbidden(Forbidden::Expression(Unmet::Absent("tier".into()))),
        "also when the token is remembered"
    );

    let mut headed = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    headed.upstream_headers = vec![UpstreamHeader {
        name: "x-org".into(),
        path: path(&["org"]),
        required: true,
    }];
    assert_eq!(
        Bench::new(headed).refusal(&good_token()).await,
        Refusal::Forbidden(Forbidden::Header("x-org".into()))
    );
}

#[tokio::test]
async fn a_claim_that_would_split_a_header_is_refused() {
    let mut settings = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    settings.upstream_headers = vec![UpstreamHeader {
        name: "x-org".into(),
        path: path(&["org"]),
        required: false,
    }];
    let token = TestKey::rsa().token(&rs256("k1"), &claims_with("org", json!("a\r\nX-Admin: 1")));
    let refusal = Bench::new(settings).refusal(&token).await;
    assert_eq!(
        refusal,
        invalid(UnacceptableClaims::NotAHeaderValue("x-org".into()))
    );
}

#[tokio::test]
async fn a_credential_that_would_split_a_header_is_refused() {
    let token = TestKey::rsa().token(
        &rs256("k1"),
        &claims_with("sub", json!("a\r\nX-Consumer-ID: 1")),
    );
    let refusal = rsa_bench().refusal(&token).await;
    assert_eq!(
        refusal,
        invalid(UnacceptableClaims::NotAHeaderValue(
            "x-credential-identifier".into()
        ))
    );
}

#[tokio::test]
async fn a_claim_with_a_control_character_names_no_consumer() {
    let mut settings = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    settings.consumer_claims = vec![path(&["name"]), path(&["sub"])];
    let bench = Bench::new(settings);
    for name in ["admin\0", "\0", "a\nb", "\u{85}"] {
        let token = TestKey::rsa().token(&rs256("k1"), &claims_with("name", json!(name)));
        let presented = Presented::bearer(token.as_bytes());
        let verified = bench.authenticator.authenticate(&presented).await.unwrap();
        assert_eq!(verified.identity.consumer_names, ["agent-7"], "{name:?}");
    }
}

#[tokio::test]
async fn neither_answer_nor_reason_holds_anything_of_the_token() {
    let bench = rsa_bench();
    let marked = |claims: Value| {
        TestKey::new_p256().token(&json!({"alg": "ES256", "kid": "marker"}), &claims)
    };
    let tokens = [
        marked(claims_with("iss", json!("marker"))),
        marked(claims_with("aud", json!("marker"))),
        TestKey::rsa().token(&rs256("k1"), &claims_with("exp", json!("marker"))),
        "marker.marker.marker".to_owned(),
    ];
    for token in tokens {
        let refusal = bench.refusal(&token).await;
        let answer = Answer::new(&refusal, Scheme::Bearer, bench.authenticator.settings());
        assert_eq!(answer.status, 401);
        assert!(!format!("{refusal} {refusal:?} {answer:?}").contains("marker"));
        assert_eq!(answer.body, r#"{"message":"Unauthorized"}"#);
    }
}
