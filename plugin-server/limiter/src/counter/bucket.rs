//! One counter of a token bucket.
//!
//! # Model
//!
//! `limit` units flow off in each refill of `W` milliseconds: reduced, `r` units in `w` milliseconds, `r / w = limit / W`. The **level** is
//! what was spent and has not flowed off. It is counted in `w`ths of a unit, so that it falls by exactly `r` in each millisecond
//! and no fraction is ever lost or gained.
//!
//! # Algorithm
//!
//! ```text
//! state          = (level, at, charged, born)           level in w-ths; charged in units, mod 2^53; born: when it was made
//! level(t)       = max(0, level − r · (t − at))
//! admit c        ⇔ level(t) + c·w ≤ ceiling·w; then level += c·w, charged += c
//! mark           = (born, charged), right after the charge
//! refund e to m    level −= min(e·w, max(0, level(t) − w·(charged − m.charged)))   if born = m.born, else nothing
//! debt d           level += d·w, charged += d, even above the burst
//! used           = ⌈level / w⌉
//! passes at      = t + ⌈(level(t) + c·w − ceiling·w) / r⌉
//! ```
//!
//! A refund must not give back what has flowed off already. If `e` less had been charged, the level would be lower now by
//! `min(e, the lowest level since)`: the rest would have been an empty bucket's loss. The lowest level since is at least the present one
//! less all that was charged since, which is what the formula takes. It errs to the safe side, and only when more
//! is spent meanwhile than the bucket holds above the reservation.
//!
//! Every number is an integer up to 2^53 − 1, which bounds the burst at ⌊(2^53 − 1) / w⌋; a larger debt saturates there.
//!
//! Worked: 100 a minute, burst 20, so r/w = 1/600: one unit in 600 ms. 20 at 0:00 pass: the level is 12,000. At 0:03 it is 9,000, 15 are
//! used; 8 more need 12,000 − 9,000 = 3,000 at most, but are 4,800: they pass 1,800 ms later. Settled for 2 at 0:03, the 20 get 15 of
//! their 18 back: the other 3 flowed off.
//!
//! # Invariants
//!
//! 1. In any span of `t` milliseconds: admitted ≤ burst + limit · t / W + underestimates. For let `A` be what was admitted after a
//!    moment `s`, at the smaller of estimate and actual cost, and `u` the last moment at which something charged up to `s` was refunded. That
//!    refund left level(u) ≥ what was charged in (s, u], and after it only charges since `s` were refunded; so at any t,
//!    level(t) ≥ A − r/w · (t − s). The burst bounds the level at each admission.
//!    (contract test: `never_spends_more_than_the_limit_and_the_underestimates`)
//! 2. Looking changes nothing: the level at a moment is the same however often it was looked at before
//!    (test: `no_fraction_is_lost_by_looking`).
//! 3. What flowed off is not given back (test: `a_refund_gives_back_only_what_has_not_flowed_off`).

use crate::window::Rate;
use crate::{Cost, Timestamp};

/// What one key has spent and has not flowed off.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BucketCounter {
    pub(super) level: u64,
    pub(super) at: Timestamp,
    pub(super) charged: u64,
    pub(super) born: Timestamp,
    pub(super) rate: Rate,
}

/// A charge's place among all charges of its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LevelMark {
    born: Timestamp,
    charged: u64,
}

const MOST: u64 = Cost::MAX.units();

impl BucketCounter {
    pub(super) const fn new(rate: Rate, now: Timestamp) -> Self {
        Self {
            level: 0,
            at: now,
            charged: 0,
            born: now,
            rate,
        }
    }

    pub(super) fn advance(&mut self, now: Timestamp) {
        if now > self.at {
            let elapsed = now.as_millis() - self.at.as_millis();
            let off = elapsed.saturating_mul(self.rate.units);
            self.level = self.level.saturating_sub(off);
            self.at = now;
        }
    }

    /// Takes over a limit that was changed: from now on the level falls at the new rate.
    pub(super) fn adopt(&mut self, rate: Rate) {
        if self.rate == rate {
            return;
        }
        let level = u128::from(self.level) * u128::from(rate.milliseconds);
        let level = level.div_ceil(u128::from(self.rate.milliseconds));
        self.level = u64::try_from(level).unwrap_or(MOST).min(MOST);
        self.rate = rate;
    }

    pub(super) const fn used(&self) -> Cost {
        Cost::new(self.level.div_ceil(self.rate.milliseconds))
    }

    /// When a charge that does not fit under `ceiling` will.
    pub(super) fn lacks_room(&self, cost: Cost, ceiling: Cost) -> Option<Timestamp> {
        let wanted = self.level.saturating_add(self.parts(cost));
        let ceiling = self.parts(ceiling);
        (wanted > ceiling).then(|| self.falls_by(wanted - ceiling))
    }

    pub(super) fn charge(&mut self, cost: Cost) -> LevelMark {
        self.level = self.level.saturating_add(self.parts(cost)).min(MOST);
        self.charged = self.charged.wrapping_add(cost.units()) & MOST;
        LevelMark {
            born: self.born,
            charged: self.charged,
        }
    }

    pub(super) fn refund(&mut self, mark: LevelMark, cost: Cost) {
        if mark.born != self.born {
            return;
        }
        let since = Cost::new(self.charged.wrapping_sub(mark.charged) & MOST);
        let left = self.level.saturating_sub(self.parts(since));
        self.level -= self.parts(cost).min(left);
    }

    pub(super) fn forgive(&mut self, cost: Cost) {
        self.level = self.level.saturating_sub(self.parts(cost));
    }

    /// The first moment at which the level is zero.
    pub(super) fn clears(&self) -> Timestamp {
        self.falls_by(self.level)
    }

    const fn parts(&self, cost: Cost) -> u64 {
        cost.units().saturating_mul(self.rate.milliseconds)
    }

    fn falls_by(&self, parts: u64) -> Timestamp {
        if parts == 0 {
            return self.at;
        }
        let wait = match self.rate.units {
            0 => u64::MAX,
            units => parts.div_ceil(units),
        };
        Timestamp::from_millis(self.at.as_millis().saturating_add(wait))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(units: u64, milliseconds: u64) -> BucketCounter {
        BucketCounter::new(
            Rate {
                units,
                milliseconds,
            },
            Timestamp::default(),
        )
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    #[test]
    fn the_worked_numbers_of_the_documentation_hold() {
        let (burst, mut bucket) = (Cost::new(20), bucket(1, 600));
        let mark = bucket.charge(burst);
        assert_eq!(bucket.level, 12_000);
        bucket.advance(at(3_000));
        assert_eq!((bucket.level, bucket.used()), (9_000, Cost::new(15)));
        assert_eq!(bucket.lacks_room(Cost::new(8), burst), Some(at(4_800)));
        assert_eq!(bucket.lacks_room(Cost::new(5), burst), None);
        bucket.refund(mark, Cost::new(18));
        assert_eq!(bucket.used(), Cost::ZERO);
    }

    #[test]
    fn a_refund_gives_back_only_what_has_not_flowed_off() {
        let mut bucket = bucket(1, 1);
        let first = bucket.charge(Cost::new(10));
        let second = bucket.charge(Cost::new(5));
        bucket.refund(first, Cost::new(10));
        assert_eq!(bucket.used(), Cost::new(5));
        // The second charge flows off before the third is made, so its refund takes nothing off that.
        bucket.advance(at(6));
        let third = bucket.charge(Cost::new(20));
        bucket.refund(second, Cost::new(5));
        assert_eq!(bucket.used(), Cost::new(20));
        bucket.refund(third, Cost::new(19));
        assert_eq!(bucket.used(), Cost::ONE);
    }

    #[test]
    fn a_refund_to_a_bucket_that_was_forgotten_is_ignored() {
        let mark = bucket(1, 1).charge(Cost::new(5));
        let mut later = BucketCounter::new(
            Rate {
                units: 1,
                milliseconds: 1,
            },
            at(50),
        );
        later.charge(Cost::new(5));
        later.refund(mark, Cost::new(5));
        assert_eq!(later.used(), Cost::new(5));
    }

    #[test]
    fn a_changed_limit_keeps_what_is_used() {
        let mut bucket = bucket(1, 600);
        bucket.charge(Cost::new(20));
        bucket.adopt(Rate {
            units: 7,
            milliseconds: 60_000,
        });
        assert_eq!(bucket.used(), Cost::new(20));
        bucket.advance(at(60_000));
        assert_eq!(bucket.used(), Cost::new(13));
    }

    proptest! {
        #[test]
        fn no_fraction_is_lost_by_looking(
            units in 1_u64..50,
            milliseconds in 1_u64..50,
            looks in prop::collection::vec(0_u64..20, 1..40),
        ) {
            let mut watched = bucket(units, milliseconds);
            watched.charge(Cost::new(1_000));
            let mut alone = watched.clone();
            let mut now = 0;
            for wait in looks {
                now += wait;
                watched.advance(at(now));
            }
            alone.advance(at(now));
            prop_assert_eq!(watched.level, alone.level);
        }
    }
}
