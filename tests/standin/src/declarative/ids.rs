//! Ids that follow from names: version 5 UUIDs, so that nodes that load the same document agree.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::schema::{OnDelete, Schema};

/// The namespace of all kinds.
const ENTITIES: Uuid = Uuid::from_u128(0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5);

/// The entity that another is nested in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent<'a> {
    /// The child's field that refers to it.
    pub(super) field: &'a str,
    pub(super) id: &'a str,
}

/// The id of an entity that gives none: from what makes it unique, or random if too little is known.
pub(super) fn generate(
    schema: &Schema,
    item: &Map<String, Value>,
    parent: Option<Parent<'_>>,
) -> Uuid {
    match key(schema, item, parent) {
        Some(key) => {
            let kind = Uuid::new_v5(&ENTITIES, schema.name.as_bytes());
            Uuid::new_v5(&kind, key.as_bytes())
        }
        None => Uuid::new_v4(),
    }
}

fn key(schema: &Schema, item: &Map<String, Value>, parent: Option<Parent<'_>>) -> Option<String> {
    if !schema.cache_key.is_empty() {
        return cache_key(schema, item, parent);
    }
    let endpoint_key = schema.endpoint_key.as_ref()?;
    let mut key = item.get(endpoint_key)?.as_str()?.to_owned();
    if !schema.fields.get(endpoint_key)?.unique {
        for (field, definition, _) in schema.foreign_fields() {
            if definition.on_delete == OnDelete::Cascade {
                let reference = parent
                    .map(|parent| parent.id)
                    .or_else(|| item.get(field)?.as_str())?;
                key = format!("{key}:{reference}");
            }
        }
        key.push_str(":*");
    }
    Some(key)
}

/// `kind:workspace:value:value…`, with `*` for the only workspace that there is.
fn cache_key(
    schema: &Schema,
    item: &Map<String, Value>,
    parent: Option<Parent<'_>>,
) -> Option<String> {
    let mut parts = vec![schema.name.as_str(), "*"];
    for name in &schema.cache_key {
        let field = schema.fields.get(name)?;
        if field.auto {
            return None;
        }
        match (item.get(name), parent) {
            (Some(Value::String(value)), _) => parts.push(value),
            // Kong leaves out what is neither text nor absent.
            (Some(_), _) => {}
            (None, Some(parent)) if parent.field == name => parts.push(parent.id),
            (None, _) if field.required => return None,
            (None, _) => parts.push(""),
        }
    }
    Some(parts.join(":"))
}
