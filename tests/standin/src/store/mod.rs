//! The configuration in force: who may change it, and the snapshots that the proxy follows.

mod snapshot;

use std::sync::Arc;

use tokio::sync::watch;

pub use snapshot::{Entity, Snapshot};

/// A cheap handle on the configuration; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    current: watch::Sender<Arc<Snapshot>>,
}

impl Store {
    /// An empty configuration.
    pub fn new() -> Self {
        Self {
            current: watch::Sender::new(Arc::new(Snapshot::default())),
        }
    }

    /// Follows the configuration: the receiver holds the snapshot in force and wakes at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.current.subscribe()
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}
