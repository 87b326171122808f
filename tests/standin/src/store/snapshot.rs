//! One immutable state of the whole configuration.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};

/// An entity exactly as the Admin API shows it: defaults filled, foreign keys as `{"id": …}`.
pub type Entity = Arc<Map<String, Value>>;

/// All entities at one moment, by kind (Kong's plural names: `services`, `routes`, `keyauth_credentials`, …) and id.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows by at least one with every change; 0 is the empty start.
    pub version: u64,
    /// Kong's `configuration_hash`: 32 hexadecimal digits, all zeros before anything was loaded.
    pub configuration_hash: String,
    /// Entities by kind, then by id, in the order in which they were made.
    pub entities: IndexMap<String, IndexMap<String, Entity>>,
}

impl Snapshot {
    /// All entities of a kind, oldest first.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Entity> {
        self.entities
            .get(kind)
            .into_iter()
            .flat_map(IndexMap::values)
    }

    /// The entity of that kind and id.
    pub fn get(&self, kind: &str, id: &str) -> Option<&Entity> {
        self.entities.get(kind)?.get(id)
    }
}
