//! Where counters live.
//!
//! # Layout
//!
//! [`Stores`] is what a process has; [`LimitStore`] is what a policy is given. [`redis`] counts where several processes can reach it;
//! [`failover`] is what happens while it is away. Counting in memory is the crate `token-limiter`'s own.
//!
//! A process has one set of stores for all its plugins and instances: Kong starts an instance for every worker and on every
//! push of configuration, so none of them may own a counter.

pub mod failover;
pub mod redis;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use token_limiter::{
    Balance, Charge, Correction, Cost, Decision, MemoryStore, Meter, OpenReservation, PerCharge,
    Reservation, Settlement, Store,
};

use self::failover::{FailoverStore, OnStoreFailure, StoreSnapshot, Unavailable};
use self::redis::RedisStore;
use self::redis::config::{InvalidRedisConfig, RedisConfig};
use crate::clock::{Clock, SystemClock};

/// The stores of this process.
#[derive(Debug)]
pub struct Stores {
    memory: Arc<MemoryStore>,
    redis: Mutex<HashMap<RedisConfig, Arc<FailoverStore>>>,
    clock: Arc<dyn Clock>,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            memory: Arc::default(),
            redis: Mutex::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl Stores {
    /// The store of `policy: memory`: exact for one process, which serves all Kong workers of its node.
    pub fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// The same, as a policy is given it.
    pub fn in_memory(&self) -> LimitStore {
        LimitStore::Memory(self.memory.clone())
    }

    /// The store of `policy: redis`. Equal configurations share one, and connect when they are first used.
    pub fn in_redis(&self, config: &RedisConfig) -> Result<LimitStore, InvalidRedisConfig> {
        config.check()?;
        let mut redis = self.redis.lock();
        let store = redis.entry(config.clone()).or_insert_with(|| {
            let remote = RedisStore::new(Arc::new(config.clone()));
            FailoverStore::new(remote, self.clock.clone())
        });
        Ok(LimitStore::Redis(store.clone()))
    }

    /// All of them: that of the memory, and each Redis that a policy was given.
    pub fn all(&self) -> Vec<LimitStore> {
        let redis = self.redis.lock();
        let shared = redis.values().cloned().map(LimitStore::Redis);
        std::iter::once(self.in_memory()).chain(shared).collect()
    }

    /// The store of this [`name`](LimitStore::name).
    pub fn named(&self, name: &str) -> Option<LimitStore> {
        self.all().into_iter().find(|store| store.name() == name)
    }

    /// What each Redis went through, by where it is.
    pub fn snapshots(&self) -> Vec<(String, StoreSnapshot)> {
        let redis = self.redis.lock();
        redis
            .iter()
            .map(|(config, store)| (config.to_string(), store.snapshot()))
            .collect()
    }

    /// Tells every Redis what it is owed, for a process that is about to stop.
    pub async fn flush(&self) {
        let stores: Vec<_> = self.redis.lock().values().cloned().collect();
        for store in stores {
            if let Err(error) = store.flush().await {
                tracing::warn!(store = %store.remote().config(), %error, "what was spent without the store is lost");
            }
        }
    }
}

/// The store of one configuration's limits. Cheap to clone.
#[derive(Clone, Debug)]
pub enum LimitStore {
    /// In this process: never fails, never waits.
    Memory(Arc<MemoryStore>),
    /// Shared with other processes.
    Redis(Arc<FailoverStore>),
}

impl LimitStore {
    /// `memory` or `redis`, as in the configuration.
    pub fn policy(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }

    /// What tells it from the other stores of the process, for people: `memory`, or where the Redis is.
    pub fn name(&self) -> String {
        match self {
            Self::Memory(_) => self.policy().to_owned(),
            Self::Redis(store) => store.remote().config().to_string(),
        }
    }

    /// Charges every limit, or none; see [`Store::reserve`]. `on_failure` goes with `charges`, and says what becomes of each
    /// while a shared store is away.
    pub async fn reserve(
        &self,
        charges: &[Charge<'_>],
        on_failure: &[OnStoreFailure],
        lease: Duration,
    ) -> Result<Decision, Unavailable> {
        match self {
            Self::Memory(store) => {
                let Ok(decision) = store.reserve(charges, lease).await;
                Ok(decision)
            }
            Self::Redis(store) => store.reserve(charges, on_failure, lease).await,
        }
    }

    /// Closes a reservation with what was really spent; see [`Store::settle`]. Never lost for a store that is away:
    /// [`FailoverStore::settle`].
    pub async fn settle(&self, reservation: &Reservation, actual: &[Cost]) -> Settlement {
        match self {
            Self::Memory(store) => {
                let Ok(settlement) = store.settle(reservation, actual).await;
                settlement
            }
            Self::Redis(store) => store.settle(reservation, actual).await,
        }
    }

    /// Where counters stand; see [`Store::inspect`].
    pub async fn inspect(&self, meters: &[Meter<'_>]) -> Result<PerCharge<Balance>, Unavailable> {
        match self {
            Self::Memory(store) => {
                let Ok(balances) = store.inspect(meters).await;
                Ok(balances)
            }
            Self::Redis(store) => store.inspect(meters).await,
        }
    }

    /// Changes what counts as spent; see [`Store::correct`].
    pub async fn correct(
        &self,
        meter: Meter<'_>,
        correction: Correction,
    ) -> Result<Balance, Unavailable> {
        match self {
            Self::Memory(store) => {
                let Ok(balance) = store.correct(meter, correction).await;
                Ok(balance)
            }
            Self::Redis(store) => store.correct(meter, correction).await,
        }
    }

    /// Some of the open reservations; see [`Store::reservations`].
    pub async fn reservations(&self, most: usize) -> Result<Vec<OpenReservation>, Unavailable> {
        match self {
            Self::Memory(store) => {
                let Ok(open) = store.reservations(most).await;
                Ok(open)
            }
            Self::Redis(store) => store.reservations(most).await,
        }
    }

    /// Closes a reservation as if nothing had been spent; see [`Store::release`].
    pub async fn release(&self, reservation: &Reservation) -> Result<Settlement, Unavailable> {
        match self {
            Self::Memory(store) => {
                let Ok(settlement) = store.release(reservation).await;
                Ok(settlement)
            }
            Self::Redis(store) => store.release(reservation).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_share_a_store() {
        let stores = Stores::default();
        let config = |port| RedisConfig {
            port,
            ..RedisConfig::default()
        };
        let store = |port| match stores.in_redis(&config(port)).unwrap() {
            LimitStore::Redis(store) => store,
            LimitStore::Memory(_) => panic!("that is no redis"),
        };
        assert!(Arc::ptr_eq(&store(1), &store(1)));
        assert!(!Arc::ptr_eq(&store(1), &store(2)));
        assert!(stores.in_redis(&config(0)).is_err());
    }
}
