//! Public test vectors of JWS and JWK, through the code that requests go through: keys are judged as a configuration's,
//! tokens are taken apart and verified as a client's. Claims are not looked at, since these payloads have none.
//!
//! The examples of the RFCs are written here. The large sets are read from a folder that holds clones of their
//! repositories; without it those tests are skipped and say so:
//!
//! ```sh
//! git clone https://github.com/C2SP/wycheproof && git clone https://github.com/ietf-jose/cookbook
//! JWT_VECTORS=$PWD cargo test -p llm-plugin-server --test jwt_vectors
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

use llm_plugin_server::jwt::algorithm::Algorithm;
use llm_plugin_server::jwt::claims::ClaimPath;
use llm_plugin_server::jwt::config::{Issuer, KeySource};
use llm_plugin_server::jwt::keys::{Secret, Verdict};
use llm_plugin_server::jwt::token::Jws;
use serde_json::{Value, json};

/// The folder of the clones.
const VECTORS: &str = "JWT_VECTORS";
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

/// `json_web_signature_test.json`: the cases in which we disagree, each with the reason.
const SIGNATURE_EXCEPTIONS: &[(u64, &str)] = &[
    (
        346,
        "the key says PS256, the token PS384: a key serves the algorithm that it names",
    ),
    (
        350,
        "the key says PS256, the token PS384: a key serves the algorithm that it names",
    ),
    (
        347,
        "ES512 on P-521 is not supported, and the key's own name for it, ES521, does not exist",
    ),
    (
        351,
        "ES512 on P-521 is not supported, and the key's own name for it, ES521, does not exist",
    ),
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
    agrees("json_web_signature_test.json", 401, SIGNATURE_EXCEPTIONS);
}

#[test]
fn wycheproof_agrees_on_keys() {
    // Case 4, two secrets under one kid, is refused as it should be, though for the second one's base64, which is not
    // canonical: secrets have no kid here, and each that an operator configures is tried.
    agrees("json_web_key_test.json", 26, &[]);
}

/// Runs a file of Wycheproof: the disagreements are exactly `exceptions`, and the file has at least `least` cases.
fn agrees(file: &str, least: usize, exceptions: &[(u64, &str)]) {
    let Some(folder) = vectors_or_skip(file) else {
        return;
    };
    let document = read(&folder.join("wycheproof/testvectors_v1").join(file));
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
    assert!(cases >= least, "{cases} cases");
    assert_eq!(
        disagreements.keys().copied().collect::<Vec<_>>(),
        expected,
        "{disagreements:?}"
    );
}

#[test]
fn the_cookbook_of_rfc_7520_agrees() {
    let Some(folder) = vectors_or_skip("the cookbook of RFC 7520") else {
        return;
    };
    let cookbook = folder.join("cookbook");
    let compact_token = |example: &Value| {
        example["output"]["compact"]
            .as_str()
            .unwrap_or("no compact serialization")
            .to_owned()
    };
    // Each with whether it passes: 4.3 is ES512; 4.5 detaches its payload; 4.6 to 4.8 leave the compact serialization.
    for (name, passes) in [
        ("4_1.rsa_v15_signature", true),
        ("4_2.rsa-pss_signature", true),
        ("4_3.ecdsa_signature", false),
        ("4_4.hmac-sha2_integrity_protection", true),
        ("4_5.signature_with_detached_content", false),
        ("4_6.protecting_specific_header_fields", false),
        ("4_7.protecting_content_only", false),
        ("4_8.multiple_signatures", false),
    ] {
        let example = read(&cookbook.join(format!("jws/{name}.json")));
        let keys: Vec<Value> = match &example["input"]["key"] {
            Value::Array(keys) => keys.iter().map(public).collect(),
            key => vec![public(key)],
        };
        assert_eq!(accepts(&keys, &compact_token(&example)), passes, "{name}");
        for text in ["json", "json_flat"] {
            let serialized = example["output"][text].to_string();
            assert!(!accepts(&keys, &serialized), "{name}: {text}");
        }
    }
    let ed25519 = read(&cookbook.join("curve25519/jws.json"));
    let key = public(&ed25519["input"]["key"]);
    assert!(accepts(&[key], &compact_token(&ed25519)), "RFC 8037");
}

/// The public half of a private key: what an issuer publishes. A secret stays as it is.
fn public(key: &Value) -> Value {
    let mut key = key.clone();
    if key["kty"] != "oct" {
        let private = ["d", "p", "q", "dp", "dq", "qi"];
        key.as_object_mut()
            .unwrap()
            .retain(|name, _| !private.contains(&name.as_str()));
    }
    key
}

/// The folder of the clones; without it the test is skipped, and says so.
fn vectors_or_skip(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(VECTORS).map(PathBuf::from);
    if folder.is_none() {
        eprintln!(
            "skipped: {what} needs {VECTORS}, the folder with clones of C2SP/wycheproof and ietf-jose/cookbook"
        );
    }
    folder
}

fn read(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}
