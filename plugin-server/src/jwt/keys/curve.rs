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
    /// The length of `x`, and of `y`.
    pub(super) coordinate_bytes: usize,
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        algorithm: Algorithm::Es256,
        verification: &ECDSA_P256_SHA256_FIXED,
        coordinate_bytes: 32,
    },
    Curve {
        name: "P-384",
        algorithm: Algorithm::Es384,
        verification: &ECDSA_P384_SHA384_FIXED,
        coordinate_bytes: 48,
    },
    Curve {
        name: "P-521",
        algorithm: Algorithm::Es512,
        verification: &ECDSA_P521_SHA512_FIXED,
        coordinate_bytes: 66,
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
