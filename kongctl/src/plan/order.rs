//! The graph of changes: what each has to wait for.
//!
//! # Model
//!
//! - A write waits for the creation of what it refers to.
//! - A deletion waits for every change of what refers to the deleted entity now.
//! - A write that takes a unique value waits for the change that gives it up.
//! - What makes an entity of a plugin's own kind unique, nodes do not tell where it is no single field: such a creation waits for the
//!   deletions of those that refer to the same entities.
//!
//! There is no barrier between kinds: whatever waits for nothing may go at once.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::state::{natural_key, reference_id, references};

use super::{Action, Change, Plan, PlanError};

/// Puts changes in an order to be read in, and links them.
pub(super) fn plan(mut changes: Vec<Change>, unchanged: usize) -> Result<Plan, PlanError> {
    changes.sort_by(|a, b| {
        let delete = |change: &Change| change.action == Action::Delete;
        delete(a).cmp(&delete(b)).then_with(|| {
            let by_kind = if delete(a) {
                b.kind.cmp(&a.kind)
            } else {
                a.kind.cmp(&b.kind)
            };
            by_kind
                .then_with(|| a.label.cmp(&b.label))
                .then_with(|| a.id.cmp(&b.id))
        })
    });
    let needs = link(&changes);
    if let Some(stuck) = circle(&needs) {
        let labels: Vec<String> = stuck
            .iter()
            .map(|index| {
                format!(
                    "{} {}",
                    changes[*index].kind.singular(),
                    changes[*index].label
                )
            })
            .collect();
        return Err(PlanError::Circular(labels.join(", ")));
    }
    Ok(Plan {
        changes,
        needs,
        unchanged,
    })
}

fn link(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut created: HashMap<(Kind, &str), usize> = HashMap::new();
    let mut deleted: HashMap<(Kind, &str), usize> = HashMap::new();
    let mut given_up: HashMap<Unique, usize> = HashMap::new();
    for (index, change) in changes.iter().enumerate() {
        match change.action {
            Action::Create => created.insert((change.kind, &change.id), index),
            Action::Delete => deleted.insert((change.kind, &change.id), index),
            Action::Update => None,
        };
        let kept: HashSet<Unique> = uniques(change, change.after.as_ref()).collect();
        for value in uniques(change, change.before.as_ref()).filter(|value| !kept.contains(value)) {
            given_up.insert(value, index);
        }
    }
    let mut needs: Vec<HashSet<usize>> = vec![HashSet::new(); changes.len()];
    for (index, change) in changes.iter().enumerate() {
        if let Some(after) = &change.after {
            for (_, to, id, _) in references(change.kind, after) {
                needs[index].extend(created.get(&(to, id)));
            }
            needs[index]
                .extend(uniques(change, Some(after)).filter_map(|value| given_up.get(&value)));
        }
        if let Some(before) = &change.before {
            for (_, to, id, _) in references(change.kind, before) {
                if let Some(deletion) = deleted.get(&(to, id)) {
                    needs[*deletion].insert(index);
                }
            }
        }
    }
    for (creation, deletions) in takeovers(changes) {
        // Unless the deletion waits for others to refer to what is created.
        let free = deletions.into_iter().filter(|deletion| {
            let mut waits = needs[*deletion].iter();
            waits.all(|need| changes[*need].action == Action::Delete)
        });
        let free: Vec<usize> = free.collect();
        needs[creation].extend(free);
    }
    needs
        .into_iter()
        .enumerate()
        .map(|(index, set)| {
            let mut list: Vec<usize> = set.into_iter().filter(|other| *other != index).collect();
            list.sort_unstable();
            list
        })
        .collect()
}

/// Creations of entities that have no name, each with the deletions of those that stood in its place.
fn takeovers(changes: &[Change]) -> Vec<(usize, Vec<usize>)> {
    let is_nameless = |kind: Kind| kind.is_custom() && kind.spec().natural_keys.is_empty();
    let place = |kind: Kind, body: &Map<String, Value>| -> (Kind, Vec<String>) {
        let owners = references(kind, body).map(|(field, _, id, _)| format!("{field} {id}"));
        (kind, owners.collect())
    };
    let mut left: HashMap<(Kind, Vec<String>), Vec<usize>> = HashMap::new();
    let mut taken = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        if !is_nameless(change.kind) {
            continue;
        }
        match (change.action, &change.before, &change.after) {
            (Action::Delete, Some(before), _) => {
                left.entry(place(change.kind, before))
                    .or_default()
                    .push(index);
            }
            (Action::Create, _, Some(after)) => taken.push((index, place(change.kind, after))),
            _ => {}
        }
    }
    taken
        .into_iter()
        .filter_map(|(index, place)| Some((index, left.get(&place)?.clone())))
        .collect()
}

/// A value that only one entity of a kind may have: its id, a unique field, or the fields of its natural key together.
type Unique = (Kind, String, Vec<String>);

fn uniques<'a>(
    change: &'a Change,
    body: Option<&'a Map<String, Value>>,
) -> impl Iterator<Item = Unique> + 'a {
    let kind = change.kind;
    body.into_iter().flat_map(move |body| {
        let fields = kind
            .record()
            .fields
            .iter()
            .filter(|(_, field)| field.unique);
        let fields = fields.filter_map(move |(name, _)| {
            let value = reference_id(body.get(name)?)?;
            Some((kind, name.clone(), vec![value.to_owned()]))
        });
        let keys = kind.spec().natural_keys.iter();
        let keys = keys
            .filter(move |key| key.len() > 1 && kind != Kind::Certificate)
            .filter_map(move |key| Some((kind, key.join("+"), natural_key(body, key)?)));
        let id = (kind, "id".to_owned(), vec![change.id.clone()]);
        fields.chain(keys).chain(std::iter::once(id))
    })
}

/// The changes that can never have their turn, if any.
fn circle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (index, list) in needs.iter().enumerate() {
        for need in list {
            waiters[*need].push(index);
        }
    }
    let mut ready: Vec<usize> = (0..needs.len())
        .filter(|index| waiting[*index] == 0)
        .collect();
    let mut done = 0;
    while let Some(index) = ready.pop() {
        done += 1;
        for waiter in &waiters[index] {
            waiting[*waiter] -= 1;
            if waiting[*waiter] == 0 {
                ready.push(*waiter);
            }
        }
    }
    (done < needs.len()).then(|| {
        (0..needs.len())
            .filter(|index| waiting[*index] > 0)
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Reason;
    use super::super::diff::diff;
    use super::*;
    use crate::admin::schema::Schemas;
    use crate::state::resolve::Scope;
    use crate::state::resolve::tests::{desired_of, stored};

    fn change(action: Action, kind: Kind, id: &str, before: Value, after: Value) -> Change {
        let map = |value: Value| value.as_object().cloned();
        Change {
            action,
            kind,
            id: id.to_owned(),
            label: id.to_owned(),
            before: map(before),
            after: map(after),
            fields: Vec::new(),
            reason: Reason::Missing,
            source: None,
            partial: None,
            hidden: Vec::new(),
        }
    }

    #[test]
    fn a_name_is_taken_after_it_was_given_up() {
        let named = |name: &str| json!({"name": name, "host": "h"});
        let found = plan(
            vec![
                change(
                    Action::Create,
                    Kind::Service,
                    "new",
                    Value::Null,
                    named("llm"),
                ),
                change(
                    Action::Update,
                    Kind::Service,
                    "old",
                    named("llm"),
                    named("old"),
                ),
            ],
            0,
        )
        .unwrap();
        assert_eq!(found.needs, [vec![1], vec![]]);
    }

    #[test]
    fn names_that_are_swapped_are_refused() {
        let named = |name: &str| json!({"name": name, "host": "h"});
        let error = plan(
            vec![
                change(Action::Update, Kind::Service, "1", named("a"), named("b")),
                change(Action::Update, Kind::Service, "2", named("b"), named("a")),
            ],
            0,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "these changes wait for each other: service 1, service 2"
        );
    }

    /// Kong has one chain an owner, and wants an owner for each.
    #[test]
    fn filter_chains_swap_what_they_hold_and_not_their_owners() {
        let owners = "services: [{name: a, host: h}, {name: b, host: h}]\nfilter_chains:\n";
        let chains = |first: &str, second: &str| format!("{owners}- {{{first}}}\n- {{{second}}}\n");
        let found = |before: &str, after: &str| {
            let (current, scope) = (stored(before), Scope::default());
            let desired = desired_of(after, &current, &scope).unwrap();
            diff(&current, desired, &scope, &Schemas::default())
        };
        let before = chains(
            "name: x, service: a, filters: [{name: one}]",
            "name: y, service: b, filters: [{name: two}]",
        );
        let after = chains(
            "name: x, service: b, filters: [{name: one}]",
            "name: y, service: a, filters: [{name: two}]",
        );
        let error = found(&before, &after).unwrap_err();
        assert_eq!(
            error.to_string(),
            "these changes wait for each other: filter chain x, filter chain y"
        );
        // The way out that the hint names: one of them goes before the other takes its owner.
        let without = after.lines().take(3).collect::<Vec<_>>().join("\n");
        let first = found(&before, &without).unwrap();
        let actions: Vec<_> = first.changes.iter().map(|change| change.action).collect();
        assert_eq!(actions, [Action::Update, Action::Delete]);
        assert_eq!(first.needs, [vec![1], vec![]]);

        // Without names they are what their owners have.
        let before = chains(
            "service: a, filters: [{name: one}]",
            "service: b, filters: [{name: two}]",
        );
        let after = chains(
            "service: b, filters: [{name: one}]",
            "service: a, filters: [{name: two}]",
        );
        let swapped = found(&before, &after).unwrap();
        assert_eq!(swapped.summary().update, 2);
        assert_eq!(swapped.needs, [vec![], vec![]] as [Vec<usize>; 2]);
    }

    #[test]
    fn a_certificate_goes_after_its_last_user_has_moved() {
        let sni = |id: &str| json!({"name": "a.example", "certificate": {"id": id}});
        let found = plan(
            vec![
                change(
                    Action::Create,
                    Kind::Certificate,
                    "new",
                    Value::Null,
                    json!({"cert": "n", "key": "n"}),
                ),
                change(Action::Update, Kind::Sni, "sni", sni("old"), sni("new")),
                change(
                    Action::Delete,
                    Kind::Certificate,
                    "old",
                    json!({"cert": "o", "key": "o"}),
                    Value::Null,
                ),
            ],
            0,
        )
        .unwrap();
        assert_eq!(found.needs, [vec![], vec![0], vec![1]]);
    }
}
