//! A plain `yes`, `off` or the like in a plugin's configuration: a boolean where the plugin's schema has one, a word elsewhere.

use std::sync::Arc;

use serde_json::Value;

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Schemas, Type};

use super::super::diagnostics::Diagnostics;
use super::super::node::{Entry, Node, NodeValue};
use super::ours::is_ours;
use super::{Configuration, Declared};

/// The configuration with the booleans that these schemas tell of.
pub(crate) fn with_booleans(mut configuration: Configuration, schemas: &Schemas) -> Configuration {
    for plugin in &mut configuration.entities {
        if let Some(node) = plugin_with_booleans(plugin, schemas) {
            if let Some(config) = node.get("config") {
                plugin.fields.insert("config".to_owned(), config.to_json());
            }
            plugin.node = node;
        }
    }
    configuration
}

/// Tells of what nobody has told whether it is a boolean, and what to write instead: where files are written anew, a word would
/// not be what it was.
pub(crate) fn refuse_open_booleans(
    configuration: &Configuration,
    schemas: &Schemas,
    diagnostics: &mut Diagnostics,
) {
    for (name, key, node) in open_booleans(configuration, schemas) {
        let NodeValue::OldBoolean(old) = &node.value else {
            continue;
        };
        diagnostics.add_with_help(
            &node.place,
            format!("`{key}` may be a boolean: nobody told of the fields of plugin `{name}`"),
            Some(format!(
                "write {}; if it is a word, \"{}\" in quotes",
                old.value, old.word
            )),
        );
    }
}

/// What may be a boolean in configurations of plugins whose schema is not at hand: (plugin, key, value).
fn open_booleans<'a>(
    configuration: &'a Configuration,
    schemas: &Schemas,
) -> Vec<(&'a str, &'a str, &'a Node)> {
    let mut found = Vec::new();
    for plugin in &configuration.entities {
        let Some((name, config)) = plugin_config(plugin) else {
            continue;
        };
        if schemas.plugin_config(name).is_none() && !is_ours(name) {
            collect(name, "config", config, &mut found);
        }
    }
    found
}

fn collect<'a>(
    name: &'a str,
    key: &'a str,
    node: &'a Node,
    found: &mut Vec<(&'a str, &'a str, &'a Node)>,
) {
    match &node.value {
        NodeValue::OldBoolean(_) => found.push((name, key, node)),
        NodeValue::List(items) => {
            for item in items {
                collect(name, key, item, found);
            }
        }
        NodeValue::Map(entries) => {
            for entry in entries {
                collect(name, &entry.key, &entry.node, found);
            }
        }
        _ => {}
    }
}

fn plugin_config(plugin: &Declared) -> Option<(&str, &Arc<Node>)> {
    let name = plugin.fields.get("name").and_then(Value::as_str);
    let config = plugin.node.get("config");
    name.zip(config).filter(|_| plugin.kind == Kind::Plugin)
}

fn plugin_with_booleans(plugin: &Declared, schemas: &Schemas) -> Option<Arc<Node>> {
    let (name, config) = plugin_config(plugin)?;
    let config = record_with_booleans(schemas.plugin_config(name)?, config)?;
    let entries = plugin.node.entries().iter().map(|entry| Entry {
        node: if entry.key == "config" {
            config.clone()
        } else {
            entry.node.clone()
        },
        ..entry.clone()
    });
    Some(with_value(&plugin.node, NodeValue::Map(entries.collect())))
}

/// The value with the booleans that its field has; `None` if it has none that are written as words.
pub(crate) fn field_with_booleans(field: &Field, node: &Arc<Node>) -> Option<Arc<Node>> {
    match (&field.ty, &node.value) {
        (Type::Boolean, NodeValue::OldBoolean(old)) => {
            Some(with_value(node, NodeValue::Bool(old.value)))
        }
        (Type::Record(record), _) => record_with_booleans(record, node),
        (Type::Map(element), NodeValue::Map(entries)) => map_with(node, entries, |_| Some(element)),
        (Type::Set(element) | Type::Array(element), NodeValue::List(items)) => {
            let changed: Vec<_> = items
                .iter()
                .map(|item| field_with_booleans(element, item))
                .collect();
            changed.iter().any(Option::is_some).then(|| {
                let items = changed.into_iter().zip(items);
                let items = items.map(|(changed, item)| changed.unwrap_or_else(|| item.clone()));
                with_value(node, NodeValue::List(items.collect()))
            })
        }
        _ => None,
    }
}

fn record_with_booleans(record: &Record, node: &Arc<Node>) -> Option<Arc<Node>> {
    let NodeValue::Map(entries) = &node.value else {
        return None;
    };
    map_with(node, entries, |key| record.field_or_shorthand(key))
}

fn map_with<'f>(
    node: &Node,
    entries: &[Entry],
    field: impl Fn(&str) -> Option<&'f Field>,
) -> Option<Arc<Node>> {
    let changed: Vec<_> = entries
        .iter()
        .map(|entry| field_with_booleans(field(&entry.key)?, &entry.node))
        .collect();
    changed.iter().any(Option::is_some).then(|| {
        let entries = changed.into_iter().zip(entries);
        let entries = entries.map(|(changed, entry)| Entry {
            node: changed.unwrap_or_else(|| entry.node.clone()),
            ..entry.clone()
        });
        with_value(node, NodeValue::Map(entries.collect()))
    })
}

fn with_value(node: &Node, value: NodeValue) -> Arc<Node> {
    Arc::new(Node {
        place: node.place.clone(),
        value,
        from_env: node.from_env,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::read_text;
    use super::*;

    fn schemas() -> Schemas {
        let mut schemas = Schemas::default();
        let flag = json!({"type": "boolean"});
        let redis = json!({"type": "record", "fields": [{"ssl": flag}]});
        schemas.add_plugin(
            "x",
            &json!({"fields": [{"config": {"type": "record",
                "fields": [
                    {"flag": flag},
                    {"mode": {"type": "string"}},
                    {"flags": {"type": "array", "elements": flag}},
                    {"by_name": {"type": "map", "keys": {"type": "string"}, "values": flag}},
                    {"redis": redis},
                ],
                "shorthand_fields": [{"redis_ssl": {"type": "boolean",
                    "deprecation": {"replaced_with": [{"path": ["redis", "ssl"]}]}}}]}}]}),
        );
        schemas
    }

    const TEXT: &str = "plugins:\n\
        - {name: x, config: {flag: yes, mode: off, flags: [on, true], by_name: {on: n}, redis: {ssl: Off}, redis_ssl: NO}}\n\
        - {name: x, config: {flag: 'yes', mode: \"off\"}}\n\
        - {name: y, config: {flag: yes, deeper: [{mode: 'off', other: off}]}}\n";

    #[test]
    fn a_word_is_a_boolean_where_the_plugins_schema_has_one() {
        let configuration = read_text(TEXT).unwrap();
        let settled = with_booleans(configuration, &schemas());
        let config = |index: usize| settled.entities[index].fields["config"].clone();
        let expected = json!({
            "flag": true, "mode": "off", "flags": [true, true], "by_name": {"on": false}, "redis": {"ssl": false}, "redis_ssl": false,
        });
        assert_eq!(config(0), expected);
        assert_eq!(
            settled.entities[0].node.get("config").unwrap().to_json(),
            expected
        );
        // In quotes it is a word, whatever the schema wishes.
        assert_eq!(config(1), json!({"flag": "yes", "mode": "off"}));
        assert_eq!(config(2)["flag"], "yes", "nobody told");
    }

    #[test]
    fn what_nobody_told_is_named_with_what_to_write() {
        let configuration = read_text(TEXT).unwrap();
        let mut diagnostics = Diagnostics::default();
        refuse_open_booleans(&configuration, &schemas(), &mut diagnostics);
        insta::assert_snapshot!(diagnostics.into_result().unwrap_err().to_string());
    }
}
