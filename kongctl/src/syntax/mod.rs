//! YAML as it is written: its comments, styles, anchors and templates, for verbs that rewrite files.
//!
//! # Layout
//!
//! `gaps` finds what a parser drops: comments, blank lines, the names of anchors. `read` joins that with the parser's events
//! into the tree here; `write` writes a tree in one layout; `select` finds what `edit`, `patch`, `tags` and
//! `namespace` change, `merge` joins several.
//!
//! # Invariants
//!
//! 1. What is written has the values of what was read (test: `writing_changes_no_value`); [`format()`] refuses otherwise.
//! 2. Each comment is still there, in the same order (test: `writing_changes_no_value`).
//! 3. Writing what was written changes nothing (test: `a_formatted_file_stays_as_it_is`).

mod edit;
mod gaps;
mod merge;
mod namespace;
mod patch;
mod read;
mod select;
mod tags;
mod write;

use serde_json::Value as Json;

use crate::state::diagnostics::{Diagnostics, Place};
use crate::state::references::{Policy, References};
use crate::state::yaml;

pub(crate) use edit::{Target, Where};
pub(crate) use merge::merge;
pub(crate) use namespace::{Namespace, Prefix};
pub(crate) use patch::Patch;
pub(crate) use read::read;
pub(crate) use select::Selector;
pub(crate) use write::write;

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) documents: Vec<Document>,
    /// It starts with `---`.
    starts_marked: bool,
}

/// One document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Comments that a blank line parts from the first value: those of the file.
    pub(crate) head: Vec<String>,
    pub(crate) root: Node,
    /// Comments after the last value.
    pub(crate) tail: Vec<String>,
}

/// A value with all that is written around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// Lines above it: comments, and empty ones.
    pub(crate) before: Vec<String>,
    /// A comment behind it, in its line.
    pub(crate) after: Option<String>,
    anchor: Option<String>,
    tag: Option<String>,
    pub(crate) content: Content,
    /// Where it was read; `None` for what a verb added.
    pub(crate) place: Option<Place>,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Alias(String),
    Scalar(Scalar),
    List(Vec<Node>, Layout),
    Map(Vec<Entry>, Layout),
}

impl Default for Content {
    fn default() -> Self {
        Self::Scalar(Scalar::Source(String::new()))
    }
}

/// A scalar, as far as possible in the words of its file.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    /// As it stands in one line, quotes included.
    Source(String),
    /// `|` or `>` with its indicators, and its lines without their indentation.
    Block(String, Vec<String>),
    /// Quoted over several lines, or added by a verb: a kept reference or a text.
    Text(String),
}

/// How a list or map is laid out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// In brackets or braces.
    flow: bool,
    /// Comments after its last entry.
    tail: Vec<String>,
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    /// The key's text.
    pub(crate) name: String,
    pub(crate) value: Node,
}

/// A file in its one layout. JSON stays JSON.
pub(crate) fn format(name: &str, text: &str, diagnostics: &mut Diagnostics) -> Option<String> {
    if let Some(json) = as_json(text) {
        // The strict reader tells of keys given twice, which a value cannot hold.
        values(name, text, diagnostics)?;
        return Some(crate::output::json(&json) + "\n");
    }
    let file = read(name, text, diagnostics)?;
    let formatted = write(&file);
    let before = values(name, text, diagnostics)?;
    let after = values(name, &formatted, &mut Diagnostics::default());
    if after.as_ref() != Some(&before) {
        let place = Place {
            file: name.into(),
            line: 1,
            column: 1,
        };
        diagnostics.add_with_help(
            &place,
            "this file cannot be written anew without changing what it says",
            Some("it is left as it is; please report it"),
        );
        return None;
    }
    Some(formatted)
}

/// The value of a text that is JSON.
pub(crate) fn as_json(text: &str) -> Option<Json> {
    let json: Json = serde_json::from_str(text).ok()?;
    (json.is_object() || json.is_array()).then_some(json)
}

/// What a text says, references left open. `None` with a word to `diagnostics` where it is no YAML.
pub(crate) fn values(name: &str, text: &str, diagnostics: &mut Diagnostics) -> Option<Vec<Json>> {
    let references = References {
        env: &|_| None,
        directory: std::path::PathBuf::new(),
        policy: Policy::KeepAll,
    };
    let mut own = Diagnostics::default();
    let documents = yaml::read(name, text, &references, &mut own);
    let is_good = own.is_empty();
    diagnostics.append(own);
    is_good.then(|| documents.iter().map(|node| node.to_json()).collect())
}

impl Node {
    /// The map's entries; nothing for any other value.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries, _) => entries,
            _ => &[],
        }
    }

    /// The list's items; nothing for any other value.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items, _) => items,
            _ => &[],
        }
    }

    /// The value of one key.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let entry = self.entries().iter().find(|entry| entry.name == name)?;
        Some(&entry.value)
    }

    /// The value of a scalar that is true or false.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match &self.content {
            Content::Scalar(Scalar::Source(source)) => source.to_lowercase().parse().ok(),
            _ => None,
        }
    }

    /// The text of a scalar that is one word: no reference, no block.
    pub(crate) fn word(&self) -> Option<String> {
        match &self.content {
            Content::Scalar(Scalar::Text(text)) => Some(text.clone()),
            Content::Scalar(Scalar::Source(source)) => {
                let values = values("", source, &mut Diagnostics::default())?;
                match values.first() {
                    Some(Json::String(text)) => Some(text.clone()),
                    Some(Json::Number(number)) => Some(number.to_string()),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
