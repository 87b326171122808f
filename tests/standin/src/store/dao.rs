//! Reading and writing entities under the rules of their schemas: Kong's DAO.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::error::Error;
use super::paging::{Page, PageRequest};
use super::snapshot::{Entity, Snapshot, id_of};
use super::{Draft, Store, server_names};
use crate::clock;
use crate::schema::hosts::Host;
use crate::schema::{Completeness, Errors, OnDelete, Operation, Registry, Schema, Timestamp};

/// How an entity is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Id(String),
    /// By its endpoint key: the field, its value.
    Field(String, String),
}

/// The port of a target that names none.
const DEFAULT_TARGET_PORT: u16 = 8000;

/// Access to the entities of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Dao {
    registry: Arc<Registry>,
    store: Store,
    /// Whether single entities may be written; not so without a database.
    writable: bool,
}

impl Dao {
    /// Without `writable`, every write that the schema allows is refused in the end, as Kong does without a database.
    pub(crate) fn new(registry: Arc<Registry>, store: Store, writable: bool) -> Self {
        Self {
            registry,
            store,
            writable,
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    /// The entity, if there is one.
    pub(crate) fn select(&self, schema: &Schema, key: &Key) -> Option<Entity> {
        find(&self.snapshot(), schema, key).cloned()
    }

    /// A page of the entities that pass `filter`.
    pub(crate) fn page(
        &self,
        schema: &Schema,
        request: &PageRequest,
        filter: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<Page, Error> {
        request.by_id(
            self.snapshot()
                .all(&schema.name)
                .filter(|entity| filter(entity)),
        )
    }

    /// Creates an entity.
    pub(crate) fn insert(
        &self,
        schema: &Schema,
        mut given: Map<String, Value>,
    ) -> Result<Entity, Error> {
        let now = prepare(schema, &mut given)?;
        self.store.write(|draft| {
            let names = server_names::asked_for(draft, schema, &mut given, None)?;
            let mut entity = schema
                .fill(given.clone(), Operation::Insert, now)
                .map_err(Error::schema_violation)?;
            self.resolve_names(draft, schema, &mut entity)?;
            schema
                .validate(&entity, Completeness::Whole, now)
                .map_err(Error::schema_violation)?;
            check_protocols(draft, schema, &entity)?;
            self.permit(|| format!("cannot create '{}' entities", schema.name))?;
            if draft.snapshot.get(&schema.name, id_of(&entity)).is_some() {
                return Err(Error::primary_key_violation(id_of(&entity)));
            }
            let entity = keep(draft, schema, &given, entity)?;
            server_names::assign(draft, schema, &entity, names, now);
            Ok(entity)
        })
    }

    /// Changes what is given of an entity that exists.
    pub(crate) fn update(
        &self,
        schema: &Schema,
        key: &Key,
        mut given: Map<String, Value>,
    ) -> Result<Entity, Error> {
        let now = prepare(schema, &mut given)?;
        self.store.write(|draft| {
            let mut before = locate(draft, schema, key)
                .map(|entity| Map::clone(entity))
                .ok_or_else(|| match key {
                    Key::Id(id) => Error::not_found("id", id),
                    Key::Field(field, value) => Error::not_found(field, value),
                })?;
            // Which subschema applies is known from what exists.
            if let Some(name) = schema
                .subschema_key
                .as_ref()
                .filter(|name| !given.contains_key(*name))
            {
                given.insert(name.clone(), before.get(name).cloned().unwrap_or_default());
            }
            let changes = schema
                .fill(given.clone(), Operation::Update, now)
                .map_err(Error::schema_violation)?;
            let names = server_names::asked_for(draft, schema, &mut given, Some(id_of(&before)))?;
            schema.hide_shorthands(&mut before);
            let mut entity = schema.merge(changes, &before);
            self.resolve_names(draft, schema, &mut entity)?;
            schema
                .validate(&entity, Completeness::Update, now)
                .map_err(Error::schema_violation)?;
            // An id stays what it is.
            entity.insert("id".to_owned(), id_of(&before).into());
            check_protocols(draft, schema, &entity)?;
            self.permit(|| format!("cannot update '{}' entities{}", schema.name, by(key)))?;
            let entity = keep(draft, schema, &given, entity)?;
            server_names::assign(draft, schema, &entity, names, now);
            Ok(entity)
        })
    }

    /// Puts an entity in the place of the one with that key, or creates it: what is not given goes back to defaults.
    pub(crate) fn upsert(
        &self,
        schema: &Schema,
        key: &Key,
        mut given: Map<String, Value>,
    ) -> Result<Entity, Error> {
        let now = prepare(schema, &mut given)?;
        self.store.write(|draft| {
            let before = locate(draft, schema, key).map(|entity| id_of(entity).to_owned());
            let names = server_names::asked_for(draft, schema, &mut given, before.as_deref())?;
            let id = match key {
                Key::Id(id) => Some(id.clone()),
                Key::Field(field, value) => {
                    given.insert(field.clone(), value.clone().into());
                    before
                }
            };
            given.extend(id.map(|id| ("id".to_owned(), id.into())));
            let mut entity = schema
                .fill(given.clone(), Operation::Upsert, now)
                .map_err(Error::schema_violation)?;
            self.resolve_names(draft, schema, &mut entity)?;
            schema
                .validate(&entity, Completeness::Whole, now)
                .map_err(Error::schema_violation)?;
            check_protocols(draft, schema, &entity)?;
            self.permit(|| {
                format!(
                    "cannot create or update '{}' entities{}",
                    schema.name,
                    by(key)
                )
            })?;
            // Kong's own statement names a constraint that its table of filter chains lacks.
            if schema.name == "filter_chains" && matches!(key, Key::Field(..)) {
                return Err(Error::unexpected());
            }
            let entity = keep(draft, schema, &given, entity)?;
            server_names::assign(draft, schema, &entity, names, now);
            Ok(entity)
        })
    }

    /// Deletes an entity and what hangs on it; nothing happens if it does not exist.
    pub(crate) fn delete(&self, schema: &Schema, key: &Key) -> Result<(), Error> {
        self.store.write(|draft| {
            let Some(id) = locate(draft, schema, key).map(|entity| id_of(entity).to_owned()) else {
                return Ok(());
            };
            self.permit(|| format!("cannot remove '{}' entities{}", schema.name, by(key)))?;
            if schema.name == "ca_certificates" {
                refuse_if_trusted(draft, &id)?;
            }
            self.remove(draft, schema, &id)
        })
    }

    fn permit(&self, operation: impl FnOnce() -> String) -> Result<(), Error> {
        if self.writable {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "{} when not using a database",
            operation()
        )))
    }

    /// Lets `{"name": …}` stand for `{"id": …}` in foreign keys.
    fn resolve_names(
        &self,
        draft: &Draft<'_>,
        schema: &Schema,
        entity: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let mut errors = Errors::new();
        for (field, _, kind) in schema.foreign_fields() {
            let Some(Value::Object(reference)) = entity.get(field) else {
                continue;
            };
            if reference.contains_key("id") {
                continue;
            }
            let mut found = None;
            let mut unresolved = Map::new();
            for (name, unique) in self.registry.known(kind).fields.iter() {
                let Some(value) = reference
                    .get(name)
                    .and_then(Value::as_str)
                    .filter(|_| unique.unique)
                else {
                    continue;
                };
                found = draft
                    .index
                    .find(kind, name, value)
                    .next()
                    .map(str::to_owned);
                if found.is_some() {
                    break;
                }
                let key = super::pretty::compact(&json!({name: value}));
                let message = format!(
                    "the foreign key cannot be resolved with '{key}' for an existing '{kind}' entity"
                );
                unresolved.insert(name.to_owned(), message.into());
            }
            match found {
                Some(id) => drop(entity.insert(field.to_owned(), json!({"id": id}))),
                None if unresolved.is_empty() => {}
                None => drop(errors.insert(field.to_owned(), unresolved.into())),
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::foreign_keys_unresolved(errors))
        }
    }

    /// Removes an entity after what refers to it: children that go with it go first, any other child refuses.
    fn remove(&self, draft: &mut Draft<'_>, schema: &Schema, id: &str) -> Result<(), Error> {
        for (child, field) in self.registry.children(&schema.name) {
            let orphans: Vec<String> = draft
                .index
                .find(&child.name, field, id)
                .map(str::to_owned)
                .collect();
            if orphans.is_empty() {
                continue;
            }
            let cascades = child
                .fields
                .get(field)
                .is_some_and(|field| field.on_delete == OnDelete::Cascade);
            // Kong's DAO, not its database, takes a certificate's server names along.
            if !cascades && (schema.name.as_str(), child.name.as_str()) != ("certificates", "snis")
            {
                return Err(Error::still_referenced(&schema.name, &child.name));
            }
            for orphan in orphans {
                self.remove(draft, child, &orphan)?;
            }
        }
        draft.remove(&schema.name, id);
        Ok(())
    }
}

/// What is settled before the rest is looked at: a target's form, and what the stand-in cannot do.
fn prepare(schema: &Schema, given: &mut Map<String, Value>) -> Result<Timestamp, Error> {
    if schema.name == "targets"
        && let Some(Value::String(target)) = given.get_mut("target")
    {
        let host = Host::parse(target).map_err(|_| {
            Error::field_violation(
                "target",
                "Invalid target; not a valid hostname or ip address",
            )
        })?;
        *target = host.with_port(DEFAULT_TARGET_PORT);
    }
    if schema.ttl && given.shift_remove("ttl").is_some_and(|ttl| !ttl.is_null()) {
        let message = "the stand-in gateway keeps no entities that expire; a real Kong does";
        return Err(Error::field_violation("ttl", message));
    }
    Ok(Timestamp(clock::now_milliseconds()))
}

/// A plugin and its route, or one of its service's routes, need a protocol in common.
fn check_protocols(
    draft: &Draft<'_>,
    schema: &Schema,
    entity: &Map<String, Value>,
) -> Result<(), Error> {
    if schema.name != "plugins" {
        return Ok(());
    }
    let protocols = |entity: &Map<String, Value>| {
        entity
            .get("protocols")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let own = protocols(entity);
    let common = |route: &Entity| {
        protocols(route)
            .iter()
            .any(|protocol| own.contains(protocol))
    };
    let reference = |field: &str| entity.get(field).and_then(|key| key.get("id")?.as_str());
    if let Some(route) = reference("route").and_then(|id| draft.snapshot.get("routes", id)) {
        if !common(route) {
            return Err(Error::field_violation(
                "protocols",
                "must match the associated route's protocols",
            ));
        }
    } else if let Some(service) = reference("service") {
        let mut routes = draft
            .index
            .find("routes", "service", service)
            .filter_map(|id| draft.snapshot.get("routes", id))
            .peekable();
        if routes.peek().is_some() && !routes.any(common) {
            let message =
                "must match the protocols of at least one route pointing to this Plugin's service";
            return Err(Error::field_violation("protocols", message));
        }
    }
    Ok(())
}

/// Stores an entity whose fields are sound, if it collides with none and refers to what exists.
fn keep(
    draft: &mut Draft<'_>,
    schema: &Schema,
    given: &Map<String, Value>,
    mut entity: Map<String, Value>,
) -> Result<Entity, Error> {
    schema.transform(given, &mut entity);
    let id = id_of(&entity).to_owned();
    // So Kong calls it when its database takes no plugin without a configuration. Only filters can be without.
    if schema.name == "plugins" && entity.get("config") == Some(&Value::Null) {
        return Err(Error::primary_key_violation(&id));
    }
    for (name, _) in schema.fields.iter().filter(|(_, field)| field.unique) {
        let Some(value) = entity.get(name).and_then(Value::as_str) else {
            continue;
        };
        if draft
            .index
            .find(&schema.name, name, value)
            .any(|owner| owner != id)
        {
            return Err(Error::unique_violation(Map::from_iter([(
                name.to_owned(),
                Value::from(value),
            )])));
        }
    }
    if schema.cache_key.len() > 1 {
        refuse_if_taken(draft, schema, &entity)?;
    }
    for (field, _, kind) in schema.foreign_fields() {
        let Some(key) = entity.get(field).filter(|key| !key.is_null()) else {
            continue;
        };
        if key["id"]
            .as_str()
            .is_none_or(|id| draft.snapshot.get(kind, id).is_none())
        {
            return Err(Error::no_such_reference(field, key, kind));
        }
    }
    for (name, _) in schema.fields.iter().filter(|(_, field)| field.transient) {
        entity.shift_remove(name);
    }
    if schema.ttl {
        entity.insert("ttl".to_owned(), Value::Null);
    }
    schema.show_shorthands(&mut entity);
    let entity = Arc::new(entity);
    draft.put(&schema.name, Arc::clone(&entity));
    Ok(entity)
}

fn by(key: &Key) -> String {
    match key {
        Key::Id(_) => String::new(),
        Key::Field(field, _) => format!(" by '{field}'"),
    }
}

fn find<'a>(snapshot: &'a Snapshot, schema: &Schema, key: &Key) -> Option<&'a Entity> {
    match key {
        Key::Id(id) => snapshot.get(&schema.name, id),
        Key::Field(field, value) => snapshot
            .all(&schema.name)
            .find(|entity| entity.get(field).and_then(Value::as_str) == Some(value)),
    }
}

fn locate<'a>(draft: &'a Draft<'_>, schema: &Schema, key: &Key) -> Option<&'a Entity> {
    match key {
        Key::Id(id) => draft.snapshot.get(&schema.name, id),
        Key::Field(field, value) => {
            let id = draft.index.find(&schema.name, field, value).next()?;
            draft.snapshot.get(&schema.name, id)
        }
    }
}

/// Fields that are unique together, unless one that must be set is not.
fn refuse_if_taken(
    draft: &Draft<'_>,
    schema: &Schema,
    entity: &Map<String, Value>,
) -> Result<(), Error> {
    let member = |name: &String| entity.get(name).cloned().unwrap_or(Value::Null);
    let key: Map<String, Value> = schema
        .cache_key
        .iter()
        .map(|name| (name.clone(), member(name)))
        .collect();
    let Some((name, value)) = key.iter().find_map(|(name, value)| {
        Some((name, value.as_str().or_else(|| value.get("id")?.as_str())?))
    }) else {
        return Ok(());
    };
    let taken = draft
        .index
        .find(&schema.name, name, value)
        .filter(|id| *id != id_of(entity))
        .any(|id| {
            let other = draft.snapshot.get(&schema.name, id);
            other.is_some_and(|other| {
                key.iter()
                    .all(|(name, value)| other.get(name).unwrap_or(&Value::Null) == value)
            })
        });
    if taken {
        Err(Error::unique_violation(key))
    } else {
        Ok(())
    }
}

/// `ca_certificates` of a service are no foreign keys to the schema, but to Kong's DAO.
fn refuse_if_trusted(draft: &Draft<'_>, id: &str) -> Result<(), Error> {
    let trusts = |service: &&Entity| {
        service
            .get("ca_certificates")
            .and_then(Value::as_array)
            .is_some_and(|list| list.contains(&id.into()))
    };
    match draft.snapshot.all("services").find(trusts) {
        Some(service) => Err(Error::referenced_by_others(format!(
            "ca certificate {id} is still referenced by services (id = {})",
            id_of(service)
        ))),
        None => Ok(()),
    }
}
