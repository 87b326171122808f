//! Secrets that an issuer shares with the gateway, for HS256, HS384 and HS512.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::DecodingKey;

use super::{Material, VerificationKey};
use crate::jwt::algorithm::Algorithm;

/// The bytes of a shared secret. Whoever formats it reads `[redacted]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Vec<u8>);

/// Why a text gives no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSecret {
    /// It was said to be base64 and is not.
    #[error("not base64 (either alphabet, with or without padding)")]
    Base64,
}

impl Secret {
    /// The characters of `text` themselves.
    pub fn from_text(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The bytes that `text` stands for, in either alphabet of base64, with or without padding.
    ///
    /// # Errors
    ///
    /// When it is not base64.
    pub fn from_base64(text: &str) -> Result<Self, UnusableSecret> {
        let alphabet = if text.contains(['-', '_']) {
            &alphabet::URL_SAFE
        } else {
            &alphabet::STANDARD
        };
        let padding =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        GeneralPurpose::new(alphabet, padding)
            .decode(text)
            .map(Self)
            .map_err(|_| UnusableSecret::Base64)
    }

    /// The bytes, for whoever shares them.
    pub(in crate::jwt) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing to keep.
    pub(in crate::jwt) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is long enough for `algorithm`; no secret is for a public key's.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        algorithm
            .min_secret_bytes()
            .is_some_and(|least| self.0.len() >= least)
    }

    pub(super) fn key(&self, algorithms: &[Algorithm]) -> VerificationKey {
        VerificationKey {
            kid: None,
            algorithms: algorithms
                .iter()
                .copied()
                .filter(|algorithm| self.serves(*algorithm))
                .collect(),
            key: Material::Plain(DecodingKey::from_secret(&self.0)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_serves_the_hashes_that_it_is_as_long_as() {
        let serves = |bytes: usize| {
            let secret = Secret::from_text(&"s".repeat(bytes));
            secret.key(&Algorithm::ALL).algorithms
        };
        assert_eq!(serves(0), []);
        assert_eq!(serves(31), []);
        assert_eq!(serves(32), [Algorithm::Hs256]);
        assert_eq!(serves(48), [Algorithm::Hs256, Algorithm::Hs384]);
        assert_eq!(serves(64), Algorithm::HMAC);
    }

    #[test]
    fn base64_is_read_in_either_alphabet_and_nothing_else_is() {
        let bytes = Secret(vec![0xFB, 0xEF, 0xFF, 1]);
        for text in ["--__AQ", "--__AQ==", "++//AQ", "++//AQ=="] {
            assert_eq!(Secret::from_base64(text).as_ref(), Ok(&bytes), "{text}");
        }
        for text in ["-+__AQ", "a", "a secret", "AQ=\n"] {
            assert_eq!(
                Secret::from_base64(text),
                Err(UnusableSecret::Base64),
                "{text:?}"
            );
        }
    }

    #[test]
    fn formatting_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::from_text("marker")), "[redacted]");
    }
}
