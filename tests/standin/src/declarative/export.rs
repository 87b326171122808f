//! The configuration in force as a document, in YAML.

use serde_json::{Map, Value, json};

use crate::schema::{Registry, Schema};
use crate::store::Snapshot;

/// Every entity by itself, foreign keys as ids; loading the text again changes nothing.
pub(crate) fn export(registry: &Registry, snapshot: &Snapshot) -> String {
    let mut text = String::from("_format_version: '3.0'\n_transform: false\n");
    for schema in registry.kinds() {
        let entities: Vec<Value> = snapshot
            .all(&schema.name)
            .map(|entity| exported(schema, entity))
            .collect();
        if !entities.is_empty() {
            write(&json!({&schema.name: entities}), 0, &mut text);
        }
    }
    text
}

fn exported(schema: &Schema, entity: &Map<String, Value>) -> Value {
    let mut entity = entity.clone();
    schema.hide_shorthands(&mut entity);
    for (field, _, _) in schema.foreign_fields() {
        if let Some(id) = entity.get(field).and_then(|key| key.get("id")).cloned() {
            entity.insert(field.to_owned(), id);
        }
    }
    entity.into()
}

/// Writes the lines of a collection, each indented by `depth` spaces.
fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = " ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                text.extend([indent.as_str(), &scalar(name), ":"]);
                write_member(member, depth, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut lines = String::new();
                match item {
                    Value::Object(members) if !members.is_empty() => {
                        write(item, depth + 2, &mut lines);
                    }
                    Value::Array(nested) if !nested.is_empty() => {
                        write(item, depth + 2, &mut lines);
                    }
                    single => lines = format!("{indent}  {}\n", inline(single)),
                }
                lines.replace_range(depth..=depth, "-");
                text.push_str(&lines);
            }
        }
        _ => {}
    }
}

fn write_member(member: &Value, depth: usize, text: &mut String) {
    match member {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            write(member, depth + 2, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write(member, depth, text);
        }
        single => {
            text.push(' ');
            text.push_str(&inline(single));
            text.push('\n');
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "~".to_owned(),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Plain where it stays text, else in double quotes, whose escapes are JSON's.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
        && super::yaml::parse(text).is_ok_and(|value| value.is_string());
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({
            "services": [
                {"name": "a", "tags": ["x", "yes"], "path": null, "port": 80, "nested": {"list": [], "deep": [[1, 2]]}},
                {"name": "multi\nline: 'quoted' \"twice\"", "enabled": false},
            ],
        });
        let mut text = String::new();
        write(&value, 0, &mut text);
        assert_eq!(super::super::yaml::parse(&text), Ok(value), "{text}");
    }
}
