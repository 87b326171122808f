//! Changes to a tree: what a verb adds comes after what is there, in the style of its neighbours.

use serde_json::{Value as Json, json};

use super::select::Sought;
use super::{Content, Entry, File, Layout, Node, Scalar, Selector};
use crate::admin::entities::Kind;
use crate::state::declared::marked_path;
use crate::state::diagnostics::Diagnostics;

/// Which entities a verb is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// A name or id; `None` for all of the kind.
    pub(crate) name: Option<String>,
}

/// What a verb adds to.
#[derive(Clone, Debug)]
pub(crate) enum Where {
    /// The entities that any of these names.
    Entities(Vec<Target>),
    /// The maps that any of these finds.
    Selected(Vec<Selector>),
}

impl Where {
    /// True if nothing is chosen: all entities, or the file itself.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Entities(targets) if targets.is_empty())
    }

    /// True if it is the file itself, where a plugin may say what it is for.
    pub(crate) fn is_the_file(&self) -> bool {
        match self {
            Self::Entities(targets) => targets.is_empty(),
            Self::Selected(selectors) => selectors.iter().all(Selector::is_root),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    /// `services`, or `services/llm`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text
            .split_once('/')
            .map_or((text, None), |(kind, name)| (kind, Some(name)));
        let kind = Kind::from_word(kind).ok_or_else(|| format!("no kind is called `{kind}`"))?;
        Ok(Self {
            kind,
            name: name.map(str::to_owned),
        })
    }
}

impl Target {
    pub(super) fn is(&self, kind: Kind, entity: &Node) -> bool {
        let Some(name) = &self.name else {
            return self.kind == kind;
        };
        let keys = kind.spec().natural_keys.iter().map(|key| key[0]);
        self.kind == kind
            && keys
                .chain(std::iter::once("id"))
                .any(|key| entity.get(key).and_then(Node::word).as_ref() == Some(name))
    }
}

/// A value that a verb adds.
pub(super) fn from_json(value: &Json) -> Node {
    let content = match value {
        Json::Object(map) => Content::Map(
            map.iter()
                .map(|(name, value)| entry(name, from_json(value)))
                .collect(),
            Layout::default(),
        ),
        Json::Array(items) => {
            Content::List(items.iter().map(from_json).collect(), Layout::default())
        }
        Json::String(text) => Content::Scalar(Scalar::Text(text.clone())),
        other => Content::Scalar(Scalar::Source(other.to_string())),
    };
    Node {
        content,
        ..Node::default()
    }
}

fn entry(name: &str, value: Node) -> Entry {
    Entry {
        key: Node {
            content: Content::Scalar(Scalar::Text(name.to_owned())),
            ..Node::default()
        },
        name: name.to_owned(),
        value,
    }
}

impl Node {
    /// The value of one key, to change.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        let Content::Map(entries, _) = &mut self.content else {
            return None;
        };
        let entry = entries.iter_mut().find(|entry| entry.name == name)?;
        Some(&mut entry.value)
    }

    /// Sets a key of a map; a new one comes last.
    pub(crate) fn set(&mut self, name: &str, value: Node) {
        if let Some(old) = self.get_mut(name) {
            old.content = value.content;
        } else if let Content::Map(entries, _) = &mut self.content {
            entries.push(entry(name, value));
        }
    }

    /// The value of one key of a map, to change; one that is not there comes last, as `default`. `None` of anything but a map.
    pub(super) fn get_or_insert(&mut self, name: &str, default: &Json) -> Option<&mut Node> {
        let Content::Map(entries, _) = &mut self.content else {
            return None;
        };
        let there = entries.iter().position(|entry| entry.name == name);
        let index = there.unwrap_or_else(|| {
            entries.push(entry(name, from_json(default)));
            entries.len() - 1
        });
        Some(&mut entries[index].value)
    }

    /// The list's items, to change; nothing for any other value.
    pub(super) fn items_mut(&mut self) -> &mut [Node] {
        match &mut self.content {
            Content::List(items, _) => items,
            _ => &mut [],
        }
    }

    /// Takes a key out of a map, with its comments; false if it is not there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Content::Map(entries, _) = &mut self.content else {
            return false;
        };
        let before = entries.len();
        entries.retain(|entry| entry.name != name);
        entries.len() < before
    }

    /// True of a scalar that is written as nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(Scalar::Source(source)) if matches!(source.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Adds to a list. A value that is no list but null becomes one; false if it is anything else.
    pub(crate) fn push(&mut self, value: Node) -> bool {
        if self.is_null() {
            self.content = Content::List(Vec::new(), Layout::default());
        }
        match &mut self.content {
            Content::List(items, _) => {
                items.push(value);
                true
            }
            _ => false,
        }
    }
}

impl File {
    /// Calls `change` with each entity, nested ones after what they are nested in.
    pub(crate) fn each_entity(
        &mut self,
        diagnostics: &mut Diagnostics,
        change: &mut impl FnMut(Kind, &mut Node, &mut Diagnostics),
    ) {
        for document in &mut self.documents {
            let Content::Map(entries, _) = &mut document.root.content else {
                continue;
            };
            for entry in entries {
                if let Some(kind) = Kind::from_name(&entry.name) {
                    each_of_list(kind, &mut entry.value, diagnostics, change);
                }
            }
        }
    }

    /// Calls `change` with each map that is chosen; with every entity where nothing is.
    pub(super) fn each_chosen(
        &mut self,
        chosen: &Where,
        diagnostics: &mut Diagnostics,
        change: &mut impl FnMut(&mut Node, &mut Diagnostics),
    ) {
        match chosen {
            Where::Entities(targets) => {
                self.each_entity(diagnostics, &mut |kind, entity, diagnostics| {
                    if targets.is_empty() || targets.iter().any(|target| target.is(kind, entity)) {
                        change(entity, diagnostics);
                    }
                });
            }
            Where::Selected(selectors) => {
                self.each_selected(selectors, Sought::Maps, diagnostics, change);
            }
        }
    }

    /// Adds plugins; to the file's own where nothing is chosen. A plugin that is there already stays, unless `overwrite`.
    pub(crate) fn add_plugins(
        &mut self,
        plugins: &[Json],
        to: &Where,
        overwrite: bool,
        diagnostics: &mut Diagnostics,
    ) {
        let add = |owner: &mut Node, diagnostics: &mut Diagnostics| {
            for plugin in plugins {
                plug(owner, plugin, overwrite, diagnostics);
            }
        };
        match to {
            Where::Entities(targets) if targets.is_empty() => {
                if let Some(document) = self.documents.first_mut() {
                    add(&mut document.root, diagnostics);
                }
            }
            chosen => self.each_chosen(chosen, diagnostics, &mut |owner, diagnostics| {
                add(owner, diagnostics);
            }),
        }
    }

    /// Rewrites format 1.1 or 2.1 as 3.0: regular expressions among the paths are marked as such.
    ///
    /// Gives back the routes' names, with how many of their paths were marked.
    pub(crate) fn upgrade(&mut self, diagnostics: &mut Diagnostics) -> Vec<(String, usize)> {
        for document in &mut self.documents {
            document.root.set("_format_version", version());
            let defaults = document
                .root
                .get_mut("_info")
                .and_then(|info| info.get_mut("defaults")?.get_mut("route"));
            if let Some(route) = defaults {
                mark_paths(route);
            }
        }
        let mut marked = Vec::new();
        self.each_entity(diagnostics, &mut |kind, entity, _| {
            if kind == Kind::Route {
                let paths = mark_paths(entity);
                if paths > 0 {
                    let name = entity.get("name").and_then(Node::word);
                    marked.push((name.unwrap_or_else(|| "(unnamed)".to_owned()), paths));
                }
            }
        });
        marked
    }
}

fn version() -> Node {
    Node {
        content: Content::Scalar(Scalar::Source("\"3.0\"".to_owned())),
        ..Node::default()
    }
}

fn mark_paths(route: &mut Node) -> usize {
    let paths = route.get_mut("paths").map_or(&mut [][..], Node::items_mut);
    let mut marked = 0;
    for path in paths {
        if let Some(text) = path.word().and_then(|text| marked_path(&text)) {
            path.content = Content::Scalar(Scalar::Text(text));
            marked += 1;
        }
    }
    marked
}

fn each_of_list(
    kind: Kind,
    list: &mut Node,
    diagnostics: &mut Diagnostics,
    change: &mut impl FnMut(Kind, &mut Node, &mut Diagnostics),
) {
    for item in list.items_mut() {
        match &item.content {
            Content::Map(..) => {}
            Content::Alias(name) => {
                if let Some(place) = &item.place {
                    diagnostics.add_with_help(
                        place,
                        format!("this {} is an alias of `{name}`", kind.singular()),
                        Some("write it out: what is added to an anchor is added to all of its aliases"),
                    );
                }
                continue;
            }
            _ => continue,
        }
        change(kind, item, diagnostics);
        let Content::Map(entries, _) = &mut item.content else {
            continue;
        };
        for entry in entries {
            if let Some((child, _)) = kind.nested(&entry.name) {
                each_of_list(child, &mut entry.value, diagnostics, change);
            }
        }
    }
}

/// Adds a plugin to what owns plugins.
fn plug(owner: &mut Node, plugin: &Json, overwrite: bool, diagnostics: &mut Diagnostics) {
    let Some(list) = owner.get_or_insert("plugins", &json!([])) else {
        return;
    };
    let new = from_json(plugin);
    let identity = identity(&new);
    let mut items = list.items_mut().iter_mut();
    if let Some(old) = items.find(|item| self::identity(item) == identity) {
        if overwrite {
            old.content = new.content;
        }
        return;
    }
    if !list.push(new)
        && let Some(place) = &list.place
    {
        diagnostics.add(place, "`plugins` is no list here");
    }
}

/// What tells one plugin from another: its name and what it is for.
fn identity(plugin: &Node) -> Vec<Option<String>> {
    ["name", "service", "route", "consumer"]
        .iter()
        .map(|field| {
            let value = plugin.get(field)?;
            let inner = value.entries().first().map(|entry| &entry.value);
            inner.unwrap_or(value).word()
        })
        .collect()
}
