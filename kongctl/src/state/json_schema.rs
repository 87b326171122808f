//! The files' format as a JSON Schema, for editors: made from the entity table, so that it says what the reader takes.
//!
//! Where a field has any type but string, `${{ env "NAME" }}` stands there too; null stands everywhere.

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Type};

/// The schema, in draft 7, which editors know.
pub(crate) fn schema() -> Value {
    let mut properties = Map::new();
    properties.insert(
        "_format_version".to_owned(),
        json!({ "description": "The format of this file.", "enum": ["3.0", 3.0] }),
    );
    properties.insert("_comment".to_owned(), json!({}));
    properties.insert("_ignore".to_owned(), json!({}));
    properties.insert("_workspace".to_owned(), json!({ "enum": ["default"] }));
    properties.insert(
        "_transform".to_owned(),
        json!({ "description": "False: passwords are hashes already.", "type": "boolean" }),
    );
    properties.insert("_info".to_owned(), info());
    properties.insert(
        "_plugin_configs".to_owned(),
        json!({
            "description": "Configurations that plugins take with `_config: NAME`.",
            "type": ["object", "null"],
            "additionalProperties": { "type": ["object", "null"] },
        }),
    );
    let mut definitions = Map::new();
    definitions.insert(
        "reference".to_owned(),
        json!({ "type": "string", "pattern": r"\$\{\{.*\}\}" }),
    );
    definitions.insert(
        "vault".to_owned(),
        json!({ "type": "string", "pattern": r"^\{vault://" }),
    );
    for kind in Kind::all() {
        definitions.insert(kind.name().to_owned(), entity(kind));
        let defaults = object(record_properties(kind.record()), &[]);
        definitions.insert(format!("{}_defaults", kind.name()), defaults);
        if kind.spec().top_level {
            properties.insert(kind.name().to_owned(), list(kind));
        }
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Kong Gateway's configuration, as kongctl and decK read it",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
        "definitions": definitions,
    })
}

fn info() -> Value {
    let tags = || json!({ "type": "array", "items": { "type": "string" } });
    let mut defaults = Map::new();
    let mut lookup = Map::new();
    for kind in Kind::all() {
        let spec = kind.spec();
        for word in std::iter::once(&spec.name).chain(spec.aliases) {
            let fields = json!({ "$ref": format!("#/definitions/{}_defaults", kind.name()) });
            defaults.insert((*word).to_owned(), fields);
            lookup.insert((*word).to_owned(), tags());
        }
    }
    let mut properties = Map::new();
    properties.insert(
        "select_tags".to_owned(),
        json!({
            "description": "Only entities with all of these tags are this file's; it gives them to its own.",
            "type": "array", "items": { "type": "string" },
        }),
    );
    properties.insert("defaults".to_owned(), object(defaults, &[]));
    properties.insert("default_lookup_tags".to_owned(), object(lookup, &[]));
    properties.insert("_comment".to_owned(), json!({}));
    for flag in [
        "skip_hash_for_basic_auth",
        "consumer_group_policy_overrides",
        "include_plugin_definitions",
    ] {
        properties.insert(flag.to_owned(), json!({ "type": "boolean" }));
    }
    object(properties, &[])
}

fn list(kind: Kind) -> Value {
    let mut items = json!({ "$ref": format!("#/definitions/{}", kind.name()) });
    if kind == Kind::Sni {
        items = json!({ "anyOf": [{ "type": "string" }, items] });
    }
    json!({ "type": ["array", "null"], "items": items })
}

fn entity(kind: Kind) -> Value {
    let mut properties = record_properties(kind.record());
    properties.insert("_comment".to_owned(), json!({}));
    properties.insert("_ignore".to_owned(), json!({}));
    for child in Kind::all().filter(|child| kind.nested(child.name()).is_some()) {
        properties.insert(child.name().to_owned(), list(child));
    }
    match kind {
        Kind::Service => {
            properties.insert(
                "url".to_owned(),
                json!({ "description": "Protocol, host, port and path at once.", "type": "string" }),
            );
        }
        Kind::Plugin => {
            properties.insert(
                "_config".to_owned(),
                json!({ "description": "A name in `_plugin_configs`.", "type": "string" }),
            );
        }
        _ => {}
    }
    // What nesting, `url` or `_info.defaults` may say is not asked for.
    let required: Vec<&str> = kind
        .record()
        .fields
        .iter()
        .filter(|(name, field)| {
            let scalar = !matches!(field.ty, Type::Record(_) | Type::Foreign(_));
            field.required && field.default.is_none() && scalar && *name != "host"
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let mut schema = object(properties, &required);
    if let Value::Object(map) = &mut schema {
        map["type"] = json!("object");
        map.insert("title".to_owned(), json!(kind.singular()));
        if kind == Kind::Consumer {
            let either = ["username", "custom_id"].map(|name| json!({ "required": [name] }));
            map.insert("anyOf".to_owned(), json!(either));
        }
    }
    schema
}

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema = json!({ "type": ["object", "null"], "additionalProperties": false });
    schema["properties"] = Value::Object(properties);
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn record_properties(record: &Record) -> Map<String, Value> {
    record
        .fields
        .iter()
        .map(|(name, field)| (name.clone(), field_schema(field)))
        .collect()
}

fn field_schema(field: &Field) -> Value {
    let reference = || json!({ "$ref": "#/definitions/reference" });
    let mut schema = match &field.ty {
        Type::Any | Type::Json => json!({}),
        Type::String if field.one_of.is_empty() => json!({ "type": ["string", "null"] }),
        Type::String => {
            let mut words: Vec<Value> = field.one_of.iter().map(|word| json!(word)).collect();
            words.push(Value::Null);
            let vault = json!({ "$ref": "#/definitions/vault" });
            json!({ "anyOf": [{ "enum": words }, reference(), vault] })
        }
        Type::Integer | Type::Number => {
            let word = if field.ty == Type::Integer {
                "integer"
            } else {
                "number"
            };
            let mut number = json!({ "type": [word, "null"] });
            // Words are numbers where the table lists them.
            if !field.one_of.is_empty() {
                let numbers: Vec<Value> = field
                    .one_of
                    .iter()
                    .filter_map(|word| serde_json::from_str(word).ok())
                    .chain([Value::Null])
                    .collect();
                number = json!({ "enum": numbers });
            }
            if let Some((least, most)) = field.between {
                number["minimum"] = whole(least);
                number["maximum"] = whole(most);
            }
            json!({ "anyOf": [number, reference()] })
        }
        Type::Boolean => json!({ "anyOf": [{ "type": ["boolean", "null"] }, reference()] }),
        Type::Set(element) | Type::Array(element) => json!({
            "anyOf": [
                { "type": ["array", "null"], "items": field_schema(element) },
                // Lua has one kind of table.
                { "type": "object", "maxProperties": 0 },
            ],
        }),
        Type::Map(element) => json!({
            "type": ["object", "null"], "additionalProperties": field_schema(element),
        }),
        Type::Record(record) => object(record_properties(record), &[]),
        Type::Foreign(kind) => {
            let names = kind.spec().natural_keys.iter().map(|key| key[0]);
            let properties: Map<_, _> = std::iter::once("id")
                .chain(names)
                .map(|name| (name.to_owned(), json!({ "type": "string" })))
                .collect();
            json!({
                "description": format!("The name or id of {}.", kind.with_article()),
                "anyOf": [
                    { "type": ["string", "null"] },
                    { "type": "object", "minProperties": 1, "properties": properties },
                ],
            })
        }
    };
    if let Some(default) = &field.default {
        schema["default"] = default.clone();
    }
    schema
}

/// Bounds are whole numbers, and look so.
fn whole(bound: f64) -> Value {
    format!("{bound}")
        .parse::<i64>()
        .map_or_else(|_| json!(bound), |whole| json!(whole))
}
