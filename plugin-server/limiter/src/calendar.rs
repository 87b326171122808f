//! Days and months, where people live.
//!
//! # Algorithm
//!
//! A period begins at the first moment of a local date: of every date, or of the first of every month. What the clocks do
//! at a change of time is left to the time zone's rules, which are those built into the program: a day can have 23 or 25 hours, can
//! begin at 01:00 where midnight is skipped, and can be missing.
//!
//! ```text
//! period(t) = [start(d), start(d + 1))   where d is the last date with start(d) ≤ t
//! ```
//!
//! Worked: in Europe/Berlin the 31st of March 2024 lasts from 2024-03-30T23:00Z to 2024-03-31T22:00Z: 23 hours.
//!
//! # Invariants
//!
//! 1. Every moment is in its period, and periods follow each other without a gap (test: `periods_follow_each_other`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;
use jiff::{Span, ToSpan};
use thiserror::Error;

use crate::Timestamp;

/// Which periods a calendar window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// From one local midnight to the next.
    Day,
    /// From the local midnight that begins a month to the next.
    Month,
}

impl Calendar {
    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Day => 1.day(),
            Self::Month => 1.month(),
        }
    }

    fn begins(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Month => date.first_of_month(),
        }
    }
}

/// A time zone of the IANA database that is built into the program.
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZone(jiff::tz::TimeZone);

/// A name that no time zone has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no time zone of the IANA database: write UTC, or a name such as Europe/Berlin")]
pub struct UnknownTimeZone(String);

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(jiff::tz::TimeZone::UTC);

    /// The name in the database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        TimeZoneDatabase::bundled()
            .get(name)
            .ok()
            .filter(|zone| zone.iana_name().is_some())
            .map(Self)
            .ok_or_else(|| UnknownTimeZone(name.to_owned()))
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeZone({self})")
    }
}

impl Hash for TimeZone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// The days or months of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CalendarWindow {
    unit: Calendar,
    time_zone: TimeZone,
}

/// A span of time from a moment to another, which no longer belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// The first moment.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
}

impl CalendarWindow {
    pub(crate) const fn new(unit: Calendar, time_zone: TimeZone) -> Self {
        Self { unit, time_zone }
    }

    /// Days or months.
    pub const fn unit(&self) -> Calendar {
        self.unit
    }

    /// Of which time zone.
    pub const fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// The period that `moment`, counted from the Unix epoch, belongs to. The last one, late in the year 9999, never ends.
    pub fn period(&self, moment: Timestamp) -> Period {
        let instant = i64::try_from(moment.as_millis())
            .ok()
            .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
            .unwrap_or(jiff::Timestamp::MAX);
        let mut date = self
            .unit
            .begins(self.time_zone.0.to_datetime(instant).date());
        // Clocks that are set back over midnight visit a date twice, and the first visit decides; a midnight that is skipped may be
        // found a little late.
        if self.start(date) > moment {
            date = date.saturating_sub(self.unit.span());
        }
        loop {
            let Ok(next) = date.checked_add(self.unit.span()) else {
                return Period {
                    start: self.start(date),
                    end: Timestamp::from_millis(u64::MAX),
                };
            };
            let end = self.start(next);
            if end > moment {
                return Period {
                    start: self.start(date),
                    end,
                };
            }
            date = next;
        }
    }

    /// The first moment of a date.
    fn start(&self, date: Date) -> Timestamp {
        date.to_zoned(self.time_zone.0.clone()).map_or(
            Timestamp::from_millis(u64::MAX),
            |midnight| {
                let milliseconds = midnight.timestamp().as_millisecond();
                Timestamp::from_millis(u64::try_from(milliseconds).unwrap_or(0))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        let instant: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(u64::try_from(instant.as_millisecond()).unwrap())
    }

    fn window(unit: Calendar, zone: &str) -> CalendarWindow {
        CalendarWindow::new(unit, zone.parse().unwrap())
    }

    #[test]
    fn days_and_months_begin_where_people_say_they_do() {
        use Calendar::{Day, Month};
        for (unit, zone, moment, start, end) in [
            (
                Day,
                "UTC",
                "2024-02-29T23:59:59.999Z",
                "2024-02-29T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Month,
                "UTC",
                "2024-02-29T12:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            // Summer time begins, and ends.
            (
                Day,
                "Europe/Berlin",
                "2024-03-31T12:00:00Z",
                "2024-03-30T23:00:00Z",
                "2024-03-31T22:00:00Z",
            ),
            (
                Day,
                "Europe/Berlin",
                "2024-10-27T12:00:00Z",
                "2024-10-26T22:00:00Z",
                "2024-10-27T23:00:00Z",
            ),
            (
                Month,
                "Europe/Berlin",
                "2024-03-31T12:00:00Z",
                "2024-02-29T23:00:00Z",
                "2024-03-31T22:00:00Z",
            ),
            // The day begins at 01:00, since summer time skips midnight.
            (
                Day,
                "America/Sao_Paulo",
                "2018-11-04T12:00:00Z",
                "2018-11-04T03:00:00Z",
                "2018-11-05T02:00:00Z",
            ),
            // The hour before midnight comes twice, and belongs to the same day both times.
            (
                Day,
                "America/Sao_Paulo",
                "2018-02-18T02:30:00Z",
                "2018-02-17T02:00:00Z",
                "2018-02-18T03:00:00Z",
            ),
            // Samoa had no 30th of December 2011.
            (
                Day,
                "Pacific/Apia",
                "2011-12-30T09:59:59Z",
                "2011-12-29T10:00:00Z",
                "2011-12-30T10:00:00Z",
            ),
            (
                Day,
                "Pacific/Apia",
                "2011-12-30T10:00:00Z",
                "2011-12-30T10:00:00Z",
                "2011-12-31T10:00:00Z",
            ),
        ] {
            let period = window(unit, zone).period(at(moment));
            assert_eq!(
                (period.start, period.end),
                (at(start), at(end)),
                "{zone} {moment}"
            );
        }
    }

    #[test]
    fn the_ends_of_time_have_a_period_too() {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
            for unit in [Calendar::Day, Calendar::Month] {
                for moment in [0, 1, 253_402_207_200_000, 1 << 53, u64::MAX - 1] {
                    let period = window(unit, zone).period(Timestamp::from_millis(moment));
                    assert!(period.start.as_millis() <= moment && moment < period.end.as_millis());
                }
            }
        }
    }

    #[test]
    fn a_time_zone_is_known_by_its_name() {
        assert_eq!("UTC".parse(), Ok(TimeZone::UTC));
        assert_eq!(
            "europe/berlin".parse::<TimeZone>().unwrap().name(),
            "Europe/Berlin"
        );
        for name in ["", "Berlin", "Europe/Berln", "../UTC", "+02:00"] {
            let error = name.parse::<TimeZone>().unwrap_err().to_string();
            assert!(
                error.contains("is no time zone of the IANA database"),
                "{error}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn periods_follow_each_other(
            moment in 0_u64..4_000_000_000_000,
            zone in prop::sample::select(vec![
                "UTC", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo", "Australia/Lord_Howe",
            ]),
            unit in prop::sample::select(vec![Calendar::Day, Calendar::Month]),
        ) {
            let window = window(unit, zone);
            let moment = Timestamp::from_millis(moment);
            let period = window.period(moment);
            prop_assert!(period.start <= moment && moment < period.end);
            prop_assert_eq!(window.period(period.start), period);
            prop_assert_eq!(window.period(period.end).start, period.end);
            let last = Timestamp::from_millis(period.end.as_millis() - 1);
            prop_assert_eq!(window.period(last), period);
        }
    }
}
