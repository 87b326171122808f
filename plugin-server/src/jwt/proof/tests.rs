//! Bound tokens on the whole policy: each attack with its outcome.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::dpop::{InvalidProof, thumbprint};
use super::{Mode, ProofOfPossession};
use crate::jwt::expression::RequestLine;
use crate::jwt::presented::{Presented, Scheme};
use crate::jwt::refusal::{InvalidToken, Refusal};
use crate::jwt::testing::*;

const TARGET: &str = "https://gateway.example:8443/mcp/tools?session=1";

fn bench(dpop: Mode, mtls: Mode) -> Bench {
    let mut settings = settings(jwks(&[TestKey::rsa().jwk("k1")]));
    settings.proof_of_possession = ProofOfPossession { dpop, mtls };
    Bench::new(settings)
}

fn jkt(key: &TestKey) -> String {
    thumbprint(key.jwk("any").as_object().unwrap()).unwrap()
}

fn token(confirmation: Value) -> String {
    let claims = claims_with("cnf", confirmation);
    TestKey::rsa().token(&json!({"alg": "RS256", "kid": "k1"}), &claims)
}

fn token_bound_to(key: &TestKey) -> String {
    token(json!({"jkt": jkt(key)}))
}

fn proof_header(key: &TestKey) -> Value {
    let mut jwk = key.jwk("unused");
    jwk.as_object_mut().unwrap().shift_remove("kid");
    let algorithm = match key {
        TestKey::Rsa(_) => "RS256",
        TestKey::Ec(_, algorithm) => algorithm.name(),
        TestKey::Ed(_) => "EdDSA",
        TestKey::Shared(_) => "HS256",
    };
    json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk})
}

fn proof_claims(token: &str, id: &str) -> Value {
    json!({
        "jti": id,
        "htm": "POST",
        "htu": "https://gateway.example:8443/mcp/tools",
        "iat": NOW,
        "ath": URL_SAFE_NO_PAD.encode(Sha256::digest(token)),
    })
}

fn proof(key: &TestKey, token: &str, id: &str) -> String {
    key.token(&proof_header(key), &proof_claims(token, id))
}

fn proven<'r>(token: &'r str, proofs: &[&'r str]) -> Presented<'r> {
    Presented {
        scheme: Scheme::Dpop,
        request: RequestLine {
            method: "POST",
            path: "/mcp/tools",
        },
        target: TARGET,
        proofs: proofs.iter().map(|proof| proof.as_bytes()).collect(),
        ..Presented::bearer(token.as_bytes())
    }
}

async fn outcome(bench: &Bench, presented: &Presented<'_>) -> Result<(), Refusal> {
    bench
        .authenticator
        .authenticate(presented)
        .await
        .map(|_| ())
}

#[tokio::test]
async fn a_bound_token_passes_with_a_proof_by_its_key_of_each_kind() {
    for mode in [Mode::Optional, Mode::Required] {
        let bench = bench(mode, Mode::Off);
        for key in [
            TestKey::p256(),
            TestKey::p384(),
            TestKey::ed25519(),
            TestKey::rsa(),
        ] {
            let token = token_bound_to(key);
            let proof = proof(key, &token, &jkt(key));
            assert_eq!(
                outcome(&bench, &proven(&token, &[&proof])).await,
                Ok(()),
                "{mode:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_bound_token_sent_plain_is_refused_unless_bindings_are_not_looked_at() {
    let token = token_bound_to(TestKey::p256());
    let plain = Presented::bearer(token.as_bytes());
    for mode in [Mode::Optional, Mode::Required] {
        let bench = bench(mode, Mode::Off);
        for _first_and_remembered in 0..2 {
            assert_eq!(
                outcome(&bench, &plain).await,
                Err(InvalidToken::SentPlain.into())
            );
        }
        // A proof beside a bearer token changes nothing: the scheme says what the client means.
        let proof = proof(TestKey::p256(), &token, "p1");
        let beside = Presented {
            scheme: Scheme::Bearer,
            ..proven(&token, &[&proof])
        };
        assert_eq!(
            outcome(&bench, &beside).await,
            Err(InvalidToken::SentPlain.into())
        );
    }
    assert_eq!(outcome(&bench(Mode::Off, Mode::Off), &plain).await, Ok(()));
}

#[tokio::test]
async fn a_token_that_is_bound_to_nothing_passes_plain_where_that_is_optional_only() {
    let token = token(Value::Null);
    let plain = Presented::bearer(token.as_bytes());
    let proof = proof(TestKey::p256(), &token, "p1");
    let not_bound = || Err(InvalidToken::NotBound.into());
    let (optional, required) = (
        bench(Mode::Optional, Mode::Off),
        bench(Mode::Required, Mode::Off),
    );
    assert_eq!(outcome(&optional, &plain).await, Ok(()));
    assert_eq!(outcome(&required, &plain).await, not_bound());
    for bench in [optional, required] {
        assert_eq!(
            outcome(&bench, &proven(&token, &[&proof])).await,
            not_bound()
        );
    }
}

#[tokio::test]
async fn a_confirmation_of_another_form_is_never_read_as_none() {
    let bench = bench(Mode::Optional, Mode::Optional);
    for confirmation in [
        json!("jkt"),
        json!([]),
        json!({"jkt": 7}),
        json!({"jkt": null}),
        json!({"x5t#S256": ["a"]}),
    ] {
        let token = token(confirmation.clone());
        assert_eq!(
            outcome(&bench, &Presented::bearer(token.as_bytes())).await,
            Err(InvalidToken::Binding.into()),
            "{confirmation}"
        );
    }
}

#[tokio::test]
async fn a_proof_by_another_key_is_refused() {
    let bench = bench(Mode::Required, Mode::Off);
    let token = token_bound_to(TestKey::p256());
    let thief = TestKey::new_p256();
    let stolen = proof(&thief, &token, "p1");
    assert_eq!(
        outcome(&bench, &proven(&token, &[&stolen])).await,
        Err(InvalidToken::OtherKey.into())
    );
    // The thief's signature under the owner's public key.
    let forged = thief.token(&proof_header(TestKey::p256()), &proof_claims(&token, "p2"));
    assert_eq!(
        outcome(&bench, &proven(&token, &[&forged])).await,
        Err(InvalidProof::Signature.into())
    );
}

#[tokio::test]
async fn a_proof_is_used_once() {
    let bench = bench(Mode::Required, Mode::Off);
    let key = TestKey::p256();
    let token = token_bound_to(key);
    let first = proof(key, &token, "p1");
    assert_eq!(outcome(&bench, &proven(&token, &[&first])).await, Ok(()));
    let replayed = || Err(InvalidProof::Replayed.into());
    assert_eq!(
        outcome(&bench, &proven(&token, &[&first])).await,
        replayed()
    );
    let signed_again = proof(key, &token, "p1");
    assert_eq!(
        outcome(&bench, &proven(&token, &[&signed_again])).await,
        replayed(),
        "jti counts, not the signature"
    );
    bench.clock.advance(89);
    assert_eq!(
        outcome(&bench, &proven(&token, &[&first])).await,
        replayed()
    );
    bench.clock.advance(2);
    assert_eq!(
        outcome(&bench, &proven(&token, &[&first])).await,
        Err(InvalidProof::Claim("iat").into()),
        "too old before it is forgotten"
    );
}

#[tokio::test]
async fn a_used_proof_stays_used_whatever_becomes_of_the_configuration() {
    let bench = bench(Mode::Required, Mode::Off);
    let key = TestKey::p256();
    let token = token_bound_to(key);
    let used = proof(key, &token, "p1");
    assert_eq!(outcome(&bench, &proven(&token, &[&used])).await, Ok(()));
    let mut changed = bench.authenticator.settings().clone();
    let Bench { clock, process, .. } = bench;
    changed.realm = "another".into();
    let authenticator = process.authenticator(changed).unwrap();
    let bench = Bench {
        clock,
        process,
        authenticator,
    };
    assert_eq!(
        outcome(&bench, &proven(&token, &[&used])).await,
        Err(InvalidProof::Replayed.into())
    );
    let fresh = proof(key, &token, "p2");
    assert_eq!(outcome(&bench, &proven(&token, &[&fresh])).await, Ok(()));
}

#[tokio::test]
async fn a_refused_proof_is_not_used_up() {
    let bench = bench(Mode::Required, Mode::Off);
    let key = TestKey::p256();
    let token = token_bound_to(key);
    let proof = proof(key, &token, "p1");
    let elsewhere = Presented {
        target: "https://evil.example/mcp/tools",
        ..proven(&token, &[&proof])
    };
    assert_eq!(
        outcome(&bench, &elsewhere).await,
        Err(InvalidProof::Claim("htu").into())
    );
    assert_eq!(outcome(&bench, &proven(&token, &[&proof])).await, Ok(()));
}

#[tokio::test]
async fn there_is_exactly_one_proof() {
    let bench = bench(Mode::Required, Mode::Off);
    let key = TestKey::p256();
    let token = token_bound_to(key);
    let (one, two) = (proof(key, &token, "p1"), proof(key, &token, "p2"));
    for proofs in [&[][..], &[&*one, &two], &[&one, &one]] {
        assert_eq!(
            outcome(&bench, &proven(&token, proofs)).await,
            Err(InvalidProof::NotOne.into())
        );
    }
    let joined = format!("{one}, {two}");
    assert!(matches!(
        outcome(&bench, &proven(&token, &[&joined])).await,
        Err(Refusal::Proof(InvalidProof::Malformed(_)))
    ));
}

#[tokio::test]
async fn a_proof_fits_this_request_this_token_and_this_minute() {
    let bench = bench(Mode::Required, Mode::Off);
    let key = TestKey::p256();
    let token = token_bound_to(key);
    let other_hash = URL_SAFE_NO_PAD.encode(Sha256::digest("another token"));
    for (name, value) in [
        ("htm", json!("GET")),
        ("htm", json!("post")),
        ("htm", Value::Null),
        ("htu", json!("https://gateway.example:8443/mcp/other")),
        ("htu", json!("http://gateway.example:8443/mcp/tools")),
        ("htu", json!("https://gateway.example/mcp/tools")),
        ("htu", json!("/mcp/tools")),
        ("htu", Value::Null),
        ("iat", json!(NOW - 91)),
        ("iat", json!(NOW + 31)),
        ("iat", json!(NOW.to_string())),
        ("iat", json!(1e300)),
        ("iat", json!(i64::MAX)),
        ("iat", json!(i64::MIN)),
        ("iat", Value::Null),
        ("ath", json!(other_hash)),
        ("ath", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("jti", json!(7)),
        ("jti", Value::Null),
    ] {
        let mut claims = proof_claims(&token, "p1");
        claims[name] = value.clone();
        let proof = key.token(&proof_header(key), &claims);
        assert_eq!(
            outcome(&bench, &proven(&token, &[&proof])).await,
            Err(InvalidProof::Claim(name).into()),
            "{name}: {value}"
        );
    }
    for (at, (name, value)) in [
        ("iat", json!(NOW - 90)),
        ("iat", json!(NOW + 30)),
        ("iat", serde_json::from_str(&format!("{NOW}.75")).unwrap()),
        ("htu", json!("https://gateway.example:8443/mcp/tools?x#y")),
        ("htu", json!("https://GATEWAY.example:8443/mcp/./too%6Cs")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut claims = proof_claims(&token, &format!("fits-{at}"));
        claims[name] = value.clone();
        let proof = key.token(&proof_header(key), &claims);
        assert_eq!(
            outcome(&bench, &proven(&token, &[&proof])).await,
            Ok(()),
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn a_proof_of_another_form_or_with_another_kind_of_key_is_refused() {
    let bench = bench(Mode::Required, Mode::Off);
    let key = TestKey::p256();
    let token = token_bound_to(key);
    let refusal = |member: &'static str, value: Value| {
        let mut header = proof_header(key);
        header[member] = value;
        let (bench, token) = (&bench, &token);
        async move {
            let proof = key.token(&header, &proof_claims(token, "p1"));
            outcome(bench, &proven(token, &[&proof])).await.unwrap_err()
        }
    };
    for typ in ["JWT", "at+jwt", "dpop"] {
        assert_eq!(refusal("typ", json!(typ)).await, InvalidProof::Type.into());
    }
    for alg in ["none", "HS256", "ES256K"] {
        let malformed = refusal("alg", json!(alg)).await;
        assert!(
            matches!(
                malformed,
                Refusal::Proof(InvalidProof::Malformed(_) | InvalidProof::Algorithm)
            ),
            "{alg}: {malformed:?}"
        );
    }
    let mut private = key.jwk("k");
    private["d"] = json!("AAAA");
    let mut for_encryption = key.jwk("k");
    for_encryption["use"] = json!("enc");
    let mut off_curve = key.jwk("k");
    off_curve["x"] = json!(URL_SAFE_NO_PAD.encode([7; 32]));
    for jwk in [
        Value::Null,
        json!("key"),
        json!({"kty": "oct", "k": "AAAA"}),
        private,
        for_encryption,
        off_curve,
    ] {
        assert_eq!(
            refusal("jwk", jwk.clone()).await,
            InvalidProof::Key.into(),
            "{jwk}"
        );
    }
    assert!(matches!(
        refusal("crit", json!(["b64"])).await,
        Refusal::Proof(InvalidProof::Malformed(_))
    ));
    let long = "x".repeat(9000);
    for text in ["", "a.b.c", &token, &long] {
        let refusal = outcome(&bench, &proven(&token, &[text])).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Proof(_)), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_certificate_bound_token_needs_its_certificate() {
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(client.cert.der()));
    let (bound, free) = (token(json!({"x5t#S256": hash})), token(Value::Null));
    let (certificate, another) = (client.cert.pem(), other.cert.pem());
    for mode in [Mode::Optional, Mode::Required] {
        let bench = bench(Mode::Off, mode);
        for (pem, expected) in [
            (certificate.as_str(), Ok(())),
            (another.as_str(), Err(InvalidToken::OtherCertificate.into())),
            ("", Err(InvalidToken::NoCertificate.into())),
        ] {
            let presented = Presented {
                certificate: pem.as_bytes(),
                ..Presented::bearer(bound.as_bytes())
            };
            assert_eq!(outcome(&bench, &presented).await, expected);
        }
        let unbound = Presented {
            certificate: certificate.as_bytes(),
            ..Presented::bearer(free.as_bytes())
        };
        let expected = match mode {
            Mode::Required => Err(InvalidToken::NotBound.into()),
            _ => Ok(()),
        };
        assert_eq!(outcome(&bench, &unbound).await, expected);
    }
}

#[test]
fn proofs_are_not_asked_for_where_no_token_can_come_with_one() {
    let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
    settings.proof_of_possession.dpop = Mode::Optional;
    assert_eq!(settings.check(), Ok(()));
    settings.locations.headers = vec!["x-token".into()];
    assert_eq!(
        settings.check().unwrap_err().field,
        "proof_of_possession.dpop"
    );
}
