//! Tells two bodies of one entity apart, by schema.
//!
//! # Model
//!
//! A field that the file does not write stands for its default; null and absent are the same on the node's side; sets have no
//! order; `1` and `1.0` are one number; a field of any JSON is what is written, no more and no less; what Kong makes itself (`auto` fields, timestamps) is left out unless the file writes it.

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Schemas, Type};
use crate::state::{ids, reference_id};

use super::FieldChange;

/// Every field in which `current` is not as `wanted`, the body that a file asks for.
pub(crate) fn compare(
    kind: Kind,
    wanted: &Map<String, Value>,
    current: &Map<String, Value>,
    schemas: &Schemas,
    hashed_passwords: bool,
) -> Vec<FieldChange> {
    let record = schemas.of_entity(kind, wanted);
    let mut wanted = wanted.clone();
    let mut current = current.clone();
    record.resolve_shorthands(&mut wanted);
    record.resolve_shorthands(&mut current);
    if kind == Kind::BasicAuth && same_password(&wanted, &current, hashed_passwords) {
        wanted.shift_remove("password");
        current.shift_remove("password");
    }
    if kind == Kind::KeyAuth && still_running(&wanted, &current) {
        wanted.shift_remove("ttl");
    }
    let mut comparison = Comparison {
        changes: Vec::new(),
        secret: false,
        unwritten: false,
    };
    comparison.record(&record, &wanted, &current, "");
    if kind == Kind::Plugin
        && schemas
            .plugin_config(
                wanted
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            )
            .is_none()
    {
        // Nobody told which of an unknown plugin's fields are secrets.
        for change in comparison
            .changes
            .iter_mut()
            .filter(|change| change.path.starts_with("config"))
        {
            change.secret = true;
        }
    }
    comparison.changes
}

fn same_password(wanted: &Map<String, Value>, current: &Map<String, Value>, hashed: bool) -> bool {
    // Whose it is goes into the hash.
    let owner = |map: &Map<String, Value>| map.get("consumer").cloned();
    if owner(wanted) != owner(current) {
        return false;
    }
    let text = |map: &Map<String, Value>| {
        map.get("password")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let consumer = current
        .get("consumer")
        .and_then(reference_id)
        .unwrap_or_default();
    let (Some(wanted), Some(stored)) = (text(wanted), text(current)) else {
        return false;
    };
    wanted == stored || !hashed && ids::basic_auth_hash(&wanted, consumer) == stored
}

/// Kong answers with what is left of a credential's time.
fn still_running(wanted: &Map<String, Value>, current: &Map<String, Value>) -> bool {
    let seconds = |map: &Map<String, Value>| map.get("ttl").and_then(Value::as_f64);
    seconds(wanted)
        .zip(seconds(current))
        .is_some_and(|(whole, left)| left <= whole)
}

struct Comparison {
    changes: Vec<FieldChange>,
    /// Inside a secret field.
    secret: bool,
    /// Inside a field that the file does not write.
    unwritten: bool,
}

impl Comparison {
    fn differ(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let present = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
        self.changes.push(FieldChange {
            path: path.to_owned(),
            before: present(before),
            after: present(after),
            secret: self.secret,
            unwritten: self.unwritten,
        });
    }

    fn record(
        &mut self,
        record: &Record,
        wanted: &Map<String, Value>,
        current: &Map<String, Value>,
        path: &str,
    ) {
        for (name, field) in &record.fields {
            if path.is_empty() && matches!(name.as_str(), "id" | "created_at" | "updated_at") {
                continue;
            }
            let outer = self.secret;
            self.secret |= field.secret;
            let below = join(path, name);
            let found = current.get(name).filter(|value| !value.is_null());
            match wanted.get(name) {
                Some(value) => self.value(field, value, found, &below),
                None => self.unwritten(field, found, &below),
            }
            self.secret = outer;
        }
        for (name, value) in wanted
            .iter()
            .filter(|(name, _)| !record.fields.contains_key(*name))
        {
            if !same(value, current.get(name).unwrap_or(&Value::Null)) {
                self.differ(&join(path, name), current.get(name), Some(value));
            }
        }
    }

    fn unwritten(&mut self, field: &Field, found: Option<&Value>, path: &str) {
        if field.auto {
            return;
        }
        let default = match (&field.default, &field.ty) {
            (Some(default), _) => default.clone(),
            // The defaults of its fields are compared one by one.
            (None, Type::Record(_)) if field.required || found.is_some() => {
                Value::Object(Map::new())
            }
            _ => Value::Null,
        };
        match found {
            // Inside a record, Kong leaves out what the record's own default leaves out.
            None if path.contains('.') => {}
            None if matches!(field.ty, Type::Record(_)) => {}
            // Kong fills the protocols of a plugin by itself.
            found => {
                let outer = std::mem::replace(&mut self.unwritten, true);
                self.value(field, &default, found, path);
                self.unwritten = outer;
            }
        }
    }

    fn value(&mut self, field: &Field, wanted: &Value, found: Option<&Value>, path: &str) {
        if field.ty == Type::Json {
            self.json(wanted, found, path);
            return;
        }
        if wanted.is_null() && found.is_some_and(is_hollow) {
            return;
        }
        // No tags are no tags.
        if path == "tags" && is_nothing(wanted) && found.is_none_or(is_nothing) {
            return;
        }
        let current = found.unwrap_or(&Value::Null);
        match (&field.ty, wanted, current) {
            (Type::Record(record), Value::Object(wanted), Value::Object(current)) => {
                self.record(record, wanted, current, path);
            }
            (Type::Set(element), Value::Array(wanted_items), Value::Array(items)) => {
                if sorted(element, wanted_items) != sorted(element, items) {
                    self.differ(path, found, Some(wanted));
                }
            }
            (Type::Array(element), Value::Array(wanted_items), Value::Array(items))
                if wanted_items.len() == items.len()
                    && matches!(element.ty, Type::Record(_) | Type::Map(_)) =>
            {
                for (index, (wanted, current)) in wanted_items.iter().zip(items).enumerate() {
                    self.value(element, wanted, Some(current), &format!("{path}[{index}]"));
                }
            }
            (Type::Map(element), Value::Object(wanted), Value::Object(current)) => {
                for (key, value) in wanted {
                    self.value(element, value, current.get(key), &join(path, key));
                }
                for (key, value) in current
                    .iter()
                    .filter(|(key, value)| !wanted.contains_key(*key) && !value.is_null())
                {
                    self.differ(&join(path, key), Some(value), None);
                }
            }
            (Type::Foreign(_), wanted, current) => {
                if reference_id(wanted) != reference_id(current) {
                    self.differ(path, found, Some(wanted));
                }
            }
            // No schema: what the file does not write may be a default.
            (Type::Any, Value::Object(wanted), Value::Object(current)) => {
                for (key, value) in wanted {
                    let found = current.get(key).filter(|value| !value.is_null());
                    self.value(field, value, found, &join(path, key));
                }
            }
            (_, wanted, current) => {
                if !same(wanted, current) {
                    self.differ(path, found, Some(wanted));
                }
            }
        }
    }

    /// What has no defaults: null is a value, and what the file does not write is not wanted.
    fn json(&mut self, wanted: &Value, found: Option<&Value>, path: &str) {
        let current = found.unwrap_or(&Value::Null);
        let (Value::Object(wanted_map), Value::Object(current_map)) = (wanted, current) else {
            if json_form(wanted) != json_form(current) {
                self.differ(path, found, Some(wanted));
            }
            return;
        };
        let mut names: Vec<&String> = wanted_map.keys().collect();
        names.extend(
            current_map
                .keys()
                .filter(|name| !wanted_map.contains_key(*name)),
        );
        for name in names {
            let below = join(path, name);
            match (wanted_map.get(name), current_map.get(name)) {
                (Some(wanted), Some(current)) => self.json(wanted, Some(current), &below),
                (wanted, current) => self.differ(&below, current, wanted),
            }
        }
    }
}

/// JSON as Kong keeps it: Lua cannot tell an empty list from an empty map, and writes sixteen digits of a number.
fn json_form(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.is_empty() => Value::Object(Map::new()),
        Value::Array(items) => items.iter().map(json_form).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            let entries = entries.into_iter();
            Value::Object(
                entries
                    .map(|(name, value)| (name.clone(), json_form(value)))
                    .collect(),
            )
        }
        Value::Number(number) => {
            let digits = number.as_f64().map(|number| format!("{number:.15e}"));
            Value::String(digits.unwrap_or_default())
        }
        scalar => scalar.clone(),
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// True for a record of nothing but nulls: Kong makes one of a record that it was not given.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            !map.is_empty()
                && map
                    .values()
                    .all(|value| value.is_null() || is_hollow(value))
        }
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The items of a set in an order of their own.
fn sorted(element: &Field, items: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = items
        .iter()
        .map(|item| {
            let mut item = item.clone();
            if let (Type::Record(record), Value::Object(map)) = (&element.ty, &mut item) {
                record.fill(map);
            }
            plain(&item).to_string()
        })
        .collect();
    texts.sort();
    texts.dedup();
    texts
}

/// The value with what means nothing taken away: nulls in maps, the order of keys, `.0` in numbers, the end of a PEM text.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), plain(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.as_i64().is_none() => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the guard keeps to integers that a double holds exactly"
                )]
                if float.fract() == 0.0 && float.abs() < 9e15 {
                    Value::from(float as i64)
                } else {
                    value.clone()
                }
            }
            _ => value.clone(),
        },
        Value::String(text) if text.starts_with("-----BEGIN ") => {
            Value::String(text.trim_end().to_owned())
        }
        _ => value.clone(),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (plain(a), plain(b)) {
        // Lua cannot tell an empty list from an empty map.
        (Value::Array(a), Value::Object(b)) | (Value::Object(b), Value::Array(a)) => {
            a.is_empty() && b.is_empty()
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(kind: Kind, wanted: &Value, current: &Value) -> Vec<String> {
        let (wanted, current) = (wanted.as_object().unwrap(), current.as_object().unwrap());
        compare(kind, wanted, current, &Schemas::default(), false)
            .into_iter()
            .map(|change| change.path)
            .collect()
    }

    #[test]
    fn defaults_nulls_and_timestamps_make_no_difference() {
        let wanted = json!({"name": "llm", "host": "h", "tags": ["b", "a"]});
        let current = json!({"name": "llm", "host": "h", "port": 80, "protocol": "http", "retries": 5, "path": null,
            "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000, "enabled": true, "tags": ["a", "b"],
            "created_at": 1, "updated_at": 2, "client_certificate": null});
        assert_eq!(
            paths(Kind::Service, &wanted, &current),
            Vec::<String>::new()
        );
    }

    #[test]
    fn no_tags_are_no_tags() {
        for (wanted, current) in [
            (json!({}), json!({"tags": []})),
            (json!({"tags": []}), json!({"tags": null})),
        ] {
            assert_eq!(
                paths(Kind::Consumer, &wanted, &current),
                Vec::<String>::new()
            );
        }
        let tagged = json!({"tags": ["a"]});
        assert_eq!(paths(Kind::Consumer, &json!({}), &tagged), ["tags"]);
    }

    #[test]
    fn a_record_of_nulls_is_a_record_that_nobody_wrote() {
        let wanted = json!({"prefix": "my-env", "name": "env"});
        let current = json!({"prefix": "my-env", "name": "env", "config": {"prefix": null}});
        assert_eq!(paths(Kind::Vault, &wanted, &current), Vec::<String>::new());
        let current = json!({"prefix": "my-env", "name": "env", "config": {"prefix": "X_"}});
        assert_eq!(paths(Kind::Vault, &wanted, &current), ["config"]);
    }

    #[test]
    fn a_filters_configuration_has_no_defaults_and_its_filters_have_an_order() {
        let chain =
            |filters: Value| json!({"enabled": true, "service": {"id": "1"}, "filters": filters});
        let stored = chain(json!([
            {"name": "a", "enabled": true, "config": null},
            {"name": "b", "enabled": true, "config": {"x": 1, "list": {}, "none": null}},
        ]));
        let b = |config: Value| chain(json!([{"name": "a"}, {"name": "b", "config": config}]));
        for (wanted, changed) in [
            (b(json!({"none": null, "x": 1.0, "list": []})), vec![]),
            (
                b(json!({"list": [], "none": null})),
                vec!["filters[1].config.x"],
            ),
            (
                b(json!({"x": 1, "list": []})),
                vec!["filters[1].config.none"],
            ),
            (b(json!("x")), vec!["filters[1].config"]),
            (b(Value::Null), vec!["filters[1].config"]),
            (chain(json!([{"name": "a"}])), vec!["filters"]),
        ] {
            assert_eq!(
                paths(Kind::FilterChain, &wanted, &stored),
                changed,
                "{wanted}"
            );
        }
        let reversed = chain(json!([stored["filters"][1], stored["filters"][0]]));
        let changed = paths(Kind::FilterChain, &reversed, &stored);
        assert_eq!(changed[0], "filters[0].name", "{changed:?}");
    }

    #[test]
    fn a_field_that_is_no_longer_written_goes_back_to_its_default() {
        let current = json!({"name": "llm", "host": "h", "port": 80, "protocol": "http", "retries": 9, "path": "/x",
            "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000, "enabled": true});
        let changes = compare(
            Kind::Service,
            json!({"name": "llm", "host": "h"}).as_object().unwrap(),
            current.as_object().unwrap(),
            &Schemas::default(),
            false,
        );
        let shown: Vec<_> = changes
            .iter()
            .map(|c| (c.path.as_str(), c.before.clone(), c.after.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("retries", Some(json!(9)), Some(json!(5))),
                ("path", Some(json!("/x")), None)
            ]
        );
    }

    #[test]
    fn an_upstream_that_a_real_node_stored_is_what_was_asked() {
        let recorded = include_str!("../../tests/fixtures/upstream.json");
        let exchange: Value = serde_json::from_str(recorded).unwrap();
        assert_eq!(
            paths(Kind::Upstream, &exchange["request"], &exchange["response"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_password_is_compared_by_its_stored_hash_and_never_shown() {
        let consumer = json!({"id": "f7ecf0ce-22c1-4768-b53f-8561e1da8220"});
        let stored = json!({"username": "alice", "consumer": consumer, "password": "a192eaebd2b7d9bac2bac4c96a5c10f48e8c29c3"});
        let same = json!({"username": "alice", "consumer": consumer, "password": "pw"});
        assert_eq!(paths(Kind::BasicAuth, &same, &stored), Vec::<String>::new());
        assert_eq!(
            paths(Kind::BasicAuth, &stored, &stored),
            Vec::<String>::new(),
            "a dump is no change"
        );
        let other = json!({"username": "alice", "consumer": consumer, "password": "new"});
        let changes = compare(
            Kind::BasicAuth,
            other.as_object().unwrap(),
            stored.as_object().unwrap(),
            &Schemas::default(),
            false,
        );
        assert!(changes.len() == 1 && changes[0].secret);
    }

    #[test]
    fn a_plugins_configuration_is_compared_by_the_nodes_schema() {
        let mut schemas = Schemas::default();
        schemas.add_plugin("limits", &json!({"fields": [{"config": {"type": "record", "required": true, "fields": [
            {"minute": {"type": "number"}},
            {"policy": {"type": "string", "default": "local"}},
            {"names": {"type": "set", "elements": {"type": "string"}, "default": ["x", "y"]}},
            {"redis": {"type": "record", "required": true, "fields": [
                {"host": {"type": "string", "referenceable": true}}, {"port": {"type": "integer", "default": 6379}}]}}],
            "shorthand_fields": [{"redis_host": {"type": "string", "deprecation": {"replaced_with": [{"path": ["redis", "host"]}]}}}]
        }}]}));
        let current = json!({"name": "limits", "enabled": true, "config": {"minute": 5, "policy": "local", "names": ["y", "x"],
            "redis": {"host": "cache", "port": 6379}, "redis_host": "cache"}});
        let differing = |config: Value| -> Vec<(String, bool)> {
            let wanted = json!({"name": "limits", "config": config});
            compare(
                Kind::Plugin,
                wanted.as_object().unwrap(),
                current.as_object().unwrap(),
                &schemas,
                false,
            )
            .into_iter()
            .map(|change| (change.path, change.secret))
            .collect()
        };
        assert_eq!(differing(json!({"minute": 5.0, "redis_host": "cache"})), []);
        assert_eq!(
            differing(json!({"minute": 5, "redis": {"host": "cache"}})),
            []
        );
        assert_eq!(
            differing(json!({"minute": 6, "redis": {"host": "other"}})),
            [
                ("config.minute".to_owned(), false),
                ("config.redis.host".to_owned(), true)
            ]
        );
    }
}
