//! Form bodies: `config.minute=5&tags[]=a` as JSON, its values typed by the schema.

use serde_json::{Map, Value};

use crate::schema::{Field, Kind, Record};

/// One step into a nested value.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Member(&'a str),
    /// One-based, as written.
    Index(usize),
    /// `[]`: behind the last.
    Next,
}

/// Nests the keys of a form: `a.b`, `a[b]`, `a[1]`, `a[]`; a key given twice is a list.
pub(super) fn decode(body: &[u8]) -> Map<String, Value> {
    let mut root = Value::Object(Map::new());
    for (key, value) in url::form_urlencoded::parse(body) {
        place(&mut root, &steps(&key), value.into_owned().into());
    }
    match root {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn steps(key: &str) -> Vec<Step<'_>> {
    key.split('.')
        .flat_map(|part| part.split('[').enumerate())
        .map(
            |(position, part)| match (position, part.trim_end_matches(']')) {
                (0, name) => Step::Member(name),
                (_, "") => Step::Next,
                (_, inner) => inner.parse().map_or(Step::Member(inner), Step::Index),
            },
        )
        .collect()
}

fn place(target: &mut Value, steps: &[Step<'_>], value: Value) {
    let Some((step, rest)) = steps.split_first() else {
        match target {
            Value::Null => *target = value,
            Value::Array(items) => items.push(value),
            single => *single = Value::Array(vec![single.take(), value]),
        }
        return;
    };
    match step {
        Step::Member(name) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            place(&mut target[*name], rest, value);
        }
        Step::Index(_) | Step::Next => {
            if !target.is_array() {
                *target = Value::Array(Vec::new());
            }
            let Value::Array(items) = target else { return };
            let index = match step {
                // A form of a thousand elements is no form.
                Step::Index(index) => index.saturating_sub(1).min(1000),
                _ => items.len(),
            };
            if items.len() <= index {
                items.resize(index + 1, Value::Null);
            }
            place(&mut items[index], rest, value);
        }
    }
}

/// Gives texts the types of their fields; a text that has no such form stays text, for the schema to refuse.
pub(super) fn infer(record: Record<'_>, members: &mut Map<String, Value>) {
    for (name, value) in members {
        let shorthand = record.shorthand_fields.get(name);
        if let Some(field) = shorthand.or_else(|| record.field(name)) {
            infer_value(field, value);
        }
    }
}

fn infer_value(field: &Field, value: &mut Value) {
    if value.as_str() == Some("") {
        *value = Value::Null;
        return;
    }
    match field.kind {
        Kind::Number | Kind::Integer => {
            if let Some(number) = value.as_str().and_then(number) {
                *value = number;
            }
        }
        Kind::Boolean => match value.as_str() {
            Some("true") => *value = true.into(),
            Some("false") => *value = false.into(),
            _ => {}
        },
        Kind::Array | Kind::Set => {
            if !value.is_array() && !value.is_null() {
                *value = Value::Array(vec![value.take()]);
            }
            if let (Value::Array(items), Some(elements)) = (value, &field.elements) {
                for item in items {
                    infer_value(elements, item);
                }
            }
        }
        Kind::Map => {
            if let (Value::Object(members), Some(values)) = (value, &field.values) {
                for member in members.values_mut() {
                    infer_value(values, member);
                }
            }
        }
        Kind::Record => {
            if let Value::Object(members) = value {
                infer(Record::of(field), members);
            }
        }
        Kind::String | Kind::Foreign | Kind::Json => {}
    }
}

fn number(text: &str) -> Option<Value> {
    text.parse::<i64>()
        .map(Value::from)
        .ok()
        .or_else(|| text.parse::<f64>().ok().map(Value::from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_nest() {
        let decoded = decode(
            b"name=x&config.minute=5&tags[]=a&tags[]=b&paths[1]=/a&hosts=a&hosts=b&service[id]=1",
        );
        let expected = json!({
            "name": "x", "config": {"minute": "5"}, "tags": ["a", "b"], "paths": ["/a"], "hosts": ["a", "b"],
            "service": {"id": "1"},
        });
        assert_eq!(Value::from(decoded), expected);
    }
}
