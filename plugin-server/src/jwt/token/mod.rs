//! A compact JWS taken apart, strictly (RFC 7515 §7.1, RFC 7519 §7.2).
//!
//! # Invariants
//!
//! 1. Nothing here trusts what it reads: a [`Token`] is a claim about a claim until its signature is verified.
//! 2. One reading only: padding, spaces, trailing bits, repeated members, deep nesting and a byte order mark are
//!    refused, so that no other parser can see another token in the same bytes.
//! 3. The header chooses among keys that the configuration trusts and nothing else: `jwk`, `jku`, `x5u` and `x5c`
//!    are never looked at. Only a proof (`super::proof`) brings its own key, which by itself proves nothing.

mod json;
mod jws;
mod location;
mod opaque;

use serde_json::{Map, Value};

pub use self::json::NotStrictJson;
pub(super) use self::json::object as strict_object;
pub use self::jws::Jws;
use self::jws::Opened;
pub use self::location::{Found, Locations, Search, without_cookies, without_parameters};
pub use self::opaque::{access_token, is_jose};

/// A token whose form is right and whose content is not yet believed.
#[derive(Debug)]
pub struct Token<'a> {
    /// What is signed, how and by which key.
    pub jws: Jws<'a>,
    /// The payload.
    pub claims: Map<String, Value>,
}

/// Why a text is not a token that we would go on with. Never shown to a client, holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than `max_token_size`.
    #[error("the token is longer than max_token_size")]
    TooLong,
    /// Characters that no access token has.
    #[error("the token has characters that no access token has")]
    Characters,
    /// Not three non-empty parts.
    #[error("the token has not three parts")]
    Parts,
    /// A part is not unpadded base64url in its canonical spelling.
    #[error("the {0} is not strict base64url")]
    Base64(&'static str),
    /// A part is not one strict JSON object.
    #[error("the {0}: {1}")]
    Json(&'static str, NotStrictJson),
    /// A header member that we refuse or that has the wrong type.
    #[error("the header's `{0}` is not acceptable")]
    Header(&'static str),
}

impl<'a> Token<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    ///
    /// See [`Malformed`]. `text` longer than `max_bytes` is refused before anything is decoded.
    pub fn parse(text: &'a [u8], max_bytes: usize) -> Result<Self, Malformed> {
        Self::with_header(text, max_bytes).map(|(token, _)| token)
    }

    /// The same, with the whole header: for a proof, which brings its own key. A token's key is never in it.
    pub(super) fn with_header(
        text: &'a [u8],
        max_bytes: usize,
    ) -> Result<(Self, Map<String, Value>), Malformed> {
        let Opened {
            jws,
            header,
            payload,
        } = Opened::parse(text, max_bytes)?;
        let claims = json::object(&payload).map_err(|reason| Malformed::Json("payload", reason))?;
        Ok((Self { jws, claims }, header))
    }

    /// The issuer that the token names: a string, as the standard demands, or nothing.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }
}

/// A media type as it is compared: `application/at+JWT` is `at+jwt` (RFC 7515 §4.1.9).
pub fn normalized_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower
        .strip_prefix("application/")
        .map(str::to_owned)
        .unwrap_or(lower)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::jwt::algorithm::Algorithm;

    const MAX: usize = 8192;

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn compact(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", encode(header), encode(payload))
    }

    fn refused(token: &str) -> Malformed {
        Token::parse(token.as_bytes(), MAX).expect_err("refused")
    }

    #[test]
    fn a_well_formed_token_is_taken_apart() {
        let text = compact(
            r#"{"alg":"ES256","kid":"k1","typ":"application/at+JWT"}"#,
            r#"{"iss":"https://i"}"#,
        );
        let token = Token::parse(text.as_bytes(), MAX).unwrap();
        let jws = &token.jws;
        assert_eq!(jws.algorithm, Algorithm::Es256);
        assert_eq!(jws.kid.as_deref(), Some("k1"));
        assert_eq!(jws.typ.as_deref(), Some("at+jwt"));
        assert_eq!(token.issuer(), Some("https://i"));
        assert_eq!(format!("{}.{}", jws.signing_input, jws.signature), text);
    }

    #[test]
    fn alg_none_is_refused_in_any_case() {
        for alg in ["none", "None", "NONE", "nOnE"] {
            assert_eq!(
                refused(&compact(&format!(r#"{{"alg":"{alg}"}}"#), "{}")),
                Malformed::Header("alg")
            );
            let unsigned = format!(
                "{}.{}.",
                encode(&format!(r#"{{"alg":"{alg}"}}"#)),
                encode("{}")
            );
            assert_eq!(refused(&unsigned), Malformed::Parts);
        }
    }

    #[test]
    fn any_number_of_parts_but_three_is_refused() {
        let token = compact(r#"{"alg":"RS256"}"#, "{}");
        let (two, _) = token.rsplit_once('.').unwrap();
        for text in [
            "",
            ".",
            "..",
            "...",
            two,
            &format!("{token}.a"),
            &format!("{token}.a.b"),
            &format!(".{token}"),
        ] {
            assert_eq!(refused(text), Malformed::Parts, "{text:?}");
        }
    }

    #[test]
    fn the_json_serialization_is_refused() {
        assert_eq!(
            refused(r#"{"payload":"e30","signatures":[]}"#),
            Malformed::Parts
        );
    }

    #[test]
    fn an_empty_payload_is_no_token() {
        let token = format!("{}..c2ln", encode(r#"{"alg":"RS256"}"#));
        assert!(matches!(refused(&token), Malformed::Json("payload", _)));
    }

    #[test]
    fn a_token_within_a_token_is_no_token() {
        let inner = compact(r#"{"alg":"RS256"}"#, r#"{"sub":"root"}"#);
        for header in [r#"{"alg":"RS256","cty":"JWT"}"#, r#"{"alg":"RS256"}"#] {
            for payload in [inner.clone(), format!("\"{inner}\"")] {
                let refused = refused(&compact(header, &payload));
                assert!(
                    matches!(refused, Malformed::Json("payload", _)),
                    "{refused}"
                );
            }
        }
    }

    /// What is encrypted to us is signed by nobody, whatever it was encrypted with.
    #[test]
    fn an_encrypted_token_is_refused() {
        for header in [
            r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#,
            r#"{"alg":"dir","enc":"A128GCM","zip":"DEF"}"#,
            r#"{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"p2s":"AA","enc":"A128GCM"}"#,
            r#"{"alg":"RS256","enc":"A128GCM","cty":"JWT"}"#,
        ] {
            let header = encode(header);
            assert_eq!(
                refused(&format!("{header}.key.iv.text.tag")),
                Malformed::Parts
            );
            assert_eq!(refused(&format!("{header}..iv.text.tag")), Malformed::Parts);
            let three = refused(&format!("{header}.e30.c2ln"));
            assert!(
                matches!(three, Malformed::Header("alg" | "enc" | "zip")),
                "{three}"
            );
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        let token = compact(r#"{"alg":"RS256"}"#, "{}");
        let (rest, _) = token.rsplit_once('.').unwrap();
        for signature in [
            "c2ln=", "c2ln\n", " c2ln", "c2lnc1", "c2l+", "c2l/", "c2lnc3==", "c",
        ] {
            assert!(
                matches!(
                    refused(&format!("{rest}.{signature}")),
                    Malformed::Base64("signature")
                ),
                "{signature:?}"
            );
        }
        assert_eq!(
            refused(&format!("{}=.e30.c2ln", encode(r#"{"alg":"RS256"}"#))),
            Malformed::Base64("header")
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert!(Token::parse(b"\xff.\xff.\xff", MAX).is_err());
    }

    #[test]
    fn extensions_are_refused_whatever_their_value() {
        for member in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""b64":false"#,
            r#""b64":true"#,
            r#""zip":"DEF""#,
            r#""enc":"A128GCM""#,
        ] {
            let token = compact(&format!(r#"{{"alg":"RS256",{member}}}"#), "{}");
            assert!(
                matches!(
                    refused(&token),
                    Malformed::Header("crit" | "b64" | "zip" | "enc")
                ),
                "{member}"
            );
        }
    }

    #[test]
    fn header_members_of_another_type_are_refused() {
        for (member, name) in [
            (r#""kid":7"#, "kid"),
            (r#""kid":null"#, "kid"),
            (r#""typ":["JWT"]"#, "typ"),
        ] {
            let token = compact(&format!(r#"{{"alg":"RS256",{member}}}"#), "{}");
            assert_eq!(refused(&token), Malformed::Header(name));
        }
        assert_eq!(
            refused(&compact(r#"{"alg":["RS256"]}"#, "{}")),
            Malformed::Header("alg")
        );
        assert_eq!(refused(&compact("{}", "{}")), Malformed::Header("alg"));
    }

    #[test]
    fn a_kid_of_ten_kilobytes_is_refused_and_a_path_is_only_a_name() {
        let long = compact(
            &format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(10_000)),
            "{}",
        );
        assert_eq!(
            Token::parse(long.as_bytes(), 32_768).unwrap_err(),
            Malformed::Header("kid")
        );
        let path = compact(r#"{"alg":"RS256","kid":"../../etc/passwd"}"#, "{}");
        assert_eq!(
            Token::parse(path.as_bytes(), MAX)
                .unwrap()
                .jws
                .kid
                .as_deref(),
            Some("../../etc/passwd")
        );
    }

    #[test]
    fn a_duplicate_member_in_header_or_payload_is_refused() {
        assert!(matches!(
            refused(&compact(r#"{"alg":"RS256","alg":"RS256"}"#, "{}")),
            Malformed::Json("header", _)
        ));
        assert!(matches!(
            refused(&compact(r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#)),
            Malformed::Json("payload", _)
        ));
    }

    #[test]
    fn a_token_over_the_cap_is_refused_before_decoding() {
        let token = compact(
            r#"{"alg":"RS256"}"#,
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX)),
        );
        assert_eq!(refused(&token), Malformed::TooLong);
    }

    #[test]
    fn an_issuer_that_is_not_a_string_is_no_issuer() {
        let token = compact(r#"{"alg":"RS256"}"#, r#"{"iss":["https://i"]}"#);
        assert_eq!(Token::parse(token.as_bytes(), MAX).unwrap().issuer(), None);
    }

    mod laws {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
                let _ = Token::parse(&bytes, MAX);
            }

            #[test]
            fn no_json_makes_the_parser_panic(header in ".{0,80}", payload in ".{0,200}") {
                let _ = Token::parse(compact(&header, &payload).as_bytes(), MAX);
            }
        }
    }
}
