//! Kubernetes objects as they are built.

use serde_json::{Map, Value, json};

use crate::state::Entity;

/// The prefix of the ingress controller's annotations and labels.
pub(super) const KONG: &str = "konghq.com";

/// An object with its metadata.
#[derive(Debug)]
pub(super) struct Object {
    body: Map<String, Value>,
    annotations: Map<String, Value>,
    labels: Map<String, Value>,
    is_of_cluster: bool,
}

impl Object {
    pub(super) fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let mut body = Map::new();
        body.insert("apiVersion".to_owned(), json!(api_version));
        body.insert("kind".to_owned(), json!(kind));
        body.insert("metadata".to_owned(), json!({ "name": name }));
        Self {
            body,
            annotations: Map::new(),
            labels: Map::new(),
            is_of_cluster: false,
        }
    }

    /// An object that is in no namespace.
    pub(super) fn of_cluster(mut self) -> Self {
        self.is_of_cluster = true;
        self
    }

    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body.insert(field.to_owned(), value.into());
        self
    }

    pub(super) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), json!(value));
        self
    }

    pub(super) fn annotation(mut self, name: &str, value: impl Into<String>) -> Self {
        self.annotations
            .insert(name.to_owned(), Value::String(value.into()));
        self
    }

    /// One of the controller's annotations.
    pub(super) fn kong(self, name: &str, value: impl Into<String>) -> Self {
        self.annotation(&format!("{KONG}/{name}"), value)
    }

    /// One of the controller's annotations with what a field has, if it has something.
    pub(super) fn kong_field(self, entity: &Entity, field: &str, annotation: &str) -> Self {
        match entity.body.get(field) {
            None | Some(Value::Null) => self,
            Some(Value::Array(items)) if items.is_empty() => self,
            Some(value) => self.kong(annotation, words(value)),
        }
    }

    /// The entity's tags, where the controller finds them.
    pub(super) fn tags_of(self, entity: &Entity) -> Self {
        self.kong_field(entity, "tags", "tags")
    }

    pub(super) fn class(self, class: &str) -> Self {
        self.annotation("kubernetes.io/ingress.class", class)
    }

    pub(super) fn finish(mut self, namespace: Option<&str>) -> Value {
        let metadata = self.body["metadata"]
            .as_object_mut()
            .expect("metadata is made as a map");
        if let Some(namespace) = namespace.filter(|_| !self.is_of_cluster) {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        for (name, map) in [("labels", self.labels), ("annotations", self.annotations)] {
            if !map.is_empty() {
                metadata.insert(name.to_owned(), Value::Object(map));
            }
        }
        Value::Object(self.body)
    }
}

/// A value as an annotation has it: lists joined by commas.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
