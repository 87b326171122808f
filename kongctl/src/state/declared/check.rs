//! Values are compared with the types of their fields: those of the entity table, or those that a node tells of a plugin.

use serde_json::Value;

use crate::admin::entities::{BUNDLED_PLUGINS, ENTERPRISE_PLUGINS, Kind};
use crate::admin::schema::{Field, Record, Schemas, Type};

use super::super::diagnostics::{Diagnostics, suggestion};
use super::super::node::{Node, NodeValue};
use super::super::references::is_kept;
use super::Configuration;

/// Checks the configurations of plugins against what a node said of them.
pub(crate) fn check_plugins(
    configuration: &Configuration,
    schemas: &Schemas,
    diagnostics: &mut Diagnostics,
) {
    for entity in configuration
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::Plugin)
    {
        let name = entity
            .fields
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if schemas.lacks_plugin(name) {
            let place = entity.node.get("name").map(|node| &node.place);
            diagnostics.add_with_help(
                place.unwrap_or(&entity.node.place),
                format!("the node has no plugin `{name}`"),
                Some(instead_of(name)),
            );
        }
        if let (Some(record), Some(config)) =
            (schemas.plugin_config(name), entity.node.get("config"))
        {
            check_record(
                record,
                config,
                &format!("the configuration of plugin `{name}`"),
                diagnostics,
            );
        }
    }
}

/// What there is instead of a plugin that the node does not have.
fn instead_of(name: &str) -> String {
    if let Some((_, other)) = ENTERPRISE_PLUGINS.iter().find(|(known, _)| *known == name) {
        return format!("it is Kong Enterprise's; look at `{other}`");
    }
    let known = BUNDLED_PLUGINS
        .iter()
        .copied()
        .filter(|known| *known != name);
    suggestion(name, known)
        .unwrap_or_else(|| "the node's `plugins` setting (KONG_PLUGINS) has to name it".to_owned())
}

fn check_record(record: &Record, node: &Node, what: &str, diagnostics: &mut Diagnostics) {
    match &node.value {
        NodeValue::Null | NodeValue::Unset => {}
        NodeValue::Map(entries) => {
            for entry in entries {
                match record.fields.get(&entry.key) {
                    Some(field) => check_field(field, &entry.node, &entry.key, diagnostics),
                    None if record.shorthands.contains_key(&entry.key) => {}
                    None => diagnostics.add_with_help(
                        &entry.key_place,
                        format!("unknown field `{}` in {what}", entry.key),
                        suggestion(&entry.key, record.fields.keys().map(String::as_str)),
                    ),
                }
            }
        }
        _ => diagnostics.add(
            &node.place,
            format!("{what} is a map, this is {}", node.type_name()),
        ),
    }
}

/// Tells where a value is not of its field's type; `null` always is.
pub(super) fn check_field(field: &Field, node: &Node, name: &str, diagnostics: &mut Diagnostics) {
    if node.as_str().is_some_and(is_kept) {
        return;
    }
    let mut wrong = |expected: &str| {
        let help = match (expected, &node.value) {
            ("a string", NodeValue::Number(_) | NodeValue::Bool(_)) => Some("put it in quotes"),
            ("a boolean", NodeValue::OldBoolean(old)) if old.value => Some("write true"),
            ("a boolean", NodeValue::OldBoolean(_)) => Some("write false"),
            ("a boolean", NodeValue::String(_)) => Some("write true or false, without quotes"),
            ("an integer" | "a number", NodeValue::String(_)) => Some("write it without quotes"),
            ("a list", _) => Some("write it as [a, b], or each item in its own line after `- `"),
            _ => None,
        };
        let message = format!("`{name}` is {expected}, this is {}", node.type_name());
        diagnostics.add_with_help(&node.place, message, help);
    };
    match (&field.ty, &node.value) {
        (_, NodeValue::Null | NodeValue::Unset)
        | (Type::Any | Type::Json, _)
        | (Type::Boolean, NodeValue::Bool(_))
        | (Type::Foreign(_), NodeValue::String(_) | NodeValue::OldBoolean(_)) => {}
        (Type::String, NodeValue::String(_) | NodeValue::OldBoolean(_)) => {
            let text = node.as_str().unwrap_or_default();
            if !field.one_of.is_empty()
                && !field.one_of.iter().any(|word| word == text)
                && !text.starts_with("{vault://")
            {
                let help = suggestion(text, field.one_of.iter().map(String::as_str))
                    .unwrap_or_else(|| format!("one of {}", field.one_of.join(", ")));
                diagnostics.add_with_help(
                    &node.place,
                    format!("`{name}` does not know `{text}`"),
                    Some(help),
                );
            }
        }
        (Type::String, _) => wrong("a string"),
        (Type::Integer | Type::Number, NodeValue::Number(number)) => {
            let value = number.as_f64().unwrap_or_default();
            if field.ty == Type::Integer && value.fract() != 0.0 {
                wrong("an integer");
            } else if !field.one_of.is_empty() && !field.one_of.contains(&number.to_string()) {
                diagnostics.add_with_help(
                    &node.place,
                    format!("`{name}` does not know {number}"),
                    Some(format!("one of {}", field.one_of.join(", "))),
                );
            } else if let Some((least, most)) = field.between
                && !(least..=most).contains(&value)
            {
                let message = format!("`{name}` is between {least} and {most}, this is {number}");
                diagnostics.add(&node.place, message);
            }
        }
        (Type::Integer, _) => wrong("an integer"),
        (Type::Number, _) => wrong("a number"),
        (Type::Boolean, _) => wrong("a boolean"),
        (Type::Set(element) | Type::Array(element), NodeValue::List(items)) => {
            for item in items {
                check_field(element, item, name, diagnostics);
            }
        }
        // Lua has one kind of table: Kong takes an empty map for an empty list.
        (Type::Set(_) | Type::Array(_), other) => {
            if !matches!(other, NodeValue::Map(entries) if entries.is_empty()) {
                wrong("a list");
            }
        }
        (Type::Map(element), NodeValue::Map(entries)) => {
            for entry in entries {
                check_field(element, &entry.node, &entry.key, diagnostics);
            }
        }
        (Type::Map(_), _) => wrong("a map"),
        (Type::Record(record), _) => check_record(record, node, &format!("`{name}`"), diagnostics),
        (Type::Foreign(kind), NodeValue::Map(entries)) => {
            let names: Vec<&str> = kind.spec().natural_keys.iter().map(|key| key[0]).collect();
            let named = entries.iter().any(|entry| {
                (entry.key == "id" || names.contains(&entry.key.as_str()))
                    && entry.node.as_str().is_some()
            });
            if !named {
                diagnostics.add_with_help(
                    &node.place,
                    format!("`{name}` names no {}", kind.singular()),
                    Some(format!("write its {} or its id", names.join(", "))),
                );
            }
        }
        (Type::Foreign(kind), _) => wrong(&format!("the name or id of {}", kind.with_article())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_text;
    use super::*;

    #[test]
    fn a_plugin_that_the_node_lacks_is_told_with_what_there_is() {
        let configuration = read_text(
            "plugins:\n- name: key-aut\n- name: openid-connect\n- name: session\n- name: ours\n",
        );
        let mut schemas = Schemas::default();
        for name in ["key-aut", "openid-connect", "session"] {
            schemas.add_absent_plugin(name.to_owned());
        }
        let mut diagnostics = Diagnostics::default();
        check_plugins(&configuration.unwrap(), &schemas, &mut diagnostics);
        let expected = "\
kong.yml:2:9: the node has no plugin `key-aut`
    did you mean `key-auth`?
kong.yml:3:9: the node has no plugin `openid-connect`
    it is Kong Enterprise's; look at `llm-jwt`
kong.yml:4:9: the node has no plugin `session`
    the node's `plugins` setting (KONG_PLUGINS) has to name it";
        assert_eq!(diagnostics.into_result().unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_bundled_plugins_are_those_that_the_stand_in_knows() {
        let sorted = |names: &[&'static str]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        assert_eq!(
            sorted(BUNDLED_PLUGINS),
            sorted(&kong_standin::KNOWN_TO_KONG)
        );
    }

    #[test]
    fn a_plugins_configuration_is_checked_against_the_nodes_schema() {
        let mut diagnostics = Diagnostics::default();
        let configuration = read_text(
            "plugins:\n- name: request-termination\n  config: {status_cod: 503, message: 5}\n",
        )
        .unwrap();
        let mut schemas = Schemas::default();
        let recorded = include_str!("../../../tests/fixtures/schema-request-termination.json");
        schemas.add_plugin(
            "request-termination",
            &serde_json::from_str(recorded).unwrap(),
        );
        check_plugins(&configuration, &schemas, &mut diagnostics);
        let expected = "\
kong.yml:3:12: unknown field `status_cod` in the configuration of plugin `request-termination`
    did you mean `status_code`?
kong.yml:3:38: `message` is a string, this is a number
    put it in quotes";
        assert_eq!(diagnostics.into_result().unwrap_err().to_string(), expected);
    }
}
