//! When to stop asking a store that does not answer.
//!
//! # Model
//!
//! ```text
//! closed ── FAILURES in a row ──> open ── PAUSE ──> half-open ── a probe answered ──> closed
//!                                  ^                   │
//!                                  └── it did not ─────┘
//! ```
//!
//! Requests are sent to the store only while it is closed. The probe is the upkeep's, never a request's: while the store is away, no
//! request waits for it.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// Calls in a row that must fail. One may be a hiccup; three at the default timeout are 150 ms.
pub(super) const FAILURES: u32 = 3;

/// How long an open breaker waits before the next probe.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Where a breaker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// The store is asked.
    #[default]
    Closed,
    /// The store is left alone.
    Open,
    /// The store is being tried.
    HalfOpen,
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: AtomicU8,
    failures: AtomicU32,
}

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

impl Breaker {
    pub(super) fn state(&self) -> BreakerState {
        match self.state.load(Ordering::Acquire) {
            CLOSED => BreakerState::Closed,
            HALF_OPEN => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }

    /// Whether a request may ask the store.
    pub(super) fn allows(&self) -> bool {
        self.state.load(Ordering::Acquire) == CLOSED
    }

    /// A call was answered. One that was under way when the breaker opened does not close it.
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A call failed; whether that opened the breaker.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= FAILURES && self.move_on(CLOSED, OPEN)
    }

    /// Lets one probe through, if the breaker is open.
    pub(super) fn try_again(&self) {
        self.move_on(OPEN, HALF_OPEN);
    }

    /// The probe failed.
    pub(super) fn still_away(&self) {
        self.move_on(HALF_OPEN, OPEN);
    }

    /// The probe was answered and everything that was owed is paid; whether that closed the breaker.
    pub(super) fn back(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        self.move_on(HALF_OPEN, CLOSED)
    }

    fn move_on(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_an_answered_probe_closes_it() {
        let breaker = Breaker::default();
        assert!(!breaker.failed() && !breaker.failed());
        breaker.answered();
        assert!(!breaker.failed() && !breaker.failed() && breaker.allows());
        assert!(breaker.failed());
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.answered();
        assert!(!breaker.allows(), "an answer that was late closes nothing");
        assert!(!breaker.failed(), "it opens once");

        breaker.try_again();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.allows(), "no request is a probe");
        breaker.still_away();
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.try_again();
        assert!(breaker.back());
        assert!(breaker.allows());
    }
}
