//! When an endpoint that fails is left alone, and for how long.
//!
//! After [`TOLERATED`] failures in a row nobody is sent there for 1 s, after one more for 2, then 4, …, at most
//! [`LONGEST_PAUSE`]; one usable answer ends it. A failure counts once for a pause, however many questions were under way.

use std::time::Duration;

/// Failures in a row after which the endpoint is left alone.
const TOLERATED: u32 = 3;
/// The first pause; it doubles with each further failure.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What an endpoint has been doing lately. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
    paused_until: Duration,
}

impl Patience {
    /// How long the endpoint is still left alone, if it is.
    pub(super) fn pause_left(&self, now: Duration) -> Option<Duration> {
        let left = self.paused_until.saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }

    /// The endpoint has answered usably.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A question that was asked at `asked` has failed by `now`.
    pub(super) fn failed(&mut self, asked: Duration, now: Duration) {
        if asked < self.paused_until {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(further) = self.failures.checked_sub(TOLERATED) {
            let pause = FIRST_PAUSE.saturating_mul(1 << further.min(16));
            self.paused_until = now.saturating_add(pause.min(LONGEST_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_few_failures_pause_nothing_and_more_pause_ever_longer() {
        let mut patience = Patience::default();
        patience.failed(at(0), at(0));
        patience.failed(at(0), at(0));
        assert_eq!(patience.pause_left(at(0)), None);
        let mut now = 10;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            patience.failed(at(now), at(now));
            assert_eq!(patience.pause_left(at(now)), Some(at(pause)));
            now += pause;
            assert_eq!(patience.pause_left(at(now)), None, "the pause is over");
        }
        patience.succeeded();
        patience.failed(at(now), at(now));
        assert_eq!(patience.pause_left(at(now)), None, "it begins anew");
    }

    #[test]
    fn questions_that_were_under_way_do_not_lengthen_the_pause() {
        let mut patience = Patience::default();
        for _ in 0..100 {
            patience.failed(at(5), at(10));
        }
        assert_eq!(patience.pause_left(at(10)), Some(FIRST_PAUSE));
    }
}
