//! YAML (and with it JSON) into nodes that know their place.
//!
//! # Invariants
//!
//! 1. Never panics, whatever the text (test: `no_text_makes_it_panic`).
//! 2. What aliases unfold to is bounded, and so is depth (test: `an_alias_bomb_is_refused`).
//! 3. `${{ … }}` is never YAML: it is hidden from the parser character by character, so that places stay true, and
//!    evaluated on the scalar that it ends up in. In a comment it is nothing.

mod scalar;

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::diagnostics::{Diagnostics, Place};
use super::node::{Entry, Node, NodeValue, OldBoolean};
use super::references::{
    Policy, References, has_open_template, hide_templates, is_kept, keep, keep_file, show_templates,
};
use super::secrets::may_be_secret;

pub(super) use scalar::plain_value;

use scalar::{Doubt, is_boolean_field};

/// Values that one document may unfold to, aliases counted each time they are used.
const MAX_VALUES: usize = 2_000_000;
/// Lists and maps within each other.
const MAX_DEPTH: usize = 128;

/// Reads every document of a text; what is wrong goes to `diagnostics`.
pub(crate) fn read(
    file: &str,
    text: &str,
    references: &References<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Arc<Node>> {
    let hidden = hide_templates(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut builder = Builder {
        file: file.into(),
        references,
        diagnostics,
        stack: Vec::new(),
        anchors: HashMap::new(),
        documents: Vec::new(),
        failed: false,
    };
    let mut parser = Parser::new_from_str(&hidden);
    while let Some(step) = parser.next_event() {
        match step {
            Ok((event, span)) => builder.event(event, span.start),
            Err(error) => {
                let place = builder.place(*error.marker());
                let help = error.info().contains("tab").then_some("indent with spaces");
                builder.diagnostics.add_with_help(
                    &place,
                    format!("not YAML: {}", error.info()),
                    help,
                );
                return Vec::new();
            }
        }
        if builder.failed {
            return Vec::new();
        }
    }
    builder.documents
}

/// A value under construction, with the number of values that it unfolds to.
#[derive(Clone)]
struct Built {
    node: Arc<Node>,
    values: usize,
}

struct Open {
    place: Place,
    anchor: usize,
    values: usize,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    Map {
        entries: Vec<Entry>,
        merged: Vec<Arc<Node>>,
        key: Option<(String, Place)>,
    },
}

struct Builder<'a, 'b> {
    file: Arc<str>,
    references: &'a References<'a>,
    diagnostics: &'b mut Diagnostics,
    stack: Vec<Open>,
    anchors: HashMap<usize, Built>,
    documents: Vec<Arc<Node>>,
    failed: bool,
}

impl Builder<'_, '_> {
    fn place(&self, marker: Marker) -> Place {
        Place {
            file: self.file.clone(),
            line: marker.line(),
            column: marker.col() + 1,
        }
    }

    fn fail(&mut self, place: &Place, message: &str) {
        self.diagnostics.add(place, message);
        self.failed = true;
    }

    fn event(&mut self, event: Event<'_>, start: Marker) {
        let place = self.place(start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), place);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", &place);
                self.open(place, anchor, Content::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", &place);
                self.open(
                    place,
                    anchor,
                    Content::Map {
                        entries: Vec::new(),
                        merged: Vec::new(),
                        key: None,
                    },
                );
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(built) => self.add(built, place),
                None => self.fail(&place, "an alias inside the value that it stands for"),
            },
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, expected: &str, place: &Place) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == expected)
        {
            self.unknown_tag(tag, place);
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, place: &Place) {
        let shown = if tag.is_yaml_core_schema() {
            format!("!!{}", tag.suffix)
        } else {
            tag.to_string()
        };
        self.diagnostics.add_with_help(
            place,
            format!("unknown tag `{shown}`"),
            Some("known is `!file PATH`: the content of a file, beside this one unless the path is absolute"),
        );
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) {
        if self.stack.len() >= MAX_DEPTH {
            self.fail(
                &place,
                &format!("more than {MAX_DEPTH} lists and maps within each other"),
            );
            return;
        }
        if let Some(Open {
            content: Content::Map { key: None, .. },
            ..
        }) = self.stack.last()
        {
            self.fail(&place, "a key must be a word, not a list or a map");
            return;
        }
        self.stack.push(Open {
            place,
            anchor,
            values: 1,
            content,
        });
    }

    fn close(&mut self) {
        let Some(open) = self.stack.pop() else { return };
        let value = match open.content {
            Content::List(mut items) => {
                items.shrink_to_fit();
                NodeValue::List(items)
            }
            Content::Map {
                entries, merged, ..
            } => {
                let mut entries = merge(entries, &merged);
                entries.shrink_to_fit();
                NodeValue::Map(entries)
            }
        };
        let built = Built {
            node: Arc::new(Node {
                place: open.place.clone(),
                value,
                from_env: false,
            }),
            values: open.values,
        };
        if open.anchor > 0 {
            self.anchors.insert(open.anchor, built.clone());
        }
        self.add(built, open.place);
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: Place,
    ) {
        let hidden = text;
        let text = show_templates(hidden);
        let is_key = matches!(
            self.stack.last(),
            Some(Open {
                content: Content::Map { key: None, .. },
                ..
            })
        );
        let is_file = tag.is_some_and(|tag| tag.handle == "!" && tag.suffix == "file");
        let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        let mut is_known = true;
        let mut from_env = false;
        if let Some(tag) = tag
            && !is_file
            && !(tag.is_yaml_core_schema()
                && matches!(&*tag.suffix, "str" | "int" | "float" | "bool" | "null"))
        {
            self.unknown_tag(tag, &place);
            is_known = false;
        }
        let keeps = match self.references.policy {
            Policy::KeepAll => true,
            Policy::KeepSecrets => self.may_be_secret(),
            Policy::Evaluate | Policy::NullWhereUnset => false,
        };
        let value = if is_key {
            NodeValue::String(text)
        } else if !is_known {
            // Told already: whatever it is, it is not what it looks like.
            NodeValue::Null
        } else if is_file && keeps {
            NodeValue::String(keep_file(&text))
        } else if is_file {
            self.references.file(&text, &place, self.diagnostics)
        } else {
            let plain = style == ScalarStyle::Plain && !is_text;
            if style != ScalarStyle::DoubleQuoted && has_open_template(hidden) {
                self.diagnostics.add_with_help(
                    &place,
                    "`${{` without `}}` in the same line",
                    Some("write ${{ env \"NAME\" }}; if it is meant as text, write it \"\\u0024{{\" in double quotes"),
                );
            }
            let evaluated = if keeps && is_kept(hidden) {
                None
            } else {
                self.references.evaluate(hidden, &place, self.diagnostics)
            };
            from_env = evaluated.is_some();
            match evaluated {
                // Evaluated text takes its type as if it stood in the file.
                Some(evaluated) => {
                    self.settle(
                        evaluated.plain_text(plain).and_then(Doubt::of_variable),
                        &place,
                    );
                    self.typed(evaluated.into_value(plain), plain)
                }
                None if is_kept(hidden) => NodeValue::String(keep(hidden, plain)),
                None if plain => {
                    self.settle(Doubt::of(&text), &place);
                    self.typed(plain_value(&text), plain)
                }
                None => NodeValue::String(text),
            }
        };
        let built = Built {
            node: Arc::new(Node {
                place: place.clone(),
                value,
                from_env,
            }),
            values: 1,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, built.clone());
        }
        self.add(built, place);
    }

    /// Refuses what readers would not read alike, and nobody could tell. A description is no configuration.
    fn settle(&mut self, doubt: Option<Doubt>, place: &Place) {
        if let Some(doubt) = doubt.filter(|_| self.references.policy != Policy::KeepAll) {
            self.diagnostics
                .add_with_help(place, doubt.message, Some(doubt.help));
        }
    }

    /// May the value that comes next be a secret?
    fn may_be_secret(&self) -> bool {
        may_be_secret(self.path())
    }

    /// The keys that lead to the value that comes next.
    fn path(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.stack.iter().filter_map(|open| match &open.content {
            Content::Map { key, .. } => key.as_ref().map(|(name, _)| name.as_str()),
            Content::List(_) => None,
        })
    }

    /// decK and Kong's own loader read YAML 1.1, where a plain `yes` or `off` is a boolean. It is here too where an entity's field is
    /// one. What a configuration, or a value by itself, means by it a schema has to tell: there are plugins that know a mode `off`.
    fn typed(&self, value: NodeValue, plain: bool) -> NodeValue {
        let NodeValue::String(text) = &value else {
            return value;
        };
        let Some(old) = OldBoolean::of(text).filter(|_| plain) else {
            return value;
        };
        let mut path = self.path();
        let last = path.next_back();
        if self.stack.is_empty() || path.any(|key| matches!(key, "config" | "_plugin_configs")) {
            NodeValue::OldBoolean(old)
        } else if last.is_some_and(is_boolean_field) {
            NodeValue::Bool(old.value)
        } else {
            value
        }
    }

    fn add(&mut self, built: Built, place: Place) {
        let Some(open) = self.stack.last_mut() else {
            self.documents.push(built.node);
            return;
        };
        open.values = open.values.saturating_add(built.values);
        if open.values > MAX_VALUES {
            self.fail(
                &place,
                &format!("more than {MAX_VALUES} values, aliases counted each time they are used"),
            );
            return;
        }
        match &mut open.content {
            Content::List(items) => items.push(built.node),
            Content::Map {
                key: key @ None, ..
            } => match &built.node.value {
                NodeValue::String(text) => *key = Some((text.clone(), place)),
                _ => self.fail(&place, "a key must be a word, not a list or a map"),
            },
            Content::Map {
                entries,
                merged,
                key,
            } => {
                let Some((name, key_place)) = key.take() else {
                    return;
                };
                if name == "<<" {
                    match &built.node.value {
                        NodeValue::Map(_) => merged.push(built.node),
                        NodeValue::List(items)
                            if items
                                .iter()
                                .all(|item| matches!(item.value, NodeValue::Map(_))) =>
                        {
                            merged.extend(items.iter().cloned());
                        }
                        _ => self
                            .diagnostics
                            .add(&key_place, "`<<` takes a map or a list of maps"),
                    }
                } else if let Some(first) = entries.iter().find(|entry| entry.key == name) {
                    let message = format!(
                        "key `{name}` was already given in line {}",
                        first.key_place.line
                    );
                    self.diagnostics.add(&key_place, message);
                } else {
                    entries.push(Entry {
                        key: name,
                        key_place,
                        node: built.node,
                    });
                }
            }
        }
    }
}

/// YAML's merge key: what the map itself says wins, then the first that says it.
fn merge(mut entries: Vec<Entry>, merged: &[Arc<Node>]) -> Vec<Entry> {
    for entry in merged.iter().flat_map(|node| node.entries()) {
        if !entries.iter().any(|own| own.key == entry.key) {
            entries.push(entry.clone());
        }
    }
    entries
}

#[cfg(test)]
mod tests;
