//! The only place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 with the fraction that nginx's clock has: milliseconds.
pub(crate) fn now_seconds() -> f64 {
    now_milliseconds() as f64 / 1000.0
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else asks"
)]
pub(crate) fn now_milliseconds() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
