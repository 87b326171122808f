//! Files of Kong 1 and 2, read as Kong 3 would have them written.
//!
//! # Algorithm
//!
//! Up to format 2.1 a path was a regular expression if it had a character that no plain path has. Since 3.0 such a path starts
//! with `~` (Kong's `migrate_path_280_300.lua`; decK's `IsPathRegexLike`).

use std::sync::Arc;

use super::super::node::{Entry, Node, NodeValue};

/// The path with its mark, if it is a regular expression that lacks it.
pub(crate) fn marked_path(path: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._~/%-".contains(c);
    (!path.starts_with("~/") && !path.chars().all(is_plain)).then(|| format!("~{path}"))
}

/// The document in format 3.0; one that is in it already stays as it is.
pub(crate) fn upgraded(document: &Arc<Node>) -> Arc<Node> {
    let version = document
        .get("_format_version")
        .map(|node| match &node.value {
            NodeValue::String(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => String::new(),
        });
    if !matches!(version.as_deref(), Some("1.1" | "2.1")) {
        return document.clone();
    }
    map(document, &|entry| match entry.key.as_str() {
        "_format_version" => Some(with(&entry.node, NodeValue::String("3.0".to_owned()))),
        "routes" => Some(routes(&entry.node)),
        "services" => Some(items(&entry.node, &|service| {
            map(service, &|entry| {
                (entry.key == "routes").then(|| routes(&entry.node))
            })
        })),
        "_info" => Some(map(&entry.node, &|entry| {
            (entry.key == "defaults").then(|| {
                map(&entry.node, &|entry| {
                    (entry.key == "route").then(|| route(&entry.node))
                })
            })
        })),
        _ => None,
    })
}

fn routes(node: &Arc<Node>) -> Arc<Node> {
    items(node, &route)
}

fn route(node: &Arc<Node>) -> Arc<Node> {
    map(node, &|entry| {
        (entry.key == "paths").then(|| {
            items(
                &entry.node,
                &|path| match path.as_str().and_then(marked_path) {
                    Some(marked) => with(path, NodeValue::String(marked)),
                    None => path.clone(),
                },
            )
        })
    })
}

fn with(node: &Node, value: NodeValue) -> Arc<Node> {
    Arc::new(Node {
        place: node.place.clone(),
        value,
        from_env: node.from_env,
    })
}

fn items(node: &Arc<Node>, change: &dyn Fn(&Arc<Node>) -> Arc<Node>) -> Arc<Node> {
    match &node.value {
        NodeValue::List(list) => with(node, NodeValue::List(list.iter().map(change).collect())),
        _ => node.clone(),
    }
}

fn map(node: &Arc<Node>, change: &dyn Fn(&Entry) -> Option<Arc<Node>>) -> Arc<Node> {
    match &node.value {
        NodeValue::Map(entries) => {
            let entries = entries.iter().map(|entry| Entry {
                node: change(entry).unwrap_or_else(|| entry.node.clone()),
                ..entry.clone()
            });
            with(node, NodeValue::Map(entries.collect()))
        }
        _ => node.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of decK's own conversion.
    #[test]
    fn what_was_a_regular_expression_is_marked_as_one() {
        for plain in ["/r1", "/a-b_c.d~e%20", "~/r1"] {
            assert_eq!(marked_path(plain), None, "{plain}");
        }
        assert_eq!(marked_path("/r2/\\d+").as_deref(), Some("~/r2/\\d+"));
        assert_eq!(
            marked_path("/code/(?<x>a)").as_deref(),
            Some("~/code/(?<x>a)")
        );
    }
}
