//! One counter, whatever its window.
//!
//! A counter is brought to the present before anything is asked of it: by [`Counter::advance`], which needs nothing but the
//! moment, and by [`Counter::follow`], which also takes over what its limit says.

mod bucket;
mod period;
mod record;
mod sliding;

pub use record::{CounterRecord, InvalidRecord};
pub(crate) use sliding::SLOTS_PER_WINDOW;

use self::bucket::{BucketCounter, LevelMark};
use self::period::PeriodCounter;
use self::sliding::{SlidingCounter, Slot};
use crate::window::{FixedWindow, Rate};
use crate::{CalendarWindow, Cost, Limit, Timestamp, Window};

/// What a counter needs to know of its limit.
#[derive(Clone, Debug)]
pub(crate) enum Terms {
    Sliding { slot_ms: u32 },
    Fixed(FixedWindow),
    Calendar(CalendarWindow),
    Bucket(Rate),
}

impl Terms {
    pub(crate) fn of(limit: &Limit) -> Self {
        match &limit.window {
            Window::Sliding(window) => Self::Sliding {
                slot_ms: window.slot_ms(),
            },
            Window::Fixed(window) => Self::Fixed(*window),
            Window::Calendar(window) => Self::Calendar(window.clone()),
            Window::TokenBucket(bucket) => Self::Bucket(bucket.rate(limit.limit)),
        }
    }
}

/// What one key has spent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Counter {
    Sliding(SlidingCounter),
    Period(PeriodCounter),
    Bucket(BucketCounter),
}

/// Where a counter was charged, for a refund.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Slot(Slot),
    Period(Timestamp),
    Level(LevelMark),
}

impl Counter {
    /// An empty counter whose present is `now`.
    pub(crate) fn new(terms: &Terms, now: Timestamp) -> Self {
        match terms {
            Terms::Sliding { slot_ms } => Self::Sliding(SlidingCounter::new(*slot_ms, now)),
            Terms::Fixed(window) => Self::Period(PeriodCounter::new(window.period(now))),
            Terms::Calendar(window) => Self::Period(PeriodCounter::new(window.period(now))),
            Terms::Bucket(rate) => Self::Bucket(BucketCounter::new(*rate, now)),
        }
    }

    /// Moves the present to `now`; a moment before the present changes nothing.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        match self {
            Self::Sliding(counter) => counter.advance(now),
            Self::Period(counter) => counter.advance(now),
            Self::Bucket(counter) => counter.advance(now),
        }
    }

    /// Moves the present to `now`, and takes over what the limit says by now.
    pub(crate) fn follow(&mut self, terms: &Terms, now: Timestamp) {
        self.advance(now);
        match (&mut *self, terms) {
            (Self::Period(counter), _) if counter.is_over(now) => *self = Self::new(terms, now),
            (Self::Bucket(counter), Terms::Bucket(rate)) => counter.adopt(*rate),
            _ => {}
        }
    }

    /// What counts as spent.
    pub(crate) fn used(&self) -> Cost {
        match self {
            Self::Sliding(counter) => counter.used(),
            Self::Period(counter) => counter.used(),
            Self::Bucket(counter) => counter.used(),
        }
    }

    /// If `cost` does not fit under `ceiling`: the first moment at which it will, if nothing more is charged.
    pub(crate) fn lacks_room(&self, cost: Cost, ceiling: Cost) -> Option<Timestamp> {
        match self {
            Self::Sliding(counter) => counter.lacks_room(cost, ceiling),
            Self::Period(counter) => {
                let wanted = counter.used().units() + cost.units();
                (wanted > ceiling.units()).then_some(counter.period.end)
            }
            Self::Bucket(counter) => counter.lacks_room(cost, ceiling),
        }
    }

    /// Charges the present, and says where that is.
    pub(crate) fn charge(&mut self, cost: Cost) -> Mark {
        match self {
            Self::Sliding(counter) => Mark::Slot(counter.charge(cost)),
            Self::Period(counter) => Mark::Period(counter.charge(cost)),
            Self::Bucket(counter) => Mark::Level(counter.charge(cost)),
        }
    }

    /// Takes `cost` off what was charged there, as far as that still counts.
    pub(crate) fn refund(&mut self, mark: Mark, cost: Cost) {
        match (self, mark) {
            (Self::Sliding(counter), Mark::Slot(slot)) => counter.refund(slot, cost),
            (Self::Period(counter), Mark::Period(start)) => counter.refund(start, cost),
            (Self::Bucket(counter), Mark::Level(mark)) => counter.refund(mark, cost),
            _ => {}
        }
    }

    /// Takes at most `cost` off what counts, the latest first.
    pub(crate) fn forgive(&mut self, cost: Cost) {
        match self {
            Self::Sliding(counter) => counter.forgive(cost),
            Self::Period(counter) => counter.forgive(cost),
            Self::Bucket(counter) => counter.forgive(cost),
        }
    }

    /// Takes off all that counts.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Sliding(counter) => counter.clear(),
            Self::Period(counter) => counter.used = Cost::ZERO,
            Self::Bucket(counter) => counter.level = 0,
        }
    }

    /// The first moment at which nothing counts any more; the past if nothing does now.
    pub(crate) fn clears(&self) -> Timestamp {
        match self {
            Self::Sliding(counter) => counter.clears(),
            Self::Period(counter) => counter.clears(),
            Self::Bucket(counter) => counter.clears(),
        }
    }

    /// Whether the counter has stood untouched for so long that a new one would be the same.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        match self {
            Self::Sliding(counter) => counter.is_idle(now),
            Self::Period(counter) => counter.is_over(now),
            Self::Bucket(counter) => now >= counter.clears(),
        }
    }

    /// Takes a counter from a clock that was ahead of `now` to `now`: what it held counts as if spent that much earlier. Without
    /// it, a machine whose date was wrong for a moment would hold its callers back until that date.
    pub(crate) fn not_after(&mut self, now: Timestamp) {
        match self {
            Self::Sliding(counter) => counter.not_after(now),
            Self::Period(counter) if counter.period.start > now => {
                let length = counter.period.end.since(counter.period.start);
                counter.period.start = now;
                counter.period.end = now.after(length);
            }
            Self::Period(_) => {}
            Self::Bucket(counter) => {
                counter.at = counter.at.min(now);
                counter.born = counter.born.min(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_counters_fit_their_memory() {
        // 200 bytes each, less the index (4 bytes and a control byte, at a load of at least 7/16) and the key.
        assert!(size_of::<Counter>() + 16 <= 176, "{}", size_of::<Counter>());
    }

    #[test]
    fn a_counter_from_the_future_counts_from_now_on() {
        let now = Timestamp::from_millis(1_000_000);
        let future = Timestamp::from_millis(9_000_000_000);
        let rate = Rate {
            units: 1,
            milliseconds: 1,
        };
        let Ok(Window::Fixed(hour)) = Window::fixed(std::time::Duration::from_hours(1)) else {
            panic!("an hour is a window");
        };
        for terms in [
            Terms::Sliding { slot_ms: 100 },
            Terms::Fixed(hour),
            Terms::Bucket(rate),
        ] {
            let mut counter = Counter::new(&terms, future);
            counter.charge(Cost::new(5));
            counter.not_after(now);
            counter.advance(now);
            assert_eq!(counter.used(), Cost::new(5), "{terms:?}");
            assert!(counter.clears() > now, "{terms:?}");
            assert!(
                counter.clears() <= now.after(std::time::Duration::from_hours(1)),
                "{terms:?}"
            );
        }
    }
}
