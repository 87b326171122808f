//! Where counters live.
//!
//! # Layout
//!
//! [`Stores`] is what a process has; [`LimitStore`] is what a policy is given, by its [`StoreConfig`]. [`redis`] counts where several processes can reach it;
//! [`failover`] is what happens while it is away. Counting in memory is the crate `token-limiter`'s own; [`state_file`] is where that survives.
//!
//! A process has one set of stores for all its plugins and instances: Kong starts an instance for every worker and on every
//! push of configuration, so none of them may own a counter.

pub mod failover;
pub mod redis;
pub mod state_file;

use std::collections::HashMap;
use std::path::Path;
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
use self::state_file::{Keeper, StateFile, StateFileError};
use crate::clock::{Clock, SystemClock};

/// For how long a charge that nobody will settle can still be taken back: longer than any call that did not answer.
const FOR_GOOD: Duration = Duration::from_mins(1);

/// Where a policy counts: the `policy` of a configuration, and its `redis`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum StoreConfig {
    /// In this process.
    #[default]
    Memory,
    /// In a Redis, or whatever speaks its protocol.
    Redis(Box<RedisConfig>),
}

impl StoreConfig {
    /// `memory` or `redis`, as in the configuration.
    pub const fn policy(&self) -> &'static str {
        match self {
            Self::Memory => MEMORY,
            Self::Redis(_) => "redis",
        }
    }
}

/// The name of the memory.
const MEMORY: &str = "memory";

/// The stores of this process.
#[derive(Debug)]
pub struct Stores {
    memory: LimitStore,
    counters: Arc<MemoryStore>,
    redis: Mutex<HashMap<RedisConfig, Shared>>,
    clock: Arc<dyn Clock>,
}

/// A Redis of this process.
#[derive(Debug)]
struct Shared {
    store: Arc<FailoverStore>,
    /// Whether a policy counts there.
    counts: bool,
}

impl Default for Stores {
    fn default() -> Self {
        let counters = Arc::<MemoryStore>::default();
        Self {
            memory: LimitStore::in_memory(Arc::clone(&counters)),
            counters,
            redis: Mutex::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl Stores {
    /// The store of `policy: memory`: exact for one process, which serves all Kong workers of its node.
    pub fn memory(&self) -> &MemoryStore {
        &self.counters
    }

    /// The same, as a policy is given it.
    pub fn in_memory(&self) -> LimitStore {
        self.memory.clone()
    }

    /// The store of a configuration.
    pub fn of(&self, config: &StoreConfig) -> Result<LimitStore, InvalidRedisConfig> {
        match config {
            StoreConfig::Memory => Ok(self.in_memory()),
            StoreConfig::Redis(config) => self.in_redis(config),
        }
    }

    /// Gives the memory the counters of this file, and keeps them there from now on. Before the first request.
    pub fn keep_in(&self, path: &Path) -> Result<Keeper, StateFileError> {
        let file = StateFile::open(path, self.counters.clone(), self.clock.clone())?;
        Keeper::start(file).map_err(|source| StateFileError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The store of `policy: redis`. Equal configurations share one, and connect when they are first used.
    pub fn in_redis(&self, config: &RedisConfig) -> Result<LimitStore, InvalidRedisConfig> {
        self.redis(config, true).map(LimitStore::in_redis)
    }

    /// The Redis of a configuration, also for what is not counted and yet must be found by all processes.
    pub fn shared(&self, config: &RedisConfig) -> Result<Arc<FailoverStore>, InvalidRedisConfig> {
        self.redis(config, false)
    }

    fn redis(
        &self,
        config: &RedisConfig,
        counts: bool,
    ) -> Result<Arc<FailoverStore>, InvalidRedisConfig> {
        config.check()?;
        let mut redis = self.redis.lock();
        if let Some(known) = redis.get_mut(config) {
            known.counts |= counts;
            return Ok(Arc::clone(&known.store));
        }
        let name = name(config, &redis);
        let remote = RedisStore::new(Arc::new(config.clone()));
        let store = FailoverStore::new(name, remote, self.clock.clone());
        let shared = Shared {
            store: Arc::clone(&store),
            counts,
        };
        redis.insert(config.clone(), shared);
        Ok(store)
    }

    /// Where policies count: the memory, and each Redis that one was given for that.
    pub fn all(&self) -> Vec<LimitStore> {
        let redis = self.redis.lock();
        let counting = redis.values().filter(|shared| shared.counts);
        let shared = counting.map(|shared| LimitStore::in_redis(Arc::clone(&shared.store)));
        std::iter::once(self.in_memory()).chain(shared).collect()
    }

    /// The store of this [`name`](LimitStore::name).
    pub fn named(&self, name: &str) -> Option<LimitStore> {
        if name == MEMORY {
            return Some(self.in_memory());
        }
        let redis = self.redis.lock();
        let mut stores = redis.values().map(|shared| &shared.store);
        let found = stores.find(|store| **store.name() == *name)?;
        Some(LimitStore::in_redis(Arc::clone(found)))
    }

    /// What each Redis went through, by its name.
    pub fn snapshots(&self) -> Vec<(String, StoreSnapshot)> {
        let redis = self.redis.lock();
        let stores = redis.values().map(|shared| &shared.store);
        stores
            .map(|store| (store.name().to_string(), store.snapshot()))
            .collect()
    }

    /// Tells every Redis what it is owed, for a process that is about to stop.
    pub async fn flush(&self) {
        let stores: Vec<_> = {
            let redis = self.redis.lock();
            let stores = redis.values().map(|shared| Arc::clone(&shared.store));
            stores.collect()
        };
        for store in stores {
            if let Err(error) = store.flush().await {
                tracing::warn!(store = %store.name(), %error, "what was spent without the store is lost");
            }
        }
    }
}

/// Where this Redis is; with a number if another configuration reaches one at the same place in another way.
fn name(config: &RedisConfig, others: &HashMap<RedisConfig, Shared>) -> String {
    let place = config.to_string();
    let is_free = |name: &String| others.values().all(|other| **other.store.name() != **name);
    let numbered = (2..).map(|number| format!("{place} ({number})"));
    std::iter::once(place.clone())
        .chain(numbered)
        .find(is_free)
        .expect("there are more numbers than stores")
}

/// The store of one configuration's limits. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LimitStore {
    name: Arc<str>,
    counters: Counters,
}

#[derive(Clone, Debug)]
enum Counters {
    /// In this process: never fails, never waits.
    Memory(Arc<MemoryStore>),
    /// Shared with other processes.
    Redis(Arc<FailoverStore>),
}

impl LimitStore {
    /// The store of these counters in memory.
    pub fn in_memory(counters: Arc<MemoryStore>) -> Self {
        Self {
            name: MEMORY.into(),
            counters: Counters::Memory(counters),
        }
    }

    fn in_redis(store: Arc<FailoverStore>) -> Self {
        Self {
            name: Arc::clone(store.name()),
            counters: Counters::Redis(store),
        }
    }

    /// What tells it from the other stores of the process, for people: `memory`, or where the Redis is. Holds no secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Charges every limit for good, or none: there is nothing to settle.
    pub async fn charge(
        &self,
        charges: &[Charge<'_>],
        on_failure: &[OnStoreFailure],
    ) -> Result<Decision, Unavailable> {
        let decision = self.reserve(charges, on_failure, FOR_GOOD).await;
        if let (Counters::Memory(store), Ok(Decision::Granted(grant))) = (&self.counters, &decision)
        {
            // Elsewhere it ends by itself, without another round trip.
            let Ok(_) = store.settle(&grant.reservation, &[]).await;
        }
        decision
    }

    /// Charges every limit, or none; see [`Store::reserve`]. `on_failure` goes with `charges`, and says what becomes of each
    /// while a shared store is away.
    pub async fn reserve(
        &self,
        charges: &[Charge<'_>],
        on_failure: &[OnStoreFailure],
        lease: Duration,
    ) -> Result<Decision, Unavailable> {
        match &self.counters {
            Counters::Memory(store) => {
                let Ok(decision) = store.reserve(charges, lease).await;
                Ok(decision)
            }
            Counters::Redis(store) => store.reserve(charges, on_failure, lease).await,
        }
    }

    /// Closes a reservation with what was really spent; see [`Store::settle`]. Never lost for a store that is away:
    /// [`FailoverStore::settle`].
    pub async fn settle(&self, reservation: &Reservation, actual: &[Cost]) -> Settlement {
        match &self.counters {
            Counters::Memory(store) => {
                let Ok(settlement) = store.settle(reservation, actual).await;
                settlement
            }
            Counters::Redis(store) => store.settle(reservation, actual).await,
        }
    }

    /// Where counters stand; see [`Store::inspect`].
    pub async fn inspect(&self, meters: &[Meter<'_>]) -> Result<PerCharge<Balance>, Unavailable> {
        match &self.counters {
            Counters::Memory(store) => {
                let Ok(balances) = store.inspect(meters).await;
                Ok(balances)
            }
            Counters::Redis(store) => store.inspect(meters).await,
        }
    }

    /// Changes what counts as spent; see [`Store::correct`].
    pub async fn correct(
        &self,
        meter: Meter<'_>,
        correction: Correction,
    ) -> Result<Balance, Unavailable> {
        match &self.counters {
            Counters::Memory(store) => {
                let Ok(balance) = store.correct(meter, correction).await;
                Ok(balance)
            }
            Counters::Redis(store) => store.correct(meter, correction).await,
        }
    }

    /// Some of the open reservations; see [`Store::reservations`].
    pub async fn reservations(&self, most: usize) -> Result<Vec<OpenReservation>, Unavailable> {
        match &self.counters {
            Counters::Memory(store) => {
                let Ok(open) = store.reservations(most).await;
                Ok(open)
            }
            Counters::Redis(store) => store.reservations(most).await,
        }
    }

    /// Closes a reservation as if nothing had been spent; see [`Store::release`].
    pub async fn release(&self, reservation: &Reservation) -> Result<Settlement, Unavailable> {
        match &self.counters {
            Counters::Memory(store) => {
                let Ok(settlement) = store.release(reservation).await;
                Ok(settlement)
            }
            Counters::Redis(store) => store.release(reservation).await,
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
        let store = |port| stores.shared(&config(port)).unwrap();
        assert!(Arc::ptr_eq(&store(1), &store(1)));
        assert!(!Arc::ptr_eq(&store(1), &store(2)));
        assert!(stores.in_redis(&config(0)).is_err());
    }

    #[test]
    fn configurations_of_one_place_have_names_of_their_own() {
        let stores = Stores::default();
        let config = |milliseconds| RedisConfig {
            timeout: Duration::from_millis(milliseconds),
            ..RedisConfig::default()
        };
        let name = |milliseconds| {
            let store = stores.in_redis(&config(milliseconds)).unwrap();
            store.name().to_owned()
        };
        for _ in 0..2 {
            assert_eq!(name(1), "redis://127.0.0.1:6379/0");
            assert_eq!(name(2), "redis://127.0.0.1:6379/0 (2)");
            assert_eq!(name(3), "redis://127.0.0.1:6379/0 (3)");
        }
        for milliseconds in 1..=3 {
            let Counters::Redis(known) = stores.named(&name(milliseconds)).unwrap().counters else {
                panic!("not a Redis");
            };
            assert!(Arc::ptr_eq(
                &known,
                &stores.shared(&config(milliseconds)).unwrap()
            ));
        }
    }

    #[test]
    fn nothing_is_counted_in_a_redis_that_only_holds_a_denylist() {
        let stores = Stores::default();
        let config = RedisConfig::default();
        stores.shared(&config).unwrap();
        assert_eq!((stores.all().len(), stores.snapshots().len()), (1, 1));
        stores.in_redis(&config).unwrap();
        stores.shared(&config).unwrap();
        assert_eq!((stores.all().len(), stores.snapshots().len()), (2, 1));
    }
}
