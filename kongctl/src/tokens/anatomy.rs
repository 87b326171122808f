//! A JWT taken apart, leniently: what a strict reader refuses can still be shown.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// What a JWT says.
#[derive(Debug)]
pub(crate) struct Anatomy {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    /// The length of its signature; that itself is for nobody's eyes.
    pub(crate) signature_bytes: usize,
}

/// Why there is nothing to show.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAJwt {
    #[error("this is no JWT: it has not three parts with dots between them")]
    Parts,
    #[error("this token is encrypted (a JWE): only whom it is for can read it")]
    Encrypted,
    #[error("this is no JWT: its {0} is not base64url")]
    Base64(&'static str),
    #[error("this is no JWT: its {0} is not a JSON object")]
    Json(&'static str),
}

impl Anatomy {
    /// Takes a token apart. Of a member that is there twice, the last counts.
    pub(crate) fn of(token: &str) -> Result<Self, NotAJwt> {
        let parts: Vec<&str> = token.split('.').collect();
        let (header, claims, signature) = match parts[..] {
            [header, claims, signature] => (header, claims, signature),
            [_, _, _, _, _] => return Err(NotAJwt::Encrypted),
            _ => return Err(NotAJwt::Parts),
        };
        let object = |part, text| match serde_json::from_slice(&decode(part, text)?) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(NotAJwt::Json(part)),
        };
        Ok(Self {
            header: object("header", header)?,
            claims: object("payload", claims)?,
            signature_bytes: decode("signature", signature)?.len(),
        })
    }

    /// A claim or, failing that, nothing.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, NotAJwt> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&URL_SAFE, lenient)
        .decode(text)
        .map_err(|_| NotAJwt::Base64(part))
}

/// The SHA-256 of a token, by which the plugin server knows it.
pub(crate) fn sha256(token: &str) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(token) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{URL_SAFE as PADDED, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn what_a_strict_reader_refuses_is_still_shown() {
        let padded = format!(
            "{}.{}.",
            PADDED.encode(r#"{"alg":"none"}"#),
            PADDED.encode(r#"{"sub":"a","sub":"b"}"#)
        );
        let anatomy = Anatomy::of(&padded).unwrap();
        assert_eq!(anatomy.header["alg"], "none");
        assert_eq!(anatomy.text("sub"), Some("b"));
        assert_eq!(anatomy.signature_bytes, 0);
    }

    #[test]
    fn what_is_no_jwt_says_so() {
        let object = URL_SAFE_NO_PAD.encode("{}");
        let list = URL_SAFE_NO_PAD.encode("[]");
        for (token, problem) in [
            (String::new(), NotAJwt::Parts),
            ("opaque-7f3a".to_owned(), NotAJwt::Parts),
            ("a.b.c.d.e".to_owned(), NotAJwt::Encrypted),
            (format!("!.{object}.AA"), NotAJwt::Base64("header")),
            (format!("{object}.{list}.AA"), NotAJwt::Json("payload")),
            (
                format!("{object}.{object}.A+"),
                NotAJwt::Base64("signature"),
            ),
        ] {
            assert_eq!(Anatomy::of(&token).unwrap_err(), problem, "{token}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_sha256() {
        // FIPS 180-2, appendix B.1.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), digest);
    }
}
