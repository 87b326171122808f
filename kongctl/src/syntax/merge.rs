//! Several documents become one: lists one after the other, what is said once kept once, comments and anchors with them.

use std::collections::{HashMap, HashSet};

use super::{Content, Document, Entry, File, Layout, Node, Scalar};
use crate::admin::entities::Kind;
use crate::state::diagnostics::Diagnostics;

/// Joins the documents of all files in their order. What contradicts itself goes to `diagnostics`.
pub(crate) fn merge(files: Vec<File>, diagnostics: &mut Diagnostics) -> File {
    let mut documents = files.into_iter().flat_map(|file| file.documents);
    let mut merged = documents.next();
    if let Some(document) = &mut merged {
        let mut anchors = HashSet::new();
        rename_anchors(&mut document.root, &mut anchors);
        for other in documents {
            join(document, other, &mut anchors, diagnostics);
        }
    }
    File {
        documents: merged.into_iter().collect(),
        starts_marked: false,
    }
}

fn join(
    into: &mut Document,
    mut other: Document,
    anchors: &mut HashSet<String>,
    diagnostics: &mut Diagnostics,
) {
    if is_null(&other.root) {
        into.tail.append(&mut other.tail);
        return;
    }
    if is_null(&into.root) {
        let head = std::mem::take(&mut into.head);
        let tail = std::mem::take(&mut into.tail);
        *into = other;
        into.head.splice(0..0, head.into_iter().chain(tail));
        return;
    }
    rename_anchors(&mut other.root, anchors);
    check_transform(&into.root, &other.root, diagnostics);
    let Content::Map(entries, _) = other.root.content else {
        if let Some(place) = &other.root.place {
            diagnostics.add(place, "a configuration is a map");
        }
        return;
    };
    // What the file says of itself stays above its first entry that is kept.
    let mut waiting: Vec<String> = other.head;
    for mut entry in entries {
        entry.key.before.splice(0..0, waiting.drain(..));
        waiting = join_entry(&mut into.root, entry, diagnostics);
    }
    into.tail.append(&mut waiting);
    into.tail.append(&mut other.tail);
}

/// Gives back the comments of an entry that was said already.
fn join_entry(into: &mut Node, entry: Entry, diagnostics: &mut Diagnostics) -> Vec<String> {
    let Some(own) = into.get_mut(&entry.name) else {
        if let Content::Map(entries, _) = &mut into.content {
            entries.push(entry);
        }
        return Vec::new();
    };
    if entry.name == "_format_version" {
        join_versions(own, &entry.value, diagnostics);
        return entry.key.before;
    }
    if is_null(own) {
        own.content = entry.value.content;
        return entry.key.before;
    }
    join_values(own, entry, diagnostics)
}

fn join_values(own: &mut Node, entry: Entry, diagnostics: &mut Diagnostics) -> Vec<String> {
    if is_null(&entry.value) {
        return entry.key.before;
    }
    match (&mut own.content, entry.value.content) {
        (Content::List(items, layout), Content::List(mut more, more_layout)) => {
            refuse_namesakes(&entry.name, items, &more, diagnostics);
            let is_set = entry.name == "select_tags";
            if is_set {
                let known: Vec<_> = items.iter().map(Node::word).collect();
                more.retain(|item| !known.contains(&item.word()));
            }
            let mut lines = entry.key.before;
            if let Some(comment) = entry.key.after {
                lines.push(comment);
            }
            let mut tail = std::mem::take(&mut layout.tail);
            if let Some(first) = more.first_mut().and_then(super::write::first_leaf) {
                tail.append(&mut lines);
                first.before.splice(0..0, tail);
                layout.tail = more_layout.tail;
            } else {
                layout.tail = tail;
            }
            // What was written over several lines may not fit into brackets.
            layout.flow &= more_layout.flow;
            items.append(&mut more);
            lines
        }
        (Content::Map(..), Content::Map(more, Layout { mut tail, .. })) => {
            let mut waiting = entry.key.before;
            for mut inner in more {
                inner.key.before.splice(0..0, waiting.drain(..));
                waiting = if let Some(value) = own.get_mut(&inner.name) {
                    join_values(value, inner, diagnostics)
                } else {
                    if let Content::Map(entries, layout) = &mut own.content {
                        layout.flow = false;
                        entries.push(inner);
                    }
                    Vec::new()
                };
            }
            waiting.append(&mut tail);
            waiting
        }
        (_, content) => {
            let other = Node {
                content,
                ..Node::default()
            };
            if super::write::flow(own) != super::write::flow(&other)
                && entry.name != "_comment"
                && let Some(place) = &entry.value.place
            {
                let first = own.place.as_ref().map(ToString::to_string);
                diagnostics.add_with_help(
                    place,
                    format!(
                        "`{}` is said otherwise at {}",
                        entry.name,
                        first.unwrap_or_default()
                    ),
                    Some("one file can say only one of them"),
                );
            }
            entry.key.before
        }
    }
}

/// Two entities of one name would be no configuration.
fn refuse_namesakes(list: &str, own: &[Node], more: &[Node], diagnostics: &mut Diagnostics) {
    let Some(kind) = Kind::from_name(list) else {
        return;
    };
    // A key that is a secret is nobody's name.
    let is_secret = |key: &str| {
        kind.record()
            .fields
            .get(key)
            .is_some_and(|field| field.secret)
    };
    let Some([key]) = kind
        .spec()
        .natural_keys
        .first()
        .filter(|key| !is_secret(key[0]))
    else {
        return;
    };
    let name = |item: &Node| item.get(key).and_then(Node::word);
    let named = own.iter().filter_map(|item| Some((name(item)?, item)));
    let named: HashMap<String, &Node> = named.collect();
    for item in more {
        let Some((name, place)) = name(item).zip(item.place.as_ref()) else {
            continue;
        };
        if let Some(namesake) = named.get(&name) {
            let first = namesake.place.as_ref().map(ToString::to_string);
            diagnostics.add_with_help(
                place,
                format!(
                    "{} `{name}` is already at {}",
                    kind.singular(),
                    first.unwrap_or_default()
                ),
                Some("remove or rename one of them"),
            );
        }
    }
}

/// The later version of one format; formats that differ in what they mean do not merge.
fn join_versions(own: &mut Node, other: &Node, diagnostics: &mut Diagnostics) {
    let version = |node: &Node| -> Option<(u32, u32)> {
        let word = node.word()?;
        let (major, minor) = word.split_once('.').unwrap_or((&word, "0"));
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let (Some(first), Some(second)) = (version(own), version(other)) else {
        return;
    };
    if first.0 == second.0 {
        if second.1 > first.1 {
            own.content = other.content.clone();
        }
    } else if let Some(place) = &other.place {
        diagnostics.add_with_help(
            place,
            format!(
                "format {}.{} and {}.{} do not merge",
                first.0, first.1, second.0, second.1
            ),
            Some("`kongctl convert` brings a file to format 3.0"),
        );
    }
}

fn check_transform(own: &Node, other: &Node, diagnostics: &mut Diagnostics) {
    let says = |root: &Node| {
        root.get("_transform")
            .and_then(Node::boolean)
            .unwrap_or(true)
    };
    if says(own) != says(other)
        && let Some(place) = other
            .get("_transform")
            .or(Some(other))
            .and_then(|node| node.place.as_ref())
    {
        diagnostics.add_with_help(
            place,
            "`_transform` is true in one file and false in another",
            Some("passwords are hashes in all of a file or in nothing of it"),
        );
    }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.content, Content::Scalar(Scalar::Source(source)) if matches!(source.as_str(), "" | "~" | "null"))
}

/// Anchors keep their names as long as no other file uses them.
fn rename_anchors(node: &mut Node, taken: &mut HashSet<String>) {
    let mut own = HashSet::new();
    collect_anchors(node, &mut own);
    let mut renamed = Vec::new();
    let mut names: Vec<&String> = own.iter().collect();
    names.sort();
    for name in names {
        let mut free = name.clone();
        let mut number = 2;
        while taken.contains(&free) || free != *name && own.contains(&free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        renamed.push((name.clone(), free));
    }
    taken.extend(renamed.iter().map(|(_, free)| free.clone()));
    apply_names(node, &renamed);
}

fn collect_anchors(node: &Node, names: &mut HashSet<String>) {
    names.extend(node.anchor.clone());
    for entry in node.entries() {
        collect_anchors(&entry.key, names);
        collect_anchors(&entry.value, names);
    }
    for item in node.items() {
        collect_anchors(item, names);
    }
}

fn apply_names(node: &mut Node, renamed: &[(String, String)]) {
    let rename = |name: &mut String| {
        if let Some((_, new)) = renamed.iter().find(|(old, _)| old == name) {
            name.clone_from(new);
        }
    };
    if let Some(anchor) = &mut node.anchor {
        rename(anchor);
    }
    match &mut node.content {
        Content::Alias(name) => rename(name),
        Content::Scalar(_) => {}
        Content::List(items, _) => items.iter_mut().for_each(|item| apply_names(item, renamed)),
        Content::Map(entries, _) => {
            for entry in entries {
                apply_names(&mut entry.key, renamed);
                apply_names(&mut entry.value, renamed);
            }
        }
    }
}
