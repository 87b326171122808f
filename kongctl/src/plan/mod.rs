//! The plan: what must change so that the node is as desired, and in which order. Pure, no I/O.
//!
//! `compare` tells two bodies apart by schema; `diff` makes changes of two states; `order` makes a graph of the changes;
//! `saved` keeps a plan for later and tells whether the node still is as it was; `restore` makes a plan of a journal.

pub(crate) mod compare;
pub(crate) mod diff;
mod digest;
pub(crate) mod guard;
pub(crate) mod order;
pub(crate) mod restore;
pub(crate) mod saved;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::state::diagnostics::Place;

pub(crate) use digest::digest;

/// What happens to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Why an entity changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The files declare it, the node lacks it.
    Missing,
    /// The node has it otherwise than the files say.
    Differs,
    /// No file names it.
    Undeclared,
    /// The file gives it another id than the node has.
    OtherId,
    /// What it stands on gets another id.
    GroundMoves,
    /// A journal says that it was so.
    Restored,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldChange {
    /// Dots between names, `[n]` for places in lists.
    pub(crate) path: String,
    /// What the node has, `None` for nothing.
    pub(crate) before: Option<Value>,
    /// What it will have, `None` for nothing.
    pub(crate) after: Option<Value>,
    /// Neither value may be shown.
    pub(crate) secret: bool,
    /// The file does not write it: it goes back to its default.
    pub(crate) unwritten: bool,
}

/// One entity that changes.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) label: String,
    /// The node's body, none for a creation.
    pub(crate) before: Option<Map<String, Value>>,
    /// The body to write, none for a deletion.
    pub(crate) after: Option<Map<String, Value>>,
    pub(crate) fields: Vec<FieldChange>,
    pub(crate) reason: Reason,
    /// Where a file declares it.
    pub(crate) source: Option<Place>,
    /// Only these fields are written; without, all of them.
    pub(crate) partial: Option<Map<String, Value>>,
    /// JSON pointers into `after`: what is a secret there although no schema says so.
    pub(crate) hidden: Vec<String>,
}

impl Change {
    /// What messages call the entity: its kind and its name.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.kind.singular(), self.label)
    }

    /// True if the field with this path differs.
    pub(crate) fn changes(&self, path: &str) -> bool {
        self.fields.iter().any(|field| field.path == path)
    }
}

/// Changes and what each has to wait for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    /// For each change, the changes that come before it.
    pub(crate) needs: Vec<Vec<usize>>,
    pub(crate) unchanged: usize,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) create: usize,
    pub(crate) update: usize,
    pub(crate) delete: usize,
    pub(crate) unchanged: usize,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn summary(&self) -> Summary {
        let count = |action| {
            self.changes
                .iter()
                .filter(|change| change.action == action)
                .count()
        };
        Summary {
            create: count(Action::Create),
            update: count(Action::Update),
            delete: count(Action::Delete),
            unchanged: self.unchanged,
        }
    }
}

/// Why there can be no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// Something that we do not own stands on what would be deleted.
    #[error("deleting {what} would break what is not ours: {dependents}")]
    WouldBreak { what: String, dependents: String },
    /// An id changes, which takes a deletion, which was not asked for.
    #[error("{what} has another id on the node than in the file")]
    IdChanges { what: String },
    /// Names, or the owners of filter chains, are swapped: no order of single writes leads there.
    #[error("these changes wait for each other: {0}")]
    Circular(String),
}

impl PlanError {
    /// How to go on.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::WouldBreak { .. } => "tag those entities as ours, or delete them first",
            Self::IdChanges { .. } => {
                "only `kongctl sync` replaces entities: use it, or remove the id from the file"
            }
            Self::Circular(_) => {
                "sync with a third name for one of them first (without one of two filter chains), then sync again"
            }
        }
    }
}
