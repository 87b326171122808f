//! Proofs that were used: each may be used once.
//!
//! # Algorithm
//!
//! Two sets take turns. A proof goes into the younger; once that is older than the time for which a proof is acceptable, it
//! becomes the older one and what was the older is dropped. So every proof is remembered for at least that time and at most
//! for twice as long.
//!
//! # Failure
//!
//! A full memory takes nothing in: forgetting a proof early would let it be used again.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

/// How many proofs one set holds: some 8,000 requests a second under the default leeway, in at most 40 MB a set.
const CAPACITY: usize = 1 << 20;

/// What the memory says of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not used before; now it was.
    Never,
    /// It was used before.
    Before,
    /// It cannot be remembered, so it cannot be accepted.
    Full,
}

/// The proofs that the configurations of one leeway have accepted, by their hash.
#[derive(Debug)]
pub(crate) struct Memory {
    span: Duration,
    capacity: usize,
    sets: Mutex<Sets>,
}

#[derive(Debug, Default)]
struct Sets {
    /// When the younger set began (monotonic).
    began: Duration,
    younger: HashSet<u128>,
    older: HashSet<u128>,
}

impl Memory {
    /// A memory of at least `span`.
    pub(crate) fn new(span: Duration) -> Self {
        Self::with_capacity(span, CAPACITY)
    }

    fn with_capacity(span: Duration, capacity: usize) -> Self {
        Self {
            span,
            capacity,
            sets: Mutex::default(),
        }
    }

    /// Whether nothing that it holds at `now` (monotonic) could be accepted again.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.sets.lock().began) >= self.span * 2
    }

    /// Takes a proof in at `now` (monotonic).
    pub(super) fn take(&self, proof: u128, now: Duration) -> Seen {
        let mut sets = self.sets.lock();
        let age = now.saturating_sub(sets.began);
        if age >= self.span {
            let younger = std::mem::take(&mut sets.younger);
            sets.older = if age < self.span * 2 {
                younger
            } else {
                HashSet::new()
            };
            sets.began = now;
        }
        if sets.older.contains(&proof) || sets.younger.contains(&proof) {
            Seen::Before
        } else if sets.younger.len() >= self.capacity {
            Seen::Full
        } else {
            sets.younger.insert(proof);
            Seen::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_proof_is_remembered_for_its_time_and_forgotten_after_twice_that() {
        let memory = Memory::new(at(120));
        assert_eq!(memory.take(1, at(119)), Seen::Never);
        assert_eq!(memory.take(1, at(119)), Seen::Before);
        assert_eq!(memory.take(2, at(130)), Seen::Never);
        assert_eq!(memory.take(1, at(239)), Seen::Before, "119 + 120");
        assert_eq!(memory.take(2, at(250)), Seen::Before);
        assert!(!memory.is_over(at(489)) && memory.is_over(at(490)));
        assert_eq!(memory.take(2, at(1000)), Seen::Never);
    }

    #[test]
    fn a_full_memory_accepts_nothing_new_and_forgets_nothing() {
        let memory = Memory::with_capacity(at(60), 2);
        assert_eq!(memory.take(1, at(1)), Seen::Never);
        assert_eq!(memory.take(2, at(1)), Seen::Never);
        assert_eq!(memory.take(3, at(1)), Seen::Full);
        assert_eq!(memory.take(1, at(1)), Seen::Before);
        assert_eq!(memory.take(3, at(61)), Seen::Never, "there is room again");
    }
}
