//! From paths to endpoints. Those of entities follow from the schemas.

use crate::schema::{Registry, Schema};

/// What a path stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Endpoint<'a> {
    Node,
    Status,
    Endpoints,
    EnabledPlugins,
    Config,
    Tags,
    Tag(&'a str),
    Schema(&'a str),
    PluginSchema(&'a str),
    /// The deprecated form of the above, which shows the configuration alone.
    PluginConfigSchema(&'a str),
    VaultSchema(&'a str),
    FilterSchema(&'a str),
    Validate(&'a str),
    /// `/services`
    Collection(&'a Schema),
    /// `/services/:key`
    Entity(&'a Schema, &'a str),
    /// `/services/:key/routes`: the children of an entity.
    Children(Child<'a>),
    /// `/services/:key/routes/:child`
    Child(Child<'a>, &'a str),
    /// `/routes/:key/service`: the entity that a field refers to.
    Referred {
        schema: &'a Schema,
        key: &'a str,
        field: &'a str,
        kind: &'a str,
    },
    /// `/upstreams/:key/targets`; `raw` is its `/all`.
    Targets {
        upstream: &'a str,
        raw: bool,
    },
    Target {
        upstream: &'a str,
        target: &'a str,
    },
    TargetHealth {
        upstream: &'a str,
        target: &'a str,
    },
    UpstreamHealth(&'a str),
    /// `/routes/:key/filters/all`: those of the chains that apply to a route.
    Filters {
        route: &'a str,
        which: Which,
    },
}

/// Which filters of a route are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Enabled,
    Disabled,
}

/// Entities of one kind below an entity of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child<'a> {
    pub(super) parent: &'a Schema,
    pub(super) key: &'a str,
    pub(super) schema: &'a Schema,
    /// The child's field that refers to the parent.
    pub(super) field: &'a str,
}

impl<'a> Endpoint<'a> {
    /// The endpoint at a path, given in its parts.
    pub(super) fn find(registry: &'a Registry, segments: &'a [String]) -> Option<Self> {
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        Some(match parts.as_slice() {
            [] => Self::Node,
            ["status"] => Self::Status,
            ["endpoints"] => Self::Endpoints,
            ["config"] => Self::Config,
            ["tags"] => Self::Tags,
            ["tags", tag] => Self::Tag(tag),
            ["plugins", "enabled"] => Self::EnabledPlugins,
            ["plugins", "schema", name] => Self::PluginConfigSchema(name),
            ["schemas", name] => Self::Schema(name),
            ["schemas", name, "validate"] => Self::Validate(name),
            ["schemas", "plugins", name] => Self::PluginSchema(name),
            ["schemas", "vaults", name] => Self::VaultSchema(name),
            ["schemas", "filters", name] => Self::FilterSchema(name),
            ["routes", route, "filters", which] => Self::Filters {
                route,
                which: match *which {
                    "all" => Which::All,
                    "enabled" => Which::Enabled,
                    "disabled" => Which::Disabled,
                    _ => return None,
                },
            },
            ["upstreams", upstream, "health"] => Self::UpstreamHealth(upstream),
            ["upstreams", upstream, "targets"] => Self::Targets {
                upstream,
                raw: false,
            },
            ["upstreams", upstream, "targets", "all"] => Self::Targets {
                upstream,
                raw: true,
            },
            ["upstreams", upstream, "targets", target] => Self::Target { upstream, target },
            [
                "upstreams",
                upstream,
                "targets",
                target,
                "healthy" | "unhealthy",
            ]
            | [
                "upstreams",
                upstream,
                "targets",
                target,
                _,
                "healthy" | "unhealthy",
            ] => Self::TargetHealth { upstream, target },
            ["targets", ..] | ["snis", _, "certificate"] => return None,
            [collection, rest @ ..] => {
                let schema = registry
                    .kinds()
                    .find(|schema| schema.collection_path() == *collection)?;
                Self::of_entities(registry, schema, rest)?
            }
        })
    }

    fn of_entities(registry: &'a Registry, schema: &'a Schema, rest: &[&'a str]) -> Option<Self> {
        let child = |key, nested: &str| {
            let mut children = registry.children(&schema.name);
            let (child, field) = children.find(|(child, _)| child.nested_path() == nested)?;
            Some(Child {
                parent: schema,
                key,
                schema: child,
                field,
            })
        };
        Some(match rest {
            [] => Self::Collection(schema),
            [key] => Self::Entity(schema, key),
            [key, nested] => match schema.foreign_fields().find(|(field, ..)| field == nested) {
                Some((field, _, kind)) => Self::Referred {
                    schema,
                    key,
                    field,
                    kind,
                },
                None => Self::Children(child(key, nested)?),
            },
            [key, nested, child_key] => Self::Child(child(key, nested)?, child_key),
            _ => return None,
        })
    }

    /// Whether it is about filter chains, which a Kong without WebAssembly does not have.
    pub(super) fn is_of_filter_chains(&self) -> bool {
        let (Self::Collection(schema)
        | Self::Entity(schema, _)
        | Self::Children(Child { schema, .. })
        | Self::Child(Child { schema, .. }, _)
        | Self::Referred { schema, .. }) = self
        else {
            return false;
        };
        schema.name == "filter_chains"
    }

    /// The methods that it has, in alphabetical order.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Collection(_)
            | Self::Children(_)
            | Self::Targets { raw: false, .. }
            | Self::Config => &["GET", "HEAD", "OPTIONS", "POST"],
            Self::Entity(..) | Self::Child(..) | Self::Referred { .. } | Self::Target { .. } => {
                &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"]
            }
            Self::Validate(_) => &["OPTIONS", "POST"],
            Self::TargetHealth { .. } => &["OPTIONS", "PUT"],
            _ => &["GET", "HEAD", "OPTIONS"],
        }
    }
}
