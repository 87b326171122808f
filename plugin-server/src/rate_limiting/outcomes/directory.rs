//! The counters that were used last, by key: a key alone does not tell whose it is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use token_limiter::{Key, Limit};

use super::labels::shown;
use super::{Decided, Metered, Scope};

/// The most counters that are remembered.
const MOST: u64 = 10_000;

/// A counter, as a request met it.
#[derive(Debug)]
pub struct Known {
    /// The counter.
    pub key: Key,
    /// Its limit.
    pub limit: Limit,
    /// What it counts.
    pub unit: &'static str,
    /// `enforce` or `shadow`.
    pub mode: &'static str,
    /// How its window moves.
    pub window_type: &'static str,
    /// The window's length.
    pub window: Duration,
    /// Where in Kong the limit is configured.
    pub scope: Scope,
    /// The store that has it.
    pub store: String,
    /// What it is counted by, for people.
    pub values: Vec<(String, String)>,
    last_seen_ms: AtomicU64,
}

impl Known {
    /// The moment at which a request last met it, on the clock of [`super::Outcomes`].
    pub fn last_seen(&self) -> Duration {
        Duration::from_millis(self.last_seen_ms.load(Ordering::Relaxed))
    }

    fn is_still(&self, meter: &Metered<'_>) -> bool {
        self.mode == meter.mode && self.limit == *meter.limit
    }
}

/// The counters that were used last.
pub struct Directory(Cache<Key, Arc<Known>>);

impl Default for Directory {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory")
            .field(&self.0.entry_count())
            .finish()
    }
}

impl Directory {
    fn new(most: u64) -> Self {
        let counters = Cache::builder()
            .max_capacity(most)
            .eviction_policy(EvictionPolicy::lru());
        Self(counters.build())
    }

    pub(super) fn saw(&self, now: Duration, decided: &Decided<'_>, meter: &Metered<'_>) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if let Some(known) = self.0.get(&meter.key)
            && known.is_still(meter)
        {
            known.last_seen_ms.store(now_ms, Ordering::Relaxed);
            return;
        }
        let values = meter.values.iter();
        let known = Known {
            key: meter.key,
            limit: meter.limit.clone(),
            unit: meter.unit,
            mode: meter.mode,
            window_type: meter.window_type,
            window: meter.window,
            scope: decided.scope.clone(),
            store: decided.store.to_owned(),
            values: values
                .map(|(name, value)| (name.clone(), shown(value).into_owned()))
                .collect(),
            last_seen_ms: AtomicU64::new(now_ms),
        };
        self.0.insert(meter.key, Arc::new(known));
    }

    /// One counter.
    pub fn get(&self, key: Key) -> Option<Arc<Known>> {
        self.0.get(&key)
    }

    /// All of them, most recently used first.
    pub fn all(&self) -> Vec<Arc<Known>> {
        let mut all: Vec<_> = self.0.iter().map(|(_, known)| known).collect();
        all.sort_by(|one, other| (other.last_seen(), one.key).cmp(&(one.last_seen(), other.key)));
        all
    }
}
