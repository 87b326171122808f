//! From JSON to [`Schema`]: type names written out, records required, partial definitions in checks completed.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::definition::Schema;

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the schema of '{name}' is not understood: {reason}")]
pub struct SchemaError {
    name: String,
    reason: String,
}

impl SchemaError {
    /// Of the schema of that name.
    pub(super) fn new(name: &str, reason: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}

/// The named types that schemas refer to with `typedef`.
static TYPEDEFS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("typedefs.json")).expect("typedefs.json is JSON")
});

/// Reads a schema. `parent` is the kind that a subschema belongs to, in its public form.
pub(crate) fn load(mut definition: Value, parent: Option<&Value>) -> Result<Schema, SchemaError> {
    let name = definition["name"].as_str().unwrap_or_default().to_owned();
    let failed = |reason: String| SchemaError::new(&name, reason);
    expand_typedefs(&mut definition).map_err(failed)?;
    for_each_field(&mut definition, &mut require_records);
    if parent.is_none() {
        for_each_field(&mut definition, &mut forbid_empty_strings);
    }
    let public = json!({
        "entity_checks": published(definition.get("entity_checks").unwrap_or(&Value::Array(Vec::new()))),
        "fields": published(&definition["fields"]),
    });
    complete_checks(&mut definition, parent).map_err(failed)?;
    drop_notes(&mut definition);
    let mut schema: Schema =
        serde_json::from_value(definition).map_err(|error| failed(error.to_string()))?;
    schema.public = public;
    Ok(schema)
}

fn expand_typedefs(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(expand_typedefs),
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.shift_remove("typedef") {
                let named = TYPEDEFS.get(&name).and_then(Value::as_object);
                let mut expanded = named
                    .cloned()
                    .ok_or_else(|| format!("there is no typedef '{name}'"))?;
                expanded.append(object);
                *object = expanded;
            }
            object.values_mut().try_for_each(expand_typedefs)
        }
        _ => Ok(()),
    }
}

/// Visits the definitions in `fields`, and those of the records among them.
fn for_each_field(record: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    let Some(Value::Array(fields)) = record.get_mut("fields") else {
        return;
    };
    for definition in fields
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        if let Value::Object(field) = definition {
            visit(field);
        }
        for_each_field(definition, visit);
    }
}

/// Entities show the whole of a record, so records are required unless they say otherwise.
fn require_records(field: &mut Map<String, Value>) {
    if field.get("type") == Some(&json!("record"))
        && !field.contains_key("abstract")
        && !field.contains_key("required")
    {
        field.insert("required".to_owned(), Value::Bool(true));
    }
}

/// Kong refuses empty strings unless told otherwise, and its entity schemas say so.
fn forbid_empty_strings(field: &mut Map<String, Value>) {
    if field.get("type") == Some(&json!("string")) && !field.contains_key("len_min") {
        field.insert("len_min".to_owned(), json!(1));
    }
    if let Some(Value::Object(elements)) = field.get_mut("elements") {
        forbid_empty_strings(elements);
    }
}

/// Attributes that say nothing about what a field may hold are for readers, who find them in the public form.
fn drop_notes(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_notes),
        Value::Object(object) => {
            if object.get("type").is_some_and(Value::is_string) {
                object.retain(|name, _| {
                    !matches!(
                        name.as_str(),
                        "description" | "encrypted" | "unique_across_ws"
                    )
                });
            }
            object.values_mut().for_each(drop_notes);
        }
        _ => {}
    }
}

/// A definition without the names of code, which mean nothing outside.
fn published(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(published).collect(),
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "custom_validator" | "expand" | "fn"))
            .map(|(key, value)| (key.clone(), published(value)))
            .collect::<Map<_, _>>()
            .into(),
        scalar => scalar.clone(),
    }
}

/// The partial definitions in `if_match` and its like inherit from the field that they speak of, in records within records too.
fn complete_checks(definition: &mut Value, parent: Option<&Value>) -> Result<(), String> {
    let own = definition.clone();
    let checks = definition.get_mut("entity_checks");
    for (kind, check) in checks
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::iter_mut)
    {
        for (field, matches) in [
            ("if_field", "if_match"),
            ("then_field", "then_match"),
            ("if_field", "else_match"),
        ] {
            let Some(path) = check.get(field).and_then(Value::as_str).map(str::to_owned) else {
                continue;
            };
            let Some(partial) = check.get_mut(matches).and_then(Value::as_object_mut) else {
                continue;
            };
            let base = field_at(&own, &path).or_else(|| field_at(parent?, &path));
            let mut whole = base.and_then(Value::as_object).cloned().unwrap_or_default();
            if whole.get("type") == Some(&json!("record")) {
                // Kong 3.9 takes such a schema, and answers 500 to whoever uses it.
                return Err(format!("{kind}: {field} '{path}' is a record"));
            }
            whole.append(partial);
            *partial = whole;
        }
    }
    let fields = definition.get_mut("fields").and_then(Value::as_array_mut);
    for field in fields
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        complete_checks(field, None)?;
        if let Some(elements) = field.get_mut("elements") {
            complete_checks(elements, None)?;
        }
    }
    Ok(())
}

fn field_at<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(record, |record, name| {
        record
            .get("fields")?
            .as_array()?
            .iter()
            .find_map(|field| field.get(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(check: &Value) -> Value {
        json!({"name": "limiter", "fields": [{"config": {
            "type": "record",
            "fields": [
                {"policy": {"type": "string", "one_of": ["memory", "redis"]}},
                {"redis": {"type": "record", "required": false, "fields": [{"host": {"type": "string"}}]}},
            ],
            "entity_checks": [check],
        }}]})
    }

    #[test]
    fn a_check_within_a_record_inherits_from_its_fields() {
        let check = json!({"conditional_at_least_one_of": {
            "if_field": "policy", "if_match": {"eq": "redis"}, "then_at_least_one_of": ["redis.host"],
        }});
        load(plugin(&check), None).unwrap();
    }

    #[test]
    fn a_condition_on_a_record_is_refused_since_kong_fails_on_it() {
        let check = json!({"conditional": {
            "if_field": "policy", "if_match": {"eq": "redis"},
            "then_field": "redis", "then_match": {"required": true},
        }});
        let error = load(plugin(&check), None).unwrap_err().to_string();
        assert!(
            error.ends_with("conditional: then_field 'redis' is a record"),
            "{error}"
        );
    }
}
