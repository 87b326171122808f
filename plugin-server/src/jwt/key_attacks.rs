//! Attacks by and on keys, each with its outcome: secrets and public keys confused, keys that nobody should trust.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::algorithm::Algorithm;
use super::config::{KeySource, Settings};
use super::keys::Secret;
use super::refusal::{InvalidToken, Refusal};
use super::testing::*;

const SECRET: &[u8; 64] = b"a secret of sixty-four bytes, as long as what SHA-512 gives: one";
const OTHER_SECRET: &[u8; 64] = b"another secret of sixty-four bytes, which still has its tokens..";

fn shared(secret: &[u8]) -> TestKey {
    TestKey::Shared(secret.to_vec())
}

fn secrets(secrets: &[&[u8]]) -> KeySource {
    let texts = secrets.iter().map(|secret| std::str::from_utf8(secret));
    KeySource::Secrets(texts.map(|text| Secret::from_text(text.unwrap())).collect())
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": "k1"})
}

fn hs256(key: &TestKey) -> String {
    key.token(&header(Algorithm::Hs256), &claims())
}

async fn refused_as(settings: Settings, token: &str) -> InvalidToken {
    match Bench::new(settings).refusal(token).await {
        Refusal::Invalid(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_by_a_shared_secret_passes_by_every_hash_and_either_secret() {
    let bench = Bench::new(settings(secrets(&[SECRET, OTHER_SECRET])));
    for algorithm in Algorithm::HMAC {
        for secret in [SECRET, OTHER_SECRET] {
            let token = shared(secret).token(&header(*algorithm), &claims());
            assert!(bench.accepts(&token).await, "{algorithm}");
        }
    }
}

#[tokio::test]
async fn a_token_by_another_secret_or_with_a_shortened_tag_is_refused() {
    let bench = Bench::new(settings(secrets(&[SECRET])));
    let token = hs256(&shared(SECRET));
    let (message, tag) = token.rsplit_once('.').unwrap();
    let tag = URL_SAFE_NO_PAD.decode(tag).unwrap();
    let with_tag = |tag: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    for forged in [
        hs256(&shared(OTHER_SECRET)),
        hs256(&shared(b"")),
        with_tag(&tag[..16]),
        with_tag(&tag[..1]),
        with_tag(&[0; 32]),
        with_tag(&[&tag[..], &[0]].concat()),
    ] {
        assert_eq!(
            bench.refusal(&forged).await,
            Refusal::Invalid(InvalidToken::Signature)
        );
    }
    assert!(bench.accepts(&token).await);
}

#[tokio::test]
async fn hs256_signed_with_the_public_key_is_refused() {
    let pem = TestKey::rsa().pem();
    let jwk = TestKey::rsa().jwk("k1");
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for source in [
        KeySource::PublicKeys(vec![pem.clone()]),
        jwks(std::slice::from_ref(&jwk)),
    ] {
        for secret in [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            jwk.to_string().as_bytes(),
            &modulus,
        ] {
            let forged = hs256(&shared(secret));
            let reason = refused_as(settings(source.clone()), &forged).await;
            assert_eq!(reason, InvalidToken::Algorithm);
        }
    }
}

#[tokio::test]
async fn a_public_keys_algorithm_is_refused_where_secrets_are_configured() {
    for (key, algorithm) in [
        (TestKey::rsa(), Algorithm::Rs256),
        (TestKey::rsa(), Algorithm::Ps256),
        (TestKey::p256(), Algorithm::Es256),
        (TestKey::ed25519(), Algorithm::EdDsa),
    ] {
        let mut header = header(algorithm);
        header["jwk"] = key.jwk("k1");
        let forged = key.token(&header, &claims());
        let reason = refused_as(settings(secrets(&[SECRET])), &forged).await;
        assert_eq!(reason, InvalidToken::Algorithm, "{algorithm}");
    }
}

#[tokio::test]
async fn the_secret_of_one_issuer_never_signs_for_another() {
    let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
    let mut internal = issuer(secrets(&[SECRET]));
    internal.name = "https://internal.example".into();
    settings.issuers.push(internal);
    let bench = Bench::new(settings);
    let internal = claims_with("iss", json!("https://internal.example"));
    let token = shared(SECRET).token(&header(Algorithm::Hs256), &internal);
    assert!(bench.accepts(&token).await);
    assert_eq!(
        bench.refusal(&hs256(&shared(SECRET))).await,
        Refusal::Invalid(InvalidToken::Algorithm)
    );
}

#[tokio::test]
async fn a_secret_in_a_published_set_signs_nothing_and_harms_no_neighbour() {
    let mixed = [shared(SECRET).jwk("k1"), TestKey::p256().jwk("k2")];
    let bench = Bench::new(settings(jwks(&mixed)));
    assert_eq!(
        bench.refusal(&hs256(&shared(SECRET))).await,
        Refusal::Invalid(InvalidToken::Algorithm)
    );
    let by_neighbour = TestKey::p256().token(&json!({"alg": "ES256", "kid": "k2"}), &claims());
    assert!(bench.accepts(&by_neighbour).await);
}

#[tokio::test]
async fn a_weak_rsa_key_is_left_out_of_its_set() {
    let number = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let short = vec![0xFF; 128];
    let weak = |member: &str, value: Value| {
        let mut jwk = TestKey::rsa().jwk("k1");
        jwk[member] = value;
        jwk
    };
    for jwk in [
        weak("n", number(&short)),
        weak("e", number(&[1])),
        weak("e", number(&[2])),
    ] {
        let set = [jwk.clone(), TestKey::p256().jwk("k2")];
        let bench = Bench::new(settings(jwks(&set)));
        let token = TestKey::rsa().token(&header(Algorithm::Rs256), &claims());
        assert_eq!(
            bench.refusal(&token).await,
            Refusal::Invalid(InvalidToken::UnknownKey),
            "{jwk}"
        );
        let other = TestKey::p256().token(&json!({"alg": "ES256", "kid": "k2"}), &claims());
        assert!(bench.accepts(&other).await);
    }
}

#[tokio::test]
async fn of_the_keys_under_one_kid_eight_are_tried() {
    let last = TestKey::new_p256();
    for (before, outcome) in [(7, true), (8, false)] {
        let mut keys = vec![TestKey::p256().jwk("k1"); before];
        keys.push(last.jwk("k1"));
        let bench = Bench::new(settings(jwks(&keys)));
        let token = last.token(&header(Algorithm::Es256), &claims());
        assert_eq!(bench.accepts(&token).await, outcome, "{before} before it");
    }
}
