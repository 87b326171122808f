//! Proofs of possession at the application layer: DPoP (RFC 9449 §4.3 and §7).
//!
//! # Algorithm
//!
//! One header `DPoP` holds a JWT of type `dpop+jwt`, signed by the key in its own header `jwk`, public and of an asymmetric
//! algorithm. It names this method (`htm`), this address without query and fragment (`htu`), this token by its hash (`ath`);
//! it was made within the last minute (`iat`) and never seen before (`jti`). The thumbprint of its key (RFC 7638) is the
//! one to which the token is bound.
//!
//! # Invariants
//!
//! 1. The proof is looked at only for a verified token, so only holders of valid tokens use the memory of proofs.
//! 2. The memory is asked last: a proof that is refused for another reason is not used up.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Memory, Seen};
use crate::jwt::algorithm::Algorithm;
use crate::jwt::claims::numeric_date;
use crate::jwt::keys::{KeySet, Verdict};
use crate::jwt::presented::Presented;
use crate::jwt::refusal::{InvalidToken, Refusal};
use crate::jwt::token::{Jws, Malformed, Token};

/// The algorithms that a proof may use: the asymmetric ones, named here so that no other becomes one by accident.
pub const ALGORITHMS: [Algorithm; 10] = [
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
];
/// How many seconds old a proof may be, beside the leeway.
const MAX_AGE: i64 = 60;
/// The longest proof, in bytes: an RSA key of 8192 bits and its signature need some 3,500.
const MAX_BYTES: usize = 8192;
/// The longest `jti`, in bytes.
const MAX_ID_BYTES: usize = 256;

/// Why a proof is not acceptable. Not for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    /// No header, or several.
    #[error("there is not exactly one header DPoP")]
    NotOne,
    /// Its form.
    #[error("the proof is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// `typ` is not `dpop+jwt`.
    #[error("the proof is not of the type dpop+jwt")]
    Type,
    /// The algorithm is not asymmetric.
    #[error("the proof's algorithm is not accepted")]
    Algorithm,
    /// `jwk` is absent, not public, or not a key that can be trusted.
    #[error("the proof has no usable public key")]
    Key,
    /// The signature is not by that key.
    #[error("the proof's signature is wrong")]
    Signature,
    /// A claim is absent, of another type or for another request.
    #[error("the proof's claim `{0}` does not fit the request")]
    Claim(&'static str),
    /// It was used before.
    #[error("the proof was used before")]
    Replayed,
}

/// When a proof is judged, and what was used before.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'m> {
    pub(in crate::jwt) unix_seconds: i64,
    pub(in crate::jwt) monotonic: Duration,
    pub(in crate::jwt) leeway: i64,
    pub(in crate::jwt) memory: &'m Memory,
}

/// How long a proof can be acceptable: from the earliest clock to the latest.
pub(in crate::jwt) fn lifetime(leeway: i64) -> Duration {
    let seconds = MAX_AGE
        .saturating_add(leeway.saturating_mul(2))
        .saturating_add(1);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Holds the proof against the request, and its key against the one to which the token is `bound`.
pub(super) fn check(bound: &str, presented: &Presented<'_>, at: Moment<'_>) -> Result<(), Refusal> {
    let (thumbprint, id) = verify(presented, at)?;
    if thumbprint != bound {
        return Err(InvalidToken::OtherKey.into());
    }
    match at.memory.take(fingerprint(bound, &id), at.monotonic) {
        Seen::Never => Ok(()),
        Seen::Before => Err(InvalidProof::Replayed.into()),
        Seen::Full => Err(Refusal::MemoryFull),
    }
}

/// The thumbprint of the proof's key, and its `jti`.
fn verify(presented: &Presented<'_>, at: Moment<'_>) -> Result<(String, String), InvalidProof> {
    let [text] = presented.proofs[..] else {
        return Err(InvalidProof::NotOne);
    };
    let (proof, header) = Token::with_header(text, MAX_BYTES)?;
    let Token { jws, claims } = proof;
    if jws.typ.as_deref() != Some("dpop+jwt") {
        return Err(InvalidProof::Type);
    }
    if !ALGORITHMS.contains(&jws.algorithm) {
        return Err(InvalidProof::Algorithm);
    }
    let jwk = header
        .get("jwk")
        .and_then(Value::as_object)
        .ok_or(InvalidProof::Key)?;
    let thumbprint = thumbprint(jwk).ok_or(InvalidProof::Key)?;
    let keys = KeySet::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes())
        .map_err(|_| InvalidProof::Key)?;
    // The key is the one beside the signature, whatever it is called.
    if keys.verify(&Jws { kid: None, ..jws }) != Verdict::Valid {
        return Err(InvalidProof::Signature);
    }
    let text = |name| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(presented.request.method) {
        return Err(InvalidProof::Claim("htm"));
    }
    let named = text("htu").and_then(normalized);
    if named.is_none() || named != normalized(presented.target) {
        return Err(InvalidProof::Claim("htu"));
    }
    let issued = numeric_date(&claims, "iat").ok().flatten();
    let earliest = at.unix_seconds - MAX_AGE - at.leeway;
    let latest = at.unix_seconds + at.leeway;
    if !issued.is_some_and(|issued| (earliest..=latest).contains(&issued)) {
        return Err(InvalidProof::Claim("iat"));
    }
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(presented.token));
    if text("ath") != Some(hash.as_str()) {
        return Err(InvalidProof::Claim("ath"));
    }
    let id = text("jti")
        .filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)
        .ok_or(InvalidProof::Claim("jti"))?;
    Ok((thumbprint, id.to_owned()))
}

/// The SHA-256 thumbprint of a public key (RFC 7638 §3.2, RFC 8037 §2); `None` for a private or symmetric one.
pub fn thumbprint(jwk: &Map<String, Value>) -> Option<String> {
    if ["d", "k", "p", "q", "dp", "dq", "qi", "oth"]
        .iter()
        .any(|member| jwk.contains_key(*member))
    {
        return None;
    }
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let mut required = Map::new();
    for member in members {
        let value = jwk.get(*member)?;
        value.as_str()?;
        required.insert((*member).to_owned(), value.clone());
    }
    let canonical = Value::Object(required).to_string();
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}

/// 128 bits of a proof's identity. A thumbprint has 43 letters, so the two parts cannot run into each other.
fn fingerprint(bound: &str, id: &str) -> u128 {
    let digest = Sha256::new()
        .chain_update(bound)
        .chain_update(id)
        .finalize();
    let (first, _) = digest
        .split_first_chunk::<16>()
        .expect("a SHA-256 has 32 bytes");
    u128::from_be_bytes(*first)
}

/// An address as it is compared (RFC 3986 §6.2.2 and §6.2.3): without query and fragment, host in lower case, the scheme's
/// port left out, dot segments resolved, escapes of what needs none undone, and the others in capitals.
fn normalized(address: &str) -> Option<String> {
    let mut url = Url::parse(address).ok()?;
    if !matches!(url.scheme(), "https" | "http") {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = plain_escapes(url.path());
    url.set_path(&path);
    Some(url.into())
}

fn plain_escapes(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let escaped = after
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = escaped else {
            plain.push('%');
            rest = after;
            continue;
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            plain.push_str(&after[..2].to_ascii_uppercase());
        }
        rest = &after[2..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // RFC 7638 §3.1.
        let jwk = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29"
        });
        assert_eq!(
            thumbprint(jwk.as_object().unwrap()).as_deref(),
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
        // RFC 8037 Appendix A.3.
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(
            thumbprint(jwk.as_object().unwrap()).as_deref(),
            Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
        for private in [
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}),
            json!({"kty": "oct", "k": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA"}),
            json!({"kty": "RSA", "n": "AA", "e": 3}),
        ] {
            assert_eq!(thumbprint(private.as_object().unwrap()), None, "{private}");
        }
    }

    #[test]
    fn addresses_are_compared_as_rfc_3986_says() {
        let request = "https://gateway.example/v1/a%20b/~me";
        for same in [
            "https://gateway.example/v1/a%20b/~me?x=1#y",
            "HTTPS://Gateway.Example:443/v1/a%20b/%7Eme",
            "https://gateway.example/v1/./x/../a%20b/%7eme",
            "https://gateway.example/v1/a%20b/~%6De",
        ] {
            assert_eq!(normalized(same), normalized(request), "{same}");
        }
        for other in [
            "http://gateway.example/v1/a%20b/~me",
            "https://gateway.example:8443/v1/a%20b/~me",
            "https://gateway.example/v1/a%20b/~me/",
            "https://gateway.example/V1/a%20b/~me",
            "https://evil.example/v1/a%20b/~me",
            "/v1/a%20b/~me",
            "ftp://gateway.example/v1/a%20b/~me",
            "",
        ] {
            assert_ne!(normalized(other), normalized(request), "{other}");
        }
        assert_eq!(plain_escapes("/%2f%zz%e4%4"), "/%2F%zz%E4%4");
    }
}
