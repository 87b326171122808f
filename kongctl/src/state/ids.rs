//! Ids of entities that a file gives none: the ones that Kong's DB-less loader would give.
//!
//! # Algorithm
//!
//! UUIDv5 in two steps: the namespace [`NAMESPACE`] and the kind's name give the kind's namespace; that and the entity's key give
//! the id. The key is a name (`services`), or `kind:*:part:part` (`plugins`), where a reference is what the file says:
//! the id of the entry that it is nested in, or the word that a top-level entry writes.
//! For the kinds for which Kong draws at random, ours is derived the same way, so that the same file gives the same ids.

use base64::Engine as _;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::admin::entities::{IdRecipe, Kind};

use super::reference_id;

/// Kong's namespace for declared entities.
const NAMESPACE: Uuid = Uuid::from_u128(0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5);

/// The id of an entity with these fields. `written` gives a reference's word where the file wrote one at the top level.
pub(crate) fn derive(
    kind: Kind,
    body: &Map<String, Value>,
    written: impl Fn(&str) -> Option<String>,
) -> String {
    let text = |field: &str| match body.get(field) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value @ Value::Object(_)) => {
            written(field).or_else(|| reference_id(value).map(str::to_owned))
        }
        _ => None,
    };
    let whole = || format!("content:{}", content_digest(body));
    let key = match kind.spec().id {
        IdRecipe::Name(field) => text(field).unwrap_or_else(whole),
        IdRecipe::Whole => whole(),
        IdRecipe::CacheKey(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .map(|field| text(field).unwrap_or_default())
                .collect();
            format!("{}:*:{}", kind.name(), parts.join(":"))
        }
        IdRecipe::Content(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .map(|field| text(field).unwrap_or_default())
                .collect();
            hex(&Sha256::digest(parts.join("\n")))
        }
    };
    let namespace = Uuid::new_v5(&NAMESPACE, kind.name().as_bytes());
    Uuid::new_v5(&namespace, key.as_bytes()).to_string()
}

/// A digest of an entity that has no name, the order of its fields aside.
pub(crate) fn content_digest(body: &Map<String, Value>) -> String {
    let mut fields: Vec<(&String, String)> = body
        .iter()
        .filter(|(name, value)| {
            !value.is_null() && !matches!(name.as_str(), "id" | "created_at" | "updated_at")
        })
        .map(|(name, value)| (name, value.to_string()))
        .collect();
    fields.sort();
    let mut hash = Sha256::new();
    for (name, value) in fields {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

/// SHA-256 of the first certificate in a PEM text, as Kong keeps it in `cert_digest`.
pub(crate) fn certificate_digest(pem: &str) -> Option<String> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let compact: String = body
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .ok()?;
    Some(hex(&Sha256::digest(der)))
}

/// What Kong stores of a basic-auth password: SHA-1 over the password and the consumer's id.
pub(crate) fn basic_auth_hash(password: &str, consumer_id: &str) -> String {
    let mut hash = sha1::Sha1::new();
    hash.update(password.as_bytes());
    hash.update(consumer_id.as_bytes());
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn derived(kind: Kind, body: &Value, written: Option<&str>) -> String {
        derive(kind, body.as_object().unwrap(), |_| {
            written.map(str::to_owned)
        })
    }

    /// Ids that a real DB-less node gave.
    #[test]
    fn ids_are_those_of_a_real_db_less_node() {
        let service = derived(Kind::Service, &json!({"name": "llm"}), None);
        assert_eq!(service, "c01215fb-acce-5a3f-8bfa-a00f3f3c9618");
        let route = derived(
            Kind::Route,
            &json!({"name": "chat", "service": {"id": service}}),
            None,
        );
        assert_eq!(route, "e4b88d1c-623f-5a40-b298-b23cfabd46de");
        assert_eq!(
            derived(Kind::Consumer, &json!({"username": "alice"}), None),
            "b32379d9-3d28-5683-a79c-72139be6e34f"
        );
        let nested = json!({"name": "key-auth", "route": {"id": route}});
        assert_eq!(
            derived(Kind::Plugin, &nested, None),
            "263550d0-b7e1-56df-a29a-bcc14a9cafe8"
        );
        let by_word = json!({"name": "correlation-id", "service": {"id": service}});
        assert_eq!(
            derived(Kind::Plugin, &by_word, Some("llm")),
            "05fd7c60-09ba-578e-add7-a5445e9c107a"
        );
        for (owner, id, written, expected) in [
            (
                "service",
                "b268827a-8f7f-551f-8769-e6bceb2f3ec6",
                None,
                "1ce4a4b8-49c2-5895-9cb7-de790f098d90",
            ),
            (
                "route",
                "da7ba03a-f1be-52d4-8a7e-c8f32640689a",
                None,
                "6d858d35-b1ae-5791-912a-31426abef589",
            ),
            (
                "route",
                "da7ba03a-f1be-52d4-8a7e-c8f32640689a",
                Some("r"),
                "5d9aaaac-5a64-5b76-b1ea-b90c9fc4bff8",
            ),
            (
                "service",
                "b268827a-8f7f-551f-8769-e6bceb2f3ec6",
                Some("s"),
                "5bc3c5e0-a01a-5abb-8863-7970df6439ec",
            ),
        ] {
            let chain = json!({"name": "its name does not count", owner: {"id": id}});
            assert_eq!(derived(Kind::FilterChain, &chain, written), expected);
        }
    }

    /// The password and the consumer of a recorded answer.
    #[test]
    fn a_password_hashes_as_a_real_node_hashes_it() {
        let hash = basic_auth_hash("pw", "f7ecf0ce-22c1-4768-b53f-8561e1da8220");
        assert_eq!(hash, "a192eaebd2b7d9bac2bac4c96a5c10f48e8c29c3");
    }
}
