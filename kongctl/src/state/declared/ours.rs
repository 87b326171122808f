//! The plugins of this repository, judged as the plugin server judges them: what Kong's schema cannot express included.

use llm_plugin_server::check::{Path, Step, Subject};
use serde_json::{Value, json};

use crate::admin::schema::Schemas;

use super::super::diagnostics::{Diagnostics, Place};
use super::super::node::{Node, NodeValue};
use super::{Configuration, Kind};

/// Tells what cannot work in the configurations of our plugins, wherever they stand.
///
/// Values that are not at hand (unset variables, vault references) are taken as right.
pub(crate) fn check_our_plugins(configuration: &Configuration, diagnostics: &mut Diagnostics) {
    let plugins = configuration
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::Plugin);
    for plugin in plugins {
        let name = plugin.fields.get("name").and_then(Value::as_str);
        let Some(subject) = name.and_then(Subject::named) else {
            continue;
        };
        let config = plugin.node.get("config");
        let mut unset = Vec::new();
        if let Some(config) = config {
            collect_unset(config, &Path::default(), &mut unset);
        }
        let value = match config.map(|config| config.to_json()) {
            None | Some(Value::Null) => json!({}),
            Some(value) => value,
        };
        for problem in subject.problems(&value, &unset) {
            let place = place(&plugin.node, &problem.path, problem.names_field);
            let message = format!("{}: {}", subject.name, problem.message);
            diagnostics.add_with_help(place, message, problem.hint);
        }
    }
}

/// Is one of our plugins configured?
pub(super) fn are_configured(configuration: &Configuration) -> bool {
    let mut plugins = configuration
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::Plugin)
        .filter_map(|entity| entity.fields.get("name")?.as_str());
    plugins.any(is_ours)
}

/// Is the plugin of this name one of ours?
pub(super) fn is_ours(name: &str) -> bool {
    Subject::named(name).is_some()
}

/// The schemas of our plugins, which need no node.
pub(crate) fn our_schemas() -> Schemas {
    let mut schemas = Schemas::default();
    for subject in Subject::all() {
        let schema = subject.schema();
        let answer = json!({ "fields": [{ "config": schema.as_json() }] });
        schemas.add_plugin(subject.name, &answer);
    }
    schemas
}

fn collect_unset(node: &Node, path: &Path, found: &mut Vec<Path>) {
    match &node.value {
        NodeValue::Unset => found.push(path.clone()),
        NodeValue::List(items) => {
            for (at, item) in items.iter().enumerate() {
                collect_unset(item, &path.index(at), found);
            }
        }
        NodeValue::Map(entries) => {
            for entry in entries {
                collect_unset(&entry.node, &path.field(&entry.key), found);
            }
        }
        _ => {}
    }
}

/// The deepest place that the file has of a path in a plugin's configuration.
fn place<'a>(plugin: &'a Node, path: &Path, names_field: bool) -> &'a Place {
    let config = plugin.entries().iter().find(|entry| entry.key == "config");
    let Some(config) = config else {
        return &plugin.place;
    };
    let (mut node, mut place) = (&config.node, &config.key_place);
    for step in &path.0 {
        let entry = match step {
            Step::Field(name) => node.entries().iter().find(|entry| entry.key == *name),
            Step::Index(at) => match node.items().get(*at) {
                Some(item) => {
                    (node, place) = (item, &item.place);
                    continue;
                }
                None => return place,
            },
        };
        let Some(entry) = entry else { return place };
        (node, place) = (&entry.node, &entry.key_place);
    }
    match node.value {
        // A list or a map may begin lines after its name.
        NodeValue::List(_) | NodeValue::Map(_) => place,
        _ if names_field => place,
        _ => &node.place,
    }
}

#[cfg(test)]
mod tests;
