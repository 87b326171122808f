//! What can be revoked, and how it is known again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How long an entry stays after the last of its tokens has expired: five minutes, which is the most that `leeway` may be, and one
/// by which the clocks of the processes that share a list may differ.
pub const GRACE: Duration = Duration::from_mins(6);

/// Which tokens are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Target {
    /// One token, whatever it says.
    Token {
        /// Its SHA-256.
        token_sha256: TokenDigest,
    },
    /// The token, or tokens, of a `jti`.
    Jti {
        /// `iss`.
        issuer: String,
        /// `jti`.
        jti: String,
    },
    /// All tokens of a subject that were issued before a moment, or do not say when.
    Subject {
        /// `iss`.
        issuer: String,
        /// `sub`.
        subject: String,
        /// In Unix seconds: `iat` of what is revoked lies before it.
        issued_before: i64,
    },
}

impl Target {
    /// What it is known by. Two revocations of the same have the same.
    pub fn id(&self) -> RevocationId {
        match self {
            Self::Token { token_sha256 } => RevocationId::of_token(&token_sha256.0),
            Self::Jti { issuer, jti } => RevocationId::of_jti(issuer, jti),
            Self::Subject {
                issuer, subject, ..
            } => RevocationId::of_subject(issuer, subject),
        }
    }

    /// `iss`, where it matters.
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::Token { .. } => None,
            Self::Jti { issuer, .. } | Self::Subject { issuer, .. } => Some(issuer),
        }
    }

    /// Of a subject's, the moment; else zero.
    pub fn issued_before(&self) -> i64 {
        match self {
            Self::Subject { issued_before, .. } => *issued_before,
            Self::Token { .. } | Self::Jti { .. } => 0,
        }
    }

    /// The same with another moment, where it has one.
    pub(super) fn with_issued_before(mut self, moment: i64) -> Self {
        if let Self::Subject { issued_before, .. } = &mut self {
            *issued_before = moment;
        }
        self
    }
}

/// A revocation as a list keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which tokens.
    pub target: Target,
    /// When it was made or last made again, in Unix seconds.
    pub revoked_at: i64,
    /// When the last of its tokens expires, in Unix seconds. It stays [`GRACE`] longer.
    pub expires_at: i64,
}

impl Revocation {
    pub(super) fn standing(&self) -> Standing {
        Standing {
            expires_at: self.expires_at,
            issued_before: self.target.issued_before(),
        }
    }
}

/// As much of a revocation as a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) expires_at: i64,
    pub(super) issued_before: i64,
}

impl Standing {
    /// Whether it still stands at `now` (Unix seconds).
    pub(super) fn holds(self, now: i64) -> bool {
        now < self.expires_at.saturating_add_unsigned(GRACE.as_secs())
    }
}

/// What a revocation is known by: 128 bits of a hash. Displayed and read as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevocationId(pub(super) u128);

/// A text that is no [`RevocationId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 32 hexadecimal digits")]
pub struct InvalidRevocationId;

impl RevocationId {
    pub(super) fn of_token(sha256: &[u8; 32]) -> Self {
        Self::of("token", &[sha256])
    }

    pub(super) fn of_jti(issuer: &str, jti: &str) -> Self {
        Self::of("jti", &[issuer.as_bytes(), jti.as_bytes()])
    }

    pub(super) fn of_subject(issuer: &str, subject: &str) -> Self {
        Self::of("subject", &[issuer.as_bytes(), subject.as_bytes()])
    }

    /// Each part with its length before it, so that no two lists of parts look alike.
    fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (half, _) = digest.split_first_chunk().expect("16 of 32 bytes");
        Self(u128::from_be_bytes(*half))
    }
}

impl fmt::Display for RevocationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for RevocationId {
    type Err = InvalidRevocationId;

    fn from_str(text: &str) -> Result<Self, InvalidRevocationId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        number.map(Self).ok_or(InvalidRevocationId)
    }
}

/// The SHA-256 of a token as it is sent. Displayed and read as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest(pub(super) [u8; 32]);

/// A text that is no [`TokenDigest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token's SHA-256 has 64 hexadecimal digits")]
pub struct InvalidTokenDigest;

impl FromStr for TokenDigest {
    type Err = InvalidTokenDigest;

    fn from_str(text: &str) -> Result<Self, InvalidTokenDigest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidTokenDigest);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16)
                .map_err(|_| InvalidTokenDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = InvalidTokenDigest;

    fn try_from(text: String) -> Result<Self, InvalidTokenDigest> {
        text.parse()
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_revoked_is_known_by_all_that_it_names() {
        let ids = [
            RevocationId::of_jti("https://a", "1"),
            RevocationId::of_jti("https://a1", ""),
            RevocationId::of_jti("https://b", "1"),
            RevocationId::of_subject("https://a", "1"),
            RevocationId::of_token(&[0; 32]),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{at}");
            assert_eq!(id.to_string().parse(), Ok(*id));
        }
        for wrong in [
            "",
            "0",
            &"g".repeat(32),
            &"0".repeat(33),
            "+0000000000000000000000000000001",
        ] {
            assert_eq!(wrong.parse::<RevocationId>(), Err(InvalidRevocationId));
        }
    }

    #[test]
    fn a_subjects_moment_is_no_part_of_what_it_is_known_by() {
        let target = |issued_before| Target::Subject {
            issuer: "i".into(),
            subject: "s".into(),
            issued_before,
        };
        assert_eq!(target(1).id(), target(2).id());
        assert_eq!(target(1).with_issued_before(2), target(2));
    }

    #[test]
    fn a_target_is_written_as_the_api_tells_it() {
        let digest: TokenDigest = "0aFF".repeat(16).parse().unwrap();
        let target = Target::Token {
            token_sha256: digest,
        };
        let text = json!({"kind": "token", "token_sha256": "0aff".repeat(16)});
        assert_eq!(serde_json::to_value(&target).unwrap(), text);
        assert_eq!(serde_json::from_value::<Target>(text).unwrap(), target);
        assert!("0aff".parse::<TokenDigest>().is_err());
        assert!("é".repeat(32).parse::<TokenDigest>().is_err());
    }

    #[test]
    fn a_revocation_outlives_its_tokens_by_all_that_clocks_may_differ() {
        let standing = Standing {
            expires_at: 1_000,
            issued_before: 0,
        };
        assert!(standing.holds(1_359) && !standing.holds(1_360));
    }
}
