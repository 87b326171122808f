//! KongVaults.

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;

use super::Converter;
use super::object::Object;

impl Converter<'_> {
    pub(super) fn vaults(&mut self) {
        for entity in self.inventory.of_kind(Kind::Vault) {
            let name = self.names.of("KongVault", &entity.label);
            let mut spec = Map::new();
            spec.insert("backend".to_owned(), json!(entity.body.get("name")));
            for field in ["prefix", "description", "config", "tags"] {
                if let Some(value) = entity.body.get(field).filter(|value| !value.is_null()) {
                    spec.insert(field.to_owned(), value.clone());
                }
            }
            let object = Object::new("configuration.konghq.com/v1alpha1", "KongVault", &name)
                .of_cluster()
                .class(&self.options.class)
                .with("spec", Value::Object(spec));
            self.push(object);
        }
    }
}
