//! A journal becomes the plan that undoes it.
//!
//! # Algorithm
//!
//! For each entity that the run touched, or may have touched, three states are compared: what was there before, what the run was to
//! leave, and what is there now. As before: nothing to do. As left by the run: back to what was before. Anything else is somebody
//! else's doing, and is left alone unless that is asked for. What the run did not come to is not looked at.
//!
//! # Invariants
//!
//! 1. Entities that the journal does not name are neither changed nor deleted through what they stand on.
//! 2. Where nobody interfered, the node's dump is byte for byte what it was, ids included (test: the stories' `oracle`).
//!
//! A database's node hashes every basic-auth password and, with `hash_secret`, every OAuth 2.0 client secret that it is given: one
//! that is gone can only come back if somebody knows it.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Schemas};
use crate::journal::{Entry, Fate, Journal};
use crate::state::current::Inventory;
use crate::state::{Entity, ids, reference_id};

use super::compare::compare;
use super::diff::{check_dependents, hide_kept};
use super::{Action, Change, Plan, PlanError, Reason, digest, order};

/// What a restoration may assume and do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// The node hashes passwords that it is given: it has a database.
    pub(crate) node_hashes: bool,
    /// Restore what others changed since, too.
    pub(crate) overrule: bool,
    /// Passwords and client secrets that somebody knows, to be found by their hash.
    pub(crate) known_passwords: Vec<String>,
    /// Seconds since the journal was made.
    pub(crate) age: u64,
}

/// The way back, and what stands in it.
#[derive(Debug)]
pub(crate) struct Restoration {
    pub(crate) plan: Plan,
    /// What others changed since, and so stays as it is.
    pub(crate) moved: Vec<String>,
    /// What cannot be brought back, and why.
    pub(crate) lost: Vec<String>,
}

/// The kinds and the plugins whose schemas are needed.
pub(crate) fn subjects(journal: &Journal) -> (Vec<Kind>, Vec<String>) {
    let bodies = journal.head.changes.iter().flat_map(|entry| {
        let kind = Kind::from_name(&entry.kind);
        let bodies = entry.before.iter().chain(&entry.after);
        bodies.filter_map(move |body| Some((kind?, body)))
    });
    super::saved::subjects(bodies)
}

/// The plan that undoes what `journal` tells.
pub(crate) fn restore(
    journal: &Journal,
    current: &Inventory,
    schemas: &Schemas,
    terms: &Terms,
) -> Result<Restoration, PlanError> {
    let mut moved = Vec::new();
    let mut lost = Vec::new();
    let mut changes = Vec::new();
    let histories = histories(journal);
    let replaced = replaced(&histories, current, schemas);
    for ((kind, id), history) in histories {
        let now = current.get(kind, &id);
        // As the run did: an update would wait for the ground that it leaves, and that for the update.
        let replaced = replaced.contains(&(kind, id.clone()));
        let what = format!("{} {}", kind.singular(), history.name);
        match history.look(kind, &id, now, schemas) {
            Look::AsBefore if !replaced => continue,
            Look::AsBefore | Look::AsLeft => {}
            Look::Moved => {
                moved.push(format!("{what}: {}", how(now)));
                if !terms.overrule {
                    continue;
                }
            }
        }
        let mut before = history.before.cloned();
        if let Some(before) = &mut before {
            if !keep_time(kind, before, terms.age) {
                lost.push(format!("{what}: its time has run out"));
                continue;
            }
            if terms.node_hashes
                && let Err(why) = regain_secret(
                    kind,
                    before,
                    now.filter(|_| !replaced),
                    &terms.known_passwords,
                )
            {
                lost.push(format!("{what}: {why}"));
                continue;
            }
        }
        let change = |before, now| change(kind, id.clone(), history.name, before, now, schemas);
        if replaced {
            changes.extend(change(None, now));
            changes.extend(change(before, None));
        } else {
            changes.extend(change(before, now));
        }
    }
    check_dependents(current, &changes)?;
    Ok(Restoration {
        plan: order::plan(changes, 0)?,
        moved,
        lost,
    })
}

/// What the run deleted and created under the same id, and has to be so again: itself, or what it stands on.
fn replaced(
    histories: &IndexMap<(Kind, String), History<'_>>,
    current: &Inventory,
    schemas: &Schemas,
) -> HashSet<(Kind, String)> {
    let mut replaced = HashSet::new();
    let mut keys: Vec<_> = histories.iter().collect();
    // Whatever a kind refers to comes before it.
    keys.sort_by_key(|((kind, _), _)| *kind);
    for ((kind, id), history) in keys {
        let Some(now) = current.get(*kind, id) else {
            continue;
        };
        if !history.deletes || history.after.is_none() || history.before.is_none() {
            continue;
        }
        let moved = !matches!(history.look(*kind, id, Some(now), schemas), Look::AsBefore);
        let stands_on_replaced = now
            .references()
            .any(|(_, to, id, _)| replaced.contains(&(to, id.to_owned())));
        if moved || stands_on_replaced {
            replaced.insert((*kind, id.clone()));
        }
    }
    replaced
}

fn how(now: Option<&Entity>) -> &'static str {
    if now.is_some() {
        "was changed since"
    } else {
        "was deleted since"
    }
}

/// What a run did to one entity: one change, or a deletion and a creation under the same id.
struct History<'a> {
    name: &'a str,
    before: Option<&'a Map<String, Value>>,
    after: Option<&'a Map<String, Value>>,
    /// The run deleted it, whatever it did afterwards.
    deletes: bool,
}

fn histories(journal: &Journal) -> IndexMap<(Kind, String), History<'_>> {
    let mut histories: IndexMap<(Kind, String), History<'_>> = IndexMap::new();
    let touched = journal
        .head
        .changes
        .iter()
        .enumerate()
        .filter(|(index, _)| matches!(journal.fate(*index), Fate::Done | Fate::Unknown));
    for (_, entry) in touched {
        let Some(kind) = Kind::from_name(&entry.kind) else {
            continue;
        };
        let Entry {
            action,
            before,
            after,
            ..
        } = entry;
        let history = histories
            .entry((kind, entry.id.clone()))
            .or_insert(History {
                name: &entry.name,
                before: None,
                after: None,
                deletes: false,
            });
        history.before = history.before.or(before.as_ref());
        history.after = history.after.or(after.as_ref());
        history.deletes |= *action == Action::Delete;
    }
    histories
}

enum Look {
    AsBefore,
    AsLeft,
    Moved,
}

impl History<'_> {
    fn look(&self, kind: Kind, id: &str, now: Option<&Entity>, schemas: &Schemas) -> Look {
        let Some(now) = now else {
            return match (self.before, self.after) {
                (None, _) => Look::AsBefore,
                (Some(_), None) => Look::AsLeft,
                (Some(_), Some(_)) if self.deletes => Look::AsLeft,
                (Some(_), Some(_)) => Look::Moved,
            };
        };
        let before = self.before.map(|body| Entity {
            kind,
            id: id.to_owned(),
            body: body.clone(),
            label: String::new(),
            source: None,
        });
        if before.is_some_and(|before| digest(&before) == digest(now)) {
            return Look::AsBefore;
        }
        match self.after {
            Some(after) if is_left(kind, after, now, schemas) => Look::AsLeft,
            _ => Look::Moved,
        }
    }
}

/// Is the entity as a run that wrote `after` left it?
fn is_left(kind: Kind, after: &Map<String, Value>, now: &Entity, schemas: &Schemas) -> bool {
    let (mut after, mut now) = (after.clone(), now.body.clone());
    if hides_secret(kind, &now) {
        after.shift_remove("client_secret");
        now.shift_remove("client_secret");
    }
    compare(kind, &after, &now, schemas, true).is_empty()
}

fn hides_secret(kind: Kind, body: &Map<String, Value>) -> bool {
    kind == Kind::OAuth2 && body.get("hash_secret") == Some(&Value::Bool(true))
}

/// Takes the time that passed off a credential's; false if none is left.
fn keep_time(kind: Kind, body: &mut Map<String, Value>, age: u64) -> bool {
    if kind != Kind::KeyAuth {
        return true;
    }
    match body.get("ttl").and_then(Value::as_u64) {
        Some(ttl) if ttl <= age => false,
        Some(ttl) => {
            body.insert("ttl".to_owned(), Value::from(ttl - age));
            true
        }
        None => true,
    }
}

/// Puts what hashes to the stored secret in its place, where the node would hash it again.
fn regain_secret(
    kind: Kind,
    before: &mut Map<String, Value>,
    now: Option<&Entity>,
    known: &[String],
) -> Result<(), &'static str> {
    let field = match kind {
        Kind::BasicAuth => "password",
        Kind::OAuth2 if hides_secret(kind, before) => "client_secret",
        _ => return Ok(()),
    };
    let stored = before.get(field).cloned();
    if now.is_some_and(|now| now.body.get(field) == stored.as_ref()) {
        return Ok(());
    }
    if kind == Kind::OAuth2 {
        return Err("the node kept only a hash of its client secret, and would hash that again");
    }
    let consumer = before
        .get("consumer")
        .and_then(reference_id)
        .unwrap_or_default();
    let password = known.iter().find(|password| {
        stored.as_ref().and_then(Value::as_str)
            == Some(ids::basic_auth_hash(password, consumer).as_str())
    });
    match password {
        Some(password) => {
            before.insert(field.to_owned(), Value::String(password.clone()));
            Ok(())
        }
        None => Err("the node kept only a hash of its password, and would hash that again"),
    }
}

fn change(
    kind: Kind,
    id: String,
    name: &str,
    before: Option<Map<String, Value>>,
    now: Option<&Entity>,
    schemas: &Schemas,
) -> Option<Change> {
    let after = before.map(|mut body| {
        // `created_at` stays: it breaks ties between routes.
        body.retain(|field, value| {
            let known = kind.record().fields.get(field);
            let made = known.is_some_and(|made| made.auto && !made.secret);
            let said = !value.is_null() || known.is_some_and(Field::means_null);
            said && (!made || matches!(field.as_str(), "created_at" | "ttl"))
        });
        body
    });
    let now = now.map(|entity| entity.body.clone());
    let (action, mut fields) = match (&after, &now) {
        (Some(after), Some(now)) => (Action::Update, compare(kind, after, now, schemas, false)),
        (Some(_), None) => (Action::Create, Vec::new()),
        (None, Some(_)) => (Action::Delete, Vec::new()),
        (None, None) => return None,
    };
    for body in after.iter().chain(&now) {
        hide_kept(&mut fields, kind, body, schemas);
    }
    Some(Change {
        action,
        kind,
        id,
        label: name.to_owned(),
        before: now,
        after,
        fields,
        reason: Reason::Restored,
        source: None,
        partial: None,
        hidden: Vec::new(),
    })
}

/// The newest journal of a node that is not undone yet, `journals` being in order from the newest.
pub(crate) fn latest<'a>(journals: &'a [Journal], node: &str) -> Option<&'a Journal> {
    let mut undone = HashSet::new();
    for journal in journals.iter().filter(|journal| journal.head.node == node) {
        match &journal.head.undoes {
            // One that was cut off has to be done again.
            Some(other) if journal.end == Some(true) => {
                undone.insert(other.as_str());
            }
            Some(_) => {}
            None if undone.contains(journal.name.as_str()) => {}
            None => return Some(journal),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;
    use crate::journal::{Head, VERSION, entries};
    use crate::plan::diff::diff;
    use crate::state::resolve::Scope;
    use crate::state::resolve::tests::{desired_of, stored};

    const A: &str = "
services:
- {name: llm, host: h, routes: [{name: chat, paths: [/chat]}]}
consumers: [{username: alice}]
";
    const B: &str = "
services:
- {name: llm, host: other}
consumers: [{username: bob}]
";

    /// The journal of a sync of `to` on a node that has `from`, with these fates; without all of them it was cut off.
    fn journal(from: &str, to: &str, fates: &[&str]) -> Journal {
        let (current, scope) = (stored(from), Scope::default());
        let desired = desired_of(to, &current, &scope).unwrap();
        let plan = diff(&current, desired, &scope, &Schemas::default()).unwrap();
        let head = Head {
            kongctl_journal: VERSION,
            made_by: String::new(),
            made_at: 0,
            verb: "sync".to_owned(),
            node: "n".to_owned(),
            mode: "database".to_owned(),
            undoes: None,
            changes: entries(&plan, false),
        };
        let mut text = serde_json::to_string(&head).unwrap() + "\n";
        for (change, fate) in fates.iter().enumerate() {
            writeln!(text, "{}", json!({"change": change, "fate": fate})).unwrap();
        }
        if fates.len() == plan.changes.len() {
            text.push_str("{\"ended_at\":1,\"complete\":true}\n");
        }
        Journal::parse("j", &text).unwrap()
    }

    fn back(journal: &Journal, now: &str, terms: &Terms) -> Restoration {
        restore(journal, &stored(now), &Schemas::default(), terms).unwrap()
    }

    fn told(restoration: &Restoration) -> Vec<String> {
        let changes = restoration.plan.changes.iter();
        changes
            .map(|change| format!("{} {}", change.action.name(), change.what()))
            .collect()
    }

    const ALL_DONE: &[&str] = &["done", "done", "done", "done"];

    #[test]
    fn everything_that_was_done_is_undone() {
        let restoration = back(&journal(A, B, ALL_DONE), B, &Terms::default());
        assert_eq!(
            told(&restoration),
            [
                "create consumer alice",
                "update service llm",
                "create route chat",
                "delete consumer bob"
            ]
        );
        assert!(restoration.moved.is_empty() && restoration.lost.is_empty());
    }

    #[test]
    fn an_id_that_changed_changes_back_with_what_stands_on_it() {
        let from = "services: [{name: llm, id: 11111111-1111-4111-8111-111111111111, host: h, routes: [{name: r, id: 33333333-3333-4333-8333-333333333333, paths: [/], plugins: [{name: key-auth}]}]}]";
        let to = from.replace("11111111-1111", "22222222-2222");
        let all_done = ["done"; 6];
        let restoration = back(&journal(from, &to, &all_done), &to, &Terms::default());
        assert_eq!(
            told(&restoration),
            [
                "create service llm",
                "create route r",
                "create plugin key-auth on route r",
                "delete plugin key-auth on route r",
                "delete route r",
                "delete service llm"
            ]
        );
    }

    #[test]
    fn what_a_run_that_was_cut_off_did_not_come_to_is_left_alone() {
        // Bob was created; then the lights went out.
        let halfway = format!("{A}- {{username: bob}}\n").replace(
            "consumers: [{username: alice}]\n",
            "consumers:\n- {username: alice}\n",
        );
        let restoration = back(&journal(A, B, &["done"]), &halfway, &Terms::default());
        assert_eq!(told(&restoration), ["delete consumer bob"]);
    }

    #[test]
    fn what_others_changed_since_stays_unless_overruled() {
        let journal = journal(A, B, ALL_DONE);
        let now = B.replace("host: other", "host: theirs");
        let restoration = back(&journal, &now, &Terms::default());
        assert_eq!(restoration.moved, ["service llm: was changed since"]);
        assert!(!told(&restoration).contains(&"update service llm".to_owned()));
        let terms = Terms {
            overrule: true,
            ..Terms::default()
        };
        assert!(told(&back(&journal, &now, &terms)).contains(&"update service llm".to_owned()));
    }

    #[test]
    fn what_others_stand_on_is_not_taken_from_under_them() {
        let journal = journal(
            "consumers: [{username: a}]",
            "consumers: [{username: a}]\nservices: [{name: new, host: h}]",
            &["done"],
        );
        let now = "consumers: [{username: a}]\nservices: [{name: new, host: h, routes: [{name: theirs, paths: [/]}]}]";
        let error = restore(
            &journal,
            &stored(now),
            &Schemas::default(),
            &Terms::default(),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "deleting service new would break what is not ours: route theirs"
        );
    }

    #[test]
    fn a_password_comes_back_only_if_somebody_knows_it() {
        let consumer = ids::derive(
            Kind::Consumer,
            json!({"username": "a"}).as_object().unwrap(),
            |_| None,
        );
        let hash = ids::basic_auth_hash("pw", &consumer);
        let from = format!(
            "_transform: false\nconsumers: [{{username: a, basicauth_credentials: [{{username: a, password: {hash}}}]}}]"
        );
        let journal = journal(&from, "consumers: [{username: a}]", &["done"]);
        let mut terms = Terms {
            node_hashes: true,
            ..Terms::default()
        };
        let now = "consumers: [{username: a}]";
        let restoration = back(&journal, now, &terms);
        assert!(restoration.plan.is_empty());
        assert_eq!(
            restoration.lost,
            [
                "basic-auth credential a: the node kept only a hash of its password, and would hash that again"
            ]
        );
        terms.known_passwords = vec!["other".to_owned(), "pw".to_owned()];
        let restoration = back(&journal, now, &terms);
        let after = restoration.plan.changes[0].after.as_ref().unwrap();
        assert_eq!(after["password"], "pw");
        let dbless = back(&journal, now, &Terms::default());
        assert_eq!(
            dbless.plan.changes[0].after.as_ref().unwrap()["password"],
            hash.as_str()
        );
    }

    #[test]
    fn a_credential_is_given_no_more_time_than_it_had() {
        let credential = |ttl: u64| json!({"key": "k", "ttl": ttl}).as_object().unwrap().clone();
        let mut body = credential(60);
        assert!(keep_time(Kind::KeyAuth, &mut body, 20));
        assert_eq!(body["ttl"], 40);
        assert!(!keep_time(Kind::KeyAuth, &mut credential(60), 60));
    }

    #[test]
    fn one_journal_after_the_other_is_undone() {
        let named = |name: &str, undoes: Option<&str>, end| {
            let mut journal = journal(A, B, ALL_DONE);
            name.clone_into(&mut journal.name);
            journal.head.undoes = undoes.map(str::to_owned);
            journal.end = end;
            journal
        };
        let older = [named("2", None, Some(true)), named("1", None, Some(true))];
        assert_eq!(latest(&older, "n").unwrap().name, "2");
        assert!(latest(&older, "another node").is_none());
        let mut undone = vec![named("3", Some("2"), Some(true))];
        undone.extend(older.clone());
        assert_eq!(latest(&undone, "n").unwrap().name, "1");
        let mut cut_off = vec![named("3", Some("2"), None)];
        cut_off.extend(older);
        assert_eq!(latest(&cut_off, "n").unwrap().name, "2");
    }
}
