//! Public test vectors of JWS and JWK, through the code that requests go through: keys are judged as a configuration's,
//! tokens are taken apart and verified as a client's. Claims are not looked at, since these payloads have none.
//!
//! The examples of RFC 7515 and RFC 8037 are written here; the larger sets lie in `fixtures`, each with its origin and licence.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

use std::collections::BTreeMap;
use std::slice;

use llm_plugin_server::jwt::algorithm::Algorithm;
use llm_plugin_server::jwt::claims::ClaimPath;
use llm_plugin_server::jwt::config::{Issuer, KeySource};
use llm_plugin_server::jwt::keys::{KeySet, Secret, Verdict};
use llm_plugin_server::jwt::token::Jws;
use serde_json::{Value, json};

const WYCHEPROOF_SIGNATURES: &str =
    include_str!("fixtures/wycheproof/json_web_signature_test.json");
const WYCHEPROOF_KEYS: &str = include_str!("fixtures/wycheproof/json_web_key_test.json");
const COOKBOOK_KEYS: &str = include_str!("fixtures/rfc7520/jwk.json");
const COOKBOOK_SIGNATURES: &str = include_str!("fixtures/rfc7520/jws.json");
/// `max_token_size` by default.
const MAX_TOKEN_BYTES: usize = 8192;

/// Whether `token` is validly signed by one of `keys`, had an operator configured these.
fn accepts(keys: &[Value], token: &str) -> bool {
    let Some((source, algorithms)) = configured(keys) else {
        return false;
    };
    let issuer = Issuer {
        name: "https://issuer.example".to_owned(),
        keys: source,
        algorithms,
        audience_claim: ClaimPath::new(vec!["aud".to_owned()]).unwrap(),
        audience_required: None,
    };
    let Ok(Some(set)) = issuer.static_keys("issuers[0]") else {
        return false;
    };
    let Ok((jws, _payload)) = Jws::parse(token.as_bytes(), MAX_TOKEN_BYTES) else {
        return false;
    };
    issuer.algorithms.contains(&jws.algorithm) && set.verify(&jws) == Verdict::Valid
}

/// The source that an operator would choose: secrets for symmetric keys alone, a JWK set for everything else.
fn configured(keys: &[Value]) -> Option<(KeySource, Vec<Algorithm>)> {
    if keys.iter().all(|key| key["kty"] == "oct") {
        let secrets = keys
            .iter()
            .map(|key| Secret::from_base64(key["k"].as_str()?).ok())
            .collect::<Option<_>>()?;
        let algorithms = keys
            .iter()
            .map(|key| Algorithm::from_name(key["alg"].as_str()?))
            .collect::<Option<_>>()?;
        return Some((KeySource::Secrets(secrets), algorithms));
    }
    let algorithms = Algorithm::ALL.into_iter().filter(|a| !a.is_symmetric());
    let set = json!({ "keys": keys }).to_string();
    Some((KeySource::Jwks(set), algorithms.collect()))
}

#[test]
fn the_examples_of_the_rfcs_verify_and_verify_nothing_else() {
    let examples = [
        (
            "RFC 7515 A.1",
            json!({
                "kty": "oct", "alg": "HS256",
                "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            }),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
             .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
             .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "RFC 7515 A.3",
            json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            "eyJhbGciOiJFUzI1NiJ9\
             .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
             .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            "RFC 8037 A.4",
            json!({
                "kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
             .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (source, key, token) in &examples {
        assert!(accepts(slice::from_ref(key), token), "{source}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{message}.{other}{}", &signature[1..]);
        assert!(!accepts(slice::from_ref(key), &forged), "{source}");
        for (other, _, other_token) in examples.iter().filter(|example| example.0 != *source) {
            assert!(
                !accepts(slice::from_ref(key), other_token),
                "{source}, {other}"
            );
        }
    }
}

/// [`WYCHEPROOF_SIGNATURES`]: the cases in which we disagree, each with the reason.
const SIGNATURE_EXCEPTIONS: &[(u64, &str)] = &[
    (
        346,
        "the key says PS256, the token PS384: a key serves the algorithm that it names",
    ),
    (
        350,
        "the key says PS256, the token PS384: a key serves the algorithm that it names",
    ),
    (347, "the key says ES521, an algorithm that does not exist"),
    (351, "the key says ES521, an algorithm that does not exist"),
    (
        367,
        "called wrongly padded, but its bytes are those of the valid token: the padding was lost in the set",
    ),
    (
        370,
        "called wrongly padded, but its bytes are those of the valid token: the padding was lost in the set",
    ),
    (
        372,
        "called valid with a question mark within the base64 of its header: RFC 7515 has one spelling",
    ),
    (
        373,
        "called valid with a question mark within the base64 of its payload: RFC 7515 has one spelling",
    ),
];

#[test]
fn wycheproof_agrees_on_signatures() {
    agrees(WYCHEPROOF_SIGNATURES, 401, SIGNATURE_EXCEPTIONS);
}

#[test]
fn wycheproof_agrees_on_keys() {
    // Case 4, two secrets under one kid, is refused as it should be, though for the second one's base64, which is not
    // canonical: secrets have no kid here, and each that an operator configures is tried.
    agrees(WYCHEPROOF_KEYS, 26, &[]);
}

/// Runs a set of Wycheproof, of so many cases: the disagreements are exactly `exceptions`.
fn agrees(set: &str, count: usize, exceptions: &[(u64, &str)]) {
    let document: Value = serde_json::from_str(set).unwrap();
    let mut cases = 0;
    let mut disagreements = BTreeMap::new();
    for group in document["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let keys = key["keys"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![key.clone()]);
        for case in group["tests"].as_array().unwrap() {
            let token = case["jws"]
                .as_str()
                .map_or_else(|| case["jws"].to_string(), str::to_owned);
            cases += 1;
            if accepts(&keys, &token) != (case["result"] == "valid") {
                disagreements.insert(case["tcId"].as_u64().unwrap(), case["comment"].to_string());
            }
        }
    }
    let expected: Vec<u64> = {
        let mut cases: Vec<u64> = exceptions.iter().map(|(case, _)| *case).collect();
        cases.sort_unstable();
        cases
    };
    assert_eq!(cases, count);
    assert_eq!(
        disagreements.keys().copied().collect::<Vec<_>>(),
        expected,
        "{disagreements:?}"
    );
}

#[test]
fn the_cookbook_of_rfc_7520_agrees_on_signatures() {
    let keys = cookbook_keys();
    let examples: Vec<Value> = serde_json::from_str(COOKBOOK_SIGNATURES).unwrap();
    // Each with whether it passes: 4.5 detaches its payload; 4.6 to 4.8 have no compact serialization.
    let outcomes = [
        ("4.1", true),
        ("4.2", true),
        ("4.3", true),
        ("4.4", true),
        ("4.5", false),
        ("4.6", false),
        ("4.7", false),
        ("4.8", false),
    ];
    assert_eq!(examples.len(), outcomes.len());
    for (example, (section, passes)) in examples.iter().zip(outcomes) {
        assert_eq!(example["section"], section);
        let verified_by = example["keys"].as_array().unwrap().iter();
        let keys: Vec<Value> = verified_by
            .map(|section| keys[section.as_str().unwrap()].clone())
            .collect();
        let output = &example["output"];
        let compact = output["compact"].as_str();
        assert_eq!(
            compact.is_some_and(|token| accepts(&keys, token)),
            passes,
            "{section}"
        );
        let others = ["json", "json_flat"]
            .iter()
            .filter_map(|name| output.get(name));
        for serialized in others {
            assert!(!accepts(&keys, &serialized.to_string()), "{section}");
        }
    }
}

#[test]
fn the_cookbook_of_rfc_7520_agrees_on_keys() {
    // What an issuer publishes: the public keys can be used; private or symmetric ones are never trusted.
    for (section, key) in cookbook_keys() {
        let published = KeySet::from_jwks(json!({ "keys": [key] }).to_string().as_bytes());
        assert_eq!(
            published.is_ok(),
            ["3.1", "3.3"].contains(&section.as_str()),
            "{section}"
        );
    }
}

/// By their section.
fn cookbook_keys() -> BTreeMap<String, Value> {
    serde_json::from_str(COOKBOOK_KEYS).unwrap()
}
