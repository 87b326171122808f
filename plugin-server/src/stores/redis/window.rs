//! A window, as `windows.lua` takes it.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use token_limiter::{CalendarWindow, Limit, Timestamp, Window};

/// A window's numbers; of nearly every window few.
pub(super) type Numbers = SmallVec<[u64; 6]>;

/// The most periods of a calendar that a reservation is told: it can be settled for so long.
const PERIODS: usize = 400;

/// The kind of a limit's window and its numbers. `now` is about the server's time: of a calendar, which a script cannot
/// compute, it is told the periods that can be needed within `lease`, and picks one by its own time.
pub(super) fn described(limit: &Limit, now: Timestamp, lease: Duration) -> (&'static str, Numbers) {
    match &limit.window {
        Window::Sliding(window) => ("s", smallvec![u64::from(window.slot_ms())]),
        Window::Fixed(window) => {
            let first = window.period(Timestamp::from_millis(0));
            ("f", smallvec![first.end.as_millis()])
        }
        Window::Calendar(window) => ("c", periods(window, now, lease)),
        Window::TokenBucket(bucket) => {
            let rate = bucket.rate(limit.limit);
            ("b", smallvec![rate.units, rate.milliseconds])
        }
    }
}

/// The starts of the period before `now`, of its own and of those to come until one after the lease has ended; then the last one's end.
fn periods(window: &CalendarWindow, now: Timestamp, lease: Duration) -> Numbers {
    let mut period = window.period(now);
    let before = Timestamp::from_millis(period.start.as_millis().saturating_sub(1));
    let last = now.after(lease);
    let mut starts = smallvec![
        window.period(before).start.as_millis(),
        period.start.as_millis()
    ];
    while period.start <= last && starts.len() < PERIODS {
        period = window.period(period.end);
        starts.push(period.start.as_millis());
    }
    starts.push(period.end.as_millis());
    starts
}

#[cfg(test)]
mod tests {
    use token_limiter::{Calendar, TimeZone};

    use super::*;

    #[test]
    fn a_calendar_tells_the_periods_of_a_lease_and_one_on_each_side() {
        let Window::Calendar(days) = Window::calendar(Calendar::Day, TimeZone::UTC) else {
            panic!("that is a calendar");
        };
        let day = 86_400_000;
        let told = |lease_days: u64| {
            let lease = Duration::from_hours(24 * lease_days);
            let periods = periods(&days, Timestamp::from_millis(10 * day + 1), lease);
            periods
                .into_iter()
                .map(|start| start / day)
                .collect::<Vec<_>>()
        };
        assert_eq!(told(0), [9, 10, 11, 12]);
        assert_eq!(told(2), [9, 10, 11, 12, 13, 14]);
        assert_eq!(told(100_000).len(), PERIODS + 1);
    }
}
