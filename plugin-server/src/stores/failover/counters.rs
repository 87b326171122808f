//! What a store went through, counted for the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::breaker::BreakerState;

/// Upper bounds of the latency buckets, in microseconds; one more holds what took longer.
pub const LATENCY_BOUNDS_US: [u64; 8] = [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000];

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct StoreCounters {
    operations: AtomicU64,
    failures: AtomicU64,
    timeouts: AtomicU64,
    openings: AtomicU64,
    local_share: AtomicU64,
    open: AtomicU64,
    closed: AtomicU64,
    cached_denials: AtomicU64,
    deferred: AtomicU64,
    written_back: AtomicU64,
    lost: AtomicU64,
    latency_us: AtomicU64,
    latencies: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
}

/// [`StoreCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSnapshot {
    /// Calls to the store, failed ones included.
    pub operations: u64,
    /// Calls that failed, timeouts included.
    pub failures: u64,
    /// Calls that were not answered in time.
    pub timeouts: u64,
    /// How often the breaker opened.
    pub openings: u64,
    /// Requests decided by this process's share of the limits.
    pub local_share: u64,
    /// Requests admitted uncounted.
    pub open: u64,
    /// Requests that could not be decided.
    pub closed: u64,
    /// Requests refused without asking the store.
    pub cached_denials: u64,
    /// Settlements kept until the store is back.
    pub deferred: u64,
    /// Units written back after the store was away.
    pub written_back: u64,
    /// Settlements and write-backs given up because too many waited.
    pub lost: u64,
    /// Where the breaker is.
    pub breaker: BreakerState,
    /// Processes that share the store, as last known; at least this one.
    pub nodes: u64,
    /// The time that all calls took, in microseconds.
    pub latency_us: u64,
    /// Calls by how long they took: one for each of [`LATENCY_BOUNDS_US`], not cumulative, and the rest.
    pub latencies: [u64; LATENCY_BOUNDS_US.len() + 1],
}

impl StoreCounters {
    pub(super) fn called(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < took);
        self.operations.fetch_add(1, Relaxed);
        self.latency_us.fetch_add(took, Relaxed);
        self.latencies[bucket].fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, timeout: bool) {
        self.failures.fetch_add(1, Relaxed);
        self.timeouts.fetch_add(u64::from(timeout), Relaxed);
    }

    pub(super) fn breaker_opened(&self) {
        self.openings.fetch_add(1, Relaxed);
    }

    pub(super) fn decided_locally(&self) {
        self.local_share.fetch_add(1, Relaxed);
    }

    pub(super) fn admitted_uncounted(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn undecided(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    pub(super) fn denied_again(&self) {
        self.cached_denials.fetch_add(1, Relaxed);
    }

    pub(super) fn deferred(&self) {
        self.deferred.fetch_add(1, Relaxed);
    }

    pub(super) fn wrote_back(&self, units: u64) {
        self.written_back.fetch_add(units, Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self, breaker: BreakerState, nodes: u64) -> StoreSnapshot {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        StoreSnapshot {
            operations: read(&self.operations),
            failures: read(&self.failures),
            timeouts: read(&self.timeouts),
            openings: read(&self.openings),
            local_share: read(&self.local_share),
            open: read(&self.open),
            closed: read(&self.closed),
            cached_denials: read(&self.cached_denials),
            deferred: read(&self.deferred),
            written_back: read(&self.written_back),
            lost: read(&self.lost),
            breaker,
            nodes,
            latency_us: read(&self.latency_us),
            latencies: std::array::from_fn(|at| read(&self.latencies[at])),
        }
    }
}
