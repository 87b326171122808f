//! The plan: what must change so that the node is as desired, and in which order. Pure, no I/O.
//!
//! `compare` tells two bodies apart by schema; `diff` makes changes of two states; `order` makes a graph of the changes.

pub(crate) mod compare;
pub(crate) mod diff;
pub(crate) mod order;

use serde_json::{Map, Value};

use crate::admin::entities::Kind;

/// What happens to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Why, where it is not plain.
    pub(crate) reason: Option<&'static str>,
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
    /// Names are swapped: no order of single writes leads there.
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
            Self::Circular(_) => "rename one of them to a third name first, then sync again",
        }
    }
}
