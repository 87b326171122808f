//! What a state file goes through, for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::clock::Clock;

/// What a state file goes through.
#[derive(Debug)]
pub struct StateFileStatus {
    clock: Arc<dyn Clock>,
    failing: AtomicBool,
    failures: AtomicU64,
    rewrites: AtomicU64,
    bytes: AtomicU64,
    /// When the file was last known to hold everything, in milliseconds of the clock.
    as_of_ms: AtomicU64,
}

/// [`StateFileStatus`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateFileSnapshot {
    /// Whether it is written as it should be: neither an append nor a rewriting has failed and waits to be repeated.
    pub is_up: bool,
    /// Attempts that failed.
    pub failures: u64,
    /// How often it was written anew, the start included.
    pub rewrites: u64,
    /// Its size.
    pub bytes: u64,
    /// For how many seconds it may lack what was counted.
    pub age_seconds: u64,
}

impl StateFileStatus {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            failing: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            rewrites: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            as_of_ms: AtomicU64::new(0),
        }
    }

    /// It could not be written. True if that is news.
    pub(super) fn failed(&self) -> bool {
        self.failures.fetch_add(1, Relaxed);
        !self.failing.swap(true, Relaxed)
    }

    /// All that was to be done to it was done. True if that is news.
    pub(super) fn succeeded(&self) -> bool {
        self.failing.swap(false, Relaxed)
    }

    /// It lacks nothing now, and has so many bytes.
    pub(super) fn holds_everything(&self, bytes: u64) {
        self.as_of_ms.store(self.now_ms(), Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    pub(super) fn rewrote(&self) {
        self.rewrites.fetch_add(1, Relaxed);
    }

    /// How it is.
    pub fn snapshot(&self) -> StateFileSnapshot {
        StateFileSnapshot {
            is_up: !self.failing.load(Relaxed),
            failures: self.failures.load(Relaxed),
            rewrites: self.rewrites.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            age_seconds: self.now_ms().saturating_sub(self.as_of_ms.load(Relaxed)) / 1_000,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }
}
