//! Judging an entity: each value by its field's attributes, in Kong's order, then the rules across fields.

use serde_json::{Map, Value};

use super::checks::run_entity_checks;
use super::definition::{Field, Kind, Pattern, Record, Schema};
use super::fill::{Operation, Timestamp, fill};
use super::{Errors, is_reference, lua, unavailable_plugin};

/// How much of an entity must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// All that is required.
    Whole,
    /// An update over what exists; messages say so.
    Update,
}

impl Schema {
    /// Judges a filled entity.
    pub(crate) fn validate(
        &self,
        entity: &Map<String, Value>,
        completeness: Completeness,
        now: Timestamp,
    ) -> Result<(), Errors> {
        if let Some(key) = &self.subschema_key {
            let missing =
                |message: String| Errors::from_iter([(key.clone(), Value::from(message))]);
            let value = entity.get(key).unwrap_or(&Value::Null);
            if value.is_null() {
                return Err(missing("required field missing".to_owned()));
            }
            if self.subschema_of(entity).is_none() {
                let first = value.get(0).unwrap_or(value);
                let name = first
                    .as_str()
                    .map_or_else(|| first.to_string(), str::to_owned);
                let elsewhere = if self.name == "plugins" {
                    unavailable_plugin(&name)
                } else {
                    None
                };
                let unknown = || {
                    self.subschema_error
                        .as_deref()
                        .unwrap_or("unknown type: %s")
                        .replace("%s", &name)
                };
                return Err(missing(elsewhere.unwrap_or_else(unknown)));
            }
        }
        validate_record(self.record(entity), entity, completeness, now, self.ttl)
    }

    /// Judges one value by a field of the schema; the fault is put into one message.
    pub(crate) fn check_field(&self, field: &str, value: &Value) -> Result<(), String> {
        let Some(field) = self.fields.get(field) else {
            return Ok(());
        };
        validate_value(field, value, Timestamp::default()).map_err(|error| {
            error
                .as_str()
                .map_or_else(|| error.to_string(), str::to_owned)
        })
    }
}

/// Judges one object by its record's fields and rules.
fn validate_record(
    record: Record<'_>,
    object: &Map<String, Value>,
    completeness: Completeness,
    now: Timestamp,
    allows_ttl: bool,
) -> Result<(), Errors> {
    let mut errors = Errors::new();
    for (name, value) in object {
        match record.field(name) {
            Some(field) => {
                let judged = match &field.json_schema {
                    Some(schema) => schema.check(object, value).map_err(Value::from),
                    None => validate_value(field, value, now),
                };
                if let Err(error) = judged {
                    errors.insert(name.clone(), error);
                }
            }
            None if allows_ttl && name == "ttl" => {}
            None => {
                errors.insert(name.clone(), "unknown field".into());
            }
        }
    }
    for (name, field) in record.iter() {
        let missing = match object.get(name) {
            Some(value) => value.is_null(),
            None => completeness == Completeness::Whole,
        };
        if field.required && missing {
            errors.insert(name.to_owned(), "required field missing".into());
        }
    }
    run_entity_checks(record, object, completeness, now, &mut errors);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Judges one value. The error is a message, or holds the messages of what is inside.
pub(super) fn validate_value(field: &Field, value: &Value, now: Timestamp) -> Result<(), Value> {
    let own_message = |message: &str| {
        field
            .err
            .clone()
            .unwrap_or_else(|| message.to_owned())
            .into()
    };
    if value.is_null() {
        return if field.ne == Some(Value::Null) {
            Err(own_message("value must not be null"))
        } else if let Some(wanted) = field.eq.as_ref().filter(|wanted| !wanted.is_null()) {
            Err(format!("value must be {}", shown(wanted)).into())
        } else if field.required {
            Err("required field missing".into())
        } else {
            Ok(())
        };
    }
    if field.eq == Some(Value::Null) {
        return Err(own_message("value must be null"));
    }
    validate_type(field, value, now)?;
    if let (true, Some(text)) = (field.referenceable, value.as_str())
        && is_reference(text)
    {
        return Ok(());
    }
    validate_attributes(field, value).map_err(|message| own_message(&message))
}

fn validate_type(field: &Field, value: &Value, now: Timestamp) -> Result<(), Value> {
    match (field.kind, value) {
        (Kind::Array | Kind::Set, Value::Array(items)) => validate_elements(field, items, now),
        (Kind::Array | Kind::Set | Kind::Record | Kind::Map, Value::Object(empty))
            if empty.is_empty() =>
        {
            if field.kind == Kind::Record {
                validate_inner(field, empty, now)
            } else {
                Ok(())
            }
        }
        (Kind::Array, _) => Err("expected an array".into()),
        (Kind::Set, _) => Err("expected a set".into()),
        (Kind::Map, Value::Object(members)) => members.iter().try_for_each(|(key, member)| {
            if let Some(keys) = &field.keys {
                validate_present(keys, &Value::from(key.as_str()), now)?;
            }
            field
                .values
                .as_ref()
                .map_or(Ok(()), |values| validate_present(values, member, now))
        }),
        (Kind::Map, _) => Err("expected a map".into()),
        (Kind::Record, Value::Object(inner)) => validate_inner(field, inner, now),
        (Kind::Record, _) => Err("expected a record".into()),
        (Kind::Foreign, _) => validate_key(value),
        (Kind::Integer, Value::Number(number))
            if number.as_f64().is_some_and(|number| number.fract() == 0.0) =>
        {
            Ok(())
        }
        (Kind::Integer, _) => Err("expected an integer".into()),
        (Kind::Number, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::String, Value::String(_))
        | (Kind::Json, _) => Ok(()),
        (Kind::Number, _) => Err("expected a number".into()),
        (Kind::Boolean, _) => Err("expected a boolean".into()),
        (Kind::String, _) => Err("expected a string".into()),
    }
}

/// Elements are never null.
fn validate_present(field: &Field, value: &Value, now: Timestamp) -> Result<(), Value> {
    if value.is_null() {
        Err("required field missing".into())
    } else {
        validate_value(field, value, now)
    }
}

/// An array of errors is as long as the last faulty element needs.
fn validate_elements(field: &Field, items: &[Value], now: Timestamp) -> Result<(), Value> {
    let Some(elements) = &field.elements else {
        return Ok(());
    };
    let mut errors: Vec<Value> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if let Err(error) = validate_present(elements, item, now) {
            errors.resize(index, Value::Null);
            errors.push(error);
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.into())
    }
}

fn validate_inner(field: &Field, inner: &Map<String, Value>, now: Timestamp) -> Result<(), Value> {
    let record = Record::of(field);
    let filled = fill(record, inner.clone(), Operation::Insert, now)?;
    Ok(validate_record(
        record,
        &filled,
        Completeness::Whole,
        now,
        false,
    )?)
}

/// A foreign key is an object with an id.
fn validate_key(value: &Value) -> Result<(), Value> {
    let message = match value.get("id") {
        Some(Value::String(id)) if is_uuid(id) => return Ok(()),
        Some(Value::String(_)) => "expected a valid UUID",
        Some(Value::Null) => "required field missing",
        Some(_) => "expected a string",
        None => "missing primary key",
    };
    Err(serde_json::json!({"id": message}))
}

/// Whether a text is an id, in any case of letters.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// Applies the attributes in Kong's order; the first that fails speaks.
fn validate_attributes(field: &Field, value: &Value) -> Result<(), String> {
    if let Some(wanted) = &field.eq
        && !equal(wanted, value)
    {
        return Err(format!("value must be {}", shown(wanted)));
    }
    if let Some(unwanted) = &field.ne
        && equal(unwanted, value)
    {
        return Err(format!("value must not be {}", shown(value)));
    }
    if let Some(options) = &field.not_one_of
        && options.iter().any(|option| equal(option, value))
    {
        return Err(format!("must not be one of: {}", list(options)));
    }
    if let Some(options) = &field.one_of
        && !options.iter().any(|option| equal(option, value))
    {
        return Err(format!("expected one of: {}", list(options)));
    }
    if let Some(number) = value.as_f64() {
        validate_number(field, number)?;
    }
    if let Some(text) = value.as_str() {
        if field.uuid && !is_uuid(text) {
            return Err("expected a valid UUID".to_owned());
        }
        if field.is_regex && regex::Regex::new(text).is_err() {
            return Err(format!("not a valid regex: {text}"));
        }
    }
    validate_length(field, value)?;
    if let Some(text) = value.as_str() {
        validate_text(field, text)?;
    }
    if let (Some(wanted), Some(items)) = (&field.contains, value.as_array())
        && !items.contains(wanted)
    {
        return Err(format!("expected to contain: {}", shown(wanted)));
    }
    if let Some(validator) = field.custom_validator {
        validator.check(value)?;
    }
    validate_subsets(field, value)
}

fn validate_number(field: &Field, number: f64) -> Result<(), String> {
    if field.gt.is_some_and(|limit| number <= limit) {
        return Err(format!(
            "value must be greater than {}",
            field.gt.unwrap_or_default()
        ));
    }
    if field.timestamp && number <= 0.0 {
        return Err("expected a valid timestamp".to_owned());
    }
    match field.between {
        Some([low, high]) if number < low || number > high => {
            Err(format!("value should be between {low} and {high}"))
        }
        _ => Ok(()),
    }
}

fn validate_length(field: &Field, value: &Value) -> Result<(), String> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => return Ok(()),
    };
    // Empty strings are refused unless the schema speaks of their length.
    let least = field.len_min.or((field.kind == Kind::String).then_some(1));
    if let Some(wanted) = field.len_eq.filter(|wanted| *wanted != length) {
        return Err(format!("length must be {wanted}"));
    }
    if let Some(least) = least.filter(|least| length < *least) {
        return Err(format!("length must be at least {least}"));
    }
    match field.len_max {
        Some(most) if length > most => Err(format!("length must be at most {most}")),
        _ => Ok(()),
    }
}

fn validate_text(field: &Field, text: &str) -> Result<(), String> {
    if let Some(start) = field
        .starts_with
        .as_ref()
        .filter(|start| !text.starts_with(start.as_str()))
    {
        return Err(format!("should start with: {start}"));
    }
    if field
        .not_match
        .as_ref()
        .is_some_and(|pattern| lua::matches(text, pattern))
    {
        return Err(format!("invalid value: {text}"));
    }
    let failed =
        |wanted: bool| move |pattern: &&Pattern| lua::matches(text, &pattern.pattern) != wanted;
    if let Some(pattern) = field.match_none.iter().find(failed(false)) {
        return Err(pattern.err.clone());
    }
    if field
        .matches
        .as_ref()
        .is_some_and(|pattern| !lua::matches(text, pattern))
    {
        return Err(format!("invalid value: {text}"));
    }
    if let Some(pattern) = field.match_all.iter().find(failed(true)) {
        return Err(pattern.err.clone());
    }
    match &field.match_any {
        Some(any)
            if !any
                .patterns
                .iter()
                .any(|pattern| lua::matches(text, pattern)) =>
        {
            Err(any
                .err
                .clone()
                .unwrap_or_else(|| format!("invalid value: {text}")))
        }
        _ => Ok(()),
    }
}

fn validate_subsets(field: &Field, value: &Value) -> Result<(), String> {
    let Some(items) = value.as_array() else {
        return Ok(());
    };
    let mut touched: Vec<&Vec<String>> = Vec::new();
    for item in items.iter().filter_map(Value::as_str) {
        let subset = field
            .mutually_exclusive_subsets
            .iter()
            .find(|subset| subset.iter().any(|member| member == item));
        touched.extend(subset.filter(|subset| !touched.contains(subset)));
    }
    if touched.len() <= 1 {
        return Ok(());
    }
    let quoted = |subset: &&Vec<String>| format!("('{}')", subset.join("', '"));
    Err(format!(
        "these sets are mutually exclusive: {}",
        touched.iter().map(quoted).collect::<Vec<_>>().join(", ")
    ))
}

/// Numbers are equal by value: 1 and 1.0 are one.
fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() < f64::EPSILON,
        _ => one == other,
    }
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn list(options: &[Value]) -> String {
    options.iter().map(shown).collect::<Vec<_>>().join(", ")
}
