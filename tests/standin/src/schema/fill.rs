//! Completing what a user sent: shorthands, server-made values, defaults.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::definition::{Field, Kind, Record, Schema};
use super::json::through_lua;
use super::{Errors, field_at};

/// What is being done to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Insert,
    /// Only what is given changes.
    Update,
    /// As insert, over what may exist.
    Upsert,
}

/// A moment, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timestamp(pub(crate) u64);

impl Timestamp {
    /// Whole seconds since the Unix epoch.
    pub(crate) fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl Schema {
    /// Completes `given`. Fails with the faults of shorthands, which are checked before they are expanded.
    pub(crate) fn fill(
        &self,
        given: Map<String, Value>,
        operation: Operation,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Errors> {
        let record = self.record(&given);
        fill(record, given, operation, now)
    }

    /// `top` over `bottom`: records are merged field by field, all else is replaced.
    pub(crate) fn merge(
        &self,
        top: Map<String, Value>,
        bottom: &Map<String, Value>,
    ) -> Map<String, Value> {
        merge(self.record(bottom), top, bottom)
    }

    /// Adds to a stored entity the deprecated shorthands, which the Admin API shows beside their successors.
    pub(crate) fn show_shorthands(&self, entity: &mut Map<String, Value>) {
        let record = self.record(&entity.clone());
        each_record(record, entity, &mut |record, object| {
            for (name, shorthand) in record.shorthand_fields.iter() {
                let Some(deprecation) = &shorthand.deprecation else {
                    continue;
                };
                if let Some(replacement) = deprecation.replaced_with.first() {
                    let value = field_at(object, &replacement.path.join("."))
                        .cloned()
                        .unwrap_or(Value::Null);
                    object.insert(name.to_owned(), value);
                }
            }
        });
    }

    /// Takes away what [`Schema::show_shorthands`] added.
    pub(crate) fn hide_shorthands(&self, entity: &mut Map<String, Value>) {
        let record = self.record(&entity.clone());
        each_record(record, entity, &mut |record, object| {
            for (name, shorthand) in record.shorthand_fields.iter() {
                if shorthand.deprecation.is_some() {
                    object.shift_remove(name);
                }
            }
        });
    }

    /// Rewrites what is stored otherwise than it was sent; `given` is what was sent.
    pub(crate) fn transform(&self, given: &Map<String, Value>, entity: &mut Map<String, Value>) {
        for transformation in &self.transformations {
            transformation.apply(given, entity);
        }
    }
}

/// Applies `visit` to an object and to the records in it.
fn each_record(
    record: Record<'_>,
    object: &mut Map<String, Value>,
    visit: &mut impl FnMut(Record<'_>, &mut Map<String, Value>),
) {
    for (name, field) in record.iter() {
        if let (Kind::Record, Some(Value::Object(inner))) = (field.kind, object.get_mut(name)) {
            each_record(Record::of(field), inner, visit);
        }
    }
    visit(record, object);
}

/// Completes one object; also used for the records inside, and before a record is validated.
pub(super) fn fill(
    record: Record<'_>,
    mut data: Map<String, Value>,
    operation: Operation,
    now: Timestamp,
) -> Result<Map<String, Value>, Errors> {
    expand_shorthands(record, &mut data)?;
    for (name, field) in record.iter() {
        let given = data.get(name).cloned();
        let made = if field.auto {
            server_made(name, field, given.as_ref(), operation, now)
        } else {
            None
        };
        if let Some(value) = complete(field, made.or(given), operation, now)? {
            data.insert(name.to_owned(), value);
        }
    }
    Ok(data)
}

fn expand_shorthands(record: Record<'_>, data: &mut Map<String, Value>) -> Result<(), Errors> {
    let mut errors = Errors::new();
    for (name, field) in record.shorthand_fields.iter() {
        let Some(value) = data.get(name).cloned() else {
            continue;
        };
        if let Err(error) = super::validate::validate_value(field, &value, Timestamp::default()) {
            errors.insert(name.to_owned(), error);
            continue;
        }
        data.shift_remove(name);
        if let Some(expansion) = field.expand {
            data.extend(expansion.expand(&value));
        } else if let Some(replacement) = field
            .deprecation
            .as_ref()
            .and_then(|deprecation| deprecation.replaced_with.first())
            && let Some(conflict) = set_where_unset(data, &replacement.path, &value)
        {
            let message = format!(
                "both deprecated and new field are used but their values mismatch: {name} = {} vs {} = {}",
                plain(&value),
                replacement.path.join("."),
                plain(&conflict)
            );
            errors.insert(name.to_owned(), message.into());
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Puts a deprecated value where it belongs now; returns what is there already and says otherwise.
fn set_where_unset(data: &mut Map<String, Value>, path: &[String], value: &Value) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut object = data;
    for name in parents {
        let inner = object.entry(name.clone()).or_insert(Value::Null);
        if inner.is_null() {
            *inner = Value::Object(Map::new());
        }
        object = inner.as_object_mut()?;
    }
    match object.get(last) {
        Some(present) if !present.is_null() => {
            (!value.is_null() && present != value).then(|| present.clone())
        }
        _ => {
            object.insert(last.clone(), value.clone());
            None
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Ids, keys and times.
fn server_made(
    name: &str,
    field: &Field,
    given: Option<&Value>,
    operation: Operation,
    now: Timestamp,
) -> Option<Value> {
    let creates = operation != Operation::Update;
    let absent = given.is_none_or(Value::is_null);
    if field.uuid {
        return (creates && given.is_none()).then(|| Uuid::new_v4().to_string().into());
    }
    if field.kind == Kind::String {
        return (creates && given.is_none()).then(|| random_string().into());
    }
    let touched = name == "updated_at" || (name == "created_at" && creates && absent);
    touched.then(|| match field.kind {
        Kind::Integer => now.seconds().into(),
        _ => (now.0 as f64 / 1000.0).into(),
    })
}

/// 32 random letters and digits.
fn random_string() -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()]
        .iter()
        .flat_map(|uuid| *uuid.as_bytes())
        .take(32)
        .map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
        .collect()
}

fn complete(
    field: &Field,
    value: Option<Value>,
    operation: Operation,
    now: Timestamp,
) -> Result<Option<Value>, Errors> {
    if field.is_abstract {
        return Ok(value);
    }
    if let (Kind::Json, Some(value)) = (field.kind, &value) {
        return Ok(Some(through_lua(value.clone())));
    }
    let value = match (field.kind, value) {
        (Kind::Record, None) if field.required && operation != Operation::Update => {
            Some(missing(field, now)?.unwrap_or_else(|| Value::Object(Map::new())))
        }
        (_, value) => value,
    };
    Ok(match value {
        None if operation == Operation::Update => None,
        None => missing(field, now)?,
        Some(Value::Object(inner)) if field.kind == Kind::Record => {
            Some(fill(Record::of(field), inner, operation, now)?.into())
        }
        Some(Value::Array(items)) if field.kind == Kind::Record && items.is_empty() => {
            Some(fill(Record::of(field), Map::new(), operation, now)?.into())
        }
        Some(Value::Object(empty))
            if matches!(field.kind, Kind::Array | Kind::Set) && empty.is_empty() =>
        {
            Some(Value::Array(Vec::new()))
        }
        Some(Value::Array(items)) => Some(complete_items(field, items, operation, now)?),
        Some(Value::Object(members)) if field.kind == Kind::Map => {
            let mut completed = Map::new();
            for (key, member) in members {
                let member = match &field.values {
                    Some(values) => {
                        complete(values, Some(member), operation, now)?.unwrap_or_default()
                    }
                    None => member,
                };
                completed.insert(key, member);
            }
            Some(completed.into())
        }
        other => other,
    })
}

fn complete_items(
    field: &Field,
    items: Vec<Value>,
    operation: Operation,
    now: Timestamp,
) -> Result<Value, Errors> {
    // An update replaces a list: its records are new, and whole.
    let operation = match (&field.elements, operation) {
        (Some(elements), Operation::Update) if elements.kind == Kind::Record => Operation::Insert,
        _ => operation,
    };
    let mut completed: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        let item = match &field.elements {
            Some(elements) => complete(elements, Some(item), operation, now)?.unwrap_or_default(),
            None => item,
        };
        if field.kind != Kind::Set || !completed.contains(&item) {
            completed.push(item);
        }
    }
    Ok(completed.into())
}

/// What stands where nothing was given.
fn missing(field: &Field, now: Timestamp) -> Result<Option<Value>, Errors> {
    if let Some(default) = &field.default {
        return Ok(Some(default.clone()));
    }
    if !field.required {
        return Ok(Some(Value::Null));
    }
    if field.kind == Kind::Record {
        return Ok(Some(
            fill(Record::of(field), Map::new(), Operation::Insert, now)?.into(),
        ));
    }
    Ok(None)
}

fn merge(
    record: Record<'_>,
    mut top: Map<String, Value>,
    bottom: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = bottom.clone();
    for (name, field) in record.iter() {
        if let (Kind::Record, false, Some(Value::Object(over))) =
            (field.kind, field.is_abstract, top.get_mut(name))
            && let Some(Value::Object(under)) = bottom.get(name)
        {
            *over = merge(Record::of(field), std::mem::take(over), under);
        }
    }
    merged.extend(top);
    merged
}
