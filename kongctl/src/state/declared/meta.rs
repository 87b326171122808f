//! The keys of a document that are no entities: its format, whose it is, defaults, shared plugin configurations.

use std::sync::Arc;

use crate::admin::entities::{ENTERPRISE_KINDS, Kind, RUNTIME_KINDS};

use super::super::diagnostics::{Place, suggestion};
use super::super::node::{Node, NodeValue};
use super::Reader;
use super::check::check_field;

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
                "_plugin_configs" => self.plugin_configs(node),
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
        } else if RUNTIME_KINDS.contains(&name) {
            self.diagnostics.add_with_help(
                place,
                format!("`{name}` is what Kong keeps at run time, no configuration"),
                Some("remove it"),
            );
        } else {
            let known = Kind::all().map(Kind::name).chain(META_KEYS.iter().copied());
            let help = suggestion(name, known).unwrap_or_else(|| {
                "if a plugin brings it along, a node that has the plugin knows it: `kongctl validate --online`".to_owned()
            });
            self.diagnostics
                .add_with_help(place, format!("unknown kind `{name}`"), Some(help));
        }
    }

    fn format_version(&mut self, node: &Node) {
        let version = match &node.value {
            NodeValue::String(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let help = match version.as_str() {
            "3.0" => return,
            "1.1" | "2.1" => {
                "it is that of Kong 1 and 2, where paths are read otherwise: `kongctl convert` rewrites the file"
            }
            _ => "kongctl reads format \"3.0\", that of Kong 3",
        };
        let message = format!("`_format_version` {version:?} is not supported");
        self.diagnostics
            .add_with_help(&node.place, message, Some(help));
    }

    fn plugin_configs(&mut self, node: &Node) {
        self.must_be_map("_plugin_configs", node);
        for entry in node.entries() {
            self.must_be_map(&entry.key, &entry.node);
            let earlier = self
                .plugin_configs
                .insert(entry.key.clone(), entry.node.clone());
            if let Some(earlier) = earlier
                && earlier.to_json() != entry.node.to_json()
            {
                let message = format!(
                    "`_plugin_configs` has another `{}` at {}",
                    entry.key, earlier.place
                );
                self.diagnostics.add_with_help(
                    &entry.key_place,
                    message,
                    Some("files that are read together share these names: rename one"),
                );
            }
        }
    }

    fn must_be_map(&mut self, name: &str, node: &Node) {
        if !matches!(node.value, NodeValue::Map(_) | NodeValue::Null) {
            let message = format!("`{name}` is a map, this is {}", node.type_name());
            self.diagnostics.add(&node.place, message);
        }
    }

    fn info(&mut self, node: &Node) {
        self.must_be_map("_info", node);
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
                    self.must_be_map("default_lookup_tags", &entry.node);
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
                    self.must_be_map("defaults", &entry.node);
                    for entry in entry.node.entries() {
                        match Kind::from_word(&entry.key) {
                            Some(kind) => self.kind_defaults(kind, &entry.node),
                            None => self.unknown_key(&entry.key, &entry.key_place),
                        }
                    }
                }
                "_comment" => {}
                // decK's word for `_transform: false`.
                "skip_hash_for_basic_auth" => match entry.node.value {
                    NodeValue::Bool(skip) => self.configuration.hashed_passwords |= skip,
                    _ => self.diagnostics.add(
                        &entry.node.place,
                        "`skip_hash_for_basic_auth` is true or false",
                    ),
                },
                // decK writes these too; false is what Kong OSS does anyway.
                name @ ("consumer_group_policy_overrides" | "include_plugin_definitions") => {
                    if !matches!(entry.node.value, NodeValue::Bool(false)) {
                        let message = format!("`{name}` belongs to Kong Enterprise or Konnect");
                        self.diagnostics.add(&entry.key_place, message);
                    }
                }
                name => {
                    let known = [
                        "select_tags",
                        "default_lookup_tags",
                        "defaults",
                        "skip_hash_for_basic_auth",
                    ];
                    self.diagnostics.add_with_help(
                        &entry.key_place,
                        format!("unknown field `{name}` in `_info`"),
                        suggestion(name, known),
                    );
                }
            }
        }
    }

    /// Defaults are checked even where no entity takes them.
    fn kind_defaults(&mut self, kind: Kind, node: &Arc<Node>) {
        self.must_be_map(&format!("defaults.{}", kind.singular()), node);
        let fields = &kind.record().fields;
        for entry in node.entries() {
            match fields.get(&entry.key) {
                Some(field) => check_field(field, &entry.node, &entry.key, self.diagnostics),
                None => self.diagnostics.add_with_help(
                    &entry.key_place,
                    format!("unknown field `{}` in {}", entry.key, kind.with_article()),
                    suggestion(&entry.key, fields.keys().map(String::as_str)),
                ),
            }
        }
        // The entities would only repeat what is wrong here.
        let known = node.entries().iter();
        let known = known.filter(|entry| fields.contains_key(&entry.key));
        let node = Node {
            place: node.place.clone(),
            value: NodeValue::Map(known.cloned().collect()),
            from_env: false,
        };
        self.defaults.insert(kind, Arc::new(node));
    }

    fn tags(&mut self, node: &Node) -> Vec<String> {
        let not_strings = node.items().iter().filter(|item| item.as_str().is_none());
        let wrong = if matches!(node.value, NodeValue::List(_)) {
            not_strings.map(|item| &**item).collect()
        } else {
            vec![node]
        };
        for node in wrong {
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
