//! Fields of any JSON, judged by a JSON schema (draft 4) in the words of Kong's validator.
//!
//! Of the draft, what filters here need is applied. A schema that says more is refused, so that nothing passes here which
//! Kong would refuse.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a field of type `json` may hold.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JsonField {
    /// The member beside it that chooses the schema.
    parent_subschema_key: String,
    /// Where nothing is chosen.
    default: JsonSchema,
    #[serde(default, rename = "fn")]
    by_name: IndexMap<String, JsonSchema>,
}

impl JsonField {
    /// Judges the field's value in its record.
    pub(super) fn check(&self, record: &Map<String, Value>, value: &Value) -> Result<(), String> {
        let chosen = record.get(&self.parent_subschema_key);
        let schema = chosen
            .and_then(Value::as_str)
            .and_then(|name| self.by_name.get(name))
            .unwrap_or(&self.default);
        schema.check(value)
    }
}

/// The part of draft 4 that is applied.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct JsonSchema {
    #[serde(default, rename = "type")]
    types: Option<Types>,
    #[serde(default)]
    properties: IndexMap<String, JsonSchema>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    additional_properties: Option<Additional>,
    #[serde(default)]
    items: Option<Box<JsonSchema>>,
    #[serde(default)]
    minimum: Option<f64>,
    #[serde(default)]
    maximum: Option<f64>,
    #[serde(default, rename = "enum")]
    one_of: Option<Vec<String>>,
    #[serde(default, rename = "$schema")]
    _draft: Option<String>,
    #[serde(default, rename = "title")]
    _title: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "default")]
    _default: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Types {
    One(JsonType),
    Several(Vec<JsonType>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Additional {
    Allowed(bool),
    Schema(Box<JsonSchema>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JsonType {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

impl JsonType {
    fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Null => "null",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    /// The type of a value, as messages call it. An empty list is an empty table.
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number)
                if number.as_f64().is_some_and(|number| number.fract() == 0.0) =>
            {
                Self::Integer
            }
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(items) if !items.is_empty() => Self::Array,
            Value::Array(_) | Value::Object(_) => Self::Object,
        }
    }

    fn covers(self, value: &Value) -> bool {
        let is_empty = value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty);
        self == Self::of(value)
            || self == Self::Number && value.is_number()
            || self == Self::Array && is_empty
    }
}

impl JsonSchema {
    fn check(&self, value: &Value) -> Result<(), String> {
        self.check_type(value)?;
        if let Value::Object(members) = value {
            self.check_members(members)?;
        } else if value.as_array().is_some_and(Vec::is_empty) {
            self.check_members(&Map::new())?;
        }
        if let (Some(schema), Value::Array(items)) = (&self.items, value) {
            for (index, item) in items.iter().enumerate() {
                schema
                    .check(item)
                    .map_err(|fault| format!("failed to validate item {}: {fault}", index + 1))?;
            }
        }
        if let Some(number) = value.as_f64() {
            if let Some(least) = self.minimum.filter(|least| number < *least) {
                return Err(format!("expected {value} to be greater than {least}"));
            }
            if let Some(most) = self.maximum.filter(|most| number > *most) {
                return Err(format!("expected {value} to be smaller than {most}"));
            }
        }
        let is_listed = |listed: &Vec<String>| listed.iter().any(|listed| value == listed);
        if self
            .one_of
            .as_ref()
            .is_some_and(|listed| !is_listed(listed))
        {
            return Err("matches none of the enum values".to_owned());
        }
        Ok(())
    }

    fn check_type(&self, value: &Value) -> Result<(), String> {
        let (types, expected) = match &self.types {
            None => return Ok(()),
            Some(Types::One(one)) => (std::slice::from_ref(one), one.name().to_owned()),
            Some(Types::Several(types)) => {
                let names: Vec<&str> = types.iter().map(|one| one.name()).collect();
                (types.as_slice(), format!("one of {}", names.join(", ")))
            }
        };
        if types.iter().any(|one| one.covers(value)) {
            return Ok(());
        }
        let found = JsonType::of(value).name();
        Err(format!("wrong type: expected {expected}, got {found}"))
    }

    fn check_members(&self, members: &Map<String, Value>) -> Result<(), String> {
        for (name, schema) in &self.properties {
            if let Some(member) = members.get(name) {
                schema
                    .check(member)
                    .map_err(|fault| format!("property {name} validation failed: {fault}"))?;
            } else if self.required.contains(name) {
                return Err(format!("property {name} is required"));
            }
        }
        if let Some(name) = self
            .required
            .iter()
            .find(|name| !members.contains_key(*name))
        {
            return Err(format!("property {name} is required"));
        }
        let others = members
            .iter()
            .filter(|(name, _)| !self.properties.contains_key(*name));
        for (name, member) in others {
            match &self.additional_properties {
                None | Some(Additional::Allowed(true)) => {}
                Some(Additional::Allowed(false)) => {
                    return Err(format!("additional properties forbidden, found {name}"));
                }
                Some(Additional::Schema(schema)) => schema.check(member).map_err(|fault| {
                    format!("failed to validate additional property {name}: {fault}")
                })?,
            }
        }
        Ok(())
    }
}

/// JSON that went through Lua: an empty list is an empty table, a whole number has no fraction, and sixteen digits are kept.
pub(super) fn through_lua(value: Value) -> Value {
    match value {
        Value::Array(items) if items.is_empty() => Value::Object(Map::new()),
        Value::Array(items) => items.into_iter().map(through_lua).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, through_lua(member)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Number(number) => kept(number.as_f64().unwrap_or_default()),
        scalar => scalar,
    }
}

fn kept(number: f64) -> Value {
    /// Beyond it not every whole number has a double of its own.
    const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;
    let number: f64 = format!("{number:.15e}").parse().unwrap_or(number);
    if number.fract() == 0.0 && number.abs() < LARGEST_WHOLE {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        return (number as i64).into();
    }
    number.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_that_says_more_than_is_applied_is_refused() {
        let parsed = serde_json::from_value::<JsonSchema>(json!({"minLength": 1}));
        assert!(parsed.unwrap_err().to_string().contains("minLength"));
    }

    #[test]
    fn an_empty_list_is_an_empty_table_and_passes_for_either() {
        for kind in ["object", "array"] {
            let schema: JsonSchema = serde_json::from_value(json!({"type": kind})).unwrap();
            assert_eq!(schema.check(&json!([])), Ok(()));
            assert_eq!(schema.check(&json!({})), Ok(()));
        }
    }

    /// What a Kong with PostgreSQL told of what it was sent.
    #[test]
    fn what_is_kept_is_what_kong_keeps() {
        for (sent, kept) in [
            (json!(3.0), json!(3)),
            (
                json!(12_345_678_901_234_567_890_u64),
                json!(1.234_567_890_123_457e19),
            ),
            (json!(0.1), json!(0.1)),
            (json!([[]]), json!([{}])),
            (json!({"a": null, "b": []}), json!({"a": null, "b": {}})),
        ] {
            assert_eq!(through_lua(sent), kept);
        }
    }
}
