//! Tags of entities: added, removed, listed.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::edit::from_json;
use super::{Content, File, Node, Where};
use crate::state::diagnostics::Diagnostics;
use crate::state::references::show_templates;

impl File {
    /// Adds tags; to all entities where nothing is chosen.
    pub(crate) fn add_tags(&mut self, tags: &[String], to: &Where, diagnostics: &mut Diagnostics) {
        self.each_chosen(to, diagnostics, &mut |entity, diagnostics| {
            add(entity, tags, diagnostics);
        });
    }

    /// Removes these tags, or, with `keep_only`, all others; from all entities where nothing is chosen.
    pub(crate) fn remove_tags(
        &mut self,
        tags: &[String],
        keep_only: bool,
        from: &Where,
        diagnostics: &mut Diagnostics,
    ) {
        self.each_chosen(from, diagnostics, &mut |entity, diagnostics| {
            remove(entity, tags, keep_only, diagnostics);
        });
    }

    /// The tags of what is chosen, references as they are written.
    pub(crate) fn tags(&mut self, of: &Where, diagnostics: &mut Diagnostics) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.each_chosen(of, diagnostics, &mut |entity, diagnostics| {
            if may_inherit(entity) {
                refuse_inherited(entity, diagnostics);
            }
            let items = entity.get("tags").map_or(&[][..], Node::items);
            found.extend(items.iter().filter_map(text));
        });
        found
    }
}

/// A tag as it is written: itself, or with the reference that stands for it.
fn text(tag: &Node) -> Option<String> {
    tag.word().map(|word| show_templates(&word))
}

/// A tag that refers to nothing.
fn literal(tag: &Node) -> Option<String> {
    tag.word().filter(|word| show_templates(word) == *word)
}

/// True if the entity's tags may be written elsewhere.
fn may_inherit(entity: &Node) -> bool {
    entity.get("tags").is_none() && entity.get("<<").is_some()
}

fn refuse_inherited(entity: &Node, diagnostics: &mut Diagnostics) {
    if let Some(place) = &entity.place {
        diagnostics.add_with_help(
            place,
            "this entity may take its tags from `<<`",
            Some("give it `tags` of its own first"),
        );
    }
}

fn refuse_other(tags: &Node, diagnostics: &mut Diagnostics) {
    if let Some(place) = &tags.place {
        diagnostics.add_with_help(place, "`tags` is no list here", Some("write it as [a, b]"));
    }
}

fn add(entity: &mut Node, tags: &[String], diagnostics: &mut Diagnostics) {
    if may_inherit(entity) {
        refuse_inherited(entity, diagnostics);
        return;
    }
    let Some(list) = entity.get_or_insert("tags", &json!([])) else {
        return;
    };
    for tag in tags {
        let there = list
            .items()
            .iter()
            .any(|item| item.word().as_ref() == Some(tag));
        if !there && !list.push(from_json(&Json::String(tag.clone()))) {
            refuse_other(list, diagnostics);
            return;
        }
    }
}

fn remove(entity: &mut Node, tags: &[String], keep_only: bool, diagnostics: &mut Diagnostics) {
    if may_inherit(entity) {
        refuse_inherited(entity, diagnostics);
        return;
    }
    let Some(list) = entity.get_mut("tags") else {
        return;
    };
    let place = list.place.clone();
    let Content::List(items, _) = &mut list.content else {
        if !list.is_null() {
            refuse_other(list, diagnostics);
        }
        return;
    };
    items.retain(|item| {
        if let Some(tag) = literal(item) {
            return tags.contains(&tag) == keep_only;
        }
        let place = item.place.as_ref().or(place.as_ref());
        if let Some(place) = place.filter(|_| keep_only) {
            diagnostics.add_with_help(
                place,
                "whether this tag stays depends on what it refers to",
                Some("write it out, or name the tags to remove"),
            );
        }
        true
    });
    if items.is_empty() {
        entity.remove("tags");
    }
}
