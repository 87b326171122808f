//! The one place that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

/// A name for a file: such names sort as they were made. To the millisecond, in UTC.
pub(crate) fn file_stamp() -> String {
    timestamp(since_epoch())
        .strftime("%Y%m%dT%H%M%S-%3fZ")
        .to_string()
}

/// `2026-11-23 16:05:00 UTC`, of seconds since 1970.
pub(crate) fn shown(unix_seconds: u64) -> String {
    timestamp(Duration::from_secs(unix_seconds))
        .strftime("%Y-%m-%d %H:%M:%S UTC")
        .to_string()
}

fn timestamp(since_epoch: Duration) -> jiff::Timestamp {
    // Beyond the year 9999 there is only the year 9999.
    jiff::SignedDuration::try_from(since_epoch)
        .ok()
        .and_then(|since| jiff::Timestamp::from_duration(since).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the crate's clock")]
fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(shown(1_795_449_900), "2026-11-23 16:05:00 UTC");
    }
}
