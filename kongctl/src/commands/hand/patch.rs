//! `patch KIND NAME`: some fields of one entity. Only they are sent, so that what another writer does to the others stays.
//!
//! # Model
//!
//! Kong's own `PATCH` merges records and replaces everything else, maps and lists included. Here maps are merged as records are; so a
//! field of a record is sent alone, and a map whole.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::admin::schema::{Record, Schemas, Type};
use crate::cli::{Connection, Parents, Patch};
use crate::output::Printer;
use crate::output::failure::UsageError;
use crate::profiles::Profile;
use crate::state::current::{Inventory, check_kinds};
use crate::state::declared;
use crate::state::diagnostics::Diagnostics;
use crate::state::node::Node as Parsed;
use crate::state::resolve::Desired;
use crate::state::{Entity, reference_id};

use super::fields::{document, entry, place};
use super::{Exit, Node, Order, connect, find, guard, kind_of, named, schemas};

pub(in super::super) async fn run(
    arguments: &Patch,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let client = connect(connection)?;
    let kind = kind_of(&arguments.entity.kind, &client).await?;
    if arguments.fields.is_empty() {
        return Err(UsageError {
            message: "say what to change: --set FIELD=VALUE, --json or --file".to_owned(),
        }
        .into());
    }
    let mut diagnostics = Diagnostics::default();
    let nobody = Parents::default();
    let said = entry(kind, None, &nobody, &arguments.fields, &mut diagnostics)?;
    diagnostics.into_result()?;
    let mut node = Node::read(client, "patch", Vec::new(), Vec::new()).await?;
    let current = &node.read.current;
    let entity = named(current, kind, &arguments.entity)?;
    let schemas = schemas(&node.client, &[entity]).await?;
    let mut patched = entity.clone();
    for field in ["created_at", "updated_at"] {
        patched.body.shift_remove(field);
    }
    let record = schemas.of_entity(kind, &entity.body);
    // What a deprecated field repeats may change by its other name.
    record.resolve_shorthands(&mut patched.body);
    let mut said = fields(&record, &said);
    for (field, to, _) in kind.references() {
        if let Some(word) = said.get(field).and_then(reference_id) {
            let parent = find(current, to, word, &nobody)?;
            said.insert(field.to_owned(), json!({ "id": parent.id }));
        }
    }
    merge_fields(&mut patched.body, &said);
    check(&node.client, kind, &patched, &schemas).await?;
    node.partial = Some(partial(&record, &said, &patched.body));
    node.read.schemas = schemas;
    let desired = Desired {
        entities: Inventory::new([patched]),
        ..Desired::default()
    };
    let order = Order {
        verb: "patch",
        execution: &arguments.safety.execution(),
        guard: guard(&arguments.safety, profile),
    };
    node.make(desired, true, &order, printer).await
}

/// What is said, by the names that Kong keeps: a deprecated field and the one that took its place may not disagree.
fn fields(record: &Record, said: &Parsed) -> Map<String, Value> {
    let entries = said.entries().iter().map(|entry| {
        let told = record
            .field_or_shorthand(&entry.key)
            .and_then(|field| declared::field_with_booleans(field, &entry.node));
        let node = told.as_ref().unwrap_or(&entry.node);
        (entry.key.clone(), node.to_json())
    });
    let mut fields = entries.collect();
    null_by_new_names(record, &mut fields);
    record.resolve_shorthands(&mut fields);
    fields
}

/// Moves each null of a deprecated field to where Kong keeps it. Anywhere but in a patch it would say nothing; a word on the new field wins.
fn null_by_new_names(record: &Record, fields: &mut Map<String, Value>) {
    for (name, path) in &record.shorthands {
        let Some((last, parents)) = path.as_ref().and_then(|path| path.split_last()) else {
            continue;
        };
        if !fields.get(name).is_some_and(Value::is_null) {
            continue;
        }
        fields.shift_remove(name);
        let target = parents.iter().try_fold(&mut *fields, |target, parent| {
            let inner = target.entry(parent.clone()).or_insert_with(|| json!({}));
            // A parent that is null takes its fields along.
            inner.as_object_mut()
        });
        if let Some(target) = target {
            target.entry(last.clone()).or_insert(Value::Null);
        }
    }
    for (name, field) in &record.fields {
        if let (Type::Record(record), Some(Value::Object(inner))) =
            (&field.ty, fields.get_mut(name))
        {
            null_by_new_names(record, inner);
        }
    }
}

/// The fields with what is said of them: maps are merged, anything else is replaced.
fn merge_fields(below: &mut Map<String, Value>, above: &Map<String, Value>) {
    for (name, over) in above {
        match (below.entry(name.clone()).or_insert(Value::Null), over) {
            (Value::Object(below), Value::Object(above)) => merge_fields(below, above),
            (value, over) => *value = over.clone(),
        }
    }
}

/// What is sent: of records the fields that are said, of anything else what came of it.
fn partial(
    record: &Record,
    said: &Map<String, Value>,
    merged: &Map<String, Value>,
) -> Map<String, Value> {
    let fields = said.iter().filter_map(|(name, said)| {
        let merged = merged.get(name)?;
        let value = match (record.fields.get(name).map(|field| &field.ty), said, merged) {
            (Some(Type::Record(record)), Value::Object(said), Value::Object(merged)) => {
                Value::Object(partial(record, said, merged))
            }
            _ => merged.clone(),
        };
        Some((name.clone(), value))
    });
    fields.collect()
}

/// Holds the whole entity, as it would be, against its schema.
async fn check(
    client: &Client,
    kind: Kind,
    patched: &Entity,
    schemas: &Schemas,
) -> anyhow::Result<()> {
    let mut body: Map<String, Value> = patched.body.clone();
    body.insert("id".to_owned(), Value::String(patched.id.clone()));
    let entry = Arc::new(Parsed::from_json(&Value::Object(body), &place()));
    let mut diagnostics = Diagnostics::default();
    let configuration = declared::read(&[document(kind, entry)], &mut diagnostics);
    declared::check_our_plugins(&configuration, &mut diagnostics);
    check_kinds(client, &configuration, &mut diagnostics).await?;
    declared::check_plugins(&configuration, schemas, &mut diagnostics);
    Ok(diagnostics.into_result()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => unreachable!("{other} is a map"),
        }
    }

    #[test]
    fn maps_are_merged_and_lists_replaced() {
        let mut fields =
            map(json!({"minute": 5, "redis": {"host": "a", "port": 1}, "names": [1, 2]}));
        merge_fields(
            &mut fields,
            &map(json!({"redis": {"port": 2}, "names": [3], "minute": null})),
        );
        let expected = json!({"minute": null, "redis": {"host": "a", "port": 2}, "names": [3]});
        assert_eq!(Value::Object(fields), expected);
    }

    #[test]
    fn a_deprecated_fields_null_is_that_of_the_field_it_stands_for() {
        let record = Record::from_kong(&json!({"fields": [{"config": {"type": "record",
        "fields": [{"redis": {"type": "record", "fields": [{"host": {"type": "string"}}, {"port": {"type": "integer"}}]}}],
        "shorthand_fields": [
            {"redis_host": {"type": "string", "deprecation": {"replaced_with": [{"path": ["redis", "host"]}]}}},
            {"old": {"type": "string"}},
        ]}}]}));
        let cases = [
            (
                json!({"redis_host": null}),
                json!({"redis": {"host": null}}),
            ),
            (
                json!({"redis_host": null, "redis": {"port": 1}}),
                json!({"redis": {"port": 1, "host": null}}),
            ),
            (
                json!({"redis_host": null, "redis": {"host": "new"}}),
                json!({"redis": {"host": "new"}}),
            ),
            (
                json!({"redis_host": null, "redis": null}),
                json!({"redis": null}),
            ),
            (json!({"redis_host": "h"}), json!({"redis": {"host": "h"}})),
            // Kong tells of no other name for it.
            (json!({"old": null}), json!({"old": null})),
        ];
        for (said, expected) in cases {
            let node = Parsed::from_json(&json!({"config": said}), &place());
            let fields = Value::Object(fields(&record, &node));
            assert_eq!(fields, json!({"config": expected}), "{said}");
        }
    }

    #[test]
    fn of_records_the_said_fields_are_sent_and_maps_whole() {
        let record = Record::from_kong(&json!({"fields": [
            {"tags": {"type": "set", "elements": {"type": "string"}}},
            {"headers": {"type": "map", "values": {"type": "string"}}},
            {"config": {"type": "record", "fields": [
                {"minute": {"type": "integer"}},
                {"redis": {"type": "record", "fields": [{"host": {"type": "string"}}, {"port": {"type": "integer"}}]}},
            ]}},
        ]}));
        let mut fields = map(json!({
            "tags": ["a"], "headers": {"x": "1"}, "config": {"minute": 5, "redis": {"host": "h", "port": 1}},
        }));
        let said = map(json!({"headers": {"y": "2"}, "config": {"redis": {"port": 2}}}));
        merge_fields(&mut fields, &said);
        assert_eq!(
            Value::Object(partial(&record, &said, &fields)),
            json!({"headers": {"x": "1", "y": "2"}, "config": {"redis": {"port": 2}}})
        );
    }
}
