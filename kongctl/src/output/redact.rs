//! Takes secrets out of what is shown.

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Schemas, Type};

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
    shown
}

/// Takes out what these JSON pointers name.
pub(crate) fn hide(body: &mut Map<String, Value>, pointers: &[String]) {
    for pointer in pointers {
        let (field, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
        let found = body.get_mut(field);
        if let Some(found) = found.and_then(|value| value.pointer_mut(&format!("/{rest}"))) {
            *found = value(found);
        }
    }
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
        assert_eq!(
            shown(
                Kind::Key,
                &json!({"pem": {"public_key": "p", "private_key": "s3cret"}})
            ),
            json!({"pem": {"public_key": "p", "private_key": REDACTED}})
        );
    }
}
