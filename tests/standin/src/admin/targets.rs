//! Targets: they live below their upstream only, are listed newest first, and are addressed by their address too.

use axum::http::Method;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{Call, encode};
use super::entities::refers_to;
use super::{Admin, Outcome};
use crate::schema::is_uuid;
use crate::store::{Entity, Key, id_of};

impl Admin {
    /// `/upstreams/:upstream/targets` and its `/all`, which pages by id.
    pub(super) fn targets(&self, upstream: &str, raw: bool, call: &Call) -> Outcome {
        let schema = self.dao.registry().known("targets");
        let parent = self.upstream(upstream)?;
        if call.method == Method::POST {
            let mut given = call.entity(schema);
            given.insert("upstream".to_owned(), json!({"id": id_of(&parent)}));
            let entity = self.dao.insert(schema, given)?;
            return Ok(Answer::json(201, entity.as_ref().clone()));
        }
        let page = if raw {
            self.dao.page(schema, &call.page(), |target| {
                refers_to(target, "upstream", &parent)
            })?
        } else {
            call.page().by_position(self.newest_first(&parent))?
        };
        let all = if raw { "/all" } else { "" };
        let path = format!("/upstreams/{}/targets{all}", encode(upstream));
        Ok(self.list(schema, &page, |offset| {
            format!("{path}?offset={}", encode(offset))
        }))
    }

    /// `/upstreams/:upstream/targets/:target`: PUT changes what exists, as PATCH does.
    pub(super) fn target(&self, upstream: &str, target: &str, call: &Call) -> Outcome {
        let schema = self.dao.registry().known("targets");
        let entity = self.find_target(upstream, target)?;
        let key = Key::Id(id_of(&entity).to_owned());
        match call.method {
            Method::PATCH | Method::PUT => {
                let updated = self.dao.update(schema, &key, call.entity(schema))?;
                Ok(Answer::json(200, updated.as_ref().clone()))
            }
            Method::DELETE => {
                self.dao.delete(schema, &key)?;
                Ok(Answer::empty(204))
            }
            _ => Ok(Answer::json(200, entity.as_ref().clone())),
        }
    }

    /// Health cannot be set: the stand-in checks none, which Kong's own words for an unready balancer say.
    pub(super) fn set_target_health(&self, upstream: &str, target: &str) -> Outcome {
        self.find_target(upstream, target)?;
        let parent = self.upstream(upstream)?;
        let name = parent
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or(upstream);
        Err(Answer::message(
            400,
            format!("Upstream {name} has no balancer"),
        ))
    }

    /// `/upstreams/:upstream/health`: the targets, without a word about their health.
    pub(super) fn upstream_health(&self, upstream: &str, call: &Call) -> Outcome {
        let parent = self.upstream(upstream)?;
        let page = call.page().by_position(self.newest_first(&parent))?;
        let data: Vec<Value> = page
            .entities
            .iter()
            .map(|target| target.as_ref().clone().into())
            .collect();
        let path = format!("/upstreams/{}/health", encode(upstream));
        let next = page
            .offset
            .as_ref()
            .map(|offset| format!("{path}?offset={offset}"));
        let mut body = json!({"data": data, "next": next, "node_id": self.node.id.to_string()});
        if let Some(offset) = page.offset {
            body["offset"] = offset.into();
        }
        Ok(Answer::json(200, body))
    }

    fn upstream(&self, key: &str) -> Result<Entity, Answer> {
        self.parent(self.dao.registry().known("upstreams"), key)
    }

    /// Of targets made in the same millisecond, the one made last is the newest.
    fn newest_first(&self, upstream: &Entity) -> Vec<Entity> {
        let snapshot = self.dao.snapshot();
        let mut targets: Vec<Entity> = snapshot
            .all("targets")
            .filter(|target| refers_to(target, "upstream", upstream))
            .cloned()
            .collect();
        targets.reverse();
        let created = |target: &Entity| {
            target
                .get("created_at")
                .and_then(Value::as_f64)
                .unwrap_or_default()
        };
        targets.sort_by(|one, other| created(other).total_cmp(&created(one)));
        targets
    }

    fn find_target(&self, upstream: &str, target: &str) -> Result<Entity, Answer> {
        let parent = self.upstream(upstream)?;
        let field = if is_uuid(target) { "id" } else { "target" };
        self.newest_first(&parent)
            .into_iter()
            .find(|entity| entity.get(field).and_then(Value::as_str) == Some(target))
            .ok_or_else(Answer::not_found)
    }
}
