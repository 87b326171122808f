//! The one place that reads the time; everything else is handed a [`Clock`], so that tests own it.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The two readings of time that the policies need.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Whole seconds since the Unix epoch: what `exp`, `nbf` and `iat` are compared with. May step back.
    fn unix_seconds(&self) -> i64;

    /// Time since an arbitrary origin. Never goes back: what ages, cooldowns and schedules are measured with.
    fn monotonic(&self) -> Duration;
}

/// The wall clock as it is: when a span began and ended. Nothing is decided by it.
#[expect(
    clippy::disallowed_methods,
    reason = "a collector compares it with the clocks of other machines"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic reading starts now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else is given"
    )]
    fn unix_seconds(&self) -> i64 {
        // A machine set before 1970 reads as 1970: every token is then "not yet valid", none is accepted by mistake.
        let elapsed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that moves only when a test says so.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ManualClock {
    elapsed_seconds: std::sync::atomic::AtomicU64,
}

#[cfg(test)]
impl ManualClock {
    /// Where a manual clock starts: 2026-01-01T00:00:00Z.
    pub(crate) const START: i64 = 1_767_225_600;

    pub(crate) fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            elapsed_seconds: std::sync::atomic::AtomicU64::new(0),
        })
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.elapsed_seconds
            .fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn unix_seconds(&self) -> i64 {
        let elapsed = self
            .elapsed_seconds
            .load(std::sync::atomic::Ordering::SeqCst);
        Self::START
            + i64::try_from(elapsed).expect("a test advances by less than an age of the world")
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(
            self.elapsed_seconds
                .load(std::sync::atomic::Ordering::SeqCst),
        )
    }
}
