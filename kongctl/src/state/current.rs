//! What a node has, as entities.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::admin::errors::AdminError;

use super::declared::Configuration;
use super::diagnostics::{Diagnostics, suggestion};
use super::{Entity, label};

/// Entities, found by kind and id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    entities: Vec<Entity>,
    by_id: HashMap<(Kind, String), usize>,
}

impl Inventory {
    /// Takes entities; a later one with the same kind and id is dropped.
    pub(crate) fn new(entities: impl IntoIterator<Item = Entity>) -> Self {
        let mut inventory = Self::default();
        for entity in entities {
            inventory.insert(entity);
        }
        inventory
    }

    /// An empty one with room for that many.
    pub(crate) fn with_capacity(entities: usize) -> Self {
        Self {
            entities: Vec::with_capacity(entities),
            by_id: HashMap::with_capacity(entities),
        }
    }

    /// Adds one; false if its kind and id are taken.
    pub(crate) fn insert(&mut self, entity: Entity) -> bool {
        let key = (entity.kind, entity.id.clone());
        if self.by_id.contains_key(&key) {
            return false;
        }
        self.by_id.insert(key, self.entities.len());
        self.entities.push(entity);
        true
    }

    /// The entities, in the order in which they came.
    pub(crate) fn into_entities(self) -> Vec<Entity> {
        self.entities
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.entities.iter()
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entity> {
        self.entities
            .iter()
            .filter(move |entity| entity.kind == kind)
    }

    pub(crate) fn get(&self, kind: Kind, id: &str) -> Option<&Entity> {
        self.by_id
            .get(&(kind, id.to_owned()))
            .map(|index| &self.entities[*index])
    }

    pub(crate) fn contains(&self, kind: Kind, id: &str) -> bool {
        self.get(kind, id).is_some()
    }

    /// Names each entity, now that those that it refers to are known.
    pub(crate) fn name_all(&mut self) {
        self.name_all_beside(&Self::default());
    }

    /// Names each entity, where some that they refer to are among `others`.
    pub(crate) fn name_all_beside(&mut self, others: &Self) {
        let names: Vec<String> = self
            .entities
            .iter()
            .map(|entity| {
                label(entity.kind, &entity.body, &entity.id, |kind, id| {
                    self.short_name(kind, id)
                        .or_else(|| others.short_name(kind, id))
                })
            })
            .collect();
        for (entity, name) in self.entities.iter_mut().zip(names) {
            entity.label = name;
        }
    }

    fn short_name(&self, kind: Kind, id: &str) -> Option<String> {
        let entity = self.get(kind, id)?;
        kind.spec()
            .natural_keys
            .iter()
            .find_map(|key| entity.body.get(key[0])?.as_str().map(str::to_owned))
    }
}

/// Reads everything that a node has.
pub(crate) async fn read(client: &Client) -> Result<Inventory, AdminError> {
    Ok(from_lists(client.all_entities().await?))
}

/// Tells of declared entities that the node could not take, whatever they say.
pub(crate) async fn check_kinds(
    client: &Client,
    configuration: &Configuration,
    diagnostics: &mut Diagnostics,
) -> Result<(), AdminError> {
    check_custom_kinds(client, configuration, diagnostics).await?;
    let mut chains = configuration
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::FilterChain)
        .peekable();
    if chains.peek().is_none() {
        return Ok(());
    }
    let Some(known) = client.filters().await? else {
        for chain in chains {
            diagnostics.add_with_help(
                &chain.node.place,
                format!("{} runs no WebAssembly filters", client.url()),
                Some("set `wasm = on` and `wasm_filters_path` in its kong.conf, or remove the filter chain"),
            );
        }
        return Ok(());
    };
    let filters = chains.filter_map(|chain| chain.node.get("filters"));
    for name in filters.flat_map(|filters| {
        filters
            .items()
            .iter()
            .filter_map(|filter| filter.get("name"))
    }) {
        let Some(text) = name
            .as_str()
            .filter(|text| !known.iter().any(|known| known == text))
        else {
            continue;
        };
        let help = suggestion(text, known.iter().map(String::as_str)).unwrap_or_else(|| {
            if known.is_empty() {
                return "it has none: put modules into its `wasm_filters_path`".to_owned();
            }
            format!("it has {}", known.join(", "))
        });
        let message = format!("{} has no filter `{text}`", client.url());
        diagnostics.add_with_help(&name.place, message, Some(help));
    }
    Ok(())
}

/// Tells of entities of a kind that came with a plugin, where the node lacks that plugin.
async fn check_custom_kinds(
    client: &Client,
    configuration: &Configuration,
    diagnostics: &mut Diagnostics,
) -> Result<(), AdminError> {
    if configuration.custom_kinds.is_empty() {
        return Ok(());
    }
    let known = client.custom_kinds().await?;
    for (kind, place) in &configuration.custom_kinds {
        if !known.contains(kind) {
            diagnostics.add_with_help(
                place,
                format!("{} has no `{}`", client.url(), kind.name()),
                Some("they come with a plugin: add it to `plugins` in its kong.conf, or remove them from the file"),
            );
        }
    }
    Ok(())
}

/// Entities from the Admin API's lists.
pub(crate) fn from_lists(lists: Vec<(Kind, Vec<Map<String, Value>>)>) -> Inventory {
    let mut inventory = Inventory::with_capacity(lists.iter().map(|(_, list)| list.len()).sum());
    for (kind, entries) in lists {
        for mut body in entries {
            let Some(Value::String(id)) = body.shift_remove("id") else {
                continue;
            };
            if kind == Kind::Certificate {
                // Kong repeats the names of a certificate's SNIs, which are entities of their own.
                body.shift_remove("snis");
            }
            inventory.insert(Entity {
                kind,
                id,
                body,
                label: String::new(),
                source: None,
            });
        }
    }
    inventory.name_all();
    inventory
}
