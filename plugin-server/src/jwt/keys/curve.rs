//! Keys on elliptic curves: one curve, one algorithm (RFC 7518 §3.4, §6.2.1.1).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    EcdsaVerificationAlgorithm, ParsedPublicKey,
};

use crate::jwt::algorithm::Algorithm;

/// A curve and what its keys verify.
pub(super) struct Curve {
    /// Its name in a JWK's `crv`.
    name: &'static str,
    /// The algorithm that its keys serve, and no other.
    pub(super) algorithm: Algorithm,
    verification: &'static EcdsaVerificationAlgorithm,
    /// The length of `x`, and of `y`; of `r` and of `s` as well.
    pub(super) coordinate_bytes: usize,
    /// The order `n` of its base point, big-endian (SEC 2 §2.4.2, §2.5.1, §2.6.1).
    order: &'static [u8],
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        algorithm: Algorithm::Es256,
        verification: &ECDSA_P256_SHA256_FIXED,
        coordinate_bytes: 32,
        order: &[
            0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
            0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63,
            0x25, 0x51,
        ],
    },
    Curve {
        name: "P-384",
        algorithm: Algorithm::Es384,
        verification: &ECDSA_P384_SHA384_FIXED,
        coordinate_bytes: 48,
        order: &[
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xC7, 0x63, 0x4D, 0x81,
            0xF4, 0x37, 0x2D, 0xDF, 0x58, 0x1A, 0x0D, 0xB2, 0x48, 0xB0, 0xA7, 0x7A, 0xEC, 0xEC,
            0x19, 0x6A, 0xCC, 0xC5, 0x29, 0x73,
        ],
    },
    Curve {
        name: "P-521",
        algorithm: Algorithm::Es512,
        verification: &ECDSA_P521_SHA512_FIXED,
        coordinate_bytes: 66,
        order: &[
            0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFA, 0x51, 0x86, 0x87, 0x83, 0xBF, 0x2F, 0x96, 0x6B,
            0x7F, 0xCC, 0x01, 0x48, 0xF7, 0x09, 0xA5, 0xD0, 0x3B, 0xB5, 0xC9, 0xB8, 0x89, 0x9C,
            0x47, 0xAE, 0xBB, 0x6F, 0xB7, 0x1E, 0x91, 0x38, 0x64, 0x09,
        ],
    },
];

impl Curve {
    /// The curve that a JWK names.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        CURVES.iter().find(|curve| curve.name == name)
    }

    /// The curve that an uncompressed point (SEC 1 §2.3.3) lies on, and the key that it is.
    pub(super) fn of(point: &[u8]) -> Option<(&'static Self, ParsedPublicKey)> {
        CURVES
            .iter()
            .find_map(|curve| Some((curve, curve.key(point)?)))
    }

    /// The key that an uncompressed point is, if it lies on this curve.
    pub(super) fn key(&self, point: &[u8]) -> Option<ParsedPublicKey> {
        let uncompressed = point.len() == 1 + 2 * self.coordinate_bytes;
        uncompressed
            .then(|| ParsedPublicKey::new(self.verification, point).ok())
            .flatten()
    }
}

/// The other signature that verifies wherever `signature` does: beside (r, s) it is (r, n - s), which anybody can compute who
/// has the one. `None` for an algorithm that knows no such thing.
pub(in crate::jwt) fn twin(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    let curve = CURVES.iter().find(|curve| curve.algorithm == algorithm)?;
    let (r, s) = signature.split_at_checked(curve.coordinate_bytes)?;
    if s.len() != curve.coordinate_bytes {
        return None;
    }
    let mut twin = [r, curve.order].concat();
    let mut borrow = false;
    for (digit, subtrahend) in twin[r.len()..].iter_mut().zip(s).rev() {
        let (difference, first) = digit.overflowing_sub(*subtrahend);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        (*digit, borrow) = (difference, first || second);
    }
    (!borrow).then_some(twin)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::jwt::keys::VerificationKey;
    use crate::jwt::testing::TestKey;
    use crate::jwt::token::Jws;

    #[test]
    fn a_signature_by_ecdsa_has_a_twin_and_the_twins_is_itself() {
        for (key, algorithm) in [
            (TestKey::p256(), Algorithm::Es256),
            (TestKey::p384(), Algorithm::Es384),
            (TestKey::p521(), Algorithm::Es512),
        ] {
            let public = VerificationKey::from_jwk(&key.jwk("k1")).unwrap();
            let token = key.token(&json!({"alg": algorithm.name()}), &json!({}));
            let (jws, _) = Jws::parse(token.as_bytes(), 8192).unwrap();
            let signature = URL_SAFE_NO_PAD.decode(jws.signature).unwrap();
            let other = twin(algorithm, &signature).unwrap();
            assert_ne!(other, signature);
            let other_text = URL_SAFE_NO_PAD.encode(&other);
            let other_jws = Jws {
                signature: &other_text,
                ..jws
            };
            assert!(public.verifies(&other_jws), "{algorithm}");
            assert_eq!(twin(algorithm, &other), Some(signature));
        }
    }

    #[test]
    fn what_is_no_signature_by_ecdsa_has_none() {
        assert_eq!(twin(Algorithm::Es256, &[1; 63]), None);
        assert_eq!(twin(Algorithm::Es256, &[1; 65]), None);
        assert_eq!(twin(Algorithm::Es256, &[0xFF; 64]), None, "s beyond n");
        assert_eq!(twin(Algorithm::Rs256, &[1; 64]), None);
        assert_eq!(twin(Algorithm::EdDsa, &[1; 64]), None);
    }
}
