//! The secret that opens the admin listener.

use std::fmt;

use sha2::{Digest, Sha256};

/// The shortest token that is accepted, in bytes: what `openssl rand -hex 8` prints.
const SHORTEST: usize = 16;
/// The longest, so that it fits any client's header.
const LONGEST: usize = 1024;

/// The admin listener's token. Only its digest is kept, and nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token is {SHORTEST} to {LONGEST} visible ASCII characters; `openssl rand -hex 32` prints one"
)]
pub struct InvalidToken;

impl AdminToken {
    /// The token, without the line end that files have.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim_end_matches(['\r', '\n']);
        if (SHORTEST..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            Ok(Self(Sha256::digest(text).into()))
        } else {
            Err(InvalidToken)
        }
    }

    /// Whether `offered` is the token. Takes the same time whatever it is: digests are compared, all of them.
    pub fn is(&self, offered: &[u8]) -> bool {
        let offered: [u8; 32] = Sha256::digest(offered).into();
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &offered).is_ok()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = AdminToken::new("0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef\n",
            "0123456789abcdeF",
        ] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
    }

    #[test]
    fn a_guessable_or_unsendable_token_is_refused() {
        for text in ["", "short", "0123456789abcde ", "0123456789abcdef\n0"] {
            assert_eq!(AdminToken::new(text), Err(InvalidToken), "{text:?}");
        }
    }
}
