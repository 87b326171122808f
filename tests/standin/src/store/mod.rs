//! The configuration in force: who may change it, and the snapshots that the proxy follows.
//!
//! # Model
//!
//! A [`Store`] holds one [`Snapshot`] at a time. Writers change a draft, one at a time; a draft that is kept becomes the
//! next snapshot, and whoever subscribed wakes.
//!
//! # Invariants
//!
//! 1. A snapshot never changes.
//! 2. Unique values are unique: the index of a draft is always that of its entities.

mod dao;
mod error;
mod index;
mod paging;
pub(crate) mod pretty;
pub(crate) mod server_names;
mod snapshot;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use dao::{Dao, Key};
pub(crate) use error::{Code, Error};
use index::Index;
pub(crate) use paging::{Page, PageRequest};
pub(crate) use snapshot::id_of;
pub use snapshot::{Entities, Entity, Snapshot};

/// A cheap handle on the configuration; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    current: watch::Sender<Arc<Snapshot>>,
    index: Arc<Mutex<Index>>,
}

impl Store {
    /// An empty configuration.
    pub fn new() -> Self {
        Self {
            current: watch::Sender::new(Arc::new(Snapshot::default())),
            index: Arc::default(),
        }
    }

    /// Follows the configuration: the receiver holds the snapshot in force and wakes at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.current.subscribe()
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.borrow())
    }

    /// Changes the configuration: what `change` did to the draft is published if it succeeds, and forgotten if not.
    fn write<T, E>(&self, change: impl FnOnce(&mut Draft<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut index = self.index.lock();
        let before = self.snapshot();
        let mut draft = Draft {
            snapshot: Snapshot::clone(&before),
            index: &mut index,
            changed: false,
        };
        let outcome = change(&mut draft);
        let Draft {
            mut snapshot,
            changed,
            ..
        } = draft;
        match outcome {
            Ok(_) if changed => {
                snapshot.version += 1;
                self.current.send_replace(Arc::new(snapshot));
            }
            Err(_) if changed => index.rebuild(&before),
            _ => {}
        }
        outcome
    }

    /// Puts a whole configuration in place of the one in force.
    pub(crate) fn replace(&self, entities: Vec<(String, Entity)>, configuration_hash: String) {
        let mut index = self.index.lock();
        let mut snapshot = Snapshot::default();
        snapshot.version = self.snapshot().version + 1;
        snapshot.configuration_hash = configuration_hash;
        for (kind, entity) in entities {
            snapshot.put(&kind, entity);
        }
        index.rebuild(&snapshot);
        self.current.send_replace(Arc::new(snapshot));
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

/// The next snapshot in the making.
struct Draft<'a> {
    snapshot: Snapshot,
    index: &'a mut Index,
    changed: bool,
}

impl Draft<'_> {
    /// Adds an entity or takes its predecessor's place.
    fn put(&mut self, kind: &str, entity: Entity) {
        self.changed = true;
        if let Some(before) = self.snapshot.get(kind, id_of(&entity)) {
            self.index.remove(kind, before);
        }
        self.index.add(kind, &entity);
        self.snapshot.put(kind, entity);
    }

    fn remove(&mut self, kind: &str, id: &str) {
        if let Some(entity) = self.snapshot.remove(kind, id) {
            self.changed = true;
            self.index.remove(kind, &entity);
        }
    }
}
