//! A parsed value that remembers where it stood.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::diagnostics::Place;

/// A value of a file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: NodeValue,
    /// Its value, or a part of it, is that of an environment variable.
    pub(crate) from_env: bool,
}

/// What a node holds. Shared pieces (aliases, `_plugin_configs`) are counted references: never copied.
#[derive(Clone, Debug)]
pub(crate) enum NodeValue {
    Null,
    /// A value from outside the file that is not at hand here. Where nobody asks, it is null.
    Unset,
    Bool(bool),
    Number(Number),
    String(String),
    /// A word, until a schema tells that it is a boolean.
    OldBoolean(OldBoolean),
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

/// A plain `yes`, `off` or the like: a boolean to YAML 1.1, which decK and Kong's loader read, and a word to YAML 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldBoolean {
    pub(crate) word: &'static str,
    pub(crate) value: bool,
}

impl OldBoolean {
    const ALL: [(&str, bool); 16] = [
        ("y", true),
        ("Y", true),
        ("yes", true),
        ("Yes", true),
        ("YES", true),
        ("on", true),
        ("On", true),
        ("ON", true),
        ("n", false),
        ("N", false),
        ("no", false),
        ("No", false),
        ("NO", false),
        ("off", false),
        ("Off", false),
        ("OFF", false),
    ];

    pub(crate) fn of(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(word, value)| Self {
            word,
            value: *value,
        })
    }
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Arc<Node>,
}

impl Node {
    /// The map's entries; nothing for any other value.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            NodeValue::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of one key.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Node>> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// The items of a list; nothing for any other value.
    pub(crate) fn items(&self) -> &[Arc<Node>] {
        match &self.value {
            NodeValue::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::String(text) => Some(text),
            NodeValue::OldBoolean(old) => Some(old.word),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, NodeValue::Null | NodeValue::Unset)
    }

    /// What the value is, for messages: never its content, which may be a secret.
    pub(crate) fn type_name(&self) -> &'static str {
        match &self.value {
            NodeValue::Null | NodeValue::Unset => "null",
            NodeValue::Bool(_) => "a boolean",
            NodeValue::Number(_) => "a number",
            NodeValue::String(_) | NodeValue::OldBoolean(_) => "a string",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a map",
        }
    }

    /// The value without places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Null | NodeValue::Unset => Value::Null,
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Number(value) => Value::Number(value.clone()),
            NodeValue::String(value) => Value::String(value.clone()),
            NodeValue::OldBoolean(old) => Value::String(old.word.to_owned()),
            NodeValue::List(items) => {
                Value::Array(items.iter().map(|item| item.to_json()).collect())
            }
            NodeValue::Map(entries) => {
                let map: Map<_, _> = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect();
                Value::Object(map)
            }
        }
    }

    /// A value that stands at one place as a whole.
    pub(crate) fn from_json(value: &Value, place: &Place) -> Self {
        let node = |value: &Value| Arc::new(Self::from_json(value, place));
        let value = match value {
            Value::Null => NodeValue::Null,
            Value::Bool(value) => NodeValue::Bool(*value),
            Value::Number(value) => NodeValue::Number(value.clone()),
            Value::String(value) => NodeValue::String(value.clone()),
            Value::Array(items) => NodeValue::List(items.iter().map(node).collect()),
            Value::Object(map) => NodeValue::Map(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_place: place.clone(),
                        node: node(value),
                    })
                    .collect(),
            ),
        };
        Self {
            place: place.clone(),
            value,
            from_env: false,
        }
    }

    /// This map with the keys of `defaults` that it lacks, maps inside it treated alike.
    pub(crate) fn with_defaults(self: &Arc<Self>, defaults: &Node) -> Arc<Self> {
        let NodeValue::Map(own) = &self.value else {
            return self.clone();
        };
        let mut entries: Vec<Entry> = own
            .iter()
            .map(|entry| Entry {
                node: match defaults.get(&entry.key) {
                    Some(default) => entry.node.with_defaults(default),
                    None => entry.node.clone(),
                },
                ..entry.clone()
            })
            .collect();
        let missing = defaults
            .entries()
            .iter()
            .filter(|entry| self.get(&entry.key).is_none());
        entries.extend(missing.cloned());
        Arc::new(Self {
            place: self.place.clone(),
            value: NodeValue::Map(entries),
            from_env: false,
        })
    }
}
