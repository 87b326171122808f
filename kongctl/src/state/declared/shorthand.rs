//! Short forms are spelled out: a service's `url`, a plugin's `_config`, an SNI that is only its name.

use std::sync::Arc;

use serde_json::Number;

use super::super::diagnostics::suggestion;
use super::super::node::{Entry, Node, NodeValue};
use super::Reader;

impl Reader<'_> {
    /// `url: https://host:port/path` says four fields at once.
    pub(super) fn expand_url(&mut self, node: &Arc<Node>) -> Arc<Node> {
        let Some(url_node) = node.get("url") else {
            return node.clone();
        };
        // What stands for an address that is wrong, or told to be missing already: no word about its parts then.
        let unknown = || {
            let mut entries = without(node, "url").entries().to_vec();
            entries.push(entry_at("host", url_node, null_at(url_node)));
            with_entries(node, entries)
        };
        if url_node.is_null() {
            return unknown();
        }
        let Some(url) = url_node
            .as_str()
            .and_then(|text| url::Url::parse(text).ok())
            .filter(url::Url::has_host)
        else {
            self.diagnostics.add_with_help(
                &url_node.place,
                "`url` is no URL",
                Some("write it as http://host:port/path"),
            );
            return unknown();
        };
        let mut entries: Vec<Entry> = node
            .entries()
            .iter()
            .filter(|entry| entry.key != "url")
            .cloned()
            .collect();
        let mut set = |key: &str, value: NodeValue| {
            let value = Arc::new(Node {
                place: url_node.place.clone(),
                value,
                from_env: url_node.from_env,
            });
            entries.retain(|entry| entry.key != key);
            entries.push(entry_at(key, url_node, value));
        };
        let text = |text: &str| NodeValue::String(text.to_owned());
        let default_port = if matches!(url.scheme(), "https" | "grpcs" | "tls") {
            443
        } else {
            80
        };
        set("protocol", text(url.scheme()));
        set("host", text(url.host_str().unwrap_or_default()));
        set(
            "port",
            NodeValue::Number(Number::from(url.port().unwrap_or(default_port))),
        );
        // A parsed URL always has a path; Kong tells `http://host` and `http://host/` apart.
        let given = url_node.as_str().unwrap_or_default();
        let has_path = given
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'));
        if has_path {
            set("path", text(url.path()));
        }
        with_entries(node, entries)
    }

    /// `_config: name` takes a shared configuration, which the plugin's own fields override.
    pub(super) fn merge_plugin_config(&mut self, node: &Arc<Node>) -> Arc<Node> {
        let Some(name_node) = node.get("_config") else {
            return node.clone();
        };
        let name = name_node.as_str().unwrap_or_default();
        if name.is_empty() {
            let message = format!("`_config` is a name, this is {}", name_node.type_name());
            self.diagnostics.add(&name_node.place, message);
            return without(node, "_config");
        }
        let Some(shared) = self.plugin_configs.get(name).cloned() else {
            let help = suggestion(name, self.plugin_configs.keys().map(String::as_str));
            let message = format!("`_plugin_configs` has no `{name}`");
            self.diagnostics
                .add_with_help(&name_node.place, message, help);
            return without(node, "_config");
        };
        let config = node
            .get("config")
            .map_or_else(|| shared.clone(), |own| own.with_defaults(&shared));
        let mut entries: Vec<Entry> = node
            .entries()
            .iter()
            .filter(|entry| entry.key != "_config" && entry.key != "config")
            .cloned()
            .collect();
        entries.push(entry_at("config", name_node, config));
        with_entries(node, entries)
    }
}

/// Kong's own short form in a certificate: `snis: [a.example]`.
pub(super) fn sni(name: &Arc<Node>) -> Arc<Node> {
    with_entries(name, vec![entry_at("name", name, name.clone())])
}

fn entry_at(key: &str, at: &Node, node: Arc<Node>) -> Entry {
    Entry {
        key: key.to_owned(),
        key_place: at.place.clone(),
        node,
    }
}

fn null_at(node: &Node) -> Arc<Node> {
    Arc::new(Node {
        place: node.place.clone(),
        value: NodeValue::Null,
        from_env: false,
    })
}

fn without(node: &Node, key: &str) -> Arc<Node> {
    let rest = node.entries().iter().filter(|entry| entry.key != key);
    with_entries(node, rest.cloned().collect())
}

fn with_entries(node: &Node, entries: Vec<Entry>) -> Arc<Node> {
    Arc::new(Node {
        place: node.place.clone(),
        value: NodeValue::Map(entries),
        from_env: false,
    })
}
