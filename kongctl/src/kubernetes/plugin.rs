//! KongPlugins, KongClusterPlugins, and who refers to them.

use serde_json::{Value, json};

use crate::admin::entities::Kind;
use crate::state::{Entity, secrets};

use super::object::Object;
use super::{Converter, secret};

const API: &str = "configuration.konghq.com/v1";
/// Where a Secret must be said to be and nobody said where.
const DEFAULT_NAMESPACE: &str = "default";

impl Converter<'_> {
    pub(super) fn plugins(&mut self) {
        for entity in self.inventory.of_kind(Kind::Plugin) {
            self.plugin(entity);
        }
    }

    fn plugin(&mut self, entity: &Entity) {
        // A filter in a plugin's place. Whoever names it finds no object, and is not open to all.
        if entity.body.get("config").is_some_and(Value::is_string) {
            self.lose(
                entity,
                "its configuration is a text, a KongPlugin's is a map",
            );
            return;
        }
        let is_global = entity.references().next().is_none();
        let kind = if is_global {
            "KongClusterPlugin"
        } else {
            "KongPlugin"
        };
        let name = self.plugin_name(entity);
        let mut object = Object::new(API, kind, &name)
            .class(&self.options.class)
            .tags_of(entity)
            .with("plugin", entity.body["name"].clone());
        if is_global {
            object = object.of_cluster().label("global", "true");
        }
        for (field, to) in [
            ("instance_name", "instance_name"),
            ("protocols", "protocols"),
        ] {
            if let Some(value) = entity.body.get(field).filter(|value| !value.is_null()) {
                object = object.with(to, value.clone());
            }
        }
        if entity.body.get("enabled") == Some(&json!(false)) {
            object = object.with("disabled", true);
        }
        let mut config = entity.body.get("config").cloned().unwrap_or_default();
        let name_of_plugin = entity.body.get("name").and_then(Value::as_str);
        let source = entity.source.as_deref().and_then(|node| node.get("config"));
        let pointers = secrets::of_config(
            &config,
            self.schemas
                .plugin_config(name_of_plugin.unwrap_or_default()),
            source.map(|node| &**node),
        );
        let taken = secret::take(&mut config, pointers);
        if !config.is_null() && config != json!({}) {
            object = object.with("config", config);
        }
        if !taken.is_empty() {
            let secret_name = self.names.of("Secret", &format!("{name}-config"));
            let namespace = is_global.then(|| {
                self.options
                    .namespace
                    .as_deref()
                    .unwrap_or(DEFAULT_NAMESPACE)
            });
            object = object.with(
                "configPatches",
                secret::patches(&taken, &secret_name, namespace),
            );
            self.push(secret::of_plugin(&secret_name, &taken));
        }
        self.push(object);
        self.lose_fields(
            entity,
            &[
                "name",
                "config",
                "enabled",
                "instance_name",
                "protocols",
                "tags",
                "service",
                "route",
                "consumer",
            ],
        );
    }

    fn plugin_name(&mut self, entity: &Entity) -> String {
        let text = |field: &str| entity.body.get(field).and_then(Value::as_str);
        let mut parts: Vec<&str> = Vec::new();
        for (_, kind, id, _) in entity.references() {
            if let Some(parent) = self.inventory.get(kind, id) {
                parts.push(&parent.label);
            }
        }
        parts.push(
            text("instance_name")
                .or_else(|| text("name"))
                .unwrap_or_default(),
        );
        self.names.of("KongPlugin", &parts.join("-"))
    }

    /// The names of the plugins of an entity, as its annotation lists them.
    pub(super) fn plugins_of(&mut self, entity: &Entity) -> Option<String> {
        let mut names: Vec<String> = Vec::new();
        for plugin in self.inventory.of_kind(Kind::Plugin) {
            let is_its = plugin
                .references()
                .any(|(_, kind, id, _)| kind == entity.kind && id == entity.id);
            if is_its {
                names.push(self.plugin_name(plugin));
            }
        }
        (!names.is_empty()).then(|| names.join(","))
    }

    /// The object with the annotation that lists the entity's plugins.
    pub(super) fn with_plugins(&mut self, object: Object, entity: &Entity) -> Object {
        match self.plugins_of(entity) {
            Some(names) => object.kong("plugins", names),
            None => object,
        }
    }
}
