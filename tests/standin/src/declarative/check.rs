//! Judging a document: references resolved, every entity completed, faults in the shape of the document.
//!
//! # Algorithm
//!
//! Kong judges twice. First it takes references at the top level for texts, and lets nested entities refer to nothing but what they are
//! nested in. Only where that fails it looks again, with every reference resolved: what is sound then is taken; if anything is not, what
//! it held against nested entities' references is told too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::tree::Node;
use crate::schema::{Completeness, Errors, Field, Operation, Registry, Schema, Timestamp, is_uuid};
use crate::store::Entity;

/// Why a document is refused.
#[derive(Debug)]
pub(crate) enum Fault {
    /// With the faults, by kind and place.
    Faulty(Errors),
    /// The same, of entities that are sound one by one: by then each has an id.
    Clashing(Errors),
    /// A fault in an entity without a name, as a reference to nothing: Kong stumbles over it and answers 500.
    Unnameable(String),
}

/// Stands for an entity that is referred to and does not exist, until all else was judged.
const NOWHERE: &str = "00000000-0000-0000-0000-000000000000";

/// The entities of a document, parents first, as the Admin API shows them.
pub(crate) fn read(
    registry: &Registry,
    members: Map<String, Value>,
    now: Timestamp,
) -> Result<Vec<(String, Entity)>, Fault> {
    let mut errors = Errors::new();
    if let Some(fault) = format_version(members.get("_format_version")) {
        errors.insert("_format_version".to_owned(), fault.into());
    }
    let transform = match members.get("_transform") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(transform)) => *transform,
        Some(_) => {
            errors.insert("_transform".to_owned(), "expected a boolean".into());
            true
        }
    };
    let mut lists: Vec<(&Schema, Vec<Node<'_>>)> = Vec::new();
    for (name, value) in members {
        match (registry.kind(&name), value) {
            (None, _)
                if ["_format_version", "_transform", "_comment", "_ignore"]
                    .contains(&name.as_str()) => {}
            (None, _) => drop(errors.insert(name, "unknown field".into())),
            (Some(_), Value::Null) => {}
            (Some(schema), Value::Array(items)) => {
                let nodes = items
                    .into_iter()
                    .map(|value| Node::new(registry, schema, value, None))
                    .collect();
                lists.push((schema, nodes));
            }
            (Some(_), _) => drop(errors.insert(name, "expected an array".into())),
        }
    }
    let mut nodes = lists.iter().flat_map(|(_, nodes)| nodes);
    if nodes.clone().any(Node::has_scalars) {
        return Err(Fault::Unnameable("no entity".to_owned()));
    }
    let by_record = nodes.any(Node::refers_by_record);
    let nested = nested_references(&lists);
    let mut checker = Checker {
        now,
        transform,
        names: Names::of(&lists),
        again: false,
        entities: Vec::new(),
        dangling: Vec::new(),
    };
    let mut faults = checker.lists(lists.clone());
    checker.again = by_record || [&errors, &nested, &faults].iter().any(|it| !it.is_empty());
    if checker.again && !checker.dangling.is_empty() {
        faults = checker.lists(lists);
    }
    for (name, fault) in faults {
        errors.insert(name, fault);
    }
    if errors.is_empty() {
        return checker.finish(registry);
    }
    let mut errors = Value::from(errors);
    merge(&mut errors, nested.into());
    match errors {
        Value::Object(errors) => Err(Fault::Faulty(errors)),
        _ => unreachable!("what is merged into an object is an object"),
    }
}

/// What the first look holds against nested entities: references besides that to what they are nested in.
fn nested_references(lists: &[(&Schema, Vec<Node<'_>>)]) -> Errors {
    fn of_list(nodes: &[Node<'_>]) -> Option<Value> {
        let faults = nodes.iter().enumerate();
        list_of(
            faults
                .filter_map(|(index, node)| Some((index, of_node(node)?)))
                .collect(),
        )
    }
    fn of_node(node: &Node<'_>) -> Option<Value> {
        let own = node.references.iter();
        let mut faults: Errors = own
            .map(|field| ((*field).to_owned(), "value must be null".into()))
            .collect();
        for (child, nodes) in &node.children {
            let nested = nodes.as_ref().and_then(|nodes| of_list(nodes));
            faults.extend(nested.map(|nested| (child.name.clone(), nested)));
        }
        (!faults.is_empty()).then(|| faults.into())
    }
    lists
        .iter()
        .filter_map(|(schema, nodes)| Some((schema.name.clone(), of_list(nodes)?)))
        .collect()
}

/// Adds the faults of one tree to those of another, whose place they take.
fn merge(faults: &mut Value, more: Value) {
    match (faults, more) {
        (Value::Object(faults), Value::Object(more)) => {
            for (name, fault) in more {
                merge(faults.entry(name).or_insert(Value::Null), fault);
            }
        }
        (Value::Array(faults), Value::Array(more)) => {
            for (index, fault) in more.into_iter().enumerate() {
                if index == faults.len() {
                    faults.push(fault);
                } else if !fault.is_null() {
                    merge(&mut faults[index], fault);
                }
            }
        }
        (faults, more) => *faults = more,
    }
}

fn format_version(value: Option<&Value>) -> Option<&'static str> {
    match value {
        None | Some(Value::Null) => Some("required field missing"),
        Some(Value::String(version)) => match version.as_str() {
            "3.0" => None,
            "1.1" | "2.1" => Some(
                "the stand-in gateway reads format 3.0 only; a real Kong reads 1.1 and 2.1 too",
            ),
            _ => Some("expected one of: 1.1, 2.1, 3.0"),
        },
        Some(_) => Some("expected a string"),
    }
}

/// What a document declares.
#[derive(Debug, Default)]
struct Names {
    /// By kind and id or endpoint key, the id.
    ids: HashMap<(String, String), String>,
    faults: Places,
}

/// Faults by kind, and there by position in a list or by name.
#[derive(Debug, Default)]
struct Places(BTreeMap<String, OfKind>);

/// The faults of one kind.
#[derive(Debug, Default)]
struct OfKind {
    by_index: BTreeMap<usize, Value>,
    by_name: Map<String, Value>,
}

impl Places {
    fn at_index(&mut self, kind: &str, index: usize, fault: Value) {
        self.0
            .entry(kind.to_owned())
            .or_default()
            .by_index
            .insert(index, fault);
    }

    fn at_name(&mut self, kind: &str, name: &str, fault: String) {
        let faults = self
            .0
            .entry(kind.to_owned())
            .or_default()
            .by_name
            .entry(name)
            .or_insert_with(|| json!([]));
        if let Value::Array(faults) = faults {
            faults.push(fault.into());
        }
    }

    fn into_errors(self) -> Errors {
        let merge = |OfKind {
                         by_index,
                         mut by_name,
                     }: OfKind| {
            if by_name.is_empty() {
                return list_of(by_index).unwrap_or_default();
            }
            by_name.extend(
                by_index
                    .into_iter()
                    .map(|(index, fault)| ((index + 1).to_string(), fault)),
            );
            by_name.into()
        };
        self.0
            .into_iter()
            .map(|(kind, places)| (kind, merge(places)))
            .collect()
    }
}

impl Names {
    fn of(lists: &[(&Schema, Vec<Node<'_>>)]) -> Self {
        let mut names = Self::default();
        let mut values: HashSet<(String, String, String)> = HashSet::new();
        for (index, node) in lists.iter().flat_map(|(_, nodes)| nodes.iter().enumerate()) {
            node.visit(index, &mut |schema, item, index| {
                let id = item["id"].as_str().unwrap_or_default().to_owned();
                let declared = |field: &str, value: &str| {
                    format!("uniqueness violation: '{}' entity with {field} set to '{value}' already declared", schema.name)
                };
                let mut repeated = false;
                let key = |name: &str| (schema.name.clone(), name.to_owned());
                let own = |field: &Field| field.unique && field.reference.is_none();
                for (field, _) in schema.fields.iter().filter(|(_, field)| own(field)) {
                    let Some(value) = item.get(field).and_then(Value::as_str) else { continue };
                    let is_key = schema.endpoint_key.as_deref() == Some(field);
                    if values.insert((schema.name.clone(), field.to_owned(), value.to_owned())) {
                        if is_key {
                            names.ids.insert(key(value), id.clone());
                        }
                    } else if is_key {
                        repeated = true;
                        names.faults.at_index(&schema.name, index, declared(field, value).into());
                    } else {
                        names.faults.at_name(&schema.name, &id, declared(field, value));
                    }
                }
                if names.ids.insert(key(&id), id.clone()).is_some() && !repeated {
                    names.faults.at_index(&schema.name, index, declared("primary key", &id).into());
                }
            });
        }
        names
    }

    fn find(&self, kind: &str, name: &str) -> Option<&String> {
        self.ids.get(&(kind.to_owned(), name.to_owned()))
    }
}

/// A reference to what the document does not declare.
#[derive(Debug)]
struct Dangling {
    kind: String,
    /// How errors call the entity that refers; Kong has no name for some.
    at: Option<String>,
    message: String,
}

#[derive(Debug)]
struct Checker {
    now: Timestamp,
    transform: bool,
    names: Names,
    /// Whether it is the second look, where a text that is no entity's name is a reference without a key.
    again: bool,
    entities: Vec<(String, Entity)>,
    dangling: Vec<Dangling>,
}

impl Checker {
    /// Checks every list anew; the faults by kind.
    fn lists(&mut self, lists: Vec<(&Schema, Vec<Node<'_>>)>) -> Errors {
        self.entities.clear();
        self.dangling.clear();
        lists
            .into_iter()
            .filter_map(|(schema, nodes)| Some((schema.name.clone(), self.list(nodes)?)))
            .collect()
    }

    /// Checks a list; its faults stand at their entities' places.
    fn list(&mut self, nodes: Vec<Node<'_>>) -> Option<Value> {
        let faults: BTreeMap<usize, Value> = nodes
            .into_iter()
            .enumerate()
            .filter_map(|(index, node)| Some((index, self.entity(node)?)))
            .collect();
        list_of(faults)
    }

    fn entity(&mut self, node: Node<'_>) -> Option<Value> {
        let Node {
            schema,
            item,
            children,
            parent,
            ..
        } = node;
        let Some(mut item) = item else {
            return Some("expected a record".into());
        };
        let mut errors = Errors::new();
        self.resolve(schema, &mut item, &mut errors);
        // Whatever else it says it belongs to.
        if let Some((field, id)) = parent {
            item.insert(field.to_owned(), json!({"id": id}));
        }
        let filled = schema.fill(item.clone(), Operation::Insert, self.now);
        let judged = filled.and_then(|entity| {
            schema.validate(&entity, Completeness::Whole, self.now)?;
            Ok(entity)
        });
        match judged {
            Ok(entity) => self.keep(schema, &item, entity),
            Err(faults) => errors.extend(faults),
        }
        for (child, nodes) in children {
            let faults = match nodes {
                Some(nodes) => self.list(nodes),
                None => Some("expected an array".into()),
            };
            errors.extend(faults.map(|faults| (child.name.clone(), faults)));
        }
        (!errors.is_empty()).then(|| errors.into())
    }

    fn keep(
        &mut self,
        schema: &Schema,
        given: &Map<String, Value>,
        mut entity: Map<String, Value>,
    ) {
        if self.transform {
            schema.transform(given, &mut entity);
        }
        for (name, _) in schema.fields.iter().filter(|(_, field)| field.transient) {
            entity.shift_remove(name);
        }
        schema.show_shorthands(&mut entity);
        self.entities.push((schema.name.clone(), Arc::new(entity)));
    }

    /// Lets names stand for ids, and remembers what does not exist.
    fn resolve(&mut self, schema: &Schema, item: &mut Map<String, Value>, errors: &mut Errors) {
        for (field, _, kind) in schema.foreign_fields() {
            let Some(reference) = item.get(field) else {
                continue;
            };
            let id = || reference.get("id")?.as_str().filter(|id| is_uuid(id));
            let Some(name) = reference.as_str().or_else(id) else {
                continue;
            };
            let id = self.names.find(kind, name).cloned();
            if id.is_none() && self.again && reference.is_string() {
                errors.insert(field.to_owned(), json!({"id": "missing primary key"}));
            } else if id.is_none() {
                let shown = reference
                    .as_str()
                    .map_or_else(|| reference.to_string(), str::to_owned);
                let key = schema.endpoint_key.as_ref();
                let key =
                    key.filter(|key| schema.fields.get(key).is_some_and(|field| field.unique));
                let at = item
                    .get(key.map_or("id", String::as_str))
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                let message =
                    format!("invalid reference '{field}: {shown}' (no such entry in '{kind}')");
                self.dangling.push(Dangling {
                    kind: schema.name.clone(),
                    at,
                    message,
                });
            }
            let id = id.unwrap_or_else(|| NOWHERE.to_owned());
            item.insert(field.to_owned(), json!({"id": id}));
        }
    }

    /// The entities, if nothing dangles and nothing is declared twice.
    fn finish(mut self, registry: &Registry) -> Result<Vec<(String, Entity)>, Fault> {
        for Dangling { kind, at, message } in self.dangling {
            match at {
                Some(at) => self.names.faults.at_name(&kind, &at, message),
                None => return Err(Fault::Unnameable(format!("{kind}: {message}"))),
            }
        }
        let errors = self.names.faults.into_errors();
        if !errors.is_empty() {
            return Err(Fault::Clashing(errors));
        }
        let mut entities = self.entities;
        refuse_second_chains(&entities)?;
        let order: HashMap<&str, usize> = registry
            .kinds()
            .enumerate()
            .map(|(position, schema)| (schema.name.as_str(), position))
            .collect();
        entities.sort_by_key(|(kind, _)| order.get(kind.as_str()).copied());
        Ok(entities)
    }
}

/// A route and a service have one filter chain at most, and Kong stumbles over a second one.
fn refuse_second_chains(entities: &[(String, Entity)]) -> Result<(), Fault> {
    let mut owners = HashSet::new();
    for (_, chain) in entities.iter().filter(|(kind, _)| kind == "filter_chains") {
        let owner = |field: &str| Some(chain.get(field)?.get("id")?.to_string());
        if !owners.insert((owner("route"), owner("service"))) {
            let message = "two filter chains of one route or service";
            return Err(Fault::Unnameable(message.to_owned()));
        }
    }
    Ok(())
}

/// A list with faults at their places and null elsewhere.
fn list_of(faults: BTreeMap<usize, Value>) -> Option<Value> {
    let mut list = Vec::new();
    for (index, fault) in faults {
        list.resize(index, Value::Null);
        list.push(fault);
    }
    (!list.is_empty()).then(|| list.into())
}
