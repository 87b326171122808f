//! Whether a node still is as it was when a plan was saved, and what of the plan is left to do.
//!
//! # Algorithm
//!
//! Each change looks at its entity on the node: as it was found, it is still to be made; as it will be left, it is done already (an
//! earlier run got that far); anything else is somebody else's doing, and then nothing of the plan is carried out.

use std::collections::{HashMap, HashSet};

use crate::admin::entities::Kind;
use crate::admin::schema::Schemas;
use crate::state::Entity;
use crate::state::current::Inventory;

use super::super::compare::compare;
use super::super::diff::{check_dependents, hide, hide_kept};
use super::super::{Action, Change, Plan, PlanError, digest, order};
use super::{SavedChange, SavedPlan, subjects};

/// A plan that fits the node, and how many of its changes were made before.
#[derive(Debug)]
pub(crate) struct Revived {
    pub(crate) plan: Plan,
    pub(crate) already: usize,
}

/// Why a saved plan is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stale {
    /// A kind that this program does not know.
    #[error("the plan speaks of `{0}`, which this kongctl does not know")]
    UnknownKind(String),
    /// Somebody changed what the plan touches: what, and how.
    #[error("the node moved since the plan was made; nothing was changed:{}", lines(.0))]
    Moved(Vec<String>),
    /// The changes that are left have no order.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

fn lines(moved: &[String]) -> String {
    moved.iter().fold(String::new(), |mut out, line| {
        out.push_str("\n    ");
        out.push_str(line);
        out
    })
}

impl Stale {
    /// How to go on.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::UnknownKind(_) => "use the version of kongctl that made the plan",
            Self::Moved(_) => {
                "make a new plan with `kongctl plan`: it shows what is there now, and what would become of it"
            }
            Self::Plan(error) => error.hint(),
        }
    }
}

impl SavedPlan {
    /// The kinds and the plugins whose schemas tell whether the node moved.
    pub(crate) fn subjects(&self) -> (Vec<Kind>, Vec<String>) {
        subjects(
            self.changes.iter().filter_map(|change| {
                Some((Kind::from_name(&change.kind)?, change.entity.as_ref()?))
            }),
        )
    }

    /// What is left to do on a node that has `current`.
    pub(crate) fn revive(&self, current: &Inventory, schemas: &Schemas) -> Result<Revived, Stale> {
        let mut seen = Seen {
            current,
            schemas,
            hashed_passwords: self.hashed_passwords,
            deleted: HashMap::new(),
            created: HashMap::new(),
            touched: HashSet::new(),
            taken: HashSet::new(),
        };
        let mut kinds = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            let kind = Kind::from_name(&change.kind)
                .ok_or_else(|| Stale::UnknownKind(change.kind.clone()))?;
            kinds.push(kind);
            seen.touched.insert((kind, change.id.as_str()));
            let key = (kind, change.id.as_str());
            match change.action {
                Action::Delete => drop(seen.deleted.insert(key, change.found.as_deref())),
                Action::Create => drop(seen.created.insert(key, change)),
                Action::Update => {}
            }
        }
        seen.taken = current
            .iter()
            .filter(|entity| !seen.touched.contains(&(entity.kind, entity.id.as_str())))
            .flat_map(keys_of)
            .collect();
        let mut moved = Vec::new();
        let mut already = 0;
        let mut changes = Vec::new();
        for (change, kind) in self.changes.iter().zip(kinds) {
            let what = || format!("{} {}", kind.singular(), change.name);
            match seen.look(change, kind) {
                Look::ToDo => changes.push(seen.change(change, kind)),
                Look::Done => already += 1,
                Look::Moved(how) => moved.push(format!("{}: {how}", what())),
            }
            for (to, id) in seen.missing_grounds(change, kind) {
                moved.push(format!(
                    "{}: the {} {id} that it refers to is gone",
                    what(),
                    to.singular()
                ));
            }
        }
        if !moved.is_empty() {
            return Err(Stale::Moved(moved));
        }
        check_dependents(current, &changes).map_err(|error| match error {
            PlanError::WouldBreak { what, dependents } => {
                Stale::Moved(vec![format!("{dependents}: stands on {what} now")])
            }
            other => other.into(),
        })?;
        let plan = order::plan(changes, self.unchanged)?;
        Ok(Revived { plan, already })
    }
}

enum Look {
    ToDo,
    Done,
    Moved(&'static str),
}

struct Seen<'a> {
    current: &'a Inventory,
    schemas: &'a Schemas,
    hashed_passwords: bool,
    /// The deletions, with the digest of what goes.
    deleted: HashMap<(Kind, &'a str), Option<&'a str>>,
    created: HashMap<(Kind, &'a str), &'a SavedChange>,
    touched: HashSet<(Kind, &'a str)>,
    /// The natural keys of what the plan does not touch.
    taken: HashSet<NaturalKey>,
}

/// Kind, number of the key in the table, values.
type NaturalKey = (Kind, usize, Vec<String>);

fn keys_of(entity: &Entity) -> impl Iterator<Item = NaturalKey> {
    let keys = entity.kind.spec().natural_keys.iter().enumerate();
    keys.filter_map(|(number, key)| Some((entity.kind, number, entity.natural_key(key)?)))
}

impl Seen<'_> {
    fn look(&self, change: &SavedChange, kind: Kind) -> Look {
        let current = self.current.get(kind, &change.id);
        let as_found = |found: Option<&str>| {
            current.is_some_and(|entity| found == Some(digest(entity).as_str()))
        };
        match (change.action, current) {
            (Action::Delete, None) => Look::Done,
            (Action::Delete | Action::Update, Some(_)) if as_found(change.found.as_deref()) => {
                Look::ToDo
            }
            // Created anew under its old id, by an earlier run.
            (Action::Delete, Some(entity))
                if self
                    .created
                    .get(&(kind, change.id.as_str()))
                    .is_some_and(|created| self.is_as_planned(created, entity)) =>
            {
                Look::Done
            }
            (Action::Update, None) => Look::Moved("was deleted meanwhile"),
            (Action::Update, Some(entity)) if self.is_as_planned(change, entity) => Look::Done,
            (Action::Delete | Action::Update, Some(_)) => Look::Moved("was changed meanwhile"),
            (Action::Create, None) if self.is_taken(change, kind) => {
                Look::Moved("was created meanwhile, with another id")
            }
            (Action::Create, None) => Look::ToDo,
            // An entity that is created anew under its old id.
            (Action::Create, Some(_))
                if self
                    .deleted
                    .get(&(kind, change.id.as_str()))
                    .is_some_and(|found| as_found(*found)) =>
            {
                Look::ToDo
            }
            (Action::Create, Some(entity)) if self.is_as_planned(change, entity) => Look::Done,
            (Action::Create, Some(_)) => Look::Moved("was created meanwhile"),
        }
    }

    fn is_as_planned(&self, change: &SavedChange, entity: &Entity) -> bool {
        change.entity.as_ref().is_some_and(|wanted| {
            compare(
                entity.kind,
                wanted,
                &entity.body,
                self.schemas,
                self.hashed_passwords,
            )
            .is_empty()
        })
    }

    /// Has an entity that the plan does not touch the name of one that it creates?
    fn is_taken(&self, change: &SavedChange, kind: Kind) -> bool {
        change.entity.as_ref().is_some_and(|body| {
            let wanted = Entity {
                kind,
                id: change.id.clone(),
                body: body.clone(),
                label: String::new(),
                source: None,
            };
            keys_of(&wanted).any(|key| self.taken.contains(&key))
        })
    }

    /// What the change refers to and is neither there nor made by the plan.
    fn missing_grounds(&self, change: &SavedChange, kind: Kind) -> Vec<(Kind, String)> {
        let Some(body) = &change.entity else {
            return Vec::new();
        };
        let entity = Entity {
            kind,
            id: String::new(),
            body: body.clone(),
            label: String::new(),
            source: None,
        };
        entity
            .references()
            .filter(|(_, to, id, _)| {
                !self.current.contains(*to, id) && !self.touched.contains(&(*to, id))
            })
            .map(|(_, to, id, _)| (to, id.to_owned()))
            .collect()
    }

    fn change(&self, saved: &SavedChange, kind: Kind) -> Change {
        let before = match saved.action {
            Action::Create => None,
            _ => self
                .current
                .get(kind, &saved.id)
                .map(|entity| entity.body.clone()),
        };
        let mut fields = match (saved.action, &before, &saved.entity) {
            (Action::Update, Some(before), Some(after)) => {
                compare(kind, after, before, self.schemas, self.hashed_passwords)
            }
            _ => Vec::new(),
        };
        hide(&mut fields, &saved.hidden);
        if let Some(before) = &before {
            hide_kept(&mut fields, kind, before, self.schemas);
        }
        Change {
            action: saved.action,
            kind,
            id: saved.id.clone(),
            label: saved.name.clone(),
            before,
            after: saved.entity.clone(),
            fields,
            reason: saved.reason,
            source: saved.source.clone(),
            partial: None,
            hidden: saved.hidden.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Origin, save};
    use super::*;
    use crate::plan::diff::diff;
    use crate::state::resolve::Scope;
    use crate::state::resolve::tests::{desired_of, stored};

    const A: &str = "
services:
- {name: llm, host: h, routes: [{name: chat, paths: [/chat]}]}
- {name: old, host: h}
";
    const B: &str = "
services:
- {name: llm, host: other, routes: [{name: chat, paths: [/chat]}, {name: talk, paths: [/talk]}]}
";

    fn plan(from: &Inventory, text: &str) -> SavedPlan {
        let scope = Scope::default();
        let desired = desired_of(text, from, &scope).unwrap();
        let plan = diff(from, desired, &scope, &Schemas::default()).unwrap();
        let origin = Origin {
            files: Vec::new(),
            nodes: Vec::new(),
            mode: "database".to_owned(),
            select_tags: Vec::new(),
        };
        let saved = save(&plan, origin, false, 0);
        let text = serde_json::to_string(&saved).unwrap();
        serde_json::from_str(&text).expect("what is written can be read")
    }

    fn on(plan: &SavedPlan, current: &str) -> Result<(usize, usize), String> {
        plan.revive(&stored(current), &Schemas::default())
            .map(|revived| (revived.plan.changes.len(), revived.already))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn on_the_node_as_it_was_all_of_it_is_left() {
        assert_eq!(on(&plan(&stored(A), B), A), Ok((3, 0)));
    }

    #[test]
    fn what_an_earlier_run_did_is_not_done_again() {
        let plan = plan(&stored(A), B);
        let halfway = A
            .replace("- {name: old, host: h}", "")
            .replace("host: h,", "host: other,");
        assert_eq!(on(&plan, &halfway), Ok((1, 2)));
        assert_eq!(on(&plan, B), Ok((0, 3)));
    }

    #[test]
    fn what_moved_is_named_and_what_the_plan_does_not_touch_may_move() {
        let plan = plan(&stored(A), B);
        let with = |from: &str, to: &str| on(&plan, &A.replace(from, to));
        assert_eq!(with("/chat", "/elsewhere"), Ok((3, 0)));
        for (from, to, expected) in [
            (
                "name: llm, host: h",
                "name: llm, host: x",
                "service llm: was changed meanwhile",
            ),
            (
                "name: old, host: h",
                "name: old, host: x",
                "service old: was changed meanwhile",
            ),
            (
                "- {name: old, host: h}",
                "- {name: old, host: h, routes: [{name: n, paths: [/n]}]}",
                "route n: stands on service old now",
            ),
            (
                "services:",
                "routes: [{name: talk, paths: [/x]}]\nservices:",
                "route talk: was created meanwhile",
            ),
            (
                "services:",
                "routes: [{name: talk, id: 11111111-1111-4111-8111-111111111111, paths: [/x]}]\nservices:",
                "route talk: was created meanwhile, with another id",
            ),
        ] {
            let told = with(from, to).unwrap_err();
            let expected = format!(
                "the node moved since the plan was made; nothing was changed:\n    {expected}"
            );
            assert_eq!(told, expected);
        }
        let gone = on(&plan, "services: [{name: old, host: h}]").unwrap_err();
        assert!(
            gone.contains("service llm: was deleted meanwhile"),
            "{gone}"
        );
    }

    #[test]
    fn an_entity_created_anew_under_its_id_is_done_or_to_do_but_not_moved() {
        let a = "services: [{name: llm, host: h}]\nroutes: [{name: r, id: 22222222-2222-4222-8222-222222222222, paths: [/], service: llm}]";
        let b = a.replace(
            "name: llm, host",
            "name: llm, id: 11111111-1111-4111-8111-111111111111, host",
        );
        let plan = plan(&stored(a), &b);
        assert_eq!(on(&plan, a), Ok((4, 0)));
        assert_eq!(on(&plan, &b), Ok((0, 4)));
        let deleted = "services: [{name: llm, host: h}]";
        assert_eq!(on(&plan, deleted), Ok((3, 1)));
    }

    fn files() -> impl Strategy<Value = String> {
        prop::collection::btree_map("[a-d]", 0_u8..3, 0..4).prop_map(|consumers| {
            let consumers = consumers
                .into_iter()
                .map(|(name, tag)| format!("- {{username: {name}, tags: [t{tag}]}}\n"));
            let consumers: Vec<String> = consumers.collect();
            format!(
                "services: [{{name: keep, host: h}}]\nconsumers:\n{}",
                consumers.concat()
            )
        })
    }

    proptest! {
        #[test]
        fn a_plan_fits_where_it_was_made_and_where_it_led(a in files(), b in files()) {
            let plan = plan(&stored(&a), &b);
            prop_assert_eq!(on(&plan, &a), Ok((plan.changes.len(), 0)));
            prop_assert_eq!(on(&plan, &b), Ok((0, plan.changes.len())));
        }
    }
}
