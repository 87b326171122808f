//! Over which span a limit holds.

use std::time::Duration;

use thiserror::Error;

use crate::calendar::{Calendar, CalendarWindow, Period, TimeZone};
use crate::counter::SLOTS_PER_WINDOW;
use crate::{Cost, Timestamp};

/// The span over which a limit holds.
///
/// | window | the most that is spent, underestimates apart | budget comes back |
/// |---|---|---|
/// | sliding | the limit in any span of its length | as each charge passes out of the window |
/// | fixed, calendar | the limit in each period; up to twice that across a boundary | all at once, at the boundary |
/// | token bucket | the burst at once, and the limit in each refill on top of it | evenly |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any span of its length, wherever it begins.
    Sliding(SlidingWindow),
    /// One span after another, from the Unix epoch on.
    Fixed(FixedWindow),
    /// A level that rises with every charge and falls evenly.
    TokenBucket(TokenBucket),
    /// The days or months of a time zone.
    Calendar(CalendarWindow),
}

/// Any span of a length, counted in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlidingWindow {
    length_ms: u64,
    slot_ms: u32,
}

/// The spans `[k · length, (k + 1) · length)` since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FixedWindow {
    length_ms: u64,
}

/// A level that falls by the limit in each refill and may rise to the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    refill_ms: u64,
    burst: Cost,
}

/// How fast a bucket's level falls: `units` in `milliseconds`, without a common divisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The units that flow off.
    pub units: u64,
    /// In so much time. Never zero.
    pub milliseconds: u64,
}

/// A window that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidWindow {
    /// No time at all, or more than a window can have.
    #[error("a window lasts from 1 ms to {} days, not {} ms", Window::LONGEST.as_secs() / 86_400, .0.as_millis())]
    Length(Duration),
    /// A bucket that holds nothing.
    #[error("a token bucket's burst is at least 1")]
    NoBurst,
    /// A bucket that never refills.
    #[error("a token bucket's limit is at least 1: it is what flows in")]
    NoRefill,
    /// A bucket whose level could not be counted exactly.
    #[error(
        "a burst of {burst} is too large for this limit and window, which allow at most {most}; \
         a limit that divides the window's milliseconds more evenly, or a shorter window, allows more"
    )]
    Burst {
        /// What was asked for.
        burst: Cost,
        /// The largest burst at this rate.
        most: Cost,
    },
}

impl Window {
    /// The longest window: about four years, so that a slot's width fits 32 bits.
    pub const LONGEST: Duration = Duration::from_millis(SLOTS_PER_WINDOW * u32::MAX as u64);

    /// A sliding window of `length`, rounded up to whole milliseconds.
    pub fn sliding(length: Duration) -> Result<Self, InvalidWindow> {
        let length_ms = milliseconds(length)?;
        let slot_ms = u32::try_from(length_ms.div_ceil(SLOTS_PER_WINDOW))
            .map_err(|_| InvalidWindow::Length(length))?;
        Ok(Self::Sliding(SlidingWindow { length_ms, slot_ms }))
    }

    /// Fixed windows of `length`, rounded up to whole milliseconds.
    pub fn fixed(length: Duration) -> Result<Self, InvalidWindow> {
        let length_ms = milliseconds(length)?;
        Ok(Self::Fixed(FixedWindow { length_ms }))
    }

    /// A bucket into which the limit flows in each `refill`, rounded up to whole milliseconds, and which holds at most
    /// `burst`. Whether that burst can be counted at that rate, [`Limit::check`](crate::Limit::check) tells.
    pub fn token_bucket(refill: Duration, burst: Cost) -> Result<Self, InvalidWindow> {
        let refill_ms = milliseconds(refill)?;
        if burst == Cost::ZERO {
            return Err(InvalidWindow::NoBurst);
        }
        Ok(Self::TokenBucket(TokenBucket { refill_ms, burst }))
    }

    /// The days or months of a time zone. The store's clock must count from the Unix epoch.
    pub fn calendar(unit: Calendar, time_zone: TimeZone) -> Self {
        Self::Calendar(CalendarWindow::new(unit, time_zone))
    }

    /// How long the window lasts: for a bucket the time in which the limit flows in, for a calendar 24 hours or 31 days.
    pub const fn length(&self) -> Duration {
        match self {
            Self::Sliding(window) => Duration::from_millis(window.length_ms),
            Self::Fixed(window) => Duration::from_millis(window.length_ms),
            Self::TokenBucket(bucket) => Duration::from_millis(bucket.refill_ms),
            Self::Calendar(window) => match window.unit() {
                Calendar::Day => Duration::from_hours(24),
                Calendar::Month => Duration::from_hours(31 * 24),
            },
        }
    }

    /// What makes two windows different counters, part by part.
    pub(crate) fn name_parts(&self, mut part: impl FnMut(&[u8])) {
        match self {
            Self::Sliding(window) => {
                part(b"sliding");
                part(&window.length_ms.to_le_bytes());
            }
            Self::Fixed(window) => {
                part(b"fixed");
                part(&window.length_ms.to_le_bytes());
            }
            Self::TokenBucket(bucket) => {
                part(b"token bucket");
                part(&bucket.refill_ms.to_le_bytes());
            }
            Self::Calendar(window) => {
                part(window.unit().name().as_bytes());
                part(window.time_zone().name().as_bytes());
            }
        }
    }
}

/// Whole milliseconds, rounded up, that a window can have.
fn milliseconds(length: Duration) -> Result<u64, InvalidWindow> {
    if length.is_zero() || length > Window::LONGEST {
        return Err(InvalidWindow::Length(length));
    }
    u64::try_from(length.as_nanos().div_ceil(1_000_000)).map_err(|_| InvalidWindow::Length(length))
}

impl SlidingWindow {
    /// The width of the slots that the window is counted in, in milliseconds: a thirtieth of it, rounded up.
    pub const fn slot_ms(&self) -> u32 {
        self.slot_ms
    }
}

impl FixedWindow {
    /// The period that `moment` belongs to.
    pub const fn period(&self, moment: Timestamp) -> Period {
        let start = moment.as_millis() / self.length_ms * self.length_ms;
        Period {
            start: Timestamp::from_millis(start),
            end: Timestamp::from_millis(start.saturating_add(self.length_ms)),
        }
    }
}

impl TokenBucket {
    /// The most that the bucket holds.
    pub const fn burst(&self) -> Cost {
        self.burst
    }

    /// How fast the level falls under a limit.
    pub const fn rate(&self, limit: Cost) -> Rate {
        let divisor = greatest_common_divisor(limit.units(), self.refill_ms);
        Rate {
            units: limit.units() / divisor,
            milliseconds: self.refill_ms / divisor,
        }
    }
}

impl Rate {
    /// The largest level that can be counted exactly: levels are counted in units divided by `milliseconds`, and those in
    /// the integers up to [`Cost::MAX`].
    pub const fn largest_burst(&self) -> Cost {
        Cost::new(Cost::MAX.units() / self.milliseconds)
    }
}

/// Of two numbers of which the second is not zero.
const fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while one != 0 {
        (one, other) = (other % one, one);
    }
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_rounded_up_to_milliseconds_and_to_slots() {
        let slot = |window: &Window| match window {
            Window::Sliding(window) => window.slot_ms(),
            other => panic!("{other:?} slides"),
        };
        let window = Window::sliding(Duration::from_micros(1)).unwrap();
        assert_eq!(
            (window.length(), slot(&window)),
            (Duration::from_millis(1), 1)
        );
        let minute = Window::sliding(Duration::from_mins(1)).unwrap();
        assert_eq!(slot(&minute), 2_000);
    }

    #[test]
    fn an_empty_or_endless_window_is_refused() {
        for window in [Window::sliding, Window::fixed, |length| {
            Window::token_bucket(length, Cost::ONE)
        }] {
            assert!(window(Duration::ZERO).is_err());
            assert!(window(Window::LONGEST).is_ok());
            let error = window(Duration::MAX).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("a window lasts from 1 ms to 1491 days"),
                "{error}"
            );
        }
        assert_eq!(
            Window::token_bucket(Duration::from_secs(1), Cost::ZERO),
            Err(InvalidWindow::NoBurst)
        );
    }

    #[test]
    fn fixed_windows_follow_each_other() {
        let window = FixedWindow { length_ms: 60_000 };
        let period = window.period(Timestamp::from_millis(119_999));
        assert_eq!(
            (period.start.as_millis(), period.end.as_millis()),
            (60_000, 120_000)
        );
        assert_eq!(window.period(period.end).start, period.end);
    }

    #[test]
    fn a_rate_has_no_common_divisor() {
        let minute = TokenBucket {
            refill_ms: 60_000,
            burst: Cost::ONE,
        };
        for (limit, units, milliseconds) in [
            (100, 1, 600),
            (60_000, 1, 1),
            (7, 7, 60_000),
            (90_000, 3, 2),
            (0, 0, 1),
        ] {
            let rate = minute.rate(Cost::new(limit));
            assert_eq!((rate.units, rate.milliseconds), (units, milliseconds));
        }
    }
}
