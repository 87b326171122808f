//! KongConsumers and their credentials.

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::state::Entity;

use super::object::Object;
use super::{Converter, secret};

/// Kinds of credentials, what the controller's label calls them, and the fields that it reads.
const CREDENTIALS: [(Kind, &str, &[&str]); 6] = [
    (Kind::KeyAuth, "key-auth", &["key", "ttl"]),
    (
        Kind::Jwt,
        "jwt",
        &["key", "secret", "algorithm", "rsa_public_key"],
    ),
    (Kind::BasicAuth, "basic-auth", &["username", "password"]),
    (Kind::HmacAuth, "hmac-auth", &["username", "secret"]),
    (
        Kind::OAuth2,
        "oauth2",
        &[
            "name",
            "client_id",
            "client_secret",
            "client_type",
            "hash_secret",
            "redirect_uris",
        ],
    ),
    (Kind::Acl, "acl", &["group"]),
];

impl Converter<'_> {
    pub(super) fn consumers(&mut self) {
        for entity in self.inventory.of_kind(Kind::Consumer) {
            self.consumer(entity);
        }
    }

    fn consumer(&mut self, entity: &Entity) {
        let name = self.names.of("KongConsumer", &entity.label);
        let credentials = self.credentials(entity, &name);
        let mut object = Object::new("configuration.konghq.com/v1", "KongConsumer", &name)
            .class(&self.options.class)
            .tags_of(entity);
        object = self.with_plugins(object, entity);
        for field in ["username", "custom_id"] {
            if let Some(value) = entity.body.get(field).filter(|value| !value.is_null()) {
                object = object.with(field, value.clone());
            }
        }
        if !credentials.is_empty() {
            object = object.with("credentials", json!(credentials));
        }
        self.push(object);
        self.lose_fields(entity, &["username", "custom_id", "tags"]);
    }

    /// Writes a consumer's credentials and returns their Secrets' names.
    fn credentials(&mut self, consumer: &Entity, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (kind, label, known) in CREDENTIALS {
            let own: Vec<&Entity> = self
                .inventory
                .of_kind(kind)
                .filter(|entity| entity.reference("consumer") == Some(&consumer.id))
                .collect();
            for (index, entity) in own.iter().enumerate() {
                let word = if own.len() > 1 {
                    format!("{name}-{label}-{}", index + 1)
                } else {
                    format!("{name}-{label}")
                };
                let secret_name = self.names.of("Secret", &word);
                let fields: Map<String, Value> = entity
                    .body
                    .iter()
                    .filter(|(field, value)| known.contains(&field.as_str()) && !value.is_null())
                    .map(|(field, value)| (field.clone(), value.clone()))
                    .collect();
                let object = secret::credential(&secret_name, label, fields).tags_of(entity);
                self.push(object);
                let known: Vec<&str> = known.iter().copied().chain(["consumer", "tags"]).collect();
                self.lose_fields(entity, &known);
                names.push(secret_name);
            }
        }
        names
    }
}
