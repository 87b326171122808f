//! Kong's schema of a plugin's configuration, derived from the Rust type.
//!
//! `#[derive(PluginConfig)]` beside serde's `Deserialize` makes the schema; the `#[kong(…)]` attributes add what a Rust type
//! cannot say. Field by field:
//!
//! | Rust | Kong |
//! |---|---|
//! | `String`, `f64`, `bool` | `string`, `number`, `boolean` |
//! | an integer | `integer`, `between` the bounds of its type (64 bits: those that a double holds exactly) |
//! | `Option<T>` | `T`, not required; everything else is required |
//! | `Vec<T>`, `BTreeSet<T>`, `HashSet<T>` | `array`, `set`, `set` |
//! | `BTreeMap<String, T>`, `HashMap<String, T>` | `map` |
//! | a struct that derives `PluginConfig` | `record` |
//! | an enum of names that derives `PluginConfig` | `string` with `one_of` |
//! | `serde_json::Value` | `json` |
//! | the documentation of a field, its first paragraph | `description`; Kong wants 10 to 500 characters, and the derive refuses others |
//!
//! Attributes of a field: `default`, `one_of`, `not_one_of`, `between`, `gt`, `eq`, `ne`, `len_eq`, `len_min`, `len_max`, `match`,
//! `match_all`, `match_any`, `match_none`, `starts_with`, `contains`, `err`, `json_schema`, `description`, `reference` (each with
//! `= …`), the flags `is_regex`, `uuid`, `timestamp`, `referenceable`, `encrypted`, `set`, `foreign`, and in parentheses
//! `elements(…)`, `keys(…)`, `values(…)` for what lies within, and `deprecation(message = …, removal_in_version = …)`.
//! On the struct: `entity_check(at_least_one_of = […])`, `only_one_of`, `distinct`, `mutually_required`, `mutually_exclusive`,
//! `conditional = json!({…})`, `conditional_at_least_one_of = json!({…})`. Kong 3.9 answers 500 where the `then_field` of a `conditional` is a
//! record: name the record's fields in a `conditional_at_least_one_of` instead.
//!
//! # One truth for defaults
//!
//! `#[kong(default = 60)]` goes into the schema, and [`PluginConfig::from_json`] fills in from the schema what is absent before
//! serde sees it. No `#[serde(default)]` is needed.

mod check;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use self::check::{Path, Reason, Step, Violation};
use crate::plugin::ConfigError;

/// The largest integer up to which a double, and so Lua, holds every integer: 2⁵³ − 1.
const MAX_EXACT: i64 = (1 << 53) - 1;

/// A field's schema: a JSON object with Kong's attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema(Map<String, Value>);

/// A type that can stand in a configuration.
pub trait ConfigType {
    /// Whether Kong must have a value: all types but `Option`.
    const REQUIRED: bool = true;

    /// The schema of a field of this type.
    fn schema() -> Schema;
}

/// The configuration of a plugin: a struct that derives this and serde's `Deserialize`.
pub trait PluginConfig: ConfigType + DeserializeOwned + Send + 'static {
    /// Reads a configuration as Kong sends it: absent fields get their defaults, and Lua's ambiguities (`{}` for an empty
    /// list, `3` for 3.0, `1e+15` for an integer) are settled by the schema. Fields that the schema does not know are dropped.
    fn from_json(mut config: Value) -> Result<Self, ConfigError> {
        Self::schema().settle(&mut config);
        serde_json::from_value(config)
            .map_err(|error| ConfigError::new(without_values(&error.to_string())))
    }
}

/// The text of a serde error without the values in it, which may be secrets.
fn without_values(message: &str) -> String {
    match message.rsplit_once("expected ") {
        Some((_, expected)) => format!("a field does not have its type: expected {expected}"),
        None if message.starts_with("missing field") => message.to_owned(),
        None => "the configuration does not have the form of its schema".to_owned(),
    }
}

impl Schema {
    /// A schema of one of Kong's types, without attributes.
    pub fn new(kind: &str) -> Self {
        Self(Map::from_iter([("type".to_owned(), kind.into())]))
    }

    /// A string of which only these values are accepted.
    pub fn one_of(values: &[&str]) -> Self {
        Self::new("string").with("one_of", json!(values))
    }

    /// A record of these fields.
    pub fn record(fields: impl IntoIterator<Item = (&'static str, Schema)>) -> Self {
        let fields: Vec<Value> = fields
            .into_iter()
            .map(|(name, schema)| json!({ name: schema.0 }))
            .collect();
        Self::new("record").with("fields", Value::Array(fields))
    }

    /// Sets an attribute.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.0.insert(attribute.to_owned(), value.into());
        self
    }

    /// Sets `required` if the type says so.
    #[must_use]
    pub fn required(self, required: bool) -> Self {
        if required {
            self.with("required", true)
        } else {
            self
        }
    }

    /// Sets an attribute of what lies within: `elements`, `keys` or `values`.
    #[must_use]
    pub fn within(mut self, part: &str, attribute: &str, value: impl Into<Value>) -> Self {
        if let Some(Value::Object(inner)) = self.0.get_mut(part) {
            inner.insert(attribute.to_owned(), value.into());
        }
        self
    }

    /// The schema as Kong reads it.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Makes a configuration what this schema says, as far as Kong's JSON is ambiguous or leaves out.
    pub fn settle(&self, config: &mut Value) {
        settle(&self.0, config);
    }
}

fn settle(schema: &Map<String, Value>, value: &mut Value) {
    let kind = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match kind {
        "record" => {
            if !value.is_object() && is_empty(value) {
                *value = json!({});
            }
            if let Value::Object(record) = value {
                settle_record(schema, record);
            }
        }
        "array" | "set" => {
            if is_empty(value) {
                *value = json!([]);
            }
            if let (Some(Value::Object(elements)), Value::Array(values)) =
                (schema.get("elements"), value)
            {
                for value in values {
                    settle(elements, value);
                }
            }
        }
        "map" => {
            if is_empty(value) {
                *value = json!({});
            }
            if let (Some(Value::Object(values)), Value::Object(map)) = (schema.get("values"), value)
            {
                for value in map.values_mut() {
                    settle(values, value);
                }
            }
        }
        "integer" => {
            if let Some(integer) = value
                .as_f64()
                .filter(|_| value.is_f64())
                .and_then(exact_integer)
            {
                *value = integer.into();
            }
        }
        _ => {}
    }
}

fn settle_record(schema: &Map<String, Value>, record: &mut Map<String, Value>) {
    let fields = schema
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let known: Vec<(&String, &Map<String, Value>)> = fields
        .filter_map(Value::as_object)
        .flatten()
        .filter_map(|(name, field)| Some((name, field.as_object()?)))
        .collect();
    record.retain(|name, value| !value.is_null() && known.iter().any(|(field, _)| *field == name));
    for (name, field) in known {
        if !record.contains_key(name) {
            let is_required = field
                .get("required")
                .is_some_and(|required| *required == true);
            let is_record = field.get("type").is_some_and(|kind| kind == "record");
            match field.get("default") {
                Some(default) => record.insert(name.clone(), default.clone()),
                // As Kong does: a required record that is absent consists of its fields' defaults.
                None if is_required && is_record => record.insert(name.clone(), json!({})),
                None => continue,
            };
        }
        if let Some(value) = record.get_mut(name) {
            settle(field, value);
        }
    }
}

/// Lua has one empty table; JSON has two.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

/// The integer that this double is, if it is one that doubles hold exactly.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn exact_integer(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= MAX_EXACT as f64).then_some(number as i64)
}

macro_rules! plain {
    ($($type:ty => $kind:literal),*) => {$(
        impl ConfigType for $type {
            fn schema() -> Schema {
                Schema::new($kind)
            }
        }
    )*};
}

plain!(String => "string", bool => "boolean", f64 => "number", f32 => "number");

macro_rules! integers {
    ($($type:ty: $min:expr, $max:expr);* $(;)?) => {$(
        impl ConfigType for $type {
            fn schema() -> Schema {
                Schema::new("integer").with("between", json!([$min, $max]))
            }
        }
    )*};
}

integers! {
    u8: 0, u8::MAX; u16: 0, u16::MAX; u32: 0, u32::MAX; u64: 0, MAX_EXACT; usize: 0, MAX_EXACT;
    i8: i8::MIN, i8::MAX; i16: i16::MIN, i16::MAX; i32: i32::MIN, i32::MAX; i64: -MAX_EXACT, MAX_EXACT;
    std::num::NonZeroU8: 1, u8::MAX; std::num::NonZeroU16: 1, u16::MAX; std::num::NonZeroU32: 1, u32::MAX;
    std::num::NonZeroU64: 1, MAX_EXACT; std::num::NonZeroUsize: 1, MAX_EXACT;
}

impl<T: ConfigType> ConfigType for Option<T> {
    const REQUIRED: bool = false;

    fn schema() -> Schema {
        T::schema()
    }
}

impl<T: ConfigType> ConfigType for Box<T> {
    const REQUIRED: bool = T::REQUIRED;

    fn schema() -> Schema {
        T::schema()
    }
}

impl<T: ConfigType> ConfigType for Vec<T> {
    fn schema() -> Schema {
        collection::<T>("array")
    }
}

impl<T: ConfigType> ConfigType for BTreeSet<T> {
    fn schema() -> Schema {
        collection::<T>("set")
    }
}

impl<T: ConfigType, S> ConfigType for HashSet<T, S> {
    fn schema() -> Schema {
        collection::<T>("set")
    }
}

impl<T: ConfigType> ConfigType for BTreeMap<String, T> {
    fn schema() -> Schema {
        map::<T>()
    }
}

impl<T: ConfigType, S> ConfigType for HashMap<String, T, S> {
    fn schema() -> Schema {
        map::<T>()
    }
}

impl ConfigType for Value {
    fn schema() -> Schema {
        Schema::new("json").with("json_schema", json!({ "inline": {} }))
    }
}

fn collection<T: ConfigType>(kind: &str) -> Schema {
    Schema::new(kind).with("elements", T::schema().required(T::REQUIRED).0)
}

fn map<T: ConfigType>() -> Schema {
    Schema::new("map")
        .with("keys", String::schema().0)
        .with("values", T::schema().required(T::REQUIRED).0)
}
