//! What outlives an instance: Kong starts and closes instances at every push of configuration; keys, remembered tokens, what was
//! revoked and which proofs were used must not go with them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Authenticator;
use super::config::{InvalidSetting, Settings};
use super::denylist::list::List;
use super::denylist::memory::MemoryList;
use super::keys::{KeyHealth, RemoteKeys, RemoteSettings};
use super::outcomes::Outcomes;
use super::proof::Memory;
use crate::clock::Clock;
use crate::stores::{StoreConfig, Stores};

/// The authenticators and keys of this process, each alive as long as a configuration uses it.
#[derive(Debug)]
pub struct Process {
    clock: Arc<dyn Clock>,
    outcomes: Arc<Outcomes>,
    authenticators: Mutex<HashMap<Settings, Weak<Authenticator>>>,
    remotes: Mutex<HashMap<RemoteSettings, Weak<RemoteKeys>>>,
    /// By how long they remember. Kept without a configuration too: a proof is used up, whatever becomes of the one that took it.
    proofs: Mutex<HashMap<Duration, Arc<Memory>>>,
    revoked: Arc<MemoryList>,
    stores: Arc<Stores>,
}

/// The denylists at work, and what the configurations that look into them accept.
#[derive(Debug, Default)]
pub struct DenylistsAtWork {
    /// Each once.
    pub lists: Vec<List>,
    /// Whose tokens are looked for.
    pub issuers: Vec<String>,
    /// How far ahead, in seconds, the `exp` of one of these tokens may lie; `None` is any distance.
    pub maximum_expiration: Option<i64>,
}

impl Process {
    /// A process that holds nothing yet, and shares its stores with nobody.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_stores(clock, Arc::default())
    }

    /// A process that holds nothing yet, on the stores of others.
    pub fn with_stores(clock: Arc<dyn Clock>, stores: Arc<Stores>) -> Self {
        Self {
            clock,
            stores,
            revoked: Arc::default(),
            outcomes: Arc::default(),
            authenticators: Mutex::default(),
            remotes: Mutex::default(),
            proofs: Mutex::default(),
        }
    }

    /// The clock of this process.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The counters of this process.
    pub fn outcomes(&self) -> &Arc<Outcomes> {
        &self.outcomes
    }

    /// The authenticator for `settings`: the one that already works by equal settings, or a new one.
    ///
    /// # Errors
    ///
    /// When the settings cannot work.
    pub fn authenticator(&self, settings: Settings) -> Result<Arc<Authenticator>, InvalidSetting> {
        let mut known = self.authenticators.lock();
        if let Some(authenticator) = known.get(&settings).and_then(Weak::upgrade) {
            return Ok(authenticator);
        }
        let authenticator = Arc::new(Authenticator::new(settings.clone(), self)?);
        remember(&mut known, settings, &authenticator);
        Ok(authenticator)
    }

    /// The denylist of this process's memory, whether a configuration looks into it or not.
    pub fn revoked(&self) -> &MemoryList {
        &self.revoked
    }

    /// The denylists that a configuration at work looks into.
    pub fn denylists(&self) -> DenylistsAtWork {
        let mut at_work = DenylistsAtWork {
            maximum_expiration: Some(0),
            ..DenylistsAtWork::default()
        };
        for authenticator in self.at_work() {
            let Some(list) = authenticator.denylist() else {
                continue;
            };
            if !at_work.lists.iter().any(|other| other.is(list)) {
                at_work.lists.push(list.clone());
            }
            let settings = authenticator.settings();
            let names = settings.issuers.iter().map(|issuer| issuer.name.clone());
            let asked = settings.introspection.iter().map(|it| it.issuer.clone());
            at_work.issuers.extend(names.chain(asked));
            let longest = settings.time_bounds.maximum_expiration;
            at_work.maximum_expiration = at_work
                .maximum_expiration
                .filter(|_| longest > 0)
                .map(|most| most.max(longest));
        }
        at_work
            .lists
            .sort_by_cached_key(|list| (matches!(list, List::Redis(_)), list.name()));
        at_work
    }

    pub(super) fn list(&self, config: &StoreConfig) -> Result<List, InvalidSetting> {
        match config {
            StoreConfig::Memory => Ok(List::Memory(Arc::clone(&self.revoked))),
            StoreConfig::Redis(config) => match self.stores.shared(config) {
                Ok(store) => Ok(List::Redis(store)),
                Err(problem) => {
                    let field = format!("redis.{}", problem.field);
                    Err(InvalidSetting::new(field, problem.problem))
                }
            },
        }
    }

    /// The issuers whose keys live elsewhere, and how these stand. Where configurations fetch the keys of one issuer apart, the
    /// worst counts.
    pub fn key_health(&self) -> BTreeMap<String, KeyHealth> {
        let mut by_issuer = BTreeMap::new();
        for authenticator in self.at_work() {
            for (issuer, health) in authenticator.key_health() {
                by_issuer
                    .entry(issuer.to_owned())
                    .and_modify(|known: &mut KeyHealth| *known = known.worse(health))
                    .or_insert(health);
            }
        }
        by_issuer
    }

    fn at_work(&self) -> Vec<Arc<Authenticator>> {
        let known = self.authenticators.lock();
        known.values().filter_map(Weak::upgrade).collect()
    }

    /// The memory of proofs for those that remember them for `span`.
    pub(super) fn proofs(&self, span: Duration) -> Arc<Memory> {
        let now = self.clock.monotonic();
        let mut known = self.proofs.lock();
        known.retain(|_, memory| Arc::strong_count(memory) > 1 || !memory.is_over(now));
        let memory = known
            .entry(span)
            .or_insert_with(|| Arc::new(Memory::new(span)));
        Arc::clone(memory)
    }

    pub(super) fn remote(&self, settings: RemoteSettings) -> Arc<RemoteKeys> {
        let mut known = self.remotes.lock();
        if let Some(remote) = known.get(&settings).and_then(Weak::upgrade) {
            return remote;
        }
        let remote = RemoteKeys::new(
            settings.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.outcomes),
        );
        remember(&mut known, settings, &remote);
        remote
    }
}

fn remember<K: Eq + Hash, V>(known: &mut HashMap<K, Weak<V>>, key: K, value: &Arc<V>) {
    known.retain(|_, other| other.strong_count() > 0);
    known.insert(key, Arc::downgrade(value));
}
