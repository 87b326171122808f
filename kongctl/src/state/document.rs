//! A node's entities as a document: nested where that reads well, names instead of ids, in a stable order.
//!
//! # Invariants
//!
//! 1. What is written here reads back as the same state (test: `a_dump_is_what_was_asked_for`).
//! 2. The same state gives the same text, whatever order the node lists it in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Schemas, Type};
use crate::output::redact;

use super::current::Inventory;
use super::resolve::Scope;
use super::{Entity, reference_id};

/// What to write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// Ids of entities that have a name, too.
    pub(crate) ids: bool,
    /// Fields that have their default, too.
    pub(crate) all_fields: bool,
    pub(crate) redact: bool,
    pub(crate) shape: Shape,
}

/// For whom a document is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Ours, which is decK's with everything nested that can be.
    #[default]
    Kongctl,
    /// What decK's own schema takes.
    Deck,
    /// What Kong loads without a database: tags on each entity, references as words.
    Dbless,
}

/// What comes first in a document; the other kinds follow in the table's order.
const ORDER: [Kind; 9] = [
    Kind::Service,
    Kind::Route,
    Kind::Consumer,
    Kind::Plugin,
    Kind::Upstream,
    Kind::Certificate,
    Kind::CaCertificate,
    Kind::Vault,
    Kind::KeySet,
];

/// What decK looks up by tags where it is not ours.
const LOOKED_UP: [Kind; 3] = [Kind::Consumer, Kind::Route, Kind::Service];

/// The entities of `scope` as a document of format 3.0.
pub(crate) fn write(
    inventory: &Inventory,
    scope: &Scope,
    schemas: &Schemas,
    style: Style,
) -> Value {
    let writer = Writer {
        inventory,
        scope,
        schemas,
        style,
    };
    let mut children: BTreeMap<(Kind, &str), Vec<&Entity>> = BTreeMap::new();
    let mut top: BTreeMap<Kind, Vec<&Entity>> = BTreeMap::new();
    let mut entities: Vec<&Entity> = inventory
        .iter()
        .filter(|entity| scope.owns(entity))
        .collect();
    entities.sort_by(|a, b| a.label.cmp(&b.label).then_with(|| a.id.cmp(&b.id)));
    for entity in entities {
        match writer.parent(entity) {
            Some((_, kind, id)) => children.entry((kind, id)).or_default().push(entity),
            None => top.entry(entity.kind).or_default().push(entity),
        }
    }
    let mut document = Map::new();
    document.insert("_format_version".to_owned(), json!("3.0"));
    if !scope.select_tags.is_empty() && style.shape != Shape::Dbless {
        let mut info = json!({ "select_tags": scope.select_tags });
        let lookup = writer.lookup_tags();
        if style.shape == Shape::Deck && !lookup.is_empty() {
            info["default_lookup_tags"] = json!(lookup);
        }
        document.insert("_info".to_owned(), info);
    }
    let rest = Kind::all().filter(|kind| !ORDER.contains(kind));
    for kind in ORDER.into_iter().chain(rest) {
        if let Some(entities) = top.get(&kind) {
            let list = entities
                .iter()
                .map(|entity| writer.entry(entity, &children))
                .collect();
            document.insert(kind.name().to_owned(), Value::Array(list));
        }
    }
    Value::Object(document)
}

struct Writer<'a> {
    inventory: &'a Inventory,
    scope: &'a Scope,
    schemas: &'a Schemas,
    style: Style,
}

impl<'a> Writer<'a> {
    /// The entry that this one is nested in: (field that refers to it, its kind, its id).
    fn parent(&self, entity: &'a Entity) -> Option<(&'static str, Kind, &'a str)> {
        // decK lists keys beside their sets; Kong's loader wants a nested SNI to name its certificate once more.
        if matches!(
            (self.style.shape, entity.kind),
            (Shape::Deck, Kind::Key) | (Shape::Dbless, Kind::Sni)
        ) {
            return None;
        }
        let mut set = entity
            .kind
            .spec()
            .nested_in
            .iter()
            .filter_map(|(kind, field)| Some((*field, *kind, entity.reference(field)?)));
        let first = set.next()?;
        let owned = self
            .inventory
            .get(first.1, first.2)
            .is_some_and(|parent| self.scope.owns(parent));
        // One that refers to several stands by itself.
        (owned && set.next().is_none()).then_some(first)
    }

    /// The tags by which decK finds what is referred to and not ours: those that all such entities of a kind have.
    fn lookup_tags(&self) -> BTreeMap<&'static str, BTreeSet<&'a str>> {
        let mut common: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let ours = self.inventory.iter().filter(|each| self.scope.owns(each));
        let others = ours
            .flat_map(Entity::references)
            .filter(|(_, kind, ..)| LOOKED_UP.contains(kind))
            .filter_map(|(_, kind, id, _)| self.inventory.get(kind, id))
            .filter(|other| !self.scope.owns(other));
        for other in others {
            let tags: BTreeSet<&str> = other.tags().collect();
            common
                .entry(other.kind.name())
                .and_modify(|common| common.retain(|tag| tags.contains(tag)))
                .or_insert(tags);
        }
        common.retain(|_, tags| !tags.is_empty());
        common
    }

    fn entry(&self, entity: &Entity, children: &BTreeMap<(Kind, &str), Vec<&Entity>>) -> Value {
        let kind = entity.kind;
        let record = self.schemas.of_entity(kind, &entity.body);
        let mut body = if self.style.redact {
            redact::body(kind, &entity.body, self.schemas)
        } else {
            entity.body.clone()
        };
        record.resolve_shorthands(&mut body);
        drop_shorthands(&record, &mut body);
        let parent_field = self.parent(entity).map(|(field, ..)| field);
        body.retain(|name, _| {
            let made = kind
                .record()
                .fields
                .get(name)
                .is_some_and(|field| field.auto && !field.secret);
            !made
                && Some(name.as_str()) != parent_field
                && !matches!(name.as_str(), "created_at" | "updated_at")
        });
        if self.style.shape != Shape::Dbless {
            self.untag(&mut body);
        }
        let said = self.said_for_deck(kind, &body);
        prune(&record, &mut body, self.style.all_fields);
        body.extend(said);
        if kind == Kind::FilterChain && self.style.shape == Shape::Deck {
            say_whether_filters_run(&mut body);
        }
        for (field, to, _) in kind.references() {
            if let Some(id) = body.get(field).and_then(reference_id).map(str::to_owned) {
                body.insert(field.to_owned(), self.reference(kind, to, &id));
            }
        }

        let mut out = Map::new();
        let keys = kind.spec().natural_keys;
        // By its best name: what refers to it has to say that, or the id.
        let named = keys
            .first()
            .is_some_and(|key| entity.natural_key(key).is_some())
            || kind == Kind::FilterChain;
        if self.style.ids || !named || matches!(kind, Kind::Certificate | Kind::CaCertificate) {
            out.insert("id".to_owned(), json!(entity.id));
        }
        for name in keys
            .iter()
            .flat_map(|key| key.iter())
            .map(|name| (*name).to_owned())
        {
            if let Some(value) = body.shift_remove(&name) {
                out.insert(name, value);
            }
        }
        for name in record.fields.keys().filter(|name| *name != "tags") {
            if let Some(value) = body.shift_remove(name) {
                out.insert(name.clone(), value);
            }
        }
        out.extend(body);
        if let Some(nested) = children.get(&(kind, entity.id.as_str())) {
            for (name, child, _) in kind.children() {
                let list: Vec<Value> = nested
                    .iter()
                    .filter(|entity| entity.kind == child)
                    .map(|entity| self.entry(entity, children))
                    .collect();
                if !list.is_empty() {
                    out.insert(name.to_owned(), Value::Array(list));
                }
            }
        }
        Value::Object(out)
    }

    /// What decK wants said even where it is the default: its schema asks for it, or it takes what is not said for null.
    fn said_for_deck(&self, kind: Kind, body: &Map<String, Value>) -> Map<String, Value> {
        let fields: &[&str] = match kind {
            Kind::Jwt => &["algorithm"],
            Kind::OAuth2 => &["hash_secret", "client_type"],
            Kind::FilterChain => &["enabled"],
            _ => &[],
        };
        let said = |name: &&str| {
            let field = kind.record().fields.get(*name)?;
            let value = body.get(*name).or(field.default.as_ref())?;
            Some(((*name).to_owned(), value.clone()))
        };
        match self.style.shape {
            Shape::Deck => fields.iter().filter_map(said).collect(),
            Shape::Kongctl | Shape::Dbless => Map::new(),
        }
    }

    /// A reference as decK writes it: a plugin's as a word, a route's or key's as an object.
    fn reference(&self, from: Kind, to: Kind, id: &str) -> Value {
        let name = self.inventory.get(to, id).and_then(|entity| {
            let key = to
                .spec()
                .natural_keys
                .iter()
                .find(|key| key.len() == 1 && to != Kind::CaCertificate)?[0];
            Some((key, entity.body.get(key)?.as_str()?))
        });
        match (from, name) {
            (_, Some((_, name))) if self.style.shape == Shape::Dbless => json!(name),
            (_, None) if self.style.shape == Shape::Dbless => json!(id),
            (Kind::Plugin | Kind::FilterChain, Some((_, name))) => json!(name),
            (Kind::Plugin | Kind::FilterChain | Kind::Service, None) => json!(id),
            (_, Some((key, name))) => {
                let mut map = Map::new();
                map.insert(key.to_owned(), json!(name));
                Value::Object(map)
            }
            (_, None) => json!({ "id": id }),
        }
    }

    /// The tags that `_info.select_tags` already says.
    fn untag(&self, body: &mut Map<String, Value>) {
        if let Some(Value::Array(tags)) = body.get_mut("tags") {
            tags.retain(|tag| !self.scope.select_tags.iter().any(|select| tag == select));
        }
    }
}

/// decK has no defaults for what is in a list.
fn say_whether_filters_run(chain: &mut Map<String, Value>) {
    let filters = chain.get_mut("filters").and_then(Value::as_array_mut);
    for filter in filters
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if !filter.contains_key("enabled") {
            filter.shift_insert(filter.len().min(1), "enabled".to_owned(), json!(true));
        }
    }
}

fn drop_shorthands(record: &Record, body: &mut Map<String, Value>) {
    body.retain(|name, _| !record.shorthands.contains_key(name));
    for (name, field) in &record.fields {
        if let (Type::Record(inner), Some(Value::Object(map))) = (&field.ty, body.get_mut(name)) {
            drop_shorthands(inner, map);
        }
    }
}

/// Takes out what a sync would put back by itself, and puts sets in order.
fn prune(record: &Record, body: &mut Map<String, Value>, all_fields: bool) {
    for (name, field) in &record.fields {
        let Some(value) = body.get_mut(name) else {
            continue;
        };
        prune_value(field, value, all_fields);
        let empty = match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty() && name == "tags",
            Value::Object(map) => map.is_empty() && matches!(field.ty, Type::Record(_)),
            _ => false,
        };
        let is_default = field.default.as_ref().is_some_and(|default| {
            let mut default = default.clone();
            prune_value(field, &mut default, all_fields);
            default == *value
        });
        let meant = value.is_null() && field.means_null();
        if empty && !meant || is_default && !all_fields {
            body.shift_remove(name);
        }
    }
    body.retain(|name, value| record.fields.contains_key(name) || !value.is_null());
}

/// The same within a value, whose keys are put in order too: Kong writes them in whatever order its tables have.
fn prune_value(field: &Field, value: &mut Value, all_fields: bool) {
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(map)) => {
            prune(record, map, all_fields);
            sort_keys(map, |name| {
                (
                    record.fields.get_index_of(name).unwrap_or(usize::MAX),
                    name.to_owned(),
                )
            });
        }
        (Type::Set(element), Value::Array(items)) => {
            for item in items.iter_mut() {
                prune_value(element, item, all_fields);
            }
            items.sort_by_key(Value::to_string);
        }
        (Type::Array(element), Value::Array(items)) => {
            for item in items {
                prune_value(element, item, all_fields);
            }
        }
        (Type::Map(element), Value::Object(map)) => {
            for item in map.values_mut() {
                prune_value(element, item, all_fields);
            }
            sort_keys(map, str::to_owned);
        }
        // Nobody told what it is.
        (_, Value::Object(map)) => {
            for item in map.values_mut() {
                prune_value(field, item, all_fields);
            }
            sort_keys(map, str::to_owned);
        }
        (_, Value::Array(items)) => {
            for item in items {
                prune_value(field, item, all_fields);
            }
        }
        _ => {}
    }
}

fn sort_keys<K: Ord>(map: &mut Map<String, Value>, key: impl Fn(&str) -> K) {
    let mut entries: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
    entries.sort_by_cached_key(|(name, _)| key(name));
    map.extend(entries);
}

#[cfg(test)]
mod tests {
    use super::super::resolve::tests::{desired_of, stored};
    use super::*;
    use crate::output::yaml;
    use crate::plan::diff::diff;

    const CANONICAL: &str = "\
_format_version: \"3.0\"
services:
- name: llm
  retries: 9
  host: h
  tags:
  - a
  - b
  routes:
  - name: chat
    paths:
    - /chat
    plugins:
    - name: key-auth
routes:
- name: alone
  paths:
  - /
consumers:
- username: alice
  keyauth_credentials:
  - key: k
  acls:
  - group: gold
plugins:
- name: cors
- name: rate-limiting
  route: alone
  consumer: alice
  config:
    minute: 5
upstreams:
- name: pool
  healthchecks:
    active:
      healthy:
        interval: 5
  targets:
  - target: a:1
    weight: 7
";

    #[test]
    fn a_dump_is_what_was_asked_for() {
        let scope = Scope::default();
        let state = stored(CANONICAL);
        let text = yaml::write(&write(
            &state,
            &scope,
            &Schemas::default(),
            Style::default(),
        ));
        assert_eq!(text, CANONICAL);
    }

    #[test]
    fn the_order_that_a_node_happens_to_use_does_not_show() {
        let mut schemas = Schemas::default();
        schemas.add_plugin("x", &json!({"fields": [{"config": {"type": "record", "fields": [
            {"limits": {"type": "array", "elements": {"type": "record", "fields": [
                {"name": {"type": "string"}}, {"limit": {"type": "number"}}]}}},
            {"headers": {"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}}]}}]}));
        let written = |config: Value| {
            let plugin = Entity {
                kind: Kind::Plugin,
                id: "1".to_owned(),
                body: json!({"name": "x", "config": config})
                    .as_object()
                    .unwrap()
                    .clone(),
                label: "x".to_owned(),
                source: None,
            };
            let route = Entity {
                kind: Kind::Route,
                id: "2".to_owned(),
                body: json!({"name": "r", "headers": config["headers"]})
                    .as_object()
                    .unwrap()
                    .clone(),
                label: "r".to_owned(),
                source: None,
            };
            let inventory = Inventory::new([plugin, route]);
            yaml::write(&write(
                &inventory,
                &Scope::default(),
                &schemas,
                Style::default(),
            ))
        };
        let one = json!({"limits": [{"name": "a", "limit": 1}], "headers": {"a": "1", "b": "2"}});
        let other = json!({"headers": {"b": "2", "a": "1"}, "limits": [{"limit": 1, "name": "a"}]});
        let text = written(one);
        assert_eq!(text, written(other));
        assert!(text.contains("- name: a\n      limit: 1\n"), "{text}");
    }

    #[test]
    fn every_style_reads_back_as_the_same_state() {
        let scope = Scope::default();
        let state = stored(CANONICAL);
        for style in [
            Style {
                ids: true,
                ..Style::default()
            },
            Style {
                all_fields: true,
                ..Style::default()
            },
        ] {
            let text = yaml::write(&write(&state, &scope, &Schemas::default(), style));
            let desired = desired_of(&text, &state, &scope).unwrap();
            assert!(
                diff(&state, desired, &scope, &Schemas::default())
                    .unwrap()
                    .is_empty(),
                "{text}"
            );
        }
    }
}
