//! All schemas of one gateway: the kinds of entities, and the plugins that its configuration may use.

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::definition::Schema;
use super::filters;
use super::load::{SchemaError, load};
use crate::filters::Filters;

/// The kinds, parents before children: in this order a declarative configuration is read. Filter chains follow, and custom kinds.
const ENTITIES: [&str; 18] = [
    include_str!("entities/consumers.json"),
    include_str!("entities/certificates.json"),
    include_str!("entities/ca_certificates.json"),
    include_str!("entities/vaults.json"),
    include_str!("entities/key_sets.json"),
    include_str!("entities/keys.json"),
    include_str!("entities/services.json"),
    include_str!("entities/routes.json"),
    include_str!("entities/snis.json"),
    include_str!("entities/upstreams.json"),
    include_str!("entities/targets.json"),
    include_str!("entities/plugins.json"),
    include_str!("entities/keyauth_credentials.json"),
    include_str!("entities/jwt_secrets.json"),
    include_str!("entities/basicauth_credentials.json"),
    include_str!("entities/hmacauth_credentials.json"),
    include_str!("entities/acls.json"),
    include_str!("entities/oauth2_credentials.json"),
];

/// What a kind's `subschema_key` selects among: for each entry, `for` lists the names.
const SUBSCHEMAS: [(&str, &str); 2] = [
    ("routes", include_str!("entities/routes_subschemas.json")),
    ("vaults", include_str!("entities/vaults_subschemas.json")),
];

/// The bundled plugins that the stand-in runs.
pub(crate) const RUNNABLE_PLUGINS: [&str; 4] = [
    "key-auth",
    "post-function",
    "pre-function",
    "request-termination",
];

/// The bundled plugins whose configuration it can check, run or not.
const BUNDLED: [&str; 7] = [
    include_str!("plugins/correlation-id.json"),
    include_str!("plugins/cors.json"),
    include_str!("plugins/key-auth.json"),
    include_str!("plugins/post-function.json"),
    include_str!("plugins/pre-function.json"),
    include_str!("plugins/rate-limiting.json"),
    include_str!("plugins/request-termination.json"),
];

/// The plugins that Kong OSS 3.9 bundles (`kong/constants.lua`), to tell a name that a real Kong would know from one that nobody does.
pub const KNOWN_TO_KONG: [&str; 45] = [
    "acl",
    "acme",
    "ai-prompt-decorator",
    "ai-prompt-guard",
    "ai-prompt-template",
    "ai-proxy",
    "ai-request-transformer",
    "ai-response-transformer",
    "aws-lambda",
    "azure-functions",
    "basic-auth",
    "bot-detection",
    "correlation-id",
    "cors",
    "datadog",
    "file-log",
    "grpc-gateway",
    "grpc-web",
    "hmac-auth",
    "http-log",
    "ip-restriction",
    "jwt",
    "key-auth",
    "ldap-auth",
    "loggly",
    "oauth2",
    "opentelemetry",
    "post-function",
    "pre-function",
    "prometheus",
    "proxy-cache",
    "rate-limiting",
    "redirect",
    "request-size-limiting",
    "request-termination",
    "request-transformer",
    "response-ratelimiting",
    "response-transformer",
    "session",
    "standard-webhooks",
    "statsd",
    "syslog",
    "tcp-log",
    "udp-log",
    "zipkin",
];

/// Every schema, by name.
#[derive(Debug)]
pub(crate) struct Registry {
    kinds: IndexMap<String, Schema>,
}

impl Registry {
    /// The kinds, and the plugins that may be configured: those of the bundled ones that `enabled` names, the external
    /// ones, given as the names and schemas that their plugin servers declare, and the filters. `custom` defines further kinds.
    pub(crate) fn new<'a>(
        enabled: &[String],
        external: impl IntoIterator<Item = (&'a str, &'a Value)>,
        filters: &Filters,
        custom: Vec<Value>,
    ) -> Result<Self, SchemaError> {
        let mut kinds = IndexMap::new();
        for text in ENTITIES {
            let schema = load(parse(text), None)?;
            kinds.insert(schema.name.clone(), schema);
        }
        for (kind, text) in SUBSCHEMAS {
            let parent = &mut kinds[kind];
            for mut definition in parse(text).as_array().cloned().unwrap_or_default() {
                let names = definition
                    .as_object_mut()
                    .and_then(|object| object.shift_remove("for"));
                let subschema = load(definition, Some(&parent.public))?;
                for name in names
                    .iter()
                    .filter_map(Value::as_array)
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    parent.subschemas.insert(name.to_owned(), subschema.clone());
                }
            }
        }
        let plugins = &mut kinds["plugins"];
        for definition in BUNDLED.into_iter().map(parse) {
            if !enabled
                .iter()
                .any(|name| definition["name"] == name.as_str())
            {
                continue;
            }
            let subschema = load(definition, Some(&plugins.public))?;
            plugins.subschemas.insert(subschema.name.clone(), subschema);
        }
        for (name, schema) in external {
            let fields = schema.get("fields").cloned().unwrap_or_else(|| json!([]));
            let entity_checks = schema
                .get("entity_checks")
                .cloned()
                .unwrap_or_else(|| json!([]));
            let mut subschema = load(
                json!({"name": name, "fields": fields, "entity_checks": entity_checks}),
                Some(&plugins.public),
            )?;
            name.clone_into(&mut subschema.name);
            plugins.subschemas.insert(name.to_owned(), subschema);
        }
        for definition in filters::plugins(filters) {
            let subschema = load(definition, Some(&plugins.public))?;
            plugins.subschemas.insert(subschema.name.clone(), subschema);
        }
        let chains = load(filters::chains(filters), None)?;
        kinds.insert(chains.name.clone(), chains);
        for definition in custom {
            let schema = load(definition, None)?;
            check_kind(&kinds, &schema).map_err(|reason| SchemaError::new(&schema.name, reason))?;
            kinds.insert(schema.name.clone(), schema);
        }
        Ok(Self { kinds })
    }

    /// A kind by Kong's plural name.
    pub(crate) fn kind(&self, name: &str) -> Option<&Schema> {
        self.kinds.get(name)
    }

    /// A kind that is sure to exist: one of the table above, or what one of them refers to.
    pub(crate) fn known(&self, name: &str) -> &Schema {
        &self.kinds[name]
    }

    /// All kinds, parents before children.
    pub(crate) fn kinds(&self) -> impl DoubleEndedIterator<Item = &Schema> {
        self.kinds.values()
    }

    /// Fields that refer to `kind`: the child kind, the field.
    pub(crate) fn children<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a Schema, &'a str)> {
        self.kinds().flat_map(move |child| {
            child
                .foreign_fields()
                .filter(move |(_, _, reference)| *reference == kind)
                .map(move |(field, _, _)| (child, field))
        })
    }

    /// The plugins that a configuration may use.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Schema> {
        self.kinds["plugins"].subschemas.values()
    }
}

/// What Kong demands of a kind as it starts.
fn check_kind(kinds: &IndexMap<String, Schema>, schema: &Schema) -> Result<(), String> {
    let path = schema.collection_path();
    if schema.name.is_empty() {
        return Err("a kind needs a name".to_owned());
    }
    if kinds.contains_key(&schema.name) || kinds.values().any(|kind| kind.collection_path() == path)
    {
        return Err(format!("there is a kind of that name or path, '{path}'"));
    }
    let keys = schema.endpoint_key.iter().chain(&schema.cache_key);
    for key in keys.map(String::as_str).chain(["id"]) {
        if schema.fields.get(key).is_none() {
            return Err(format!("it has no field '{key}'"));
        }
    }
    match schema
        .foreign_fields()
        .find(|(.., kind)| !kinds.contains_key(*kind))
    {
        Some((field, _, kind)) => Err(format!("'{field}' refers to '{kind}', which is unknown")),
        None => Ok(()),
    }
}

/// What to say of a plugin that has no schema here.
pub(crate) fn unavailable_plugin(name: &str) -> Option<String> {
    KNOWN_TO_KONG.contains(&name).then(|| {
        format!("plugin '{name}' not enabled; a real Kong has it, the stand-in gateway does not")
    })
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the bundled schemas are JSON")
}
