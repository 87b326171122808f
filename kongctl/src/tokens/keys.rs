//! What a JWK is, and what it is good for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use llm_plugin_server::jwt::algorithm::Algorithm;
use llm_plugin_server::jwt::keys::{Unusable, VerificationKey};
use llm_plugin_server::jwt::proof::dpop::thumbprint;
use serde_json::{Map, Value, json};

use crate::output::failure::Refused;

/// The most keys of a set that are looked at: as many as `llm-jwt` reads.
const MOST_KEYS: usize = 256;

/// One key of a set.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    pub(crate) kty: Option<String>,
    pub(crate) alg: Option<String>,
    /// `use`.
    pub(crate) purpose: Option<String>,
    /// The size of an RSA modulus, or the curve.
    pub(crate) size: Option<String>,
    /// RFC 7638, of a public key.
    pub(crate) thumbprint: Option<String>,
    /// The key as `llm-jwt` takes it, or why it does not.
    pub(crate) judged: Result<VerificationKey, &'static str>,
}

/// Reads a set's keys, those that cannot be used too.
pub(crate) fn read(document: &[u8]) -> Result<Vec<Key>, Refused> {
    let refused = |message: &str, hint: String| Refused {
        message: message.to_owned(),
        hint,
    };
    let set: Value = serde_json::from_slice(document).map_err(|_| {
        refused(
            "that is no JWK set: it is not JSON",
            "is that the right address?".to_owned(),
        )
    })?;
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        let hint = match set.get("jwks_uri").and_then(Value::as_str) {
            Some(uri) => format!(
                "these are an issuer's metadata; its keys are at {}",
                crate::output::text::fit(uri, 200)
            ),
            None => "a set is a JSON object with a list `keys`".to_owned(),
        };
        return Err(refused("that is no JWK set", hint));
    };
    Ok(keys.iter().take(MOST_KEYS).map(Key::of).collect())
}

impl Key {
    fn of(jwk: &Value) -> Self {
        let empty = Map::new();
        let members = jwk.as_object().unwrap_or(&empty);
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let size = match members.get("kty").and_then(Value::as_str) {
            Some("RSA") => members
                .get("n")
                .and_then(Value::as_str)
                .and_then(bits)
                .map(|bits| format!("{bits} bits")),
            _ => text("crv"),
        };
        Self {
            kid: text("kid"),
            kty: text("kty"),
            alg: text("alg"),
            purpose: text("use"),
            size,
            thumbprint: thumbprint(members),
            judged: VerificationKey::from_jwk(jwk).map_err(Unusable::text),
        }
    }

    /// What the key is called where it has no `kid`.
    pub(crate) fn name(&self) -> &str {
        let name = self.kid.as_deref().or(self.thumbprint.as_deref());
        name.unwrap_or("(nameless)")
    }

    /// The kind of key: `RSA, 2048 bits`.
    pub(crate) fn kind(&self) -> String {
        let parts = [self.kty.as_deref(), self.size.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What it may verify.
    pub(crate) fn algorithms(&self) -> Vec<&'static str> {
        let names = |key: &VerificationKey| {
            let names = key.algorithms().iter().copied().map(Algorithm::name);
            names.collect()
        };
        self.judged.as_ref().map(names).unwrap_or_default()
    }

    /// The key for a program.
    pub(crate) fn value(&self) -> Value {
        json!({
            "kid": self.kid, "kty": self.kty, "alg": self.alg, "use": self.purpose, "size": self.size,
            "thumbprint": self.thumbprint,
            "usable": self.judged.is_ok(),
            "algorithms": self.algorithms(),
            "reason": self.judged.as_ref().err(),
        })
    }
}

/// The length of a number in base64url.
fn bits(number: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(number).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let unused = bytes[first].leading_zeros() as usize;
    Some((bytes.len() - first) * 8 - unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_long_as_its_highest_bit() {
        for (bytes, expected) in [
            (&[0x80_u8, 0][..], Some(16)),
            (&[0, 1], Some(1)),
            (&[0, 0], None),
            (&[], None),
        ] {
            assert_eq!(bits(&URL_SAFE_NO_PAD.encode(bytes)), expected);
        }
        assert_eq!(bits("=="), None);
    }

    #[test]
    fn metadata_are_told_from_keys() {
        let refused = read(br#"{"issuer": "https://i", "jwks_uri": "https://i/jwks"}"#);
        assert!(refused.unwrap_err().hint.contains("https://i/jwks"));
        assert!(read(b"<html>").is_err() && read(b"{}").is_err());
        assert_eq!(read(br#"{"keys": []}"#).unwrap().len(), 0);
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let set =
            json!({"keys": [7, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC", "crv": "P-521"}]});
        let keys = read(set.to_string().as_bytes()).unwrap();
        let reasons: Vec<_> = keys
            .iter()
            .map(|key| key.judged.as_ref().unwrap_err())
            .collect();
        assert!(reasons[1].contains("symmetric"), "{reasons:?}");
        assert_eq!(
            keys[1].thumbprint, None,
            "that of a secret would help to guess it"
        );
        assert_eq!(
            (keys[2].name(), keys[2].kind()),
            ("(nameless)", "EC, P-521".to_owned())
        );
        assert!(!keys[1].value().to_string().contains("c2VjcmV0"));
    }
}
