//! Which RSA public keys are trusted, whatever they came as.

use aws_lc_rs::signature::RsaPublicKeyComponents;

/// The smallest modulus that is trusted, in bits (RFC 7518 §3.3).
const MIN_BITS: usize = 2048;
/// The largest modulus: above it a verification costs too much. The backend's own bound.
const MAX_BITS: usize = 8192;
/// The longest exponent, in bytes. The backend's own bound is 33 bits.
const MAX_EXPONENT_BYTES: usize = 5;

/// Why an RSA key is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub enum UntrustedRsa {
    /// A modulus outside of 2048 to 8192 bits.
    Size,
    /// An even modulus, which is no product of two primes.
    Modulus,
    /// An exponent of 1, which makes every signature true, or an even or huge one, which no real key has.
    Exponent,
    /// A modulus of CVE-2017-15361: its private key can be computed.
    Roca,
}

impl UntrustedRsa {
    /// The reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Size => "an RSA key must have 2048 to 8192 bits",
            Self::Modulus => "the RSA modulus is even",
            Self::Exponent => "the RSA exponent is 1, even or huge",
            Self::Roca => "the RSA key has the ROCA flaw (CVE-2017-15361): it must be replaced",
        }
    }
}

/// Judges modulus and exponent: big-endian, without leading zeros.
pub(super) fn judge(public: &RsaPublicKeyComponents<impl AsRef<[u8]>>) -> Result<(), UntrustedRsa> {
    let (modulus, exponent) = (public.n.as_ref(), public.e.as_ref());
    let unused_bits = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = modulus.len() * 8 - unused_bits as usize;
    if !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Err(UntrustedRsa::Size);
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !odd(modulus) {
        return Err(UntrustedRsa::Modulus);
    }
    if exponent == [1] || !odd(exponent) || exponent.len() > MAX_EXPONENT_BYTES {
        return Err(UntrustedRsa::Exponent);
    }
    if has_roca_fingerprint(modulus) {
        return Err(UntrustedRsa::Roca);
    }
    Ok(())
}

/// The generator of the flawed library's primes.
const ROCA_GENERATOR: u32 = 65_537;

/// The primes of the fingerprint: 3 to 167, which divide the flawed library's primorial at every size of key.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether the modulus looks as those of the flawed Infineon library: modulo each small prime it is a power of 65537.
///
/// The flawed primes are `k·M + (65537^a mod M)` with `M` a primorial, so a product of two of them is again a power of
/// 65537 modulo every prime that divides `M`; another modulus passes all the tests once in some 2^27.
/// Source: Nemec, Sys, Svenda, Klinec, Matyas: "The Return of Coppersmith's Attack", CCS 2017, §3.1.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    ROCA_PRIMES.into_iter().all(|prime| {
        let rest = modulus
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        // The powers repeat after prime - 1 at the latest (Fermat).
        (1..prime)
            .scan(1, |power, _| {
                *power = *power * ROCA_GENERATOR % prime;
                Some(*power)
            })
            .any(|power| power == rest)
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;
    use crate::jwt::testing::TestKey;

    /// 65537^128: 2,049 bits, and a power of 65537 modulo everything.
    fn flawed() -> Vec<u8> {
        // Little-endian: 65537·n = (n << 16) + n.
        let mut number = vec![1_u8];
        for _ in 0..128 {
            let shifted = [&[0, 0][..], &number].concat();
            number.extend([0, 0]);
            let mut carry = 0;
            number = shifted
                .iter()
                .zip(&number)
                .map(|(a, b)| {
                    let sum = u16::from(*a) + u16::from(*b) + carry;
                    carry = sum >> 8;
                    sum.to_le_bytes()[0]
                })
                .collect();
        }
        number.reverse();
        number
    }

    fn judged(n: &[u8], e: &[u8]) -> Result<(), UntrustedRsa> {
        judge(&RsaPublicKeyComponents { n, e })
    }

    fn sound() -> Vec<u8> {
        let TestKey::Rsa(pair) = TestKey::rsa() else {
            unreachable!("an RSA key")
        };
        RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n
    }

    #[test]
    fn a_sound_key_of_every_usual_exponent_is_trusted() {
        for exponent in [&[3][..], &[17], &[1, 0, 1]] {
            assert_eq!(judged(&sound(), exponent), Ok(()), "{exponent:?}");
        }
    }

    #[test]
    fn other_sizes_are_not_trusted() {
        let mut long = vec![0xFF; 1025];
        long[0] = 1;
        for modulus in [vec![], vec![0xFF; 128], vec![0x7F; 256], long] {
            assert_eq!(judged(&modulus, &[1, 0, 1]), Err(UntrustedRsa::Size));
        }
    }

    #[test]
    fn impossible_numbers_are_not_trusted() {
        for exponent in [&[1][..], &[], &[2], &[1, 0, 0], &[1, 0, 0, 0, 0, 1]] {
            assert_eq!(
                judged(&sound(), exponent),
                Err(UntrustedRsa::Exponent),
                "{exponent:?}"
            );
        }
        let mut even = sound();
        even[255] &= 0xFE;
        assert_eq!(judged(&even, &[1, 0, 1]), Err(UntrustedRsa::Modulus));
    }

    #[test]
    fn a_modulus_of_the_flawed_library_is_not_trusted_and_its_neighbours_are() {
        let flawed = flawed();
        assert_eq!(flawed.len(), 257);
        assert_eq!(judged(&flawed, &[1, 0, 1]), Err(UntrustedRsa::Roca));
        for change in [2, 4, 6, 8] {
            let mut neighbour = flawed.clone();
            neighbour[256] += change;
            assert_eq!(judged(&neighbour, &[1, 0, 1]), Ok(()), "{change}");
        }
    }
}
