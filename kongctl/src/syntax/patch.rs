//! Patches, as decK has them: fields of maps set and removed, items appended to lists.

use serde_json::{Map, Value as Json};

use super::edit::from_json;
use super::select::Sought;
use super::{File, Node, Where};
use crate::state::diagnostics::Diagnostics;

/// What a patch does.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// Sets and removes fields of maps.
    Fields {
        set: Map<String, Json>,
        remove: Vec<String>,
    },
    /// Appends to lists.
    Items(Vec<Json>),
}

impl File {
    /// Patches what is chosen, the file itself where nothing is. Gives back how much was found.
    pub(crate) fn patch(
        &mut self,
        patch: &Patch,
        to: &Where,
        diagnostics: &mut Diagnostics,
    ) -> usize {
        let mut found = 0;
        let mut change = |node: &mut Node, diagnostics: &mut Diagnostics| {
            found += 1;
            apply(patch, node, diagnostics);
        };
        match (to, patch) {
            (to, Patch::Fields { .. }) if to.is_open() => {
                for document in &mut self.documents {
                    change(&mut document.root, diagnostics);
                }
            }
            (Where::Selected(selectors), Patch::Items(_)) => {
                self.each_selected(selectors, Sought::Lists, diagnostics, &mut change);
            }
            (to, _) => self.each_chosen(to, diagnostics, &mut change),
        }
        found
    }
}

fn apply(patch: &Patch, node: &mut Node, diagnostics: &mut Diagnostics) {
    match patch {
        Patch::Fields { set, remove } => {
            for (name, value) in set {
                node.set(name, from_json(value));
            }
            for name in remove {
                if !node.remove(name)
                    && node.get("<<").is_some()
                    && let Some(place) = &node.place
                {
                    diagnostics.add_with_help(
                        place,
                        format!("`{name}` may come from `<<` here"),
                        Some("write out what is merged in, or set the field to what it should be"),
                    );
                }
            }
        }
        Patch::Items(items) => {
            for item in items {
                node.push(from_json(item));
            }
        }
    }
}
