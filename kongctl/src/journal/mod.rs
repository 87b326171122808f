//! Journals: what a run found, what it meant to do, and what became of it. They make a run reversible, also one that was cut off.
//!
//! # Model
//!
//! A file of JSON lines that only its owner can read. The first line has every change with what the node had before and what it was
//! to have; it is on the disk before the first call is made. A line follows for each change that came to an end. A change without
//! a line, in a journal without its last line, may have been made or not.
//!
//! Basic-auth passwords are kept as the hashes that Kong keeps; other secrets are there as Kong gives them away.

mod store;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::plan::{Action, Plan};
use crate::state::{ids, reference_id};

pub(crate) use store::{Directory, JournalError, Target, Writer};

/// The version of the file's form that this program writes and reads.
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) kongctl_journal: u32,
    /// The program that wrote it.
    pub(crate) made_by: String,
    /// When, in seconds since 1970.
    pub(crate) made_at: u64,
    /// `sync`, `apply`, `reset` or `rollback`.
    pub(crate) verb: String,
    /// The address of the node.
    pub(crate) node: String,
    /// `database` or `db-less`.
    pub(crate) mode: String,
    /// The journal that this run undoes.
    pub(crate) undoes: Option<String>,
    pub(crate) changes: Vec<Entry>,
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) action: Action,
    /// Kong's name of the kind.
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the node had, none for nothing.
    pub(crate) before: Option<Map<String, Value>>,
    /// What it was to have, none for nothing.
    pub(crate) after: Option<Map<String, Value>>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    Done,
    /// Kong refused.
    Failed,
    /// Never sent.
    NotDone,
    /// Sent, and no answer came.
    Unknown,
}

/// A line after the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Outcome { change: usize, fate: Fate },
    End { ended_at: u64, complete: bool },
}

/// A journal as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    /// The file's name without its ending.
    pub(crate) name: String,
    pub(crate) head: Head,
    fates: HashMap<usize, Fate>,
    /// Whether the run came to its end, and did everything.
    pub(crate) end: Option<bool>,
}

impl Journal {
    /// Reads a journal. A torn last line is what a run that was cut off leaves.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, JournalError> {
        let unreadable = |reason: String| JournalError::Unreadable {
            name: name.to_owned(),
            reason,
        };
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let version = serde_json::from_str::<Value>(first)
            .ok()
            .and_then(|head| head.get("kongctl_journal")?.as_u64());
        match version {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(unreadable(format!(
                    "its form has version {version}, this kongctl reads version {VERSION}"
                )));
            }
            None => return Err(unreadable("it is no journal of kongctl".to_owned())),
        }
        let head: Head = serde_json::from_str(first)
            // serde_json would repeat a value, which may be a secret.
            .map_err(|error| unreadable(format!("column {}: not as expected", error.column())))?;
        let mut journal = Self {
            name: name.to_owned(),
            head,
            fates: HashMap::new(),
            end: None,
        };
        for line in lines.map_while(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Outcome { change, fate } => {
                    journal.fates.insert(change, fate);
                }
                Line::End { complete, .. } => journal.end = Some(complete),
            }
        }
        Ok(journal)
    }

    /// What became of a change, by its number.
    pub(crate) fn fate(&self, index: usize) -> Fate {
        self.fates.get(&index).copied().unwrap_or(match self.end {
            Some(_) => Fate::NotDone,
            None => Fate::Unknown,
        })
    }

    /// How many changes were made for sure.
    pub(crate) fn done(&self) -> usize {
        let fates = (0..self.head.changes.len()).map(|index| self.fate(index));
        fates.filter(|fate| *fate == Fate::Done).count()
    }
}

/// The plan's changes as a journal keeps them.
pub(crate) fn entries(plan: &Plan, hashed_passwords: bool) -> Vec<Entry> {
    plan.changes
        .iter()
        .map(|change| {
            let mut after = change.after.clone();
            if change.kind == Kind::BasicAuth
                && !hashed_passwords
                && let Some(after) = &mut after
            {
                hash_password(change.before.as_ref(), after);
            }
            Entry {
                action: change.action,
                kind: change.kind.name().to_owned(),
                id: change.id.clone(),
                name: change.label.clone(),
                before: change.before.clone(),
                after,
            }
        })
        .collect()
}

fn hash_password(before: Option<&Map<String, Value>>, after: &mut Map<String, Value>) {
    let stored = before.and_then(|before| before.get("password")).cloned();
    let consumer = after
        .get("consumer")
        .and_then(reference_id)
        .unwrap_or_default()
        .to_owned();
    if let Some(Value::String(password)) = after.get_mut("password")
        && stored.is_none_or(|stored| stored != *password)
    {
        *password = ids::basic_auth_hash(password, &consumer);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head() -> Head {
        Head {
            kongctl_journal: VERSION,
            made_by: "kongctl".to_owned(),
            made_at: 0,
            verb: "sync".to_owned(),
            node: "http://127.0.0.1:8001".to_owned(),
            mode: "database".to_owned(),
            undoes: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_run_that_was_cut_off_leaves_its_last_changes_unknown() {
        let mut text = serde_json::to_string(&head()).unwrap();
        text.push_str(
            "\n{\"change\":0,\"fate\":\"done\"}\n{\"change\":1,\"fate\":\"failed\"}\n{\"chan",
        );
        let journal = Journal::parse("j", &text).unwrap();
        let fates = [0, 1, 2].map(|index| journal.fate(index));
        assert_eq!(fates, [Fate::Done, Fate::Failed, Fate::Unknown]);
    }

    #[test]
    fn a_run_that_came_to_its_end_left_the_rest_alone() {
        let mut text = serde_json::to_string(&head()).unwrap();
        text.push_str("\n{\"change\":0,\"fate\":\"done\"}\n{\"ended_at\":1,\"complete\":false}\n");
        let journal = Journal::parse("j", &text).unwrap();
        assert_eq!(journal.end, Some(false));
        assert_eq!(journal.fate(7), Fate::NotDone);
    }

    #[test]
    fn what_is_no_journal_is_refused_without_repeating_it() {
        for text in [
            "",
            "services: [s3cret]",
            "{\"kongctl_journal\": 9}",
            "{\"kongctl_journal\": 1, \"node\": \"s3cret\"}",
        ] {
            let error = Journal::parse("j", text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_kept_as_its_hash() {
        let consumer = "f7ecf0ce-22c1-4768-b53f-8561e1da8220";
        let mut after = json!({"password": "pw", "consumer": {"id": consumer}})
            .as_object()
            .unwrap()
            .clone();
        hash_password(None, &mut after);
        let hash = ids::basic_auth_hash("pw", consumer);
        assert_eq!(after["password"], hash.as_str());
        let stored = after.clone();
        hash_password(Some(&stored), &mut after);
        assert_eq!(
            after["password"],
            hash.as_str(),
            "a hash is not hashed again"
        );
    }
}
