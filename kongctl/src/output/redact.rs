//! Takes secrets out of what is shown.

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Schemas, Type};
use crate::state::secrets;

/// What stands where a secret was.
pub(crate) const REDACTED: &str = "[redacted]";

/// The body without the values of its secret fields.
pub(crate) fn body(kind: Kind, body: &Map<String, Value>, schemas: &Schemas) -> Map<String, Value> {
    let record = schemas.of_entity(kind, body);
    let mut shown = body.clone();
    redact_record(&record, &mut shown);
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    if kind == Kind::Plugin && schemas.plugin_config(name).is_none() && shown.contains_key("config")
    {
        // Nobody told which of its fields are secrets.
        shown.insert("config".to_owned(), Value::String(REDACTED.to_owned()));
    }
    for pointer in secrets::of_entity(kind, &shown, schemas, None) {
        if let Some(found) = at(&mut shown, &pointer) {
            *found = without_credentials(found);
        }
    }
    shown
}

/// A text that its name tells to be a secret, or a list without the values of the pairs in it that carry a credential.
fn without_credentials(found: &Value) -> Value {
    let Value::Array(items) = found else {
        return value(found);
    };
    let pair = |item: &Value| Some(secrets::credential_pair(item.as_str()?)?.0.to_owned());
    if items.iter().all(|item| pair(item).is_none()) {
        return value(found);
    }
    let items = items.iter().map(|item| match pair(item) {
        Some(name) => Value::String(format!("{name}: {REDACTED}")),
        None => item.clone(),
    });
    Value::Array(items.collect())
}

/// Takes out what these JSON pointers name.
pub(crate) fn hide(body: &mut Map<String, Value>, pointers: &[String]) {
    for pointer in pointers {
        if let Some(found) = at(body, pointer) {
            *found = value(found);
        }
    }
}

/// What a JSON pointer names.
fn at<'v>(body: &'v mut Map<String, Value>, pointer: &str) -> Option<&'v mut Value> {
    let (field, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
    let found = body.get_mut(field)?;
    if rest.is_empty() {
        return Some(found);
    }
    found.pointer_mut(&format!("/{rest}"))
}

/// The value, unless it is a secret. A reference to a vault is none.
pub(crate) fn value(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) if text.starts_with("{vault://") => value.clone(),
        Value::Array(items) => Value::Array(items.iter().map(self::value).collect()),
        Value::Object(map) => map
            .iter()
            .map(|(key, inner)| (key.clone(), self::value(inner)))
            .collect(),
        _ => Value::String(REDACTED.to_owned()),
    }
}

/// The texts of an entity that are secrets.
pub(crate) fn secrets(kind: Kind, body: &Map<String, Value>, schemas: &Schemas) -> Vec<String> {
    let mut found = Vec::new();
    secrets_of_record(&schemas.of_entity(kind, body), body, &mut found);
    let mut body = body.clone();
    for pointer in secrets::of_entity(kind, &body, schemas, None) {
        let mut named = Vec::new();
        if let Some(value) = at(&mut body, &pointer) {
            texts(value, &mut named);
        }
        // Kong may repeat the whole text, or what stands after the name.
        found.extend(named.into_iter().flat_map(|text| {
            let value = secrets::credential_pair(&text).map(|(_, value)| value.trim().to_owned());
            [Some(text), value].into_iter().flatten()
        }));
    }
    found
}

/// Every text in a value.
pub(crate) fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

fn secrets_of_record(record: &Record, map: &Map<String, Value>, found: &mut Vec<String>) {
    for (name, field) in &record.fields {
        if let Some(value) = map.get(name) {
            secrets_of_field(field, value, field.secret, found);
        }
    }
    for value in record.shorthands.keys().filter_map(|name| map.get(name)) {
        // Where its value really belongs says whether it is a secret; to be safe, each of them is.
        found.extend(value.as_str().map(str::to_owned));
    }
}

fn secrets_of_field(field: &Field, value: &Value, secret: bool, found: &mut Vec<String>) {
    let secret = secret || field.secret;
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(map)) => secrets_of_record(record, map, found),
        (Type::Set(element) | Type::Array(element), Value::Array(items)) => {
            for item in items {
                secrets_of_field(element, item, secret, found);
            }
        }
        (Type::Map(element), Value::Object(map)) => {
            for item in map.values() {
                secrets_of_field(element, item, secret, found);
            }
        }
        (Type::Json, value) => texts(value, found),
        (_, Value::String(text)) if secret && !text.starts_with("{vault://") => {
            found.push(text.clone());
        }
        _ => {}
    }
}

fn redact_record(record: &Record, map: &mut Map<String, Value>) {
    for (name, field) in &record.fields {
        if let Some(found) = map.get_mut(name) {
            redact_field(field, found);
        }
    }
    // Kong repeats values under their deprecated names.
    for name in record.shorthands.keys() {
        map.shift_remove(name);
    }
}

fn redact_field(field: &Field, found: &mut Value) {
    if field.secret {
        *found = value(found);
        return;
    }
    match (&field.ty, found) {
        (Type::Record(record), Value::Object(map)) => redact_record(record, map),
        (Type::Set(element) | Type::Array(element), Value::Array(items)) => {
            for item in items {
                redact_field(element, item);
            }
        }
        (Type::Map(element), Value::Object(map)) => map
            .values_mut()
            .for_each(|item| redact_field(element, item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(kind: Kind, body: &Value) -> Value {
        Value::Object(super::body(
            kind,
            body.as_object().unwrap(),
            &Schemas::default(),
        ))
    }

    #[test]
    fn credentials_keys_and_unknown_plugins_are_hidden_and_vault_references_are_not() {
        assert_eq!(
            shown(Kind::KeyAuth, &json!({"key": "s3cret", "ttl": 1})),
            json!({"key": REDACTED, "ttl": 1})
        );
        let vault = "{vault://env/key}";
        assert_eq!(
            shown(Kind::Certificate, &json!({"cert": "c", "key": vault})),
            json!({"cert": "c", "key": vault})
        );
        assert_eq!(
            shown(
                Kind::Plugin,
                &json!({"name": "x", "config": {"secret": "s3cret"}})
            ),
            json!({"name": "x", "config": REDACTED})
        );
        let mut schemas = Schemas::default();
        schemas.add_plugin(
            "x",
            &json!({"fields": [{"config": {"type": "record", "fields": [
                {"headers": {"type": "array", "elements": {"type": "string"}}},
                {"labels": {"type": "map", "values": {"type": "string"}}},
            ]}}]}),
        );
        let plugin = json!({"name": "x", "config": {
            "headers": ["Authorization: Bearer s3cret", "x-a: b"], "labels": {"x-api-key": "s3cret", "team": "a"},
        }});
        let plugin = plugin.as_object().unwrap();
        assert_eq!(
            body(Kind::Plugin, plugin, &schemas)["config"],
            json!({"headers": [format!("Authorization: {REDACTED}"), "x-a: b"], "labels": {"x-api-key": REDACTED, "team": "a"}})
        );
        let repeated = secrets(Kind::Plugin, plugin, &schemas);
        assert!(
            repeated.contains(&"Bearer s3cret".to_owned()),
            "{repeated:?}"
        );
        assert_eq!(
            shown(
                Kind::Key,
                &json!({"pem": {"public_key": "p", "private_key": "s3cret"}})
            ),
            json!({"pem": {"public_key": "p", "private_key": REDACTED}})
        );
    }
}
