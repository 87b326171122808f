//! Declared entities become desired ones: references found, ids given, ownership respected.
//!
//! # Algorithm
//!
//! Kinds in reference order, so that an entity's parents have their ids before it needs them. An entity's id is the one that the
//! file gives; else that of the current entity with the same natural key; else derived (see `ids`).
//!
//! # Invariants
//!
//! 1. Pure: the same files and the same current state give the same result.
//! 2. No reference is left open: Kong would answer some of them with 500.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::admin::schema::Type;

use super::Entity;
use super::current::Inventory;
use super::declared::{Configuration, Declared};
use super::diagnostics::{Diagnostics, suggestion};
use super::ids;
use super::node::Node;

/// Which of a node's entities the files speak for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Only entities with all of these tags are ours; none: all are.
    pub(crate) select_tags: Vec<String>,
    /// What the files do not name stays: it may be referred to.
    pub(crate) keeps_unnamed: bool,
    /// Of the kinds that plugins bring along, only these are ours; `None`: all are.
    pub(crate) custom_kinds: Option<BTreeSet<Kind>>,
}

impl Scope {
    /// True if the entity is ours to change.
    pub(crate) fn owns(&self, entity: &Entity) -> bool {
        let kinds = self.custom_kinds.as_ref();
        let is_left = entity.kind.is_custom() && kinds.is_some_and(|it| !it.contains(&entity.kind));
        !is_left && entity.has_tags(&self.select_tags)
    }
}

/// What should be there.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    pub(crate) entities: Inventory,
    /// Entities whose file gives them another id than the node has for the same name: (kind, new id, old id).
    pub(crate) replaced: Vec<(Kind, String, String)>,
    /// The files give basic-auth passwords as hashes.
    pub(crate) hashed_passwords: bool,
}

/// Gives every declared entity its id and its references. What the files say becomes what is desired, it is not copied.
pub(crate) fn resolve(
    configuration: Configuration,
    current: &Inventory,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Desired {
    let Configuration {
        entities,
        lookup_tags,
        hashed_passwords,
        select_tags: _,
        custom_kinds: _,
    } = configuration;
    let mut resolver = Resolver {
        nodes: entities.iter().map(|each| each.node.clone()).collect(),
        lookup_tags,
        current,
        scope,
        diagnostics,
        current_keys: natural_keys(current),
        ids: vec![None; entities.len()],
        names: HashMap::new(),
        keys: HashMap::new(),
        desired: Desired {
            entities: Inventory::with_capacity(entities.len()),
            hashed_passwords,
            ..Desired::default()
        },
    };
    let mut in_order: Vec<(usize, Declared)> = entities.into_iter().enumerate().collect();
    in_order.sort_by_key(|(_, declared)| declared.kind);
    for (index, declared) in in_order {
        resolver.entity(index, declared);
    }
    let mut desired = resolver.desired;
    desired.entities.name_all_beside(current);
    desired
}

/// Whose the natural keys are, by kind and number in the table: ids.
type KeyIndex<'a> = HashMap<(Kind, usize, Vec<String>), &'a str>;

fn natural_keys(inventory: &Inventory) -> KeyIndex<'_> {
    let mut index = KeyIndex::new();
    for entity in inventory.iter() {
        for (number, key) in keys_of(entity) {
            index
                .entry((entity.kind, number, key))
                .or_insert(&entity.id);
        }
    }
    index
}

/// An entity's natural keys by their number in the table; its content where it has none.
fn keys_of(entity: &Entity) -> Vec<(usize, Vec<String>)> {
    let keys = entity.kind.spec().natural_keys;
    let named: Vec<_> = keys
        .iter()
        .enumerate()
        .filter_map(|(number, key)| Some((number, entity.natural_key(key)?)))
        .collect();
    if named.is_empty() {
        vec![(keys.len(), vec![ids::content_digest(&content(entity))])]
    } else {
        named
    }
}

/// What an unnamed entity is: its fields with their defaults, order aside.
fn content(entity: &Entity) -> Map<String, Value> {
    let record = entity.kind.record();
    let mut body = entity.body.clone();
    record.fill(&mut body);
    body.retain(|_, value| !value.is_null());
    body.shift_remove("tags");
    for (name, field) in &record.fields {
        if let (Type::Set(_), Some(Value::Array(items))) = (&field.ty, body.get_mut(name)) {
            items.sort_by_key(Value::to_string);
        }
    }
    body
}

struct Resolver<'a> {
    /// What was read of each declared entity.
    nodes: Vec<Arc<Node>>,
    lookup_tags: HashMap<Kind, Vec<String>>,
    current: &'a Inventory,
    scope: &'a Scope,
    diagnostics: &'a mut Diagnostics,
    current_keys: KeyIndex<'a>,
    /// Ids given so far, by index of the declared entity.
    ids: Vec<Option<String>>,
    /// What a reference may say, ids and names, and the index of the declared entity that it means.
    names: HashMap<(Kind, String), usize>,
    /// Natural keys of declared entities, to find one declared twice.
    keys: HashMap<(Kind, usize, Vec<String>), usize>,
    desired: Desired,
}

impl Resolver<'_> {
    fn entity(&mut self, index: usize, declared: Declared) {
        let Declared {
            kind,
            fields: mut body,
            node,
            parent,
        } = declared;
        let given_id = match body.shift_remove("id") {
            Some(Value::String(id)) => Some(id.to_lowercase()),
            _ => None,
        };
        let mut written = HashMap::new();
        for (field, to, _) in kind.references() {
            if let Some(word) = body.get(field).and_then(|value| reference_word(value, to)) {
                match self.lookup(to, &word) {
                    Some(id) => {
                        body.insert(field.to_owned(), json!({ "id": id }));
                        written.insert(field, word);
                    }
                    None => self.unresolved(&node, field, to, &word),
                }
            }
        }
        if let Some((field, parent)) = parent {
            let Some(id) = self.ids[parent].clone() else {
                return;
            };
            body.insert(field.to_owned(), json!({ "id": id }));
            written.remove(field);
        }
        self.check_authorities(kind, &node, &body);
        self.check_tags(kind, &node);
        add_tags(&mut body, &self.scope.select_tags);

        let mut entity = Entity {
            kind,
            id: String::new(),
            body,
            label: String::new(),
            source: Some(node),
        };
        let keys = keys_of(&entity);
        let existing = keys
            .iter()
            .find_map(|(number, key)| self.current_keys.get(&(kind, *number, key.clone())))
            .filter(|id| !self.desired.entities.contains(kind, id))
            .map(|id| (*id).to_owned());
        entity.id = match (given_id, existing) {
            (Some(given), existing) => {
                if let Some(old) =
                    existing.filter(|old| *old != given && !self.current.contains(kind, &given))
                {
                    self.desired.replaced.push((kind, given.clone(), old));
                }
                given
            }
            (None, Some(existing)) => existing,
            (None, None)
                if keys
                    .iter()
                    .any(|(number, _)| *number == kind.spec().natural_keys.len()) =>
            {
                ids::derive(kind, &content(&entity), |_| None)
            }
            (None, None) => ids::derive(kind, &entity.body, |field| written.get(field).cloned()),
        };
        self.check_owner(index, &entity);
        self.ids[index] = Some(entity.id.clone());
        self.register(index, &keys, entity);
    }

    fn register(&mut self, index: usize, keys: &[(usize, Vec<String>)], entity: Entity) {
        let kind = entity.kind;
        for (number, key) in keys {
            if let Some(first) = self.keys.insert((kind, *number, key.clone()), index) {
                let first = &self.nodes[first].place;
                let message = format!("this {} is already declared at {first}", kind.singular());
                self.diagnostics.add_with_help(
                    &self.nodes[index].place,
                    message,
                    Some("remove or rename one of them"),
                );
                return;
            }
        }
        for name in kind
            .spec()
            .natural_keys
            .iter()
            .filter(|key| key.len() == 1)
            .map(|key| key[0])
        {
            if let Some(text) = entity.body.get(name).and_then(Value::as_str) {
                self.names.entry((kind, text.to_owned())).or_insert(index);
            }
        }
        self.names.insert((kind, entity.id.clone()), index);
        if !self.desired.entities.insert(entity) {
            let message = format!(
                "the id of this {} is already taken by another",
                kind.singular()
            );
            self.diagnostics.add(&self.nodes[index].place, message);
        }
    }

    fn lookup(&self, kind: Kind, word: &str) -> Option<String> {
        if let Some(index) = self.names.get(&(kind, word.to_owned())) {
            return self.ids[*index].clone();
        }
        let entity = self.current.get(kind, word).or_else(|| {
            let keys = kind.spec().natural_keys;
            let id = keys
                .iter()
                .enumerate()
                .filter(|(_, key)| key.len() == 1)
                .find_map(|(number, _)| {
                    self.current_keys
                        .get(&(kind, number, vec![word.to_owned()]))
                })?;
            self.current.get(kind, id)
        })?;
        // What a sync is about to delete is no ground to stand on.
        let looked_up = self
            .lookup_tags
            .get(&kind)
            .is_some_and(|tags| entity.has_tags(tags));
        (self.scope.keeps_unnamed || looked_up || !self.scope.owns(entity))
            .then(|| entity.id.clone())
    }

    fn unresolved(&mut self, node: &Node, field: &str, to: Kind, word: &str) {
        let place = node.get(field).map_or(&node.place, |node| &node.place);
        let known = self
            .names
            .keys()
            .filter(|(kind, _)| *kind == to)
            .map(|(_, name)| name.as_str());
        let other = Kind::all()
            .find(|kind| *kind != to && self.names.contains_key(&(*kind, word.to_owned())));
        let help = match other {
            Some(other) => format!("`{word}` is {}", other.with_article()),
            None => suggestion(word, known).unwrap_or_else(|| {
                if self.scope.keeps_unnamed {
                    return format!(
                        "the node has none of that name either: `kongctl get {}` lists them",
                        to.name()
                    );
                }
                format!(
                    "declare the {} in the file; what the node has besides would be deleted by a sync",
                    to.singular()
                )
            }),
        };
        self.diagnostics.add_with_help(
            place,
            format!("there is no {} `{word}`", to.singular()),
            Some(help),
        );
    }

    fn check_authorities(&mut self, kind: Kind, node: &Node, body: &Map<String, Value>) {
        if kind != Kind::Service {
            return;
        }
        for id in body
            .get("ca_certificates")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if self.lookup(Kind::CaCertificate, id).is_none() {
                self.unresolved(node, "ca_certificates", Kind::CaCertificate, id);
            }
        }
    }

    /// Without tags, nothing would tell whose such an entity is.
    fn check_tags(&mut self, kind: Kind, node: &Node) {
        if !self.scope.select_tags.is_empty() && !kind.record().fields.contains_key("tags") {
            self.diagnostics.add_with_help(
                &node.place,
                format!(
                    "{} has no tags: `select_tags` cannot own it",
                    kind.with_article()
                ),
                Some("declare it in a file of its own, without `select_tags`"),
            );
        }
    }

    fn check_owner(&mut self, index: usize, entity: &Entity) {
        if let Some(existing) = self.current.get(entity.kind, &entity.id)
            && !self.scope.owns(existing)
        {
            let message = format!(
                "this {} exists without the tags {}",
                entity.kind.singular(),
                self.scope.select_tags.join(", ")
            );
            self.diagnostics.add_with_help(
                &self.nodes[index].place,
                message,
                Some("somebody else's file may own it: tag it on the node to take it over, or choose another name"),
            );
        }
    }
}

/// What a reference says: a name or an id, alone or in an object.
fn reference_word(value: &Value, to: Kind) -> Option<String> {
    match value {
        Value::String(word) => Some(word.clone()),
        Value::Object(map) => std::iter::once("id")
            .chain(to.spec().natural_keys.iter().map(|key| key[0]))
            .find_map(|field| map.get(field)?.as_str().map(str::to_owned)),
        _ => None,
    }
}

fn add_tags(body: &mut Map<String, Value>, tags: &[String]) {
    if tags.is_empty() {
        return;
    }
    let slot = body.entry("tags").or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let list = slot.as_array_mut().expect("the slot was just made a list");
    for tag in tags {
        if !list.iter().any(|own| own == tag) {
            list.push(Value::String(tag.clone()));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::declared;
    use super::super::references::References;
    use super::super::yaml;
    use super::*;

    /// What a file asks for on a node that has `current`.
    pub(crate) fn desired_of(
        text: &str,
        current: &Inventory,
        scope: &Scope,
    ) -> Result<Desired, String> {
        let mut diagnostics = Diagnostics::default();
        let documents = yaml::read("kong.yml", text, &References::none(), &mut diagnostics);
        let configuration = declared::read(&documents, &mut diagnostics);
        let desired = resolve(configuration, current, scope, &mut diagnostics);
        diagnostics
            .into_result()
            .map(|()| desired)
            .map_err(|error| error.to_string())
    }

    /// What a node has after a file was synced: its entities with their defaults.
    pub(crate) fn stored(text: &str) -> Inventory {
        let desired = desired_of(text, &Inventory::default(), &Scope::default()).unwrap();
        let mut inventory = Inventory::new(desired.entities.iter().cloned().map(|mut entity| {
            entity.kind.record().fill(&mut entity.body);
            entity
        }));
        inventory.name_all();
        inventory
    }

    fn on_empty(text: &str) -> Result<Desired, String> {
        desired_of(text, &Inventory::default(), &Scope::default())
    }

    #[test]
    fn a_reference_to_nothing_is_found_before_kong_answers_500() {
        let error =
            on_empty("services: [{name: llm, host: h}]\nplugins: [{name: key-auth, service: lm}]")
                .unwrap_err();
        assert_eq!(
            error,
            "kong.yml:2:37: there is no service `lm`\n    did you mean `llm`?"
        );
    }

    #[test]
    fn names_ids_and_objects_refer_alike() {
        let text = "
services: [{name: llm, host: h}]
routes:
- {name: a, paths: [/a], service: llm}
- {name: b, paths: [/b], service: {name: llm}}
- {name: c, paths: [/c], service: {id: c01215fb-acce-5a3f-8bfa-a00f3f3c9618}}
";
        let desired = on_empty(text).unwrap();
        for route in desired.entities.of_kind(Kind::Route) {
            assert_eq!(
                route.reference("service"),
                Some("c01215fb-acce-5a3f-8bfa-a00f3f3c9618")
            );
        }
    }

    #[test]
    fn the_same_entity_twice_is_an_error_with_both_places() {
        let error = on_empty("consumers:\n- {username: a}\n- {username: a}\n").unwrap_err();
        assert!(
            error.starts_with("kong.yml:3:3: this consumer is already declared at kong.yml:2:3"),
            "{error}"
        );
    }

    #[test]
    fn an_entity_keeps_the_id_that_the_node_has_for_its_name() {
        let body = json!({"name": "llm", "host": "h"})
            .as_object()
            .unwrap()
            .clone();
        let id = "72aff765-280e-40ce-9ace-9f6d563b3bd9".to_owned();
        let current = Inventory::new([Entity {
            kind: Kind::Service,
            id: id.clone(),
            body,
            label: String::new(),
            source: None,
        }]);
        let desired = desired_of(
            "services: [{name: llm, host: other}]",
            &current,
            &Scope::default(),
        )
        .unwrap();
        assert!(desired.entities.contains(Kind::Service, &id));
    }

    #[test]
    fn an_entity_of_somebody_else_is_not_taken_over() {
        let body = json!({"name": "llm", "host": "h", "tags": ["team-b"]})
            .as_object()
            .unwrap()
            .clone();
        let current = Inventory::new([Entity {
            kind: Kind::Service,
            id: "72aff765-280e-40ce-9ace-9f6d563b3bd9".to_owned(),
            body,
            label: String::new(),
            source: None,
        }]);
        let scope = Scope {
            select_tags: vec!["team-a".to_owned()],
            ..Scope::default()
        };
        let error = desired_of("services: [{name: llm, host: h}]", &current, &scope).unwrap_err();
        assert!(error.contains("exists without the tags team-a"), "{error}");
        let desired = desired_of(
            "routes: [{name: r, paths: [/], service: llm}]",
            &current,
            &scope,
        )
        .unwrap();
        assert_eq!(
            desired.entities.iter().count(),
            1,
            "but it may be referred to"
        );
    }
}
