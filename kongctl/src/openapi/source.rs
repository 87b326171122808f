//! An OpenAPI description: its parts, and what their references stand for.

use std::sync::Arc;

use serde_json::Value;

use super::Mistake;
use crate::state::node::{Node, NodeValue};

/// References that may lead to each other before we call it a circle.
const LONGEST_CHAIN: usize = 32;

pub(super) struct Source<'a> {
    pub(super) root: &'a Arc<Node>,
}

impl<'a> Source<'a> {
    pub(super) fn new(root: &'a Arc<Node>) -> Self {
        Self { root }
    }

    /// The node, or what its `$ref` leads to in this description.
    pub(super) fn resolve(&self, node: &Arc<Node>) -> Result<Arc<Node>, Mistake> {
        let mut node = node.clone();
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = node.get("$ref").cloned() else {
                return Ok(node);
            };
            let Some(pointer) = reference.as_str() else {
                return Err(Mistake::at(&reference, "`$ref` is a string"));
            };
            let Some(path) = pointer.strip_prefix('#') else {
                return Err(
                    Mistake::at(&reference, format!("`{pointer}` leads out of this file"))
                        .with_help("bundle the description into one file first"),
                );
            };
            node = self
                .at(path)
                .ok_or_else(|| Mistake::at(&reference, format!("there is no `{pointer}`")))?;
        }
        Err(Mistake::at(&node, "references in a circle"))
    }

    /// What a JSON pointer leads to.
    fn at(&self, pointer: &str) -> Option<Arc<Node>> {
        let mut node = self.root.clone();
        for segment in pointer.split('/').skip(1) {
            let segment = percent_decoded(segment)
                .replace("~1", "/")
                .replace("~0", "~");
            let inner = match &node.value {
                NodeValue::List(items) => items.get(segment.parse::<usize>().ok()?)?,
                _ => node.get(&segment)?,
            };
            node = inner.clone();
        }
        Some(node)
    }

    /// `x-kong-tags` of the description.
    pub(super) fn tags(&self) -> Result<Vec<String>, Mistake> {
        let Some(tags) = self.root.get("x-kong-tags") else {
            return Ok(Vec::new());
        };
        if !matches!(tags.value, NodeValue::List(_)) {
            return Err(Mistake::at(tags, "`x-kong-tags` is a list of strings"));
        }
        tags.items()
            .iter()
            .map(|tag| {
                tag.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| Mistake::at(tag, "`x-kong-tags` is a list of strings"))
            })
            .collect()
    }

    /// An extension that is a map, its reference followed.
    pub(super) fn defaults(&self, node: &Node, name: &str) -> Result<Option<Value>, Mistake> {
        node.get(name)
            .map(|extension| self.extension(extension, name))
            .transpose()
    }

    /// The value of an extension that is a map, or refers to one below `#/components/x-kong`.
    pub(super) fn extension(&self, node: &Arc<Node>, name: &str) -> Result<Value, Mistake> {
        if let Some(reference) = node.get("$ref")
            && !reference
                .as_str()
                .is_some_and(|pointer| pointer.starts_with("#/components/x-kong/"))
        {
            return Err(Mistake::at(
                reference,
                "what `x-kong-…` refers to is below `#/components/x-kong/`",
            ));
        }
        let node = self.resolve(node)?;
        if !matches!(node.value, NodeValue::Map(_)) {
            return Err(Mistake::at(
                &node,
                format!("`{name}` is a map, this is {}", node.type_name()),
            ));
        }
        Ok(node.to_json())
    }
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// `x-kong-name`.
pub(super) fn name(node: &Node) -> Result<Option<String>, Mistake> {
    match node.get("x-kong-name") {
        None => Ok(None),
        Some(name) => match (&name.value, name.as_str()) {
            (NodeValue::Null, _) | (_, Some("")) => Ok(None),
            (_, Some(text)) => Ok(Some(text.to_owned())),
            _ => Err(Mistake::at(name, "`x-kong-name` is a string")),
        },
    }
}
