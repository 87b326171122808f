//! Tokens that are not read here: which texts may be one, and which are JOSE objects, whoever made them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Malformed;

/// Decodes what anybody might take for base64url.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Whether `text` is meant as a JOSE object (RFC 7515, RFC 7516), of however many parts, sound or broken: in JSON, or with a
/// first part that is the base64 of what begins as a JSON object.
///
/// As generous as the parser is strict: a token that a parser elsewhere might read is nobody's opaque token.
pub fn is_jose(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    if text.starts_with(b"{") {
        return true;
    }
    let Some(dot) = text.iter().position(|byte| *byte == b'.') else {
        return false;
    };
    let first: Vec<u8> = text[..dot]
        .iter()
        .filter(|byte| **byte != b'=')
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    LENIENT
        .decode(first)
        .is_ok_and(|header| header.trim_ascii_start().starts_with(b"{"))
}

/// `text`, if it may be an access token: printable ASCII without space (RFC 6749 §A.12, RFC 6750 §2.1).
///
/// # Errors
///
/// When it may not, or is longer than `max_bytes`.
pub fn access_token(text: &[u8], max_bytes: usize) -> Result<&str, Malformed> {
    if text.len() > max_bytes {
        return Err(Malformed::TooLong);
    }
    std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(Malformed::Characters)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn what_is_meant_as_a_jose_object_is_never_opaque() {
        let header = r#"{"alg":"RS256","typ":"a>?"}"#;
        let encoded = URL_SAFE_NO_PAD.encode(header);
        let spaced = URL_SAFE_NO_PAD.encode(format!("\n {header}"));
        for text in [
            format!("{encoded}.e30.c2ln"),
            format!("{encoded}.e30"),
            format!("{encoded}.e30."),
            format!("{encoded}.key.iv.text.tag"),
            format!("{}.e30.c2ln", STANDARD.encode(header)),
            format!("{encoded}==.e30.c2ln"),
            format!("{spaced}.e30.c2ln"),
            "e30.e30.c2ln".to_owned(),
            r#"{"payload":"e30","signatures":[]}"#.to_owned(),
            " {}".to_owned(),
        ] {
            assert!(is_jose(text.as_bytes()), "{text}");
        }
    }

    mod laws {
        use proptest::prelude::*;

        use super::*;
        use crate::jwt::token::Token;

        proptest! {
            #[test]
            fn what_the_parser_reads_is_never_opaque(
                space in "[ \\t\\r\\n]{0,9}",
                kid in "[a-zA-Z0-9?>~]{0,40}",
                payload in prop::collection::vec(any::<u8>(), 0..40),
            ) {
                let header = format!(r#"{space}{{"kid":"{kid}","alg":"RS256"}}"#);
                let [header, payload] = [header.as_bytes(), &payload].map(|part| URL_SAFE_NO_PAD.encode(part));
                let token = format!("{header}.e30.c2ln");
                let parsed = Token::parse(token.as_bytes(), 8192);
                prop_assert!(parsed.is_ok());
                let text = format!("{header}.{payload}.c2ln");
                prop_assert!(is_jose(text.as_bytes()), "{}", text);
            }

            #[test]
            fn no_bytes_make_the_question_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
                let _ = (is_jose(&bytes), access_token(&bytes, 200));
            }
        }
    }

    #[test]
    fn other_tokens_are_opaque_with_dots_or_without() {
        for text in [
            "2YotnFZFEjr1zCsicMWpAA",
            "ya29.a0AfH6SMB.x",
            "ory_at_abc.def",
            "v4.public.eyJzdWIiOiJhIn0",
            "not.a.token",
            ".a.b",
            "eyJhbGciOiJSUzI1NiJ9",
            "",
        ] {
            assert!(!is_jose(text.as_bytes()), "{text}");
        }
        assert!(!is_jose(b"\xff.\xff.\xff"));
    }

    #[test]
    fn what_no_access_token_may_hold_is_refused() {
        assert_eq!(access_token(b"a~/+=._-!|", 10), Ok("a~/+=._-!|"));
        assert_eq!(access_token(b"12345678901", 10), Err(Malformed::TooLong));
        for text in [
            &b""[..],
            b"a b",
            b"a\nb",
            b"a\0",
            b"\x7f",
            "ä".as_bytes(),
            b"\xff",
        ] {
            assert_eq!(
                access_token(text, 10),
                Err(Malformed::Characters),
                "{text:?}"
            );
        }
    }
}
