//! Counters of questions to introspection endpoints.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

/// Bounds of the histogram of durations, in seconds: `introspection_timeout` is at most 9.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// What came of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introspected {
    /// The token is active.
    Active,
    /// It is not.
    Inactive,
    /// There was no usable answer.
    Failed,
}

/// Counters since the process started.
#[derive(Debug)]
pub struct IntrospectionOutcomes {
    active: AtomicU64,
    inactive: AtomicU64,
    failed: AtomicU64,
    seconds: Histogram,
}

impl Default for IntrospectionOutcomes {
    fn default() -> Self {
        Self {
            active: AtomicU64::default(),
            inactive: AtomicU64::default(),
            failed: AtomicU64::default(),
            seconds: Histogram::new(SECONDS),
        }
    }
}

impl IntrospectionOutcomes {
    /// Counts one question, which took this long.
    pub fn count(&self, outcome: Introspected, took: Duration) {
        let counter = match outcome {
            Introspected::Active => &self.active,
            Introspected::Inactive => &self.inactive,
            Introspected::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.seconds.observe(took.as_secs_f64());
    }

    /// Questions so far, by what came of them.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("active", self.active.load(Ordering::Relaxed)),
            ("inactive", self.inactive.load(Ordering::Relaxed)),
            ("failure", self.failed.load(Ordering::Relaxed)),
        ]
    }

    /// How long they took.
    pub fn seconds(&self) -> &Histogram {
        &self.seconds
    }
}
