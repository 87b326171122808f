//! Both plugins as they are judged without Kong, and what stands in for the parts of a configuration that cannot be judged.

use std::sync::Arc;

use kong_pdk::Plugin as _;
use kong_pdk::schema::{ConfigType as _, PluginConfig as _, Schema, Step};
use serde_json::{Map, Value, json};

use super::{Path, Refusal};
use crate::clock::SystemClock;
use crate::jwt::process::Process;
use crate::kong::jwt::{self, LlmJwt};
use crate::kong::rate_limiting::{self, RateLimiting};

/// A list's field, and an entry that works at an index of it.
pub(super) type Spare = (&'static str, fn(usize) -> Value);

/// A plugin whose configurations can be judged.
pub struct Subject {
    /// The plugin's name in Kong.
    pub name: &'static str,
    pub(super) schema: fn() -> Schema,
    /// The plugin server's own judgement: the first reason against a configuration.
    pub(super) judge: fn(Value) -> Result<(), Refusal>,
    /// For lists, an entry that works, different at each index.
    pub(super) spares: &'static [Spare],
    /// A list, and a field in whose presence nothing has to be in it.
    pub(super) alternative: Option<(&'static str, &'static str)>,
    /// Fields of which none means anything without the others.
    pub(super) together: &'static [&'static [&'static str]],
    /// Puts something that works in the place of a value that nobody knows. False where only [`Self::spares`] help.
    pub(super) stand_in: fn(&mut Map<String, Value>, &[Step]) -> bool,
}

/// Both plugins.
static SUBJECTS: [Subject; 2] = [
    Subject {
        name: RateLimiting::NAME,
        schema: rate_limiting::Config::schema,
        judge: judge_limits,
        spares: &[
            (
                "limits",
                |at| json!({"name": format!("spare-{at}"), "unit": "requests", "limit": 1, "window_size": 1}),
            ),
            (
                "priorities",
                |at| json!({"name": format!("spare-{at}"), "share": 1}),
            ),
            ("prices", |_| json!({"model": "*", "input": 0, "output": 0})),
        ],
        alternative: None,
        together: &[&["policy", "redis"]],
        stand_in: stand_in_limits,
    },
    Subject {
        name: LlmJwt::NAME,
        schema: jwt::Config::schema,
        judge: judge_jwt,
        spares: &[
            ("issuers", spare_issuer),
            (
                "claims_required",
                |_| json!({"path": ["sub"], "one_of": ["spare"]}),
            ),
            (
                "claims_forbidden",
                |_| json!({"path": ["sub"], "one_of": ["spare"]}),
            ),
            (
                "upstream_headers",
                |at| json!({"header": format!("x-spare-{at}"), "path": ["sub"]}),
            ),
            ("consumer_claims", |_| json!(["sub"])),
            ("scopes_required", |_| json!("spare")),
        ],
        alternative: Some(("issuers", "introspection_endpoint")),
        together: &[
            &[
                "resource",
                "authorization_servers",
                "scopes_supported",
                "metadata_endpoint",
            ],
            &[
                "proof_of_possession",
                "header_names",
                "cookie_names",
                "uri_param_names",
            ],
            &["consumer_claims", "consumer_by"],
            &["denylist", "redis"],
            &[
                "introspection_endpoint",
                "introspection_issuer",
                "introspection_client_id",
                "introspection_client_secret",
                "introspection_audience_claim",
                "introspection_audience_required",
                "introspection_insecure_skip_audience",
                "introspect_jwt_tokens",
            ],
        ],
        stand_in: stand_in_jwt,
    },
];

impl Subject {
    /// The plugin of this name, if it is one of ours.
    pub fn named(name: &str) -> Option<&'static Self> {
        SUBJECTS.iter().find(|subject| subject.name == name)
    }

    /// Both plugins.
    pub fn all() -> &'static [Self] {
        &SUBJECTS
    }
}

fn judge_limits(config: Value) -> Result<(), Refusal> {
    let config = rate_limiting::Config::from_json(config).map_err(|error| unreadable(&error))?;
    config.policy().map(drop).map_err(|error| Refusal {
        path: Path::parse(&error.field()),
        message: error.to_string(),
    })
}

fn judge_jwt(config: Value) -> Result<(), Refusal> {
    let config = jwt::Config::from_json(config).map_err(|error| unreadable(&error))?;
    let process = Process::new(Arc::new(SystemClock::new()));
    config
        .authenticator(&process)
        .map(drop)
        .map_err(|problem| Refusal {
            path: Path::parse(&problem.field),
            message: problem.to_string(),
        })
}

/// What the schema has let pass and serde has not. None is known; it would be told at the configuration itself.
fn unreadable(error: &kong_pdk::ConfigError) -> Refusal {
    Refusal {
        path: Path::default(),
        message: error.to_string(),
    }
}

fn stand_in_limits(config: &mut Map<String, Value>, path: &[Step]) -> bool {
    match stand_in_redis(path) {
        Some(value) => put(config, path, value),
        None => false,
    }
}

/// What stands in for a value in `redis`, if each is as good as another.
fn stand_in_redis(path: &[Step]) -> Option<Value> {
    match &names(path)[..] {
        ["redis", "port"] | ["redis", "cluster_nodes" | "sentinel_nodes", _, "port"] => {
            Some(json!(6379))
        }
        ["redis", "database"] => Some(json!(0)),
        ["redis", "timeout"] => Some(json!(50)),
        [
            "redis",
            "host" | "username" | "password" | "ssl_ca" | "server_name" | "sentinel_master"
            | "sentinel_username" | "sentinel_password",
        ]
        | ["redis", "cluster_nodes" | "sentinel_nodes", _, "host"] => Some(json!("unknown")),
        _ => None,
    }
}

/// Longer than any least length of a secret, as characters and as the bytes of which it is the base64.
const SECRET: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn stand_in_jwt(config: &mut Map<String, Value>, path: &[Step]) -> bool {
    let value = match &names(path)[..] {
        // Allowed, perhaps: then what depends on it is right.
        [
            "allow_http_jwks"
            | "allow_private_jwks"
            | "allow_http_introspection"
            | "allow_private_introspection",
        ] => json!(true),
        ["introspection_endpoint" | "introspection_issuer"] => json!("https://unknown.invalid/"),
        ["introspection_client_id" | "introspection_client_secret" | "anonymous" | "realm"]
        | ["introspection_audience_required", _]
        | ["issuers", _, "audience_required", _] => json!("unknown"),
        [
            "issuers",
            _,
            "issuer" | "discovery_endpoint" | "jwks_endpoint",
        ] => {
            let Some(Step::Index(at)) = path.get(1) else {
                return false;
            };
            json!(format!("https://unknown-{at}.invalid/"))
        }
        ["issuers", _, "secrets", _] => json!(SECRET),
        ["issuers", _, "jwks"] | ["issuers", _, "public_keys", _] => {
            return exchange_keys(config, path);
        }
        _ => match stand_in_redis(path) {
            Some(value) => value,
            None => return false,
        },
    };
    put(config, path, value)
}

/// Public keys that nobody has seen become an address of keys, which nobody has seen either.
fn exchange_keys(config: &mut Map<String, Value>, path: &[Step]) -> bool {
    let Some(issuer) = get(config, &path[..2]).and_then(Value::as_object_mut) else {
        return false;
    };
    let sources = [
        "discovery_endpoint",
        "jwks_endpoint",
        "jwks",
        "public_keys",
        "secrets",
    ];
    let given = sources
        .iter()
        .filter(|source| issuer.get(**source).is_some_and(|value| !value.is_null()));
    // Two sources are one too many, whatever is in them; none is left where another key was unknown too.
    if given.count() <= 1 {
        issuer.remove("jwks");
        issuer.remove("public_keys");
        issuer.insert(
            "jwks_endpoint".to_owned(),
            json!("https://unknown.invalid/"),
        );
    }
    true
}

fn spare_issuer(at: usize) -> Value {
    json!({
        "issuer": format!("https://spare-{at}.invalid/"),
        "jwks_endpoint": "https://spare.invalid/",
        "insecure_skip_audience": true,
    })
}

/// The fields of a path, `[]` for each index.
fn names(path: &[Step]) -> Vec<&str> {
    path.iter()
        .map(|step| match step {
            Step::Field(name) => name.as_str(),
            Step::Index(_) => "[]",
        })
        .collect()
}

fn put(config: &mut Map<String, Value>, path: &[Step], value: Value) -> bool {
    match get(config, path) {
        Some(slot) => {
            *slot = value;
            true
        }
        None => false,
    }
}

fn get<'a>(config: &'a mut Map<String, Value>, path: &[Step]) -> Option<&'a mut Value> {
    let (Step::Field(first), rest) = path.split_first()? else {
        return None;
    };
    rest.iter()
        .try_fold(config.get_mut(first)?, |value, step| match step {
            Step::Field(name) => value.get_mut(name),
            Step::Index(at) => value.get_mut(at),
        })
}
