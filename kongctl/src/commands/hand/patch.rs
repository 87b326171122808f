//! `patch KIND NAME`: some fields of one entity. Only they are sent, so that what another writer does to the others stays.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::admin::schema::Schemas;
use crate::cli::{Connection, Parents, Patch};
use crate::output::Printer;
use crate::output::failure::UsageError;
use crate::profiles::Profile;
use crate::state::current::Inventory;
use crate::state::declared;
use crate::state::diagnostics::Diagnostics;
use crate::state::node::Node as Parsed;
use crate::state::resolve::Desired;
use crate::state::{Entity, reference_id};

use super::fields::{document, entry, place};
use super::{Exit, Node, Order, find, guard, kind_of, named, schemas};

pub(in super::super) async fn run(
    arguments: &Patch,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let kind = kind_of(&arguments.entity.kind)?;
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
    let mut node = Node::read(connection, "patch", Vec::new(), Vec::new()).await?;
    let current = &node.read.current;
    let entity = named(current, kind, &arguments.entity)?;
    let schemas = schemas(&node.client, &[entity]).await?;
    let mut patched = entity.clone();
    for field in ["created_at", "updated_at"] {
        patched.body.shift_remove(field);
    }
    for entry in said.entries() {
        let mut value = entry.node.to_json();
        if let Some((_, to, _)) = kind.references().find(|(field, ..)| *field == entry.key)
            && let Some(word) = reference_id(&value)
        {
            let parent = find(current, to, word, &nobody)?;
            value = json!({ "id": parent.id });
        }
        let slot = patched.body.entry(entry.key.clone());
        merge(slot.or_insert(Value::Null), &value);
    }
    check(kind, &patched, &schemas)?;
    let names = said.entries().iter().map(|entry| entry.key.clone());
    let body = names.filter_map(|name| Some((name.clone(), patched.body.get(&name)?.clone())));
    node.partial = Some(body.collect());
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

/// The value with what is said of it: maps are merged, anything else is replaced.
fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, over) in above {
                merge(below.entry(name.clone()).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over.clone(),
    }
}

/// Holds the whole entity, as it would be, against its schema.
fn check(kind: Kind, patched: &Entity, schemas: &Schemas) -> anyhow::Result<()> {
    let mut body: Map<String, Value> = patched.body.clone();
    body.insert("id".to_owned(), Value::String(patched.id.clone()));
    let entry = Arc::new(Parsed::from_json(&Value::Object(body), &place()));
    let mut diagnostics = Diagnostics::default();
    let configuration = declared::read(&[document(kind, entry)], &mut diagnostics);
    declared::check_our_plugins(&configuration, &mut diagnostics);
    declared::check_plugins(&configuration, schemas, &mut diagnostics);
    Ok(diagnostics.into_result()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_merged_and_lists_replaced() {
        let mut value = json!({"minute": 5, "redis": {"host": "a", "port": 1}, "names": [1, 2]});
        merge(
            &mut value,
            &json!({"redis": {"port": 2}, "names": [3], "minute": null}),
        );
        let expected = json!({"minute": null, "redis": {"host": "a", "port": 2}, "names": [3]});
        assert_eq!(value, expected);
    }
}
