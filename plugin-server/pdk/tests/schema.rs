//! The schema that Kong gets from a configuration type, and the reading of what Kong then sends.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};

use kong_pdk::PluginConfig;
use kong_pdk::schema::{ConfigType, Schema};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, PluginConfig, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    SlidingWindow,
    #[serde(rename = "gcra")]
    Gcra,
}

#[derive(Debug, Deserialize, PluginConfig)]
#[kong(entity_check(mutually_required = ["host", "port"]))]
struct Redis {
    /// The host on which Redis listens.
    host: Option<String>,
    #[kong(default = 6379)]
    port: u16,
    #[kong(referenceable, encrypted)]
    password: Option<String>,
}

#[derive(Debug, Deserialize, PluginConfig)]
#[kong(entity_check(at_least_one_of = ["limits", "names"]))]
#[kong(entity_check(conditional = json!({
    "if_field": "algorithm", "if_match": { "eq": "gcra" },
    "then_field": "ratio", "then_match": { "gt": 0 },
})))]
struct Config {
    /// How many a window admits, on
    /// two lines.
    ///
    /// And a second paragraph, which is not for Kong.
    #[kong(default = 60, gt = 0)]
    limit: u32,
    #[kong(default = 1.5, between = [0, 10])]
    ratio: f64,
    #[kong(default = "sliding_window")]
    algorithm: Algorithm,
    #[kong(default = ["a", "b"], elements(match = "^[a-z]+$", len_min = 1))]
    names: Vec<String>,
    #[kong(set, elements(one_of = ["GET", "POST"]))]
    methods: Option<Vec<String>>,
    tags: Option<BTreeSet<String>>,
    #[kong(default = json!({}), keys(starts_with = "x-"), values(gt = 1))]
    limits: BTreeMap<String, u64>,
    redis: Redis,
    stores: Option<Vec<Redis>>,
    #[kong(is_regex)]
    r#match: Option<String>,
    #[kong(deprecation(message = "use limit", removal_in_version = "4.0", old_default = 5))]
    #[serde(rename = "old-limit")]
    old_limit: Option<i64>,
    anything: Option<Value>,
    #[kong(description = "An attribute instead of documentation.")]
    enabled: bool,
}

fn field<'a>(schema: &'a Schema, name: &str) -> &'a Value {
    let fields = schema.as_json()["fields"].as_array().unwrap();
    fields.iter().find_map(|field| field.get(name)).expect(name)
}

#[test]
fn a_type_becomes_kongs_schema() {
    let schema = Config::schema();
    let redis = json!([
        { "host": { "type": "string", "description": "The host on which Redis listens." } },
        { "port": { "type": "integer", "between": [0, 65535], "required": true, "default": 6379 } },
        { "password": { "type": "string", "referenceable": true, "encrypted": true } },
    ]);
    let redis_checks = json!([{ "mutually_required": ["host", "port"] }]);
    let expected = [
        (
            "limit",
            json!({
                "type": "integer", "between": [0, u32::MAX], "required": true, "default": 60, "gt": 0,
                "description": "How many a window admits, on two lines.",
            }),
        ),
        (
            "ratio",
            json!({ "type": "number", "required": true, "default": 1.5, "between": [0, 10] }),
        ),
        (
            "algorithm",
            json!({
                "type": "string", "one_of": ["sliding_window", "gcra"], "required": true, "default": "sliding_window",
            }),
        ),
        (
            "names",
            json!({
                "type": "array", "required": true, "default": ["a", "b"],
                "elements": { "type": "string", "required": true, "match": "^[a-z]+$", "len_min": 1 },
            }),
        ),
        (
            "methods",
            json!({
                "type": "set", "elements": { "type": "string", "required": true, "one_of": ["GET", "POST"] },
            }),
        ),
        (
            "tags",
            json!({ "type": "set", "elements": { "type": "string", "required": true } }),
        ),
        (
            "limits",
            json!({
                "type": "map", "required": true, "default": {},
                "keys": { "type": "string", "starts_with": "x-" },
                "values": { "type": "integer", "required": true, "between": [0, 9_007_199_254_740_991_u64], "gt": 1 },
            }),
        ),
        (
            "redis",
            json!({ "type": "record", "required": true, "fields": redis, "entity_checks": redis_checks }),
        ),
        (
            "stores",
            json!({
                "type": "array",
                "elements": { "type": "record", "required": true, "fields": redis, "entity_checks": redis_checks },
            }),
        ),
        ("match", json!({ "type": "string", "is_regex": true })),
        (
            "old-limit",
            json!({
                "type": "integer", "between": [-9_007_199_254_740_991_i64, 9_007_199_254_740_991_i64],
                "deprecation": { "message": "use limit", "removal_in_version": "4.0", "old_default": 5 },
            }),
        ),
        (
            "anything",
            json!({ "type": "json", "json_schema": { "inline": {} } }),
        ),
        (
            "enabled",
            json!({
                "type": "boolean", "required": true, "description": "An attribute instead of documentation.",
            }),
        ),
    ];
    assert_eq!(
        schema.as_json()["fields"].as_array().unwrap().len(),
        expected.len()
    );
    for (name, expected) in expected {
        assert_eq!(field(&schema, name), &expected, "{name}");
    }
    assert_eq!(
        schema.as_json()["entity_checks"],
        json!([
            { "at_least_one_of": ["limits", "names"] },
            { "conditional": {
                "if_field": "algorithm", "if_match": { "eq": "gcra" },
                "then_field": "ratio", "then_match": { "gt": 0 },
            } },
        ]),
    );
}

#[test]
fn defaults_have_one_truth() {
    let config = Config::from_json(json!({ "enabled": true })).unwrap();
    assert_eq!(config.limit, 60);
    assert_eq!(config.ratio.to_bits(), 1.5_f64.to_bits());
    assert_eq!(config.algorithm, Algorithm::SlidingWindow);
    assert_eq!(config.names, ["a", "b"]);
    assert!(config.limits.is_empty());
    assert_eq!(config.redis.port, 6379);
    assert_eq!(config.redis.host, None);
}

#[test]
fn what_lua_makes_of_json_is_settled() {
    let config = Config::from_json(json!({
        "limit": 1e9,
        "ratio": 3,
        "algorithm": "gcra",
        "names": {},
        "tags": {},
        "limits": [],
        "redis": [],
        "stores": [{ "port": 1, "password": null }, []],
        "old-limit": 1e+15,
        "enabled": false,
        "match": null,
        "methods": ["GET"],
        "anything": { "a": [1] },
        "unknown": true,
    }))
    .unwrap();
    assert_eq!(config.limit, 1_000_000_000);
    assert_eq!(config.ratio.to_bits(), 3.0_f64.to_bits());
    assert_eq!(config.algorithm, Algorithm::Gcra);
    assert!(config.names.is_empty());
    assert!(config.tags.unwrap().is_empty());
    assert!(config.limits.is_empty());
    assert_eq!(config.old_limit, Some(1_000_000_000_000_000));
    let ports: Vec<_> = config
        .stores
        .unwrap()
        .iter()
        .map(|redis| redis.port)
        .collect();
    assert_eq!(ports, [1, 6379]);
    assert!(!config.enabled);
    assert_eq!(config.r#match, None);
    assert_eq!(config.methods.unwrap(), ["GET"]);
    assert_eq!(config.anything, Some(json!({ "a": [1] })));
    assert_eq!(config.redis.password, None);
}

#[test]
fn an_error_does_not_tell_the_value() {
    for config in [
        json!({ "enabled": "s3cret" }),
        json!({ "enabled": true, "algorithm": "s3cret" }),
    ] {
        let error = Config::from_json(config).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = Config::from_json(json!({})).unwrap_err().to_string();
    assert_eq!(error, "missing field `enabled`");
}
