//! Two states become a plan.
//!
//! # Invariants
//!
//! 1. `diff(A, A)` changes nothing (test: `a_state_does_not_differ_from_itself`).
//! 2. Nothing outside the scope is changed, nor deleted through what it stands on.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::Schemas;
use crate::state::current::Inventory;
use crate::state::diagnostics::Place;
use crate::state::resolve::{Desired, Scope};
use crate::state::{Entity, secrets};

use super::compare::compare;
use super::{Action, Change, FieldChange, Plan, PlanError, Reason, order};

/// What must change so that `current` is as `desired`, whose bodies the changes take over.
pub(crate) fn diff(
    current: &Inventory,
    desired: Desired,
    scope: &Scope,
    schemas: &Schemas,
) -> Result<Plan, PlanError> {
    let moved = replaced(current, &desired, scope)?;
    let mut changes = if scope.keeps_unnamed {
        Vec::new()
    } else {
        deletions(current, &desired, scope)
    };
    let mut unchanged = 0;
    let Desired {
        entities,
        replaced,
        hashed_passwords,
    } = desired;
    for entity in entities.into_entities() {
        let key = (entity.kind, entity.id.clone());
        match current.get(entity.kind, &entity.id) {
            Some(before) if moved.contains(&key) => {
                changes.push(delete(before, Reason::GroundMoves));
                changes.push(create(entity, Reason::GroundMoves, schemas));
            }
            None => {
                let renumbered = replaced
                    .iter()
                    .any(|(kind, new, _)| *kind == entity.kind && *new == entity.id);
                let reason = if renumbered {
                    Reason::OtherId
                } else {
                    Reason::Missing
                };
                changes.push(create(entity, reason, schemas));
            }
            Some(before) => {
                let mut fields = compare(
                    entity.kind,
                    &entity.body,
                    &before.body,
                    schemas,
                    hashed_passwords,
                );
                if fields.is_empty() {
                    unchanged += 1;
                    continue;
                }
                let hidden = hidden(&entity, schemas);
                hide(&mut fields, &hidden);
                hide_kept(&mut fields, entity.kind, &before.body, schemas);
                let source = source(&entity);
                let mut after = entity.body;
                keep_made_values(entity.kind, before, &mut after);
                changes.push(Change {
                    action: Action::Update,
                    kind: entity.kind,
                    id: entity.id,
                    label: entity.label,
                    before: Some(before.body.clone()),
                    after: Some(after),
                    fields,
                    reason: Reason::Differs,
                    source,
                    partial: None,
                    hidden,
                });
            }
        }
    }
    check_dependents(current, &changes)?;
    order::plan(changes, unchanged)
}

/// What is ours and no file names.
fn deletions(current: &Inventory, desired: &Desired, scope: &Scope) -> Vec<Change> {
    let gone = current
        .iter()
        .filter(|entity| scope.owns(entity) && !desired.entities.contains(entity.kind, &entity.id));
    gone.map(|entity| {
        let renumbered = desired
            .replaced
            .iter()
            .any(|(kind, _, old)| *kind == entity.kind && *old == entity.id);
        let reason = if renumbered {
            Reason::OtherId
        } else {
            Reason::Undeclared
        };
        delete(entity, reason)
    })
    .collect()
}

fn source(entity: &Entity) -> Option<Place> {
    entity.source.as_ref().map(|node| node.place.clone())
}

fn create(entity: Entity, reason: Reason, schemas: &Schemas) -> Change {
    let hidden = hidden(&entity, schemas);
    let source = source(&entity);
    Change {
        action: Action::Create,
        kind: entity.kind,
        id: entity.id,
        label: entity.label,
        before: None,
        after: Some(entity.body),
        fields: Vec::new(),
        reason,
        source,
        partial: None,
        hidden,
    }
}

/// What of an entity is a secret because of what the file says.
fn hidden(entity: &Entity, schemas: &Schemas) -> Vec<String> {
    secrets::of_entity(entity.kind, &entity.body, schemas, entity.source.as_deref())
}

/// Marks the changed fields that hold what these JSON pointers name, or lie in it.
pub(super) fn hide(fields: &mut [FieldChange], hidden: &[String]) {
    for field in fields {
        field.secret |= hidden.iter().any(|pointer| touches(&field.path, pointer));
    }
}

/// The same for what the node has: of that, names alone tell.
pub(super) fn hide_kept(
    fields: &mut [FieldChange],
    kind: Kind,
    body: &Map<String, Value>,
    schemas: &Schemas,
) {
    hide(fields, &secrets::of_entity(kind, body, schemas, None));
}

/// True if one of them lies in the other: the path of a changed field, and a pointer.
fn touches(path: &str, pointer: &str) -> bool {
    let hidden = secrets::as_path(pointer);
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    within(path, &hidden) || within(&hidden, path)
}

fn delete(entity: &Entity, reason: Reason) -> Change {
    Change {
        action: Action::Delete,
        kind: entity.kind,
        id: entity.id.clone(),
        label: entity.label.clone(),
        before: Some(entity.body.clone()),
        after: None,
        fields: Vec::new(),
        reason,
        source: None,
        partial: None,
        hidden: Vec::new(),
    }
}

/// Secrets that Kong made stay when the file leaves them out: a `PUT` without them would draw new ones.
fn keep_made_values(kind: Kind, before: &Entity, after: &mut Map<String, Value>) {
    for (name, field) in kind.record().fields.iter().filter(|(_, field)| field.auto) {
        if matches!(name.as_str(), "id" | "created_at" | "updated_at")
            || after.contains_key(name)
            || !field.secret
        {
            continue;
        }
        if let Some(value) = before.body.get(name) {
            after.insert(name.clone(), value.clone());
        }
    }
}

/// Entities that must be deleted and created anew, because they refer to one whose id changes.
fn replaced(
    current: &Inventory,
    desired: &Desired,
    scope: &Scope,
) -> Result<HashSet<(Kind, String)>, PlanError> {
    let mut closure: HashSet<(Kind, String)> = desired
        .replaced
        .iter()
        .map(|(kind, _, old)| (*kind, old.clone()))
        .collect();
    if closure.is_empty() {
        return Ok(closure);
    }
    if scope.keeps_unnamed {
        let (kind, old) = closure
            .iter()
            .next()
            .expect("the set was just found to have an element");
        let label = current
            .get(*kind, old)
            .map_or(old.as_str(), |entity| entity.label.as_str());
        return Err(PlanError::IdChanges {
            what: format!("{} {label}", kind.singular()),
        });
    }
    // References point to earlier kinds only, so one pass in kind order closes the set.
    for kind in Kind::all() {
        for entity in current.of_kind(kind) {
            if entity
                .references()
                .any(|(_, to, id, _)| closure.contains(&(to, id.to_owned())))
            {
                closure.insert((entity.kind, entity.id.clone()));
            }
        }
    }
    Ok(closure)
}

/// Kong deletes some dependents with what they stand on and refuses to delete what others stand on. Neither may happen to
/// an entity that the plan does not touch.
pub(super) fn check_dependents(current: &Inventory, changes: &[Change]) -> Result<(), PlanError> {
    let deleted: HashSet<(Kind, &str)> = changes
        .iter()
        .filter(|change| change.action == Action::Delete)
        .map(|change| (change.kind, change.id.as_str()))
        .collect();
    if deleted.is_empty() {
        return Ok(());
    }
    let touched: HashSet<(Kind, &str)> = changes
        .iter()
        .map(|change| (change.kind, change.id.as_str()))
        .collect();
    for entity in current
        .iter()
        .filter(|entity| !touched.contains(&(entity.kind, entity.id.as_str())))
    {
        if let Some((_, to, id, _)) = entity
            .references()
            .find(|(_, to, id, _)| deleted.contains(&(*to, *id)))
        {
            let what = current
                .get(to, id)
                .map_or_else(|| id.to_owned(), |parent| parent.label.clone());
            return Err(PlanError::WouldBreak {
                what: format!("{} {what}", to.singular()),
                dependents: format!("{} {}", entity.kind.singular(), entity.label),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::super::Summary;
    use super::*;
    use crate::state::resolve::tests::{desired_of, stored};

    const A: &str = "
services:
- name: llm
  host: h
  routes:
  - {name: chat, paths: [/chat], plugins: [{name: key-auth}]}
consumers:
- {username: alice, keyauth_credentials: [{key: k}], acls: [{group: gold}]}
upstreams:
- {name: pool, targets: [{target: 'a:1'}]}
";

    fn plan(from: &Inventory, text: &str, scope: &Scope) -> Result<Plan, PlanError> {
        let desired = desired_of(text, from, scope).unwrap();
        diff(from, desired, scope, &Schemas::default())
    }

    fn told(plan: &Plan) -> Vec<String> {
        plan.changes
            .iter()
            .map(|c| format!("{} {} {}", c.action.name(), c.kind.singular(), c.label))
            .collect()
    }

    #[test]
    fn a_state_does_not_differ_from_itself() {
        let found = plan(&stored(A), A, &Scope::default()).unwrap();
        assert_eq!(
            found.summary(),
            Summary {
                unchanged: 8,
                ..Summary::default()
            }
        );
    }

    #[test]
    fn what_the_file_drops_is_deleted_by_sync_and_kept_by_apply() {
        let without = "consumers: [{username: alice}]";
        let synced = plan(&stored(A), without, &Scope::default()).unwrap();
        let key = told(&synced)
            .into_iter()
            .find(|line| line.contains("key-auth credential"))
            .unwrap();
        assert_eq!(
            told(&synced),
            [
                "delete plugin key-auth on route chat",
                "delete route chat",
                "delete ACL group gold of consumer alice",
                key.as_str(),
                "delete target a:1 of upstream pool",
                "delete upstream pool",
                "delete service llm",
            ]
        );
        let applied = plan(
            &stored(A),
            without,
            &Scope {
                keeps_unnamed: true,
                ..Scope::default()
            },
        )
        .unwrap();
        assert!(applied.is_empty());
    }

    #[test]
    fn another_id_replaces_the_entity_and_what_stands_on_it() {
        let text = A.replace(
            "- name: llm",
            "- name: llm\n  id: 11111111-1111-4111-8111-111111111111",
        );
        let found = plan(&stored(A), &text, &Scope::default()).unwrap();
        assert_eq!(
            found.summary(),
            Summary {
                create: 3,
                update: 0,
                delete: 3,
                unchanged: 5
            }
        );
        let error = plan(
            &stored(A),
            &text,
            &Scope {
                keeps_unnamed: true,
                ..Scope::default()
            },
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "service llm has another id on the node than in the file"
        );
    }

    #[test]
    fn what_others_stand_on_is_not_deleted() {
        let mine = "
services: [{name: llm, host: h, tags: [mine]}]
routes: [{name: theirs, paths: [/], service: llm}]
";
        let scope = Scope {
            select_tags: vec!["mine".to_owned()],
            ..Scope::default()
        };
        let error = plan(&stored(mine), "consumers: [{username: alice}]", &scope).unwrap_err();
        assert_eq!(
            error.to_string(),
            "deleting service llm would break what is not ours: route theirs"
        );
    }

    /// Files of services, routes and plugins, some shared between two draws.
    fn files() -> impl Strategy<Value = String> {
        let route = (0..4usize, prop::bool::ANY);
        let service = (
            0..5usize,
            prop::collection::btree_map(0..6usize, route, 0..3),
            1..4u16,
        );
        prop::collection::vec(service, 0..5).prop_map(|services| {
            let mut text = String::from("consumers: [{username: keep}]\nservices:\n");
            let mut seen = HashSet::new();
            for (name, routes, port) in services {
                if !seen.insert(format!("s{name}")) {
                    continue;
                }
                let _ = writeln!(
                    text,
                    "- name: s{name}\n  host: h\n  port: {port}\n  routes:"
                );
                for (route, (path, plugin)) in routes {
                    if seen.insert(format!("r{route}")) {
                        let plugins = if plugin { "[{name: key-auth}]" } else { "[]" };
                        let _ = writeln!(
                            text,
                            "  - {{name: r{route}, paths: [/{path}], plugins: {plugins}}}"
                        );
                    }
                }
            }
            text
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(text in files()) {
            prop_assert!(plan(&stored(&text), &text, &Scope::default()).unwrap().is_empty());
        }

        #[test]
        fn changes_respect_references(a in files(), b in files()) {
            let found = plan(&stored(&a), &b, &Scope::default()).unwrap();
            let mut present: HashSet<(Kind, String)> =
                stored(&a).iter().map(|entity| (entity.kind, entity.id.clone())).collect();
            let mut done = vec![false; found.changes.len()];
            while let Some(next) = (0..done.len()).find(|i| !done[*i] && found.needs[*i].iter().all(|n| done[*n])) {
                done[next] = true;
                let change = &found.changes[next];
                let key = (change.kind, change.id.clone());
                if change.action == Action::Delete { present.remove(&key); } else {
                    let after = Entity { kind: change.kind, id: change.id.clone(),
                        body: change.after.clone().unwrap(), label: String::new(), source: None };
                    for (_, to, id, _) in after.references() {
                        prop_assert!(present.contains(&(to, id.to_owned())), "{} {} before {}", change.kind.name(), change.label, id);
                    }
                    present.insert(key);
                }
            }
            prop_assert!(done.iter().all(|done| *done), "every change has its turn");
            let wanted: HashSet<_> = desired_of(&b, &stored(&a), &Scope::default()).unwrap().entities.iter()
                .map(|entity| (entity.kind, entity.id.clone())).collect();
            prop_assert_eq!(present, wanted);
        }
    }
}
