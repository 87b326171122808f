//! Entities by the rules that all kinds share: lists, single ones, children, and what they refer to.

use axum::http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::call::{Call, encode};
use super::endpoint::Child;
use super::{Admin, Outcome, tags};
use crate::schema::{Schema, is_uuid};
use crate::store::{Entity, Error, Key, Page, id_of, server_names};

impl Admin {
    /// `/services`
    pub(super) fn collection(&self, schema: &Schema, call: &Call) -> Outcome {
        if call.method == Method::POST {
            let entity = self.dao.insert(schema, call.entity(schema))?;
            return Ok(Answer::json(201, self.shown(schema, &entity)));
        }
        if let ("consumers", Some(custom_id)) = (schema.name.as_str(), call.parameter("custom_id"))
        {
            if custom_id.is_empty() {
                return Err(Answer::message(400, "custom_id must be an unempty string"));
            }
            let found = self.dao.select(
                schema,
                &Key::Field("custom_id".to_owned(), custom_id.to_owned()),
            );
            let data: Vec<Value> = found
                .iter()
                .map(|entity| self.shown(schema, entity))
                .collect();
            return Ok(Answer::json(200, json!({"data": data, "next": null})));
        }
        let filter = call
            .parameter("tags")
            .map(tags::Filter::parse)
            .transpose()?;
        let page = self.dao.page(schema, &call.page(), |entity| {
            filter.as_ref().is_none_or(|filter| filter.passes(entity))
        })?;
        let kept = ["tags", "size"]
            .iter()
            .filter_map(|name| Some((name, call.parameter(name)?)));
        let kept: Vec<String> = kept
            .map(|(name, value)| format!("&{name}={}", encode(value)))
            .collect();
        let kept = kept.concat();
        let next = |offset: &str| {
            format!(
                "/{}?offset={}{kept}",
                schema.collection_path(),
                encode(offset)
            )
        };
        Ok(self.list(schema, &page, next))
    }

    /// `/services/:key`
    pub(super) fn entity(&self, schema: &Schema, key: &str, call: &Call) -> Outcome {
        let mut given = call.entity(schema);
        let key = if schema.name == "certificates" {
            self.certificate_key(key, call, &mut given)?
        } else {
            key_of(schema, key)?
        };
        self.on_entity(schema, &key, given, &call.method)
    }

    fn on_entity(
        &self,
        schema: &Schema,
        key: &Key,
        given: Map<String, Value>,
        method: &Method,
    ) -> Outcome {
        let entity = match *method {
            Method::PUT => self.dao.upsert(schema, key, given)?,
            Method::PATCH => self.dao.update(schema, key, given)?,
            Method::DELETE => {
                self.dao.delete(schema, key)?;
                return Ok(Answer::empty(204));
            }
            _ => {
                let entity = self.dao.select(schema, key).ok_or_else(Answer::not_found)?;
                return Ok(Answer::json(200, self.shown(schema, &entity)));
            }
        };
        Ok(Answer::json(200, self.shown(schema, &entity)))
    }

    /// `/services/:key/routes`
    pub(super) fn children(&self, child: Child<'_>, call: &Call) -> Outcome {
        let parent = self.parent(child.parent, child.key)?;
        if call.method == Method::POST {
            let mut given = call.entity(child.schema);
            given.insert(child.field.to_owned(), json!({"id": id_of(&parent)}));
            let entity = self.dao.insert(child.schema, given)?;
            return Ok(Answer::json(201, self.shown(child.schema, &entity)));
        }
        let page = self.dao.page(child.schema, &call.page(), |entity| {
            refers_to(entity, child.field, &parent)
        })?;
        let path = format!(
            "/{}/{}/{}",
            child.parent.collection_path(),
            encode(child.key),
            child.schema.nested_path()
        );
        Ok(self.list(child.schema, &page, |offset| {
            format!("{path}?offset={}", encode(offset))
        }))
    }

    /// `/services/:key/routes/:child`
    pub(super) fn child(&self, child: Child<'_>, key: &str, call: &Call) -> Outcome {
        let parent = self.parent(child.parent, child.key)?;
        let key = key_of(child.schema, key)?;
        let mut given = call.entity(child.schema);
        if call.method == Method::PUT {
            given.insert(child.field.to_owned(), json!({"id": id_of(&parent)}));
        } else {
            let entity = self.dao.select(child.schema, &key);
            entity
                .filter(|entity| refers_to(entity, child.field, &parent))
                .ok_or_else(Answer::not_found)?;
        }
        self.on_entity(child.schema, &key, given, &call.method)
    }

    /// `/routes/:key/service`: `foreign` is the field and the kind that it refers to.
    pub(super) fn referred(
        &self,
        schema: &Schema,
        key: &str,
        foreign: (&str, &Schema),
        call: &Call,
    ) -> Outcome {
        let (field, kind) = foreign;
        let entity = self.parent(schema, key)?;
        let referred = entity.get(field).and_then(|key| key.get("id")?.as_str());
        match (&call.method, referred) {
            (&Method::DELETE, Some(_)) => Err(Answer::method_not_allowed()),
            (_, Some(id)) => self.on_entity(
                kind,
                &Key::Id(id.to_owned()),
                call.entity(kind),
                &call.method,
            ),
            (&Method::PUT, None) => {
                let created = self.dao.upsert(
                    kind,
                    &Key::Id(Uuid::new_v4().to_string()),
                    call.entity(kind),
                )?;
                let change = Map::from_iter([(field.to_owned(), json!({"id": id_of(&created)}))]);
                self.dao
                    .update(schema, &Key::Id(id_of(&entity).to_owned()), change)?;
                Ok(Answer::json(200, self.shown(kind, &created)))
            }
            (_, None) => Err(Answer::not_found()),
        }
    }

    /// The entity that a path goes through.
    pub(super) fn parent(&self, schema: &Schema, key: &str) -> Result<Entity, Answer> {
        let key = if schema.name == "certificates" {
            self.owner_of_name(key)?
        } else {
            key_of(schema, key)?
        };
        self.dao.select(schema, &key).ok_or_else(Answer::not_found)
    }

    /// A list's answer; `next` makes the path of the following page.
    pub(super) fn list(
        &self,
        schema: &Schema,
        page: &Page,
        next: impl FnOnce(&str) -> String,
    ) -> Answer {
        let data: Vec<Value> = page
            .entities
            .iter()
            .map(|entity| self.shown(schema, entity))
            .collect();
        let mut body = json!({"data": data, "next": page.offset.as_deref().map(next)});
        if let Some(offset) = &page.offset {
            body["offset"] = offset.as_str().into();
        }
        Answer::json(200, body)
    }

    /// An entity as a reader sees it.
    fn shown(&self, schema: &Schema, entity: &Entity) -> Value {
        if schema.name == "certificates" {
            return server_names::shown(&self.dao.snapshot(), entity).into();
        }
        Map::clone(entity).into()
    }

    /// A certificate is addressed by its id or by one of its server names; PUT may create it under a new name.
    fn certificate_key(
        &self,
        text: &str,
        call: &Call,
        given: &mut Map<String, Value>,
    ) -> Result<Key, Answer> {
        let writes = matches!(call.method, Method::PUT | Method::PATCH);
        if let (true, Some(Value::String(single))) = (writes, given.get("snis")) {
            let list = Value::Array(vec![single.clone().into()]);
            given.insert("snis".to_owned(), list);
        }
        let replaces = call.method == Method::PUT;
        if replaces {
            given.entry("snis").or_insert(Value::Null);
        }
        if replaces
            && !is_uuid(text)
            && let Some(snis) = given.get_mut("snis")
        {
            match snis {
                Value::Array(names) if !names.iter().any(|name| name == text) => {
                    names.push(text.into());
                }
                Value::Null => *snis = Value::Array(vec![text.into()]),
                _ => {}
            }
        }
        self.owner_of_name(text).or_else(|answer| {
            if replaces {
                Ok(Key::Id(Uuid::new_v4().to_string()))
            } else {
                Err(answer)
            }
        })
    }

    fn owner_of_name(&self, text: &str) -> Result<Key, Answer> {
        if is_uuid(text) {
            return Ok(Key::Id(text.to_owned()));
        }
        let snis = self.dao.registry().known("snis");
        let sni = self
            .dao
            .select(snis, &Key::Field("name".to_owned(), text.to_owned()));
        let owner = sni
            .as_deref()
            .and_then(|sni| sni.get("certificate")?.get("id")?.as_str());
        owner
            .map(|id| Key::Id(id.to_owned()))
            .ok_or_else(|| Answer::message(404, "SNI not found"))
    }
}

/// The key that a path's part means: an id, else the endpoint key, whose value must be sound.
pub(super) fn key_of(schema: &Schema, text: &str) -> Result<Key, Error> {
    if is_uuid(text) {
        return Ok(Key::Id(text.to_owned()));
    }
    let Some(field) = &schema.endpoint_key else {
        return Err(Error::invalid_primary_key(
            json!({"id": "expected a valid UUID"}),
        ));
    };
    schema
        .check_field(field, &text.into())
        .map_err(|message| Error::invalid_unique(field, message))?;
    Ok(Key::Field(field.clone(), text.to_owned()))
}

/// Whether a child's field refers to that parent.
pub(super) fn refers_to(
    child: &Map<String, Value>,
    field: &str,
    parent: &Map<String, Value>,
) -> bool {
    child.get(field).and_then(|key| key.get("id")?.as_str()) == Some(id_of(parent))
}
