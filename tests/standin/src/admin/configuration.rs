//! `/config`: the whole configuration at once, without a database.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::{Admin, Outcome};
use crate::clock;
use crate::config::Database;
use crate::declarative::{self, Document, Fault, Flattening};
use crate::schema::Timestamp;
use crate::store::{Entity, Error, id_of};

impl Admin {
    /// `/config`
    pub(super) fn configuration(&self, call: &Call) -> Outcome {
        if self.node.config.database != Database::Off {
            let message =
                "this endpoint is only available when Kong is configured to not use a database";
            return Err(Answer::message(400, message));
        }
        if call.method == Method::POST {
            return self.load(call);
        }
        let text = declarative::export(self.dao.registry(), &self.dao.snapshot());
        Ok(Answer::json(200, json!({"config": text})))
    }

    fn load(&self, call: &Call) -> Outcome {
        let mut members = call.body.clone();
        let mut option = |name: &str| {
            let in_body = members.shift_remove(name);
            call.parameter(name).map(Value::from).or(in_body)
        };
        let flatten = option("flatten_errors").as_ref().is_some_and(is_true);
        let check_hash = option("check_hash").is_some_and(|value| value == "1" || value == 1);
        let document = if members.contains_key("_format_version") {
            Document::of(members)
        } else {
            let text = match members.get("config") {
                Some(Value::String(text)) => text,
                _ => str::from_utf8(&call.raw).unwrap_or_default(),
            };
            if text.is_empty() {
                return Err(Answer::message(400, "expected a declarative configuration"));
            }
            let document = Document::parse(text)?;
            // As in Kong, only a text has a hash before it is loaded.
            if check_hash && document.hash == self.dao.snapshot().configuration_hash {
                return Ok(Answer::empty(304));
            }
            document
        };
        let registry = self.dao.registry();
        match declarative::read(
            registry,
            document.members.clone(),
            Timestamp(clock::now_milliseconds()),
        ) {
            Ok(entities) => {
                let shown = by_kind(&entities);
                self.node.store.replace(entities, document.hash);
                Ok(Answer::json(201, shown))
            }
            Err(fault) => {
                let (mut errors, with_ids) = match fault {
                    Fault::Faulty(errors) => (errors, false),
                    Fault::Clashing(errors) => (errors, true),
                    Fault::Unnameable(message) => {
                        tracing::warn!(%message, "what Kong stumbles over");
                        return Err(Error::unexpected().into());
                    }
                };
                if !flatten {
                    return Err(Error::declarative(errors).into());
                }
                let entities = Flattening { registry, with_ids };
                let list = entities.flattened(&document.members, &mut errors);
                // An empty list, in Lua.
                let list = if list.is_empty() {
                    json!({})
                } else {
                    list.into()
                };
                Err(Error::declarative(errors)
                    .with("flattened_errors", list)
                    .into())
            }
        }
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            ["true", "1", "on", "yes"].contains(&text.to_ascii_lowercase().as_str())
        }
        Value::Bool(value) => *value,
        number => number == 1,
    }
}

/// Entities by kind, then by id.
fn by_kind(entities: &[(String, Entity)]) -> Value {
    let mut kinds: Map<String, Value> = Map::new();
    for (kind, entity) in entities {
        let members = kinds.entry(kind.as_str()).or_insert_with(|| json!({}));
        members[id_of(entity)] = entity.as_ref().clone().into();
    }
    kinds.into()
}
