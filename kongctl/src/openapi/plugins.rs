//! Plugins of a description: `x-kong-plugin-NAME` at any level.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Mistake;
use super::source::Source;
use crate::state::node::Node;

const PREFIX: &str = "x-kong-plugin-";

pub(super) type Plugin = Map<String, Value>;

/// Plugins by name.
#[derive(Clone, Default)]
pub(super) struct Plugins(BTreeMap<String, Plugin>);

/// Does the node say any plugin?
pub(super) fn are_said(node: &Node) -> bool {
    node.entries()
        .iter()
        .any(|entry| entry.key.starts_with(PREFIX))
}

/// The plugins that a node says, on top of others.
pub(super) fn collect(
    source: &Source<'_>,
    node: &Arc<Node>,
    others: &Plugins,
) -> Result<Plugins, Mistake> {
    let mut plugins = others.clone();
    for entry in node.entries() {
        let Some(name) = entry.key.strip_prefix(PREFIX) else {
            continue;
        };
        if let Value::Object(mut plugin) = source.extension(&entry.node, &entry.key)? {
            plugin.insert("name".to_owned(), json!(name));
            // Where it stands says what it is for.
            plugin.shift_remove("service");
            plugin.shift_remove("route");
            plugins.0.insert(name.to_owned(), plugin);
        }
    }
    Ok(plugins)
}

impl Plugins {
    /// Takes one out; true if it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Is one of these among them?
    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.contains_key(*name))
    }

    /// Is any as this asks?
    pub(super) fn any(&self, meant: impl Fn(&Plugin) -> bool) -> bool {
        self.0.values().any(meant)
    }

    /// Adds one, which has a name.
    pub(super) fn insert(&mut self, plugin: Plugin) {
        let name = plugin.get("name").and_then(Value::as_str);
        self.0.insert(name.unwrap_or_default().to_owned(), plugin);
    }

    /// Gives each the id of its place, and the tags.
    pub(super) fn mark(&mut self, id: impl Fn(&str) -> Option<String>, tags: &[String]) {
        for (name, plugin) in &mut self.0 {
            if let Some(id) = id(name) {
                plugin.insert("id".to_owned(), json!(id));
            }
            plugin.insert("tags".to_owned(), json!(tags));
        }
    }

    /// Those that are meant, and the rest.
    pub(super) fn part(self, meant: impl Fn(&Plugin) -> bool) -> (Vec<Plugin>, Self) {
        let (meant, rest): (BTreeMap<_, _>, _) =
            self.0.into_iter().partition(|(_, plugin)| meant(plugin));
        (meant.into_values().collect(), Self(rest))
    }

    pub(super) fn to_json(&self) -> Value {
        self.0.values().map(in_order).collect()
    }
}

/// As a person would write it: what it is first.
pub(super) fn in_order(map: &Map<String, Value>) -> Value {
    let first = ["name", "id", "tags"];
    let mut out = Map::new();
    for name in first {
        if let Some(value) = map.get(name) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    for (name, value) in map {
        out.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Value::Object(out)
}
