//! Carries a plan out on a node without a database: the whole configuration in one `POST /config`.
//!
//! The payload is what the node will have when the plan is done: every entity in its kind's list, with its id, references as
//! ids. Passwords go as the hashes that the node would keep (`_transform: false`), so that what it already has stays.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value, json};

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::admin::errors::{AdminError, Rejection};
use crate::admin::schema::{Field, Schemas};
use crate::plan::compare::compare;
use crate::plan::{Action, Plan};
use crate::state::current::Inventory;
use crate::state::{Entity, ids, reference_id};

use super::{Outcome, Report, secrets_of};

/// What is loaded, and onto what.
pub(crate) struct Load<'a> {
    pub(crate) payload: &'a Value,
    /// The node's `configuration_hash` when its state was read: another one now means that somebody else has loaded something.
    pub(crate) onto: Option<&'a str>,
}

/// Loads a configuration, and tells `told` what became of each of the plan's changes. The one call is waited for after the first of
/// the `interrupts`, not after the second.
pub(crate) async fn run(
    client: &Client,
    load: Load<'_>,
    plan: &Plan,
    schemas: &Schemas,
    interrupts: impl Stream<Item = ()>,
    told: &mut dyn FnMut(usize, &Outcome),
) -> Report {
    let mut call = pin!(post(client, &load));
    let mut interrupts = pin!(interrupts);
    let mut interrupted = false;
    let result = loop {
        tokio::select! {
            result = &mut call => break Some(result),
            Some(()) = interrupts.next() => {
                if interrupted {
                    break None;
                }
                interrupted = true;
            }
        }
    };
    let report = match result {
        Some(Ok(())) => alike(plan, || Outcome::Done),
        Some(Err(error)) => {
            let secrets: Vec<String> = plan
                .changes
                .iter()
                .flat_map(|change| secrets_of(change, schemas))
                .collect();
            let error = error.without(&secrets);
            if error.leaves_doubt() && hash_now(client).await.as_deref() != load.onto {
                Report {
                    error: Some(error),
                    ..alike(plan, || Outcome::Unknown(None))
                }
            } else {
                blame(plan, error)
            }
        }
        None => alike(plan, || Outcome::Unknown(None)),
    };
    for (index, outcome) in report.outcomes.iter().enumerate() {
        told(index, outcome);
    }
    Report {
        interrupted,
        ..report
    }
}

async fn post(client: &Client, load: &Load<'_>) -> Result<(), AdminError> {
    if let Some(onto) = load.onto
        && let Some(now) = client.standing().await?.configuration_hash
        && now != onto
    {
        return Err(AdminError::Moved);
    }
    // As a text it has a hash, so that the node can tell a repetition.
    let body = json!({ "config": load.payload.to_string() });
    client
        .post("config?check_hash=1&flatten_errors=1", &body)
        .await
        .map(drop)
}

async fn hash_now(client: &Client) -> Option<String> {
    let status = client.find_once("status").await.ok()??;
    Some(status.get("configuration_hash")?.as_str()?.to_owned())
}

/// All of the configuration that the node will have.
pub(crate) fn payload(plan: &Plan, current: &Inventory, hashed_passwords: bool) -> Value {
    let changed: HashSet<(Kind, &str)> = plan
        .changes
        .iter()
        .map(|change| (change.kind, change.id.as_str()))
        .collect();
    let mut entities: Vec<Entity> = current
        .iter()
        .filter(|entity| !changed.contains(&(entity.kind, entity.id.as_str())))
        .cloned()
        .collect();
    for change in &plan.changes {
        if let Some(after) = &change.after {
            let mut body = after.clone();
            if change.kind == Kind::BasicAuth {
                hash_password(change.before.as_ref(), &mut body, hashed_passwords);
            }
            entities.push(Entity {
                kind: change.kind,
                id: change.id.clone(),
                body,
                label: change.label.clone(),
                source: None,
            });
        }
    }
    let mut document = Map::new();
    document.insert("_format_version".to_owned(), json!("3.0"));
    document.insert("_transform".to_owned(), json!(false));
    for kind in Kind::all() {
        let list: Vec<Value> = entities
            .iter()
            .filter(|entity| entity.kind == kind)
            .map(entry)
            .collect();
        if !list.is_empty() {
            document.insert(kind.name().to_owned(), Value::Array(list));
        }
    }
    Value::Object(document)
}

/// True if a node would have the same by both payloads, timestamps aside: one may write out defaults that the other leaves to the node.
pub(crate) fn is_same(one: &Value, other: &Value, schemas: &Schemas) -> bool {
    let (one, other) = (entries(one), entries(other));
    one.len() == other.len()
        && one.iter().all(|(key @ (kind, _), body)| {
            other.get(key).is_some_and(|found| {
                body == found
                    || compare(*kind, body, found, schemas, true).is_empty()
                    || compare(*kind, found, body, schemas, true).is_empty()
            })
        })
}

fn entries(payload: &Value) -> HashMap<(Kind, &str), &Map<String, Value>> {
    let lists = Kind::all().filter_map(|kind| Some((kind, payload.get(kind.name())?.as_array()?)));
    let bodies = lists.flat_map(|(kind, list)| {
        list.iter().filter_map(move |entry| {
            let body = entry.as_object()?;
            Some(((kind, body.get("id")?.as_str()?), body))
        })
    });
    bodies.collect()
}

fn entry(entity: &Entity) -> Value {
    let mut body = Map::new();
    body.insert("id".to_owned(), Value::String(entity.id.clone()));
    let record = entity.kind.record();
    let said = |field: &String, value: &Value| {
        !value.is_null() || record.fields.get(field).is_some_and(Field::means_null)
    };
    for (field, value) in entity
        .body
        .iter()
        .filter(|(field, value)| said(field, value))
    {
        let is_reference = entity.kind.references().any(|(name, ..)| name == field);
        let value = match reference_id(value) {
            Some(id) if is_reference => Value::String(id.to_owned()),
            _ => value.clone(),
        };
        body.insert(field.clone(), value);
    }
    Value::Object(body)
}

fn hash_password(before: Option<&Map<String, Value>>, body: &mut Map<String, Value>, hashed: bool) {
    let consumer = body
        .get("consumer")
        .and_then(reference_id)
        .unwrap_or_default()
        .to_owned();
    let stored = before.and_then(|before| before.get("password")).cloned();
    if let Some(Value::String(password)) = body.get_mut("password")
        && !hashed
        && stored.is_none_or(|stored| stored != *password)
    {
        *password = ids::basic_auth_hash(password, &consumer);
    }
}

/// Whose fault it was: Kong names the entities that it refuses; nothing else was loaded either.
fn blame(plan: &Plan, error: AdminError) -> Report {
    let AdminError::Rejected {
        method,
        path,
        rejection,
    } = &error
    else {
        return nobodys_fault(plan, error);
    };
    let mut blamed = false;
    let outcomes = plan
        .changes
        .iter()
        .map(|change| {
            let refused = rejection
                .entities
                .iter()
                .find(|entity| entity.id.as_deref() == Some(&change.id));
            let Some(refused) = refused.filter(|_| change.action != Action::Delete) else {
                return Outcome::Skipped;
            };
            blamed = true;
            Outcome::Failed(AdminError::Rejected {
                method,
                path: path.clone(),
                rejection: Box::new(Rejection {
                    message: "the node refused this entity, and with it the whole configuration"
                        .to_owned(),
                    fields: refused.fields.clone(),
                    ..Rejection::clone(rejection)
                }),
            })
        })
        .collect();
    if blamed {
        Report {
            outcomes,
            ..Report::empty()
        }
    } else {
        nobodys_fault(plan, error)
    }
}

fn nobodys_fault(plan: &Plan, error: AdminError) -> Report {
    Report {
        error: Some(error),
        ..alike(plan, || Outcome::Skipped)
    }
}

/// All changes had the same fate.
fn alike(plan: &Plan, outcome: impl Fn() -> Outcome) -> Report {
    Report {
        outcomes: plan.changes.iter().map(|_| outcome()).collect(),
        ..Report::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::diff::diff;
    use crate::state::resolve::Scope;
    use crate::state::resolve::tests::{desired_of, stored};

    #[test]
    fn payloads_are_the_same_whether_a_node_had_some_of_it_or_nothing() {
        let text = |path: &str| {
            format!("services: [{{name: llm, host: h, routes: [{{name: chat, paths: [{path}]}}]}}]")
        };
        let scope = Scope::default();
        let schemas = Schemas::default();
        let payload_on = |current: &Inventory, path: &str| {
            let desired = desired_of(&text(path), current, &scope).unwrap();
            payload(
                &diff(current, desired, &scope, &schemas).unwrap(),
                current,
                false,
            )
        };
        let (nothing, some) = (Inventory::default(), stored(&text("/a")));
        for path in ["/a", "/b"] {
            let (one, other) = (payload_on(&some, path), payload_on(&nothing, path));
            assert!(is_same(&one, &other, &schemas) && is_same(&other, &one, &schemas));
        }
        let (one, other) = (payload_on(&some, "/a"), payload_on(&nothing, "/b"));
        assert!(!is_same(&one, &other, &schemas));
    }

    #[test]
    fn the_payload_is_flat_with_ids_and_hashes() {
        let text =
            "consumers: [{username: alice, basicauth_credentials: [{username: a, password: pw}]}]";
        let scope = Scope::default();
        let current = Inventory::default();
        let desired = desired_of(text, &current, &scope).unwrap();
        let plan = diff(&current, desired, &scope, &Schemas::default()).unwrap();
        let payload = payload(&plan, &current, false);
        let consumer = "b32379d9-3d28-5683-a79c-72139be6e34f";
        assert_eq!(payload["_transform"], false);
        assert_eq!(payload["basicauth_credentials"][0]["consumer"], consumer);
        assert_eq!(
            payload["basicauth_credentials"][0]["password"],
            ids::basic_auth_hash("pw", consumer)
        );
    }
}
