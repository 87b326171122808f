//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037), each read and judged apart from its neighbours.

use std::slice;

use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::curve::Curve;
use super::rsa::{self, UntrustedRsa};
use super::{Material, VerificationKey};
use crate::jwt::algorithm::Algorithm;

/// How many keys of one set are read. Providers publish a handful.
const MAX_KEYS: usize = 256;

/// Why a text gives no keys at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAKeySet {
    /// Not JSON, or not an object with a list `keys`.
    #[error("not a JWK set: a JSON object with a list `keys`")]
    Form,
    /// A JWK set in which no key can be used.
    #[error("the JWK set has no usable key: {}", .0.map_or("it is empty", Unusable::text))]
    NoUsableKey(Option<Unusable>),
}

/// A key that was left out of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedKey {
    /// Where in the set it stood.
    pub position: usize,
    /// Why it was left out.
    pub reason: Unusable,
}

/// Why one JWK cannot be used to verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// A member is absent or has the wrong form.
    Form,
    /// It, and what follows, stands beyond the keys of a set that are read.
    Beyond,
    /// `use` is not `sig`.
    NotForSignatures,
    /// `key_ops` lacks `verify`.
    NotForVerifying,
    /// The set publishes a private or symmetric key: it is nobody's secret any more.
    Private,
    /// A key type, curve or algorithm that is not supported.
    Unsupported,
    /// `alg` belongs to another kind of key.
    AlgorithmMismatch,
    /// An RSA key whose numbers are not trusted.
    Rsa(UntrustedRsa),
    /// A point that is not on its curve.
    NotOnCurve,
}

impl Unusable {
    /// The reason in words, for a log.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Form => "a member is absent or has the wrong form",
            Self::Beyond => "it and those after it are beyond the 256 keys that are read",
            Self::NotForSignatures => "its `use` is not `sig`",
            Self::NotForVerifying => "its `key_ops` lack `verify`",
            Self::Private => {
                "it is a private or symmetric key (shared secrets belong in `secrets`)"
            }
            Self::Unsupported => "its type, curve or algorithm is not supported",
            Self::AlgorithmMismatch => "its `alg` belongs to another kind of key",
            Self::Rsa(reason) => reason.text(),
            Self::NotOnCurve => "its point is not on the curve",
        }
    }
}

/// Reads a set: the usable keys, and the others with their reasons.
pub(super) fn read_set(
    text: &[u8],
) -> Result<(Vec<VerificationKey>, Vec<RejectedKey>), NotAKeySet> {
    let document: Value = serde_json::from_slice(text).map_err(|_| NotAKeySet::Form)?;
    let entries = document
        .get("keys")
        .and_then(Value::as_array)
        .ok_or(NotAKeySet::Form)?;
    let mut keys = Vec::new();
    let mut rejected = Vec::new();
    for (position, entry) in entries.iter().take(MAX_KEYS).enumerate() {
        match read(entry) {
            Ok(key) => keys.push(key),
            Err(reason) => rejected.push(RejectedKey { position, reason }),
        }
    }
    if entries.len() > MAX_KEYS {
        rejected.push(RejectedKey {
            position: MAX_KEYS,
            reason: Unusable::Beyond,
        });
    }
    if keys.is_empty() {
        return Err(NotAKeySet::NoUsableKey(
            rejected.first().map(|key| key.reason),
        ));
    }
    Ok((keys, rejected))
}

/// Reads one key and judges it.
pub(super) fn read(entry: &Value) -> Result<VerificationKey, Unusable> {
    let jwk = entry.as_object().ok_or(Unusable::Form)?;
    let kid = optional_text(jwk, "kid")?.map(str::to_owned);
    if optional_text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Unusable::NotForSignatures);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations = operations.as_array().ok_or(Unusable::Form)?;
        if !operations.iter().any(|operation| operation == "verify") {
            return Err(Unusable::NotForVerifying);
        }
    }
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return Err(Unusable::Private);
    }
    let (possible, key) = match text(jwk, "kty")? {
        "RSA" => (Algorithm::RSA, Material::Plain(rsa(jwk)?)),
        "EC" => elliptic(jwk)?,
        "OKP" => (&[Algorithm::EdDsa][..], Material::Plain(edwards(jwk)?)),
        _ => return Err(Unusable::Unsupported),
    };
    let algorithms = match optional_text(jwk, "alg")? {
        None => possible.to_vec(),
        Some(name) => {
            let algorithm = Algorithm::from_name(name).ok_or(Unusable::Unsupported)?;
            if !possible.contains(&algorithm) {
                return Err(Unusable::AlgorithmMismatch);
            }
            vec![algorithm]
        }
    };
    Ok(VerificationKey {
        kid,
        algorithms,
        key,
    })
}

fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, Unusable> {
    let public = RsaPublicKeyComponents {
        n: unsigned(jwk, "n")?,
        e: unsigned(jwk, "e")?,
    };
    rsa::judge(&public).map_err(Unusable::Rsa)?;
    Ok(DecodingKey::from_rsa_raw_components(&public.n, &public.e))
}

fn elliptic(jwk: &Map<String, Value>) -> Result<(&'static [Algorithm], Material), Unusable> {
    let curve = Curve::named(text(jwk, "crv")?).ok_or(Unusable::Unsupported)?;
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != curve.coordinate_bytes || y.len() != curve.coordinate_bytes {
        return Err(Unusable::Form);
    }
    let point = [&[4], &x[..], &y[..]].concat();
    let key = curve.key(&point).ok_or(Unusable::NotOnCurve)?;
    Ok((slice::from_ref(&curve.algorithm), Material::Curve(key)))
}

fn edwards(jwk: &Map<String, Value>) -> Result<DecodingKey, Unusable> {
    if text(jwk, "crv")? != "Ed25519" {
        return Err(Unusable::Unsupported);
    }
    let point = bytes(jwk, "x")?;
    if point.len() != 32 {
        return Err(Unusable::Form);
    }
    ParsedPublicKey::new(&ED25519, &point).map_err(|_| Unusable::NotOnCurve)?;
    Ok(DecodingKey::from_ed_der(&point))
}

fn optional_text<'k>(jwk: &'k Map<String, Value>, name: &str) -> Result<Option<&'k str>, Unusable> {
    jwk.get(name)
        .map(|value| value.as_str().ok_or(Unusable::Form))
        .transpose()
}

fn text<'k>(jwk: &'k Map<String, Value>, name: &str) -> Result<&'k str, Unusable> {
    optional_text(jwk, name)?.ok_or(Unusable::Form)
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unusable> {
    URL_SAFE_NO_PAD
        .decode(text(jwk, name)?)
        .map_err(|_| Unusable::Form)
}

/// A big-endian number without leading zeros (some providers send one), at least 1.
fn unsigned(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unusable> {
    let bytes = bytes(jwk, name)?;
    let first = bytes
        .iter()
        .position(|byte| *byte != 0)
        .ok_or(Unusable::Form)?;
    Ok(bytes[first..].to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jwt::testing::TestKey;

    fn changed(key: &TestKey, member: &str, value: Value) -> Value {
        let mut jwk = key.jwk("k1");
        jwk[member] = value;
        jwk
    }

    fn unusable(jwk: &Value) -> Unusable {
        read(jwk).expect_err("unusable")
    }

    fn number(bytes: &[u8]) -> Value {
        json!(URL_SAFE_NO_PAD.encode(bytes))
    }

    #[test]
    fn one_unusable_key_harms_no_other() {
        let set = json!({"keys": [
            changed(TestKey::p256(), "kid", json!(7)),
            "not a key",
            {"kty": "RSA"},
            {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
            changed(TestKey::rsa(), "use", json!("enc")),
            TestKey::ed25519().jwk("good"),
        ], "extra": 1});
        let (keys, rejected) = read_set(set.to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].kid.as_deref(), Some("good"));
        assert_eq!(
            rejected.iter().map(|key| key.position).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5]
        );
        assert_eq!(rejected[5].reason, Unusable::NotForSignatures);
    }

    #[test]
    fn keys_beyond_those_that_are_read_are_told() {
        let set = |count| json!({"keys": vec![TestKey::ed25519().jwk("k1"); count]}).to_string();
        let (keys, rejected) = read_set(set(MAX_KEYS).as_bytes()).unwrap();
        assert_eq!((keys.len(), rejected.len()), (MAX_KEYS, 0));
        let (keys, rejected) = read_set(set(MAX_KEYS + 2).as_bytes()).unwrap();
        assert_eq!(keys.len(), MAX_KEYS);
        let [RejectedKey { position, reason }] = rejected[..] else {
            panic!("told once: {rejected:?}");
        };
        assert_eq!((position, reason), (MAX_KEYS, Unusable::Beyond));
        assert!(reason.text().contains(&MAX_KEYS.to_string()));
    }

    #[test]
    fn rsa_keys_of_other_sizes_or_with_impossible_exponents_are_unusable() {
        let rsa = TestKey::rsa();
        assert_eq!(
            unusable(&changed(rsa, "n", number(&[0xFF; 128]))),
            Unusable::Rsa(UntrustedRsa::Size)
        );
        assert_eq!(
            unusable(&changed(rsa, "e", number(&[1]))),
            Unusable::Rsa(UntrustedRsa::Exponent)
        );
        for (member, value) in [("e", number(&[])), ("e", number(&[0])), ("n", json!("="))] {
            assert_eq!(unusable(&changed(rsa, member, value)), Unusable::Form);
        }
        let mut padded = vec![0, 0];
        padded.extend(
            URL_SAFE_NO_PAD
                .decode(rsa.jwk("k1")["n"].as_str().unwrap())
                .unwrap(),
        );
        assert!(
            read(&changed(rsa, "n", number(&padded))).is_ok(),
            "leading zeros are harmless"
        );
    }

    #[test]
    fn private_and_symmetric_keys_are_unusable() {
        assert_eq!(
            unusable(&changed(TestKey::rsa(), "d", json!("AA"))),
            Unusable::Private
        );
        assert_eq!(
            unusable(&json!({"kty": "oct", "k": "c2VjcmV0"})),
            Unusable::Private
        );
    }

    #[test]
    fn a_point_off_its_curve_is_unusable() {
        let ec = TestKey::p256();
        assert_eq!(
            unusable(&changed(ec, "x", number(&[7; 32]))),
            Unusable::NotOnCurve
        );
        assert_eq!(
            unusable(&changed(ec, "x", number(&[7; 31]))),
            Unusable::Form
        );
        assert_eq!(
            unusable(&changed(ec, "crv", json!("P-384"))),
            Unusable::Form
        );
        assert_eq!(
            unusable(&changed(ec, "crv", json!("secp256k1"))),
            Unusable::Unsupported
        );
        assert_eq!(
            unusable(&changed(TestKey::ed25519(), "crv", json!("Ed448"))),
            Unusable::Unsupported
        );
        assert_eq!(
            unusable(&changed(TestKey::ed25519(), "x", number(&[7; 33]))),
            Unusable::Form
        );
    }

    #[test]
    fn an_algorithm_of_another_kind_of_key_is_unusable() {
        assert_eq!(
            unusable(&changed(TestKey::rsa(), "alg", json!("ES256"))),
            Unusable::AlgorithmMismatch
        );
        assert_eq!(
            unusable(&changed(TestKey::p256(), "alg", json!("ES384"))),
            Unusable::AlgorithmMismatch
        );
        assert_eq!(
            unusable(&changed(TestKey::p521(), "alg", json!("ES521"))),
            Unusable::Unsupported
        );
        assert_eq!(
            unusable(&changed(TestKey::rsa(), "alg", json!("RSA-OAEP"))),
            Unusable::Unsupported
        );
        assert_eq!(
            unusable(&changed(TestKey::rsa(), "alg", json!("HS256"))),
            Unusable::AlgorithmMismatch
        );
    }

    mod laws {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn no_text_makes_the_reader_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
                let _ = read_set(&text);
            }

            #[test]
            fn no_members_make_the_reader_panic(kty in "RSA|EC|OKP|oct", n in "[A-Za-z0-9_-]{0,60}", e in "[A-Za-z0-9_-]{0,8}", crv in "P-256|P-384|Ed25519") {
                let jwk = json!({"kty": kty, "n": n, "e": e, "crv": crv, "x": n, "y": n});
                // Any 32 bytes may be a point of Ed25519; 43 letters of Base64url are that many.
                let may_be_one = kty == "OKP" && n.len() == 43;
                prop_assert!(may_be_one || read(&jwk).is_err());
            }
        }
    }
}
