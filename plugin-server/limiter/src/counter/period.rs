//! One counter of a fixed or calendar window.
//!
//! # Algorithm
//!
//! ```text
//! state           = (start, end, used)
//! used(t)         = used if t < end, else 0
//! admit c         ⇔ used(t) + c ≤ ceiling; then used += c in the period of t
//! refund r to p   used −= r if p is still the period, else nothing
//! debt d          used += d in the period of t, even above the limit
//! passes at       = end
//! ```
//!
//! Worked: hours, limit 100. 60 at 9:59 and 60 at 10:00 both pass: each period has its own budget. 41 at 10:59 must wait for
//! one minute, until 11:00. Whoever was charged at 9:59 and is settled for 0 at 10:01 gets nothing back: that hour is over.
//!
//! # Invariants
//!
//! 1. Of one key, within one period: admitted ≤ limit + underestimates
//!    (contract test: `never_spends_more_than_the_limit_and_the_underestimates`).
//! 2. A refund changes only its own period (test: `the_worked_numbers_of_the_documentation_hold`).

use crate::{Cost, Period, Timestamp};

/// What one key has spent in the present period.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PeriodCounter {
    pub(super) period: Period,
    pub(super) used: Cost,
}

impl PeriodCounter {
    pub(super) const fn new(period: Period) -> Self {
        Self {
            period,
            used: Cost::ZERO,
        }
    }

    /// Forgets a period that is over.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if self.is_over(now) {
            self.used = Cost::ZERO;
        }
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.period.end
    }

    pub(super) const fn used(&self) -> Cost {
        self.used
    }

    /// Charges the present period, and says which that is.
    pub(super) fn charge(&mut self, cost: Cost) -> Timestamp {
        self.used = self.used.saturating_add(cost);
        self.period.start
    }

    pub(super) fn refund(&mut self, start: Timestamp, cost: Cost) {
        if start == self.period.start {
            self.forgive(cost);
        }
    }

    pub(super) fn forgive(&mut self, cost: Cost) {
        self.used = self.used.saturating_sub(cost);
    }

    pub(super) fn clears(&self) -> Timestamp {
        if self.used == Cost::ZERO {
            Timestamp::default()
        } else {
            self.period.end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn hour(number: u64) -> Period {
        Period {
            start: Timestamp::from_millis(number * HOUR),
            end: Timestamp::from_millis((number + 1) * HOUR),
        }
    }

    #[test]
    fn the_worked_numbers_of_the_documentation_hold() {
        let mut counter = PeriodCounter::new(hour(9));
        let early = counter.charge(Cost::new(60));
        counter.advance(Timestamp::from_millis(10 * HOUR - 1));
        assert_eq!(counter.used(), Cost::new(60));
        assert_eq!(counter.clears(), hour(10).start);
        counter.advance(hour(10).start);
        assert_eq!(counter.used(), Cost::ZERO);
        counter = PeriodCounter::new(hour(10));
        let late = counter.charge(Cost::new(60));
        counter.refund(early, Cost::new(60));
        assert_eq!(counter.used(), Cost::new(60));
        counter.refund(late, Cost::new(20));
        assert_eq!(counter.used(), Cost::new(40));
    }
}
