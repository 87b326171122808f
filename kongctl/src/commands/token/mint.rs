//! `token mint`: a signed JWT for trying things out.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cli::{Algorithm, Mint};
use crate::clock;
use crate::output::failure::{Refused, UsageError};
use crate::output::{Format, Printer};

use super::Exit;

pub(super) fn run(arguments: &Mint, printer: Printer) -> anyhow::Result<Exit> {
    let claims = claims(arguments, clock::unix_seconds())?;
    let key = read_key(&arguments.key_file)?;
    let token = sign(arguments.algorithm, &key, arguments.key_id.clone(), &claims)?;
    match printer.format {
        Format::Json | Format::Yaml => {
            printer.value(&json!({ "token": token, "claims": claims }))?;
        }
        Format::Table | Format::Name => printer.result(&token)?,
    }
    Ok(Exit::Done)
}

fn claims(arguments: &Mint, now: u64) -> Result<Map<String, Value>, UsageError> {
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    if let Some(issuer) = &arguments.issuer {
        set("iss", json!(issuer));
    }
    if let Some(subject) = &arguments.subject {
        set("sub", json!(subject));
    }
    match arguments.audience.as_slice() {
        [] => {}
        [one] => drop(set("aud", json!(one))),
        several => drop(set("aud", json!(several))),
    }
    let jti = arguments.jti.clone();
    set(
        "jti",
        json!(jti.unwrap_or_else(|| Uuid::new_v4().to_string())),
    );
    set("iat", json!(now));
    set(
        "exp",
        json!(now.saturating_add(arguments.expires_in.as_secs())),
    );
    for claim in &arguments.claims {
        let Some((name, value)) = claim.split_once('=') else {
            return Err(UsageError {
                message: format!("--claim {claim:?} is not of the form NAME=VALUE"),
            });
        };
        set(
            name,
            serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
        );
    }
    Ok(claims)
}

fn read_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut key = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin()
            .read_to_end(&mut key)
            .context("cannot read the key from standard input")?;
    } else {
        key = std::fs::read(path)
            .with_context(|| format!("cannot read the key {}", path.display()))?;
    }
    Ok(key)
}

fn sign(
    algorithm: Algorithm,
    key: &[u8],
    key_id: Option<String>,
    claims: &Map<String, Value>,
) -> anyhow::Result<String> {
    let (algorithm, key) = match algorithm {
        Algorithm::Hs256 => {
            let secret = key.strip_suffix(b"\n").unwrap_or(key);
            let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
            (
                jsonwebtoken::Algorithm::HS256,
                Ok(EncodingKey::from_secret(secret)),
            )
        }
        Algorithm::Rs256 => (
            jsonwebtoken::Algorithm::RS256,
            EncodingKey::from_rsa_pem(key),
        ),
        Algorithm::Es256 => (
            jsonwebtoken::Algorithm::ES256,
            EncodingKey::from_ec_pem(key),
        ),
        Algorithm::EdDsa => (
            jsonwebtoken::Algorithm::EdDSA,
            EncodingKey::from_ed_pem(key),
        ),
    };
    let refused = |error: jsonwebtoken::errors::Error| {
        Refused {
        message: format!("the key cannot sign with {algorithm:?}: {error}"),
        hint: "it must be a private key in PEM, PKCS#8: `openssl pkcs8 -topk8 -nocrypt -in key.pem` converts".to_owned(),
    }
    };
    let mut header = Header::new(algorithm);
    header.kid = key_id;
    let token = jsonwebtoken::encode(&header, claims, &key.map_err(refused)?).map_err(refused)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn arguments(claims: &[&str]) -> Mint {
        Mint {
            algorithm: Algorithm::Hs256,
            key_file: "-".into(),
            key_id: None,
            issuer: Some("https://issuer.example".to_owned()),
            subject: Some("alice".to_owned()),
            audience: vec!["llm".to_owned()],
            jti: Some("7f3a9c".to_owned()),
            expires_in: std::time::Duration::from_mins(1),
            claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
        }
    }

    #[test]
    fn claims_are_json_where_they_parse_and_strings_otherwise() {
        let claims = claims(&arguments(&["tenant=acme", "n=5", "roles=[\"a\"]"]), 1_000).unwrap();
        assert_eq!(
            Value::Object(claims),
            json!({"iss": "https://issuer.example", "sub": "alice", "aud": "llm", "jti": "7f3a9c", "iat": 1000, "exp": 1060,
                   "tenant": "acme", "n": 5, "roles": ["a"]})
        );
    }

    #[test]
    fn each_token_can_be_told_from_the_others() {
        let jti = |claim: &[&str]| {
            let arguments = Mint {
                jti: None,
                ..arguments(claim)
            };
            claims(&arguments, 0).unwrap()["jti"].clone()
        };
        let (one, other) = (jti(&[]), jti(&[]));
        assert_ne!(one, other);
        assert!(Uuid::parse_str(one.as_str().unwrap()).is_ok());
        assert_eq!(jti(&["jti=mine"]), "mine");
    }

    #[test]
    fn a_claim_without_a_value_is_wrong_usage() {
        assert!(claims(&arguments(&["tenant"]), 0).is_err());
    }

    #[test]
    fn each_algorithm_signs_what_its_public_key_verifies() {
        let claims = claims(&arguments(&[]), clock::unix_seconds()).unwrap();
        let check = |token: &str, key: &DecodingKey, algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_audience(&["llm"]);
            let data = jsonwebtoken::decode::<Value>(token, key, &validation).unwrap();
            assert_eq!(data.claims["sub"], "alice");
            assert_eq!(data.header.kid.as_deref(), Some("k1"));
        };
        let kid = || Some("k1".to_owned());
        let token = sign(Algorithm::Hs256, b"secret\n", kid(), &claims).unwrap();
        check(
            &token,
            &DecodingKey::from_secret(b"secret"),
            jsonwebtoken::Algorithm::HS256,
        );
        let rsa = include_bytes!("../../../tests/fixtures/oracle/a.key");
        let token = sign(Algorithm::Rs256, rsa, kid(), &claims).unwrap();
        let public =
            DecodingKey::from_rsa_pem(include_bytes!("../../../tests/fixtures/oracle/a.pub"))
                .unwrap();
        check(&token, &public, jsonwebtoken::Algorithm::RS256);
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let token = sign(
            Algorithm::Es256,
            pair.serialize_pem().as_bytes(),
            kid(),
            &claims,
        )
        .unwrap();
        let public = DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes()).unwrap();
        check(&token, &public, jsonwebtoken::Algorithm::ES256);
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let token = sign(
            Algorithm::EdDsa,
            pair.serialize_pem().as_bytes(),
            kid(),
            &claims,
        )
        .unwrap();
        let public = DecodingKey::from_ed_pem(pair.public_key_pem().as_bytes()).unwrap();
        check(&token, &public, jsonwebtoken::Algorithm::EdDSA);
    }

    #[test]
    fn a_key_of_another_sort_is_refused_with_a_hint() {
        let error = sign(Algorithm::Rs256, b"no key", None, &Map::new()).unwrap_err();
        assert!(
            error
                .downcast_ref::<Refused>()
                .is_some_and(|refused| refused.hint.contains("PKCS#8"))
        );
    }
}
