//! Which entity has which unique value.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::snapshot::{Snapshot, id_of};

/// Values that entities of a kind may not share.
///
/// Every text and every foreign key is indexed, whether its schema calls it unique or not: the schemas are not known
/// here, and which question is asked is up to the asker.
#[derive(Debug, Default)]
pub(super) struct Index {
    owners: HashMap<String, HashMap<(String, String), HashSet<String>>>,
}

impl Index {
    /// The ids of entities whose `field` has this text.
    pub(super) fn find(&self, kind: &str, field: &str, value: &str) -> impl Iterator<Item = &str> {
        self.owners
            .get(kind)
            .and_then(|owners| owners.get(&(field.to_owned(), value.to_owned())))
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    pub(super) fn add(&mut self, kind: &str, entity: &Map<String, Value>) {
        let owners = self.owners.entry(kind.to_owned()).or_default();
        for key in keys(entity) {
            owners
                .entry(key)
                .or_default()
                .insert(id_of(entity).to_owned());
        }
    }

    pub(super) fn remove(&mut self, kind: &str, entity: &Map<String, Value>) {
        let Some(owners) = self.owners.get_mut(kind) else {
            return;
        };
        for key in keys(entity) {
            if let Some(ids) = owners.get_mut(&key) {
                ids.remove(id_of(entity));
                if ids.is_empty() {
                    owners.remove(&key);
                }
            }
        }
    }

    pub(super) fn rebuild(&mut self, snapshot: &Snapshot) {
        self.owners.clear();
        for (kind, entities) in snapshot.kinds() {
            for entity in entities.values() {
                self.add(kind, entity);
            }
        }
    }
}

/// Texts and foreign keys. Long texts (certificates, keys) are nobody's key.
fn keys(entity: &Map<String, Value>) -> impl Iterator<Item = (String, String)> {
    const LONGEST_KEY: usize = 1024;
    entity.iter().filter_map(|(field, value)| {
        let text = value.as_str().or_else(|| value.get("id")?.as_str())?;
        (field != "id" && text.len() <= LONGEST_KEY).then(|| (field.clone(), text.to_owned()))
    })
}
