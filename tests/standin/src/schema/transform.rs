//! What the server makes of a value before it keeps it.

use serde::Deserialize;
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::{field_at, key_material};

/// A rewriting of one field on write.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transformation {
    /// The field that sets it off.
    input: String,
    /// A dotted path without which it cannot be done.
    #[serde(default)]
    needs: Option<String>,
    on_write: Rewriting,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rewriting {
    /// `password` becomes sha1(password ‖ what it needs), the consumer's id.
    HashPassword,
    /// `cert_digest` becomes the digest of `cert`.
    DigestCertificate,
}

impl Transformation {
    /// Rewrites the entity in place. `given` is what the user sent: a stored hash is not hashed again.
    pub(crate) fn apply(&self, given: &Map<String, Value>, entity: &mut Map<String, Value>) {
        if given.get(&self.input).is_none_or(Value::is_null) {
            return;
        }
        let Some(input) = entity.get(&self.input).and_then(Value::as_str) else {
            return;
        };
        match self.on_write {
            Rewriting::HashPassword => {
                let needs = self
                    .needs
                    .as_deref()
                    .and_then(|path| field_at(entity, path)?.as_str());
                let Some(salt) = needs else { return };
                let hash = Sha1::new()
                    .chain_update(input)
                    .chain_update(salt)
                    .finalize();
                entity.insert("password".to_owned(), key_material::hex(&hash).into());
            }
            Rewriting::DigestCertificate => {
                if let Some(digest) = key_material::digest(input) {
                    entity.insert("cert_digest".to_owned(), digest.into());
                }
            }
        }
    }
}
