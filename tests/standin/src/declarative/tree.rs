//! A document taken apart: every entity by itself, knowing what it was nested in.

use serde_json::{Map, Value, json};

use super::ids::{self, Parent};
use crate::schema::{Registry, Schema};

/// An entity of the document and those nested in it.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) schema: &'a Schema,
    /// Its own members; none if something else stands in its place.
    pub(super) item: Option<Map<String, Value>>,
    /// By kind; none where something else than a list stands.
    pub(super) children: Vec<(&'a Schema, Option<Vec<Node<'a>>>)>,
    /// What it is nested in: the field that refers to it, its id.
    pub(super) parent: Option<(&'a str, String)>,
    /// Of a nested entity, the fields that say what they refer to.
    pub(super) references: Vec<&'a str>,
    /// Neither an entity nor a list stands in its place, and Kong stumbles over it.
    pub(super) is_scalar: bool,
}

impl<'a> Node<'a> {
    /// Takes one entity apart. `parent` is what it is nested in: the field that refers to it, its id.
    pub(super) fn new(
        registry: &'a Registry,
        schema: &'a Schema,
        value: Value,
        parent: Option<(&'a str, &str)>,
    ) -> Self {
        let parent = parent.map(|(field, id)| (field, id.to_owned()));
        let Value::Object(mut item) = value else {
            return Self {
                schema,
                item: None,
                children: Vec::new(),
                parent,
                references: Vec::new(),
                is_scalar: !value.is_array(),
            };
        };
        item.shift_remove("_comment");
        item.shift_remove("_ignore");
        if !item.contains_key("id") {
            let id = ids::generate(
                schema,
                &item,
                parent.as_ref().map(|(field, id)| Parent { field, id }),
            );
            item.insert("id".to_owned(), id.to_string().into());
        }
        let id = item["id"].as_str().unwrap_or_default().to_owned();
        let mut children = Vec::new();
        for (child, field) in registry.children(&schema.name) {
            let own_field = schema
                .fields
                .get(&child.name)
                .is_some_and(|field| !field.transient);
            if own_field || !item.contains_key(&child.name) {
                continue;
            }
            let nested = match item.shift_remove(&child.name) {
                Some(Value::Array(items)) => Some(
                    items
                        .into_iter()
                        .map(|value| Node::new(registry, child, value, Some((field, &id))))
                        .collect(),
                ),
                _ => None,
            };
            children.push((child, nested));
        }
        let mut references = Vec::new();
        if let Some((field, id)) = &parent {
            let given = |field: &str| item.get(field).is_some_and(|value| !value.is_null());
            let fields = schema.foreign_fields().map(|(field, ..)| field);
            references.extend(fields.filter(|field| given(field)));
            if !given(field) {
                item.insert((*field).to_owned(), json!({"id": id}));
            }
        }
        Self {
            schema,
            item: Some(item),
            children,
            parent,
            references,
            is_scalar: false,
        }
    }

    /// Whether Kong stumbles over it or what is nested in it.
    pub(super) fn has_scalars(&self) -> bool {
        let nested = self.children.iter().filter_map(|(_, nodes)| nodes.as_ref());
        self.is_scalar || nested.flatten().any(Self::has_scalars)
    }

    /// Whether it refers to something by a record instead of a name or an id.
    pub(super) fn refers_by_record(&self) -> bool {
        let is_record = |field| self.item.as_ref()?.get(field).map(Value::is_object);
        let mut fields = self.schema.foreign_fields();
        fields.any(|(field, ..)| is_record(field) == Some(true))
    }

    /// Visits the entity, then those nested in it, each with its place in its list.
    pub(super) fn visit(
        &self,
        index: usize,
        visitor: &mut impl FnMut(&'a Schema, &Map<String, Value>, usize),
    ) {
        if let Some(item) = &self.item {
            visitor(self.schema, item, index);
        }
        for (index, child) in self
            .children
            .iter()
            .filter_map(|(_, nodes)| nodes.as_ref())
            .flat_map(|nodes| nodes.iter().enumerate())
        {
            child.visit(index, visitor);
        }
    }
}
