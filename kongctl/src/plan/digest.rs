//! A short word for what an entity is: another word means that somebody changed it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::admin::entities::Kind;
use crate::admin::schema::Type;
use crate::state::{Entity, ids};

use super::compare::plain;

/// SHA-256, in hexadecimal, over the entity's fields. Timestamps, what is left of a credential's time, nulls, and the order of keys and
/// sets have no part in it.
pub(crate) fn digest(entity: &Entity) -> String {
    let mut body = entity.body.clone();
    body.retain(|name, _| !matches!(name.as_str(), "created_at" | "updated_at"));
    if entity.kind == Kind::KeyAuth {
        body.shift_remove("ttl");
    }
    for (name, field) in &entity.kind.record().fields {
        if let (Type::Set(_), Some(Value::Array(items))) = (&field.ty, body.get_mut(name)) {
            items.sort_by_key(Value::to_string);
        }
    }
    let text = plain(&Value::Object(body)).to_string();
    ids::hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> String {
        digest(&Entity {
            kind: Kind::Service,
            id: "1".to_owned(),
            body: body.as_object().unwrap().clone(),
            label: String::new(),
            source: None,
        })
    }

    #[test]
    fn only_what_a_person_would_call_a_change_changes_the_word() {
        let word = of(&json!({"name": "llm", "tags": ["a", "b"], "path": null, "updated_at": 1}));
        assert_eq!(
            word,
            of(&json!({"updated_at": 2, "tags": ["b", "a"], "name": "llm"}))
        );
        assert_ne!(word, of(&json!({"name": "llm", "tags": ["a"]})));
    }
}
