//! One immutable state of the whole configuration.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};

/// Kong's configuration hash before anything was loaded.
const EMPTY_HASH: &str = "00000000000000000000000000000000";

/// An entity exactly as the Admin API shows it: defaults filled, foreign keys as `{"id": …}`.
pub type Entity = Arc<Map<String, Value>>;

/// Entities of one kind by id, in the order in which they were made.
pub type Entities = IndexMap<Arc<str>, Entity>;

/// All entities at one moment, by kind (Kong's plural names: `services`, `routes`, `keyauth_credentials`, …) and id.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows by at least one with every change; 0 is the empty start.
    pub version: u64,
    /// Kong's `configuration_hash`: 32 hexadecimal digits, all zeros before anything was loaded.
    pub configuration_hash: String,
    // Shared with the snapshots before and after it where the kind did not change.
    kinds: IndexMap<String, Arc<Entities>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            version: 0,
            configuration_hash: EMPTY_HASH.to_owned(),
            kinds: IndexMap::new(),
        }
    }
}

impl Snapshot {
    /// All entities of a kind, oldest first.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Entity> {
        self.kinds
            .get(kind)
            .into_iter()
            .flat_map(|entities| entities.values())
    }

    /// The entity of that kind and id.
    pub fn get(&self, kind: &str, id: &str) -> Option<&Entity> {
        self.kinds.get(kind)?.get(id)
    }

    /// The kinds that have or had entities.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &Entities)> {
        self.kinds
            .iter()
            .map(|(kind, entities)| (kind.as_str(), &**entities))
    }

    pub(super) fn put(&mut self, kind: &str, entity: Entity) {
        let entities = Arc::make_mut(self.kinds.entry(kind.to_owned()).or_default());
        entities.insert(id_of(&entity).into(), entity);
    }

    pub(super) fn remove(&mut self, kind: &str, id: &str) -> Option<Entity> {
        Arc::make_mut(self.kinds.get_mut(kind)?).shift_remove(id)
    }
}

/// An entity's id; every stored entity has one.
pub(crate) fn id_of(entity: &Map<String, Value>) -> &str {
    entity.get("id").and_then(Value::as_str).unwrap_or_default()
}
