//! Shares of limits and of tokens.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A share of something, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share(u16);

/// A number that is no share.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("a share is 0 to 1, not {0}")]
pub struct InvalidShare(f64);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);

    pub(in crate::rate_limiting) const fn whole() -> Self {
        Self::WHOLE
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(in crate::rate_limiting) const fn is_whole(&self) -> bool {
        self.0 == Self::WHOLE.0
    }

    /// A share between 0 and 1, to four decimal places.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range has been checked, and the nearest step is meant"
    )]
    pub fn new(share: f64) -> Result<Self, InvalidShare> {
        if !(0.0..=1.0).contains(&share) {
            return Err(InvalidShare(share));
        }
        Ok(Self((share * 10_000.0).round() as u16))
    }

    /// The share as a number from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// The share of an amount, rounded up.
    pub fn of(self, amount: u64) -> u64 {
        let share = (u128::from(amount) * u128::from(self.0)).div_ceil(10_000);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_and_stay_shares() {
        assert_eq!(Share::new(0.8).unwrap().of(1_000), 800);
        assert_eq!(Share::new(0.5).unwrap().of(1), 1);
        assert_eq!(Share::new(0.0).unwrap().of(u64::MAX), 0);
        assert_eq!(Share::WHOLE.of(u64::MAX), u64::MAX);
        for wrong in [-0.1, 1.01, f64::NAN] {
            assert!(Share::new(wrong).is_err(), "{wrong}");
        }
    }
}
