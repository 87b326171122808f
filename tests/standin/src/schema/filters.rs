//! The schemas that follow from the filters at hand: filter chains, and filters that stand in a plugin's place.

use serde_json::{Map, Value, json};

use crate::filters::Filters;

/// The only draft that Kong applies.
const DRAFT: &str = "http://json-schema.org/draft-04/schema#";

/// The kind of entity.
pub(super) fn chains(filters: &Filters) -> Value {
    let names: Vec<&str> = filters
        .found
        .iter()
        .map(|filter| filter.name.as_str())
        .collect();
    json!({
        "name": "filter_chains",
        "endpoint_key": "name",
        "admin_api_name": "filter-chains",
        "cache_key": ["route", "service"],
        "fields": [
            {"id": {"typedef": "uuid"}},
            {"name": {"typedef": "utf8_name"}},
            {"enabled": {"type": "boolean", "required": true, "default": true}},
            {"route": {"type": "foreign", "reference": "routes", "on_delete": "cascade", "default": null, "unique": true}},
            {"service": {"type": "foreign", "reference": "services", "on_delete": "cascade", "default": null, "unique": true}},
            {"filters": {"type": "array", "required": true, "len_min": 1, "elements": {"type": "record", "fields": [
                {"name": {"type": "string", "required": true, "one_of": names, "err": "no such filter"}},
                {"enabled": {"type": "boolean", "required": true, "default": true}},
                {"config": configuration(filters)},
            ]}}},
            {"created_at": {"typedef": "seconds"}},
            {"updated_at": {"typedef": "seconds"}},
            {"tags": {"typedef": "tags"}},
        ],
        "entity_checks": [
            {"mutually_exclusive": ["service", "route"]},
            {"at_least_one_of": ["service", "route"]},
            {"custom_entity_check": {
                "field_sources": ["filters"], "run_with_invalid_fields": true, "fn": {"refused": filters.absence()},
            }},
        ],
    })
}

/// The subschemas of plugins that are filters.
pub(super) fn plugins(filters: &Filters) -> impl Iterator<Item = Value> {
    filters.found.iter().map(|filter| {
        json!({
            "name": filter.name,
            "fields": [
                {"name": {"type": "string"}},
                {"consumer": {"typedef": "no_consumer"}},
                {"protocols": {"typedef": "protocols_http"}},
                {"config": configuration(filters)},
            ],
            "entity_checks": [
                {"mutually_exclusive": ["service", "route"]},
                {"at_least_one_of": ["service", "route"]},
            ],
        })
    })
}

/// The field that a filter is configured in.
fn configuration(filters: &Filters) -> Value {
    let schemas: Map<String, Value> = filters
        .found
        .iter()
        .filter_map(|filter| Some((filter.name.clone(), filter.config_schema.clone()?)))
        .collect();
    json!({
        "type": "json",
        "required": false,
        "json_schema": {
            "parent_subschema_key": "name",
            "namespace": "proxy-wasm-filters",
            "optional": true,
            "default": default(),
            "fn": schemas,
        },
    })
}

/// What a filter without a schema takes.
fn default() -> Value {
    json!({"$schema": DRAFT, "type": ["string", "null"]})
}

/// What `/schemas/filters` shows of one.
pub(crate) fn shown(config_schema: Option<&Value>) -> Value {
    let mut schema = config_schema.cloned().unwrap_or_else(default);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), DRAFT.into());
    }
    schema
}
