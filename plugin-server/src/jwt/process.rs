//! What outlives an instance: Kong starts and closes instances at every push of configuration, keys and remembered
//! tokens must not go with them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Authenticator;
use super::config::{InvalidSetting, Settings};
use super::keys::{RemoteKeys, RemoteSettings};
use super::outcomes::Outcomes;
use crate::clock::Clock;

/// The authenticators and keys of this process, each alive as long as a configuration uses it.
#[derive(Debug)]
pub struct Process {
    clock: Arc<dyn Clock>,
    outcomes: Arc<Outcomes>,
    authenticators: Mutex<HashMap<Settings, Weak<Authenticator>>>,
    remotes: Mutex<HashMap<RemoteSettings, Weak<RemoteKeys>>>,
}

impl Process {
    /// A process that holds nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            outcomes: Arc::default(),
            authenticators: Mutex::default(),
            remotes: Mutex::default(),
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
