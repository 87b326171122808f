//! Declared entities as Kubernetes objects, for Kong's ingress controller (KIC 3.x).
//!
//! # Layout
//!
//! `route` makes HTTPRoutes or Ingresses, `service` Services and upstream policies, `plugin` KongPlugins, `consumer` KongConsumers and their
//! credentials, `certificate` what TLS needs, `vault` KongVaults; `name` gives each object a name that Kubernetes takes, `secret` keeps
//! secrets in Secrets alone.
//!
//! # Invariants
//!
//! 1. Nothing is left out in silence: what Kubernetes cannot say is a [`Loss`].
//! 2. Where the controller's default is not Kong's (`strip_path`, `preserve_host`), Kong's is said.
//! 3. What loses a condition is left out: an object is never open to more than its entity.
//! 4. A secret is in a Secret, and everything else refers to it.
//!
//! The annotations and their meaning are those of the controller's `internal/annotations`; objects are those of its CRDs of version 3.5 and of the Gateway API's
//! standard channel.

mod certificate;
mod consumer;
mod name;
mod object;
mod plugin;
mod route;
mod secret;
mod service;
mod vault;

use serde_json::Value;

use crate::admin::entities::Kind;
use crate::admin::schema::Schemas;
use crate::state::Entity;
use crate::state::current::Inventory;
use name::Names;

/// How the objects are to look.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Ingresses instead of HTTPRoutes.
    pub(crate) ingress: bool,
    /// The ingress class, or the Gateway's class.
    pub(crate) class: String,
    /// The Gateway that HTTPRoutes attach to.
    pub(crate) gateway: String,
    /// The namespace of all that has one; without, the one in which they are applied.
    pub(crate) namespace: Option<String>,
}

/// Something that was declared and that Kubernetes has no word for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The entity, as a person calls it.
    pub(crate) entity: String,
    /// What of it is lost, and why.
    pub(crate) what: String,
}

/// What the entities became.
#[derive(Debug, Default)]
pub(crate) struct Conversion {
    /// In an order in which they can be applied.
    pub(crate) objects: Vec<Value>,
    pub(crate) losses: Vec<Loss>,
}

/// Turns entities into objects.
///
/// `schemas` tell what of a plugin's configuration is a secret.
pub(crate) fn convert(inventory: &Inventory, schemas: &Schemas, options: &Options) -> Conversion {
    let mut converter = Converter {
        inventory,
        schemas,
        options,
        names: Names::default(),
        conversion: Conversion::default(),
    };
    converter.certificates();
    converter.vaults();
    converter.plugins();
    converter.consumers();
    converter.services();
    converter.routes();
    let without_object = [Kind::Key, Kind::KeySet, Kind::FilterChain];
    let custom = Kind::all().filter(|kind| kind.is_custom());
    for kind in without_object.into_iter().chain(custom) {
        for entity in inventory.of_kind(kind) {
            converter.lose(entity, "the ingress controller has no object for it");
        }
    }
    converter.conversion
}

struct Converter<'a> {
    inventory: &'a Inventory,
    schemas: &'a Schemas,
    options: &'a Options,
    names: Names,
    conversion: Conversion,
}

impl Converter<'_> {
    fn lose(&mut self, entity: &Entity, what: impl Into<String>) {
        self.conversion.losses.push(Loss {
            entity: format!("{} {}", entity.kind.singular(), entity.label),
            what: what.into(),
        });
    }

    fn push(&mut self, object: object::Object) {
        let namespace = self.options.namespace.as_deref();
        self.conversion.objects.push(object.finish(namespace));
    }

    /// Tells what of an entity has no place in its object: every field that is set, but for `known`. True if something is lost.
    fn lose_fields(&mut self, entity: &Entity, known: &[&str]) -> bool {
        let lost: Vec<&str> = entity
            .body
            .iter()
            .filter(|(name, value)| {
                !value.is_null() && !known.contains(&name.as_str()) && !is_empty_list(value)
            })
            .filter(|(name, value)| {
                // A default that is written out loses nothing.
                let field = entity.kind.record().fields.get(name.as_str());
                field.is_none_or(|field| field.default.as_ref() != Some(*value))
            })
            .map(|(name, _)| name.as_str())
            .filter(|name| !["id", "created_at", "updated_at"].contains(name))
            .collect();
        if lost.is_empty() {
            return false;
        }
        let lost = lost.join(", ");
        self.lose(entity, format!("no object has a place for {lost}"));
        true
    }
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}
