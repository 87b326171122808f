//! The keys of a document that are no entities: its format, whose it is, defaults, shared plugin configurations.

use crate::admin::entities::{ENTERPRISE_KINDS, Kind};

use super::super::diagnostics::{Place, suggestion};
use super::super::node::{Node, NodeValue};
use super::Reader;

/// Top-level keys that are no kind.
const META_KEYS: &[&str] = &[
    "_format_version",
    "_transform",
    "_comment",
    "_ignore",
    "_info",
    "_plugin_configs",
    "_workspace",
];

impl Reader<'_> {
    pub(super) fn meta(&mut self, document: &Node) {
        if document.is_null() {
            return;
        }
        if !matches!(document.value, NodeValue::Map(_)) {
            self.diagnostics.add_with_help(
                &document.place,
                format!("a configuration is a map, this is {}", document.type_name()),
                Some("start with `_format_version: \"3.0\"`"),
            );
        }
        for entry in document.entries() {
            let node = &entry.node;
            match entry.key.as_str() {
                "_format_version" => self.format_version(node),
                "_transform" => match node.value {
                    NodeValue::Bool(transform) => self.configuration.hashed_passwords |= !transform,
                    _ => self
                        .diagnostics
                        .add(&node.place, "`_transform` is true or false"),
                },
                "_info" => self.info(node),
                "_plugin_configs" => {
                    for entry in node.entries() {
                        self.plugin_configs
                            .insert(entry.key.clone(), entry.node.clone());
                    }
                }
                "_workspace" if node.as_str() != Some("default") => {
                    self.diagnostics.add(
                        &entry.key_place,
                        "workspaces are a feature of Kong Enterprise",
                    );
                }
                "_comment" | "_ignore" | "_workspace" => {}
                name if Kind::from_name(name).is_some_and(|kind| kind.spec().top_level) => {}
                name => self.unknown_key(name, &entry.key_place),
            }
        }
    }

    fn unknown_key(&mut self, name: &str, place: &Place) {
        if ENTERPRISE_KINDS.contains(&name) {
            self.diagnostics.add_with_help(
                place,
                format!("`{name}` belongs to Kong Enterprise or Konnect"),
                Some("kongctl configures Kong Gateway OSS: remove it"),
            );
        } else if name == "filter_chains" {
            self.diagnostics.add(
                place,
                "`filter_chains` (WebAssembly filters) are not supported by kongctl",
            );
        } else {
            let known = Kind::all().map(Kind::name).chain(META_KEYS.iter().copied());
            self.diagnostics.add_with_help(
                place,
                format!("unknown kind `{name}`"),
                suggestion(name, known),
            );
        }
    }

    fn format_version(&mut self, node: &Node) {
        let version = match &node.value {
            NodeValue::String(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if version != "3.0" {
            self.diagnostics.add_with_help(
                &node.place,
                format!("`_format_version` {version:?} is not supported"),
                Some("kongctl reads format \"3.0\", that of Kong 3"),
            );
        }
    }

    fn info(&mut self, node: &Node) {
        for entry in node.entries() {
            match entry.key.as_str() {
                "select_tags" => {
                    let tags = self.tags(&entry.node);
                    for tag in tags {
                        if !self.configuration.select_tags.contains(&tag) {
                            self.configuration.select_tags.push(tag);
                        }
                    }
                }
                "default_lookup_tags" => {
                    for entry in entry.node.entries() {
                        let tags = self.tags(&entry.node);
                        match Kind::from_name(&entry.key) {
                            Some(kind) => {
                                self.configuration.lookup_tags.insert(kind, tags);
                            }
                            None => self.unknown_key(&entry.key, &entry.key_place),
                        }
                    }
                }
                "defaults" => {
                    for entry in entry.node.entries() {
                        match Kind::from_word(&entry.key) {
                            Some(kind) => {
                                self.defaults.insert(kind, entry.node.clone());
                            }
                            None => self.unknown_key(&entry.key, &entry.key_place),
                        }
                    }
                }
                "_comment" => {}
                name => {
                    let known = ["select_tags", "default_lookup_tags", "defaults"];
                    self.diagnostics.add_with_help(
                        &entry.key_place,
                        format!("unknown field `{name}` in `_info`"),
                        suggestion(name, known),
                    );
                }
            }
        }
    }

    fn tags(&mut self, node: &Node) -> Vec<String> {
        if !matches!(node.value, NodeValue::List(_)) {
            self.diagnostics.add(
                &node.place,
                format!("tags are a list of strings, this is {}", node.type_name()),
            );
        }
        node.items()
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }
}
