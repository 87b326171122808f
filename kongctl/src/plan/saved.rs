//! A plan kept for later.
//!
//! # Model
//!
//! A saved plan has what each change would write, whole, with its secrets: it could not be carried out otherwise. Of what the node
//! had it keeps only a digest for each entity that the plan touches; what it does not touch may move.
//!
//! `revive` tells whether the node still is as it was then.

mod revive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::state::Entity;
use crate::state::diagnostics::Place;

use super::{Action, Change, Plan, Reason, digest};

pub(crate) use revive::Stale;

/// The version of the file's form that this program writes and reads.
pub(crate) const VERSION: u32 = 1;

/// A plan as a file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPlan {
    pub(crate) kongctl_plan: u32,
    /// The program that wrote it.
    pub(crate) made_by: String,
    /// When, in seconds since 1970.
    pub(crate) made_at: u64,
    pub(crate) made_of: Origin,
    /// The files give basic-auth passwords as hashes.
    pub(crate) hashed_passwords: bool,
    /// How many entities were as the files say.
    pub(crate) unchanged: usize,
    pub(crate) changes: Vec<SavedChange>,
}

/// What a plan was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    pub(crate) files: Vec<FileMark>,
    /// The addresses of the nodes.
    pub(crate) nodes: Vec<String>,
    /// `database` or `db-less`.
    pub(crate) mode: String,
    pub(crate) select_tags: Vec<String>,
}

/// A file and its content's SHA-256 in hexadecimal; standard input has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileMark {
    pub(crate) path: String,
    pub(crate) sha256: Option<String>,
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedChange {
    pub(crate) action: Action,
    /// Kong's name of the kind.
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) reason: Reason,
    pub(crate) source: Option<Place>,
    /// The digest of what the node had, none for nothing.
    pub(crate) found: Option<String>,
    /// What is to be written, none for a deletion.
    pub(crate) entity: Option<Map<String, Value>>,
    /// JSON pointers into it: what is a secret although no schema says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hidden: Vec<String>,
}

/// A plan and where it comes from.
pub(crate) fn save(
    plan: &Plan,
    made_of: Origin,
    hashed_passwords: bool,
    made_at: u64,
) -> SavedPlan {
    let changes = plan.changes.iter().map(|change| SavedChange {
        action: change.action,
        kind: change.kind.name().to_owned(),
        id: change.id.clone(),
        name: change.label.clone(),
        reason: change.reason,
        source: change.source.clone(),
        found: change
            .before
            .as_ref()
            .map(|before| digest(&entity(change, before.clone()))),
        entity: change.after.clone(),
        hidden: change.hidden.clone(),
    });
    SavedPlan {
        kongctl_plan: VERSION,
        made_by: concat!("kongctl ", env!("CARGO_PKG_VERSION")).to_owned(),
        made_at,
        made_of,
        hashed_passwords,
        unchanged: plan.unchanged,
        changes: changes.collect(),
    }
}

fn entity(change: &Change, body: Map<String, Value>) -> Entity {
    Entity {
        kind: change.kind,
        id: change.id.clone(),
        body,
        label: change.label.clone(),
        source: None,
    }
}

/// The kinds and plugins among bodies.
pub(super) fn subjects<'a>(
    bodies: impl Iterator<Item = (Kind, &'a Map<String, Value>)>,
) -> (Vec<Kind>, Vec<String>) {
    let (mut kinds, mut plugins) = (Vec::new(), Vec::new());
    for (kind, body) in bodies {
        kinds.push(kind);
        if kind == Kind::Plugin {
            plugins.extend(body.get("name").and_then(Value::as_str).map(str::to_owned));
        }
    }
    kinds.sort();
    kinds.dedup();
    plugins.sort();
    plugins.dedup();
    (kinds, plugins)
}
