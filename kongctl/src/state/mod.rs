//! State: files become what is wanted, the Admin API's answers become what is there.
//!
//! # Layout
//!
//! `yaml` reads text into nodes that know their place; `references` evaluates `${{ env … }}` and `!file` on parsed scalars;
//! `files` gathers documents; `declared` checks them against the entity table and flattens what is nested;
//! `resolve` matches that with the current state and gives each entity its id; `current` reads a node.

pub(crate) mod current;
pub(crate) mod declared;
pub(crate) mod diagnostics;
pub(crate) mod document;
pub(crate) mod files;
pub(crate) mod ids;
pub(crate) mod json_schema;
pub(crate) mod node;
pub(crate) mod references;
pub(crate) mod resolve;
pub(crate) mod secrets;
pub(crate) mod yaml;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use node::Node;

/// One entity with its id, its references as `{id}`.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// The fields, without `id`.
    pub(crate) body: Map<String, Value>,
    /// What a person calls it.
    pub(crate) label: String,
    /// Where a file declares it.
    pub(crate) source: Option<Arc<Node>>,
}

impl Entity {
    /// The id in a reference field.
    pub(crate) fn reference(&self, field: &str) -> Option<&str> {
        reference_id(self.body.get(field)?)
    }

    /// The entity's tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.body
            .get("tags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// True if the entity carries all of `tags`: then it is ours to change.
    pub(crate) fn has_tags(&self, tags: &[String]) -> bool {
        tags.iter().all(|tag| self.tags().any(|own| own == tag))
    }

    /// The references that are set: (field, kind referred to, id, deleted together).
    pub(crate) fn references(&self) -> impl Iterator<Item = (&'static str, Kind, &str, bool)> {
        references(self.kind, &self.body)
    }

    /// True if a person may mean this entity by `name`: one of its keys, its id, or what it is called here.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let keys = self.kind.spec().natural_keys.iter();
        let fields = keys.flat_map(|key| key.iter().copied());
        let named = fields
            .chain(["instance_name"])
            .any(|field| self.body.get(field).is_some_and(|value| value == name));
        named || self.id == name || self.label == name
    }

    /// The values of one natural key, `None` where a needed part is absent.
    ///
    /// A key of several parts may lack references (a global plugin, a key without a set), never its first part.
    pub(crate) fn natural_key(&self, fields: &[&str]) -> Option<Vec<String>> {
        natural_key(&self.body, fields)
    }
}

/// The references that a body of this kind sets: (field, kind referred to, id, deleted together).
pub(crate) fn references(
    kind: Kind,
    body: &Map<String, Value>,
) -> impl Iterator<Item = (&'static str, Kind, &str, bool)> {
    let direct = kind.references().filter_map(|(field, kind, cascade)| {
        Some((field, kind, reference_id(body.get(field)?)?, cascade))
    });
    // The one reference that is a list of plain ids.
    let authorities = (kind == Kind::Service)
        .then(|| body.get("ca_certificates").and_then(Value::as_array))
        .flatten()
        .into_iter()
        .flatten()
        .filter_map(|id| Some(("ca_certificates", Kind::CaCertificate, id.as_str()?, false)));
    direct.chain(authorities)
}

/// The values of a natural key's fields in a body, ids for references; nothing if the first is not set.
pub(crate) fn natural_key(body: &Map<String, Value>, fields: &[&str]) -> Option<Vec<String>> {
    let mut parts = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        match body.get(*field) {
            Some(Value::String(text)) => parts.push(text.clone()),
            Some(value @ Value::Object(_)) => {
                parts.push(reference_id(value).unwrap_or_default().to_owned());
            }
            _ if index == 0 => return None,
            _ => parts.push(String::new()),
        }
    }
    Some(parts)
}

/// True if an entity with this body carries one of `tags`.
pub(crate) fn has_any_tag(body: &Map<String, Value>, tags: &[String]) -> bool {
    let own = body.get("tags").and_then(Value::as_array);
    own.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|own| tags.iter().any(|tag| tag == own))
}

/// The id in a reference, whichever of its two shapes it has.
pub(crate) fn reference_id(value: &Value) -> Option<&str> {
    match value {
        Value::String(id) => Some(id),
        Value::Object(map) => map.get("id").and_then(Value::as_str),
        _ => None,
    }
}

/// What a person calls an entity: its natural key, or its id where it has none.
pub(crate) fn label(
    kind: Kind,
    body: &Map<String, Value>,
    id: &str,
    name_of: impl Fn(Kind, &str) -> Option<String>,
) -> String {
    let text = |field: &str| {
        body.get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let parent = |field: &str, to: Kind| -> Option<String> {
        let id = reference_id(body.get(field)?)?;
        Some(format!(
            "{} {}",
            to.singular(),
            name_of(to, id).unwrap_or_else(|| id.to_owned())
        ))
    };
    let of = |what: &str, field: &str, to: Kind| match parent(field, to) {
        Some(parent) => format!("{what} of {parent}"),
        None => what.to_owned(),
    };
    let parents = || -> Vec<String> {
        kind.references()
            .filter_map(|(field, to, _)| parent(field, to))
            .collect()
    };
    match kind {
        Kind::Certificate => id.to_owned(),
        Kind::CaCertificate => text("cert_digest")
            .map_or_else(|| id.to_owned(), |digest| digest.chars().take(16).collect()),
        // The key is the secret: say whose it is.
        Kind::KeyAuth => of(
            &id.chars().take(8).collect::<String>(),
            "consumer",
            Kind::Consumer,
        ),
        Kind::Acl => of(text("group").unwrap_or(id), "consumer", Kind::Consumer),
        Kind::Target => of(text("target").unwrap_or(id), "upstream", Kind::Upstream),
        Kind::FilterChain => text("name").map_or_else(
            || {
                let of_route = parent("route", Kind::Route);
                let owner = of_route.or_else(|| parent("service", Kind::Service));
                owner.map_or_else(|| id.to_owned(), |owner| format!("of {owner}"))
            },
            str::to_owned,
        ),
        Kind::Plugin => {
            let name = text("name").unwrap_or(id);
            let scopes = parents();
            if scopes.is_empty() {
                format!("{name} (global)")
            } else {
                format!("{name} on {}", scopes.join(" and "))
            }
        }
        _ => {
            let keys = kind.spec().natural_keys.iter().map(|key| key[0]);
            let name = keys.into_iter().find_map(text);
            name.map_or_else(|| nameless(kind, id, &parents()), str::to_owned)
        }
    }
}

/// Of a plugin's own kind, what an entity belongs to tells more than its id.
fn nameless(kind: Kind, id: &str, parents: &[String]) -> String {
    if !kind.is_custom() || parents.is_empty() {
        return id.to_owned();
    }
    let short: String = id.chars().take(8).collect();
    format!("{short} of {}", parents.join(" and "))
}
