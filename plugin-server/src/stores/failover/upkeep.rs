//! What a shared store needs beside its requests: being tried while it is away, being paid, being told who lives.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use token_limiter::ReservationId;

use super::breaker::PAUSE;
use super::{BreakerState, FailoverStore, RedisStore, RedisStoreError};

/// How often a process says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// After how much silence a process is taken for gone.
const SILENCE: Duration = Duration::from_secs(15);

/// The processes that share the store.
///
/// A larger count is believed at once, a smaller one after [`SILENCE`]: a store that comes back empty first hears one of many, and
/// a share that is too large would be spent before the others are heard.
#[derive(Debug)]
pub(super) struct Nodes {
    this: ReservationId,
    alive: AtomicU64,
    /// When the count was last confirmed or raised, in milliseconds of the process's clock.
    as_of_ms: AtomicU64,
    /// Whether this process counts here: one that never does takes no share from the others.
    counts: AtomicBool,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self {
            this: RedisStore::draw_id(),
            alive: AtomicU64::new(1),
            as_of_ms: AtomicU64::new(0),
            counts: AtomicBool::new(false),
        }
    }

    /// This process has limits in the store.
    pub(super) fn this_one_counts(&self) {
        if !self.counts.load(Relaxed) {
            self.counts.store(true, Relaxed);
        }
    }

    /// How many there are, as far as is known; at least this one.
    pub(super) fn alive(&self) -> u64 {
        self.alive.load(Relaxed)
    }

    fn counted(&self, alive: u64, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let silence_ms = u64::try_from(SILENCE.as_millis()).unwrap_or(u64::MAX);
        if alive >= self.alive() || now_ms.saturating_sub(self.as_of_ms.load(Relaxed)) >= silence_ms
        {
            self.alive.store(alive.max(1), Relaxed);
            self.as_of_ms.store(now_ms, Relaxed);
        }
    }
}

/// Keeps a store up until nobody uses it any more.
pub(super) async fn run(store: Weak<FailoverStore>) {
    let mut beat_at = None;
    loop {
        {
            let Some(store) = store.upgrade() else {
                return;
            };
            let now = store.clock.monotonic();
            if beat_at.is_none_or(|at| now >= at) {
                beat_at = Some(now + HEARTBEAT);
                store.beat().await;
            }
            store.tend().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl FailoverStore {
    /// One round: tries a store that is away, pays one that is not.
    async fn tend(&self) {
        self.breaker.try_again();
        if self.breaker.state() != BreakerState::HalfOpen {
            if self.owes() {
                // Whatever fails stays owed, and is counted where it failed.
                let _stays_owed = self.pay().await;
            }
            return;
        }
        match self.try_out().await {
            Ok(()) => {
                if self.breaker.back() {
                    tracing::info!(store = %self.remote.config(), "the store is back");
                }
            }
            Err(error) => {
                self.breaker.still_away();
                tracing::debug!(store = %self.remote.config(), %error, "the store is still away");
            }
        }
    }

    /// Whether the store answers, and has been told all that is owed.
    async fn try_out(&self) -> Result<(), RedisStoreError> {
        if self.nodes.counts.load(Relaxed) {
            self.ask(self.remote.heartbeat(self.nodes.this, SILENCE))
                .await?;
        } else {
            self.ask(self.remote.ping()).await?;
        }
        self.pay().await
    }

    async fn beat(&self) {
        if !self.breaker.allows() || !self.nodes.counts.load(Relaxed) {
            return;
        }
        if let Ok(alive) = self
            .ask(self.remote.heartbeat(self.nodes.this, SILENCE))
            .await
        {
            self.nodes.counted(alive, self.clock.monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_count_is_believed_late_and_a_rising_one_at_once() {
        let nodes = Nodes::new();
        nodes.counted(3, Duration::from_secs(100));
        assert_eq!(nodes.alive(), 3);
        nodes.counted(1, Duration::from_secs(105));
        assert_eq!(nodes.alive(), 3);
        nodes.counted(1, Duration::from_secs(115));
        assert_eq!(nodes.alive(), 1);
    }
}
