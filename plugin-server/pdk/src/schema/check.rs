//! What in a configuration is not as its schema says: all of it, each with its path.
//!
//! Kong judges by the same attributes when it stores a configuration; this finds the same where there is no Kong. Not judged
//! here: patterns (`match` and its kin, which are Lua's) and entity checks, which a plugin has to check itself when it reads a
//! configuration, because Kong sends it also what was stored before the schema changed.

use std::fmt;

use serde_json::{Map, Value};

use super::{Schema, is_empty};

/// How Kong marks a string whose value is in a vault.
const VAULT: &str = "{vault://";

/// One step from a value to one within it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the value of a record's or a map's field.
    Field(String),
    /// To the element of a list, counted from 0.
    Index(usize),
}

/// Where a value stands in a configuration: `issuers[0].audience_required`. Empty for the configuration itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// Reads the form that [`Display`](fmt::Display) writes. Names with dots or brackets in them are not told apart from steps.
    pub fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let mut pieces = part.split('[');
            let name = pieces.next().unwrap_or_default();
            if !name.is_empty() {
                steps.push(Step::Field(name.to_owned()));
            }
            let indexes = pieces.filter_map(|piece| piece.strip_suffix(']')?.parse().ok());
            steps.extend(indexes.map(Step::Index));
        }
        Self(steps)
    }

    /// The path of a field within.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.then(Step::Field(name.to_owned()))
    }

    /// The path of an element within.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        self.then(Step::Index(at))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One value that is not as its schema says.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Where it is; for a field that is missing, where it should be.
    pub path: Path,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a value. The text names no value: it could be a secret.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The record has no such field.
    #[error("unknown field")]
    Unknown {
        /// The fields that it has.
        known: Vec<String>,
    },
    /// A value is needed.
    #[error("is missing")]
    Missing,
    /// The value is of another type.
    #[error("is {expected}, this is {found}")]
    Type {
        /// The schema's type.
        expected: &'static str,
        /// The value's type.
        found: &'static str,
    },
    /// The value is none of those that there are.
    #[error("must be one of {}", .known.join(", "))]
    Choice {
        /// Those that there are.
        known: Vec<String>,
    },
    /// The number is outside of its range.
    #[error("must be from {least} to {most}")]
    Between {
        /// The smallest.
        least: Value,
        /// The largest.
        most: Value,
    },
    /// The number is too small.
    #[error("must be greater than {0}")]
    Greater(Value),
    /// The text or the list is too short.
    #[error("{}", too_short(*.0))]
    Short(u64),
    /// The text or the list is too long.
    #[error("must not be longer than {0}")]
    Long(u64),
    /// A vault is named where Kong looks for no vault, and takes the text as it is.
    #[error("Kong resolves no vault reference in this field")]
    Vault,
}

fn too_short(least: u64) -> String {
    if least == 1 {
        "must not be empty".to_owned()
    } else {
        format!("must be at least {least} long")
    }
}

impl Schema {
    /// Everything in `config` that is not as this schema says.
    ///
    /// `unknown` says which values nobody knows yet: they are taken as right, and so are vault references where Kong resolves
    /// them. Null stands for absent.
    pub fn violations(&self, config: &Value, unknown: &dyn Fn(&Path) -> bool) -> Vec<Violation> {
        let mut check = Check {
            unknown,
            found: Vec::new(),
        };
        check.value(&self.0, config, &Path::default());
        check.found
    }

    /// Where in `config` Kong will put what a vault holds.
    pub fn vault_references(&self, config: &Value) -> Vec<Path> {
        let mut found = Vec::new();
        references(&self.0, config, &Path::default(), &mut found);
        found
    }
}

fn references(schema: &Map<String, Value>, value: &Value, path: &Path, found: &mut Vec<Path>) {
    match value {
        Value::String(text) if is_reference(text) && flag(schema, "referenceable") => {
            found.push(path.clone());
        }
        Value::Array(items) => {
            if let Some(elements) = part(schema, "elements") {
                for (at, item) in items.iter().enumerate() {
                    references(elements, item, &path.index(at), found);
                }
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                let inner = fields(schema)
                    .find(|(field, _)| *field == name)
                    .map(|(_, field)| field)
                    .or_else(|| part(schema, "values"));
                if let Some(inner) = inner {
                    references(inner, value, &path.field(name), found);
                }
            }
        }
        _ => {}
    }
}

struct Check<'a> {
    unknown: &'a dyn Fn(&Path) -> bool,
    found: Vec<Violation>,
}

impl Check<'_> {
    fn add(&mut self, path: &Path, reason: Reason) {
        self.found.push(Violation {
            path: path.clone(),
            reason,
        });
    }

    fn value(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path) {
        if (self.unknown)(path) {
            return;
        }
        if let Some(text) = value.as_str()
            && is_reference(text)
        {
            if !flag(schema, "referenceable") {
                self.add(path, Reason::Vault);
            }
            return;
        }
        let kind = schema.get("type").and_then(Value::as_str);
        let kind = kind.unwrap_or_default();
        match (kind, value) {
            ("record", _) if value.is_object() || is_empty(value) => {
                self.record(schema, value, path);
            }
            ("array" | "set", _) if value.is_array() || is_empty(value) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                self.length(schema, items.len(), path);
                if let Some(elements) = part(schema, "elements") {
                    for (at, item) in items.iter().enumerate() {
                        self.value(elements, item, &path.index(at));
                    }
                }
            }
            ("map", _) if value.is_object() || is_empty(value) => {
                if let Some(values) = part(schema, "values") {
                    for (name, item) in value.as_object().into_iter().flatten() {
                        self.value(values, item, &path.field(name));
                    }
                }
            }
            ("string", Value::String(text)) => {
                self.choice(schema, value, path);
                self.length(schema, text.len(), path);
            }
            ("number", Value::Number(_)) => self.number(schema, value, path),
            ("integer", Value::Number(number))
                if number.as_f64().is_some_and(|number| number.fract() == 0.0) =>
            {
                self.number(schema, value, path);
            }
            ("boolean", Value::Bool(_)) | ("json" | "", _) => {}
            _ => self.add(
                path,
                Reason::Type {
                    expected: expected(kind),
                    found: found(value),
                },
            ),
        }
    }

    fn record(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path) {
        let none = Map::new();
        let record = value.as_object().unwrap_or(&none);
        for (name, value) in record.iter().filter(|(_, value)| !value.is_null()) {
            let below = path.field(name);
            match fields(schema).find(|(field, _)| *field == name) {
                Some((_, field)) => self.value(field, value, &below),
                None => self.add(
                    &below,
                    Reason::Unknown {
                        known: fields(schema).map(|(field, _)| field.clone()).collect(),
                    },
                ),
            }
        }
        for (name, field) in fields(schema) {
            let below = path.field(name);
            let absent = record.get(name).is_none_or(Value::is_null) && !(self.unknown)(&below);
            if !absent || !flag(field, "required") || field.contains_key("default") {
                continue;
            }
            if field.get("type").is_some_and(|kind| kind == "record") {
                self.value(field, &Value::Object(Map::new()), &below);
            } else {
                self.add(&below, Reason::Missing);
            }
        }
    }

    fn choice(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path) {
        if let Some(choices) = schema.get("one_of").and_then(Value::as_array)
            && !choices.contains(value)
        {
            let known = choices.iter().filter_map(Value::as_str).map(str::to_owned);
            self.add(
                path,
                Reason::Choice {
                    known: known.collect(),
                },
            );
        }
    }

    fn number(&mut self, schema: &Map<String, Value>, value: &Value, path: &Path) {
        let Some(number) = value.as_f64() else { return };
        if let Some([least, most]) = schema
            .get("between")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            && (least.as_f64().is_some_and(|least| number < least)
                || most.as_f64().is_some_and(|most| number > most))
        {
            self.add(
                path,
                Reason::Between {
                    least: least.clone(),
                    most: most.clone(),
                },
            );
        } else if let Some(bound) = schema.get("gt")
            && bound.as_f64().is_some_and(|bound| number <= bound)
        {
            self.add(path, Reason::Greater(bound.clone()));
        }
    }

    fn length(&mut self, schema: &Map<String, Value>, length: usize, path: &Path) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        if let Some(least) = bound("len_min").filter(|least| length < *least) {
            self.add(path, Reason::Short(least));
        } else if let Some(most) = bound("len_max").filter(|most| length > *most) {
            self.add(path, Reason::Long(most));
        }
    }
}

fn is_reference(text: &str) -> bool {
    text.starts_with(VAULT) && text.ends_with('}')
}

fn flag(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name).is_some_and(|value| *value == true)
}

fn part<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    schema.get(name).and_then(Value::as_object)
}

fn fields(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let fields = schema.get("fields").and_then(Value::as_array);
    fields
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
        .filter_map(|(name, field)| Some((name, field.as_object()?)))
}

fn expected(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "number" => "a number",
        "integer" => "an integer",
        "boolean" => "a boolean",
        "array" | "set" => "a list",
        _ => "a map",
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        let text = || Schema::new("string").required(true);
        Schema::record([
            ("name", text().with("len_min", 1).with("len_max", 3)),
            ("kind", Schema::one_of(&["a", "b"]).with("default", "a")),
            (
                "size",
                Schema::new("integer").with("between", json!([1, 9])),
            ),
            ("share", Schema::new("number").with("gt", 0)),
            ("secret", Schema::new("string").with("referenceable", true)),
            (
                "list",
                Schema::new("array").with(
                    "elements",
                    Value::Object(Schema::record([("on", Schema::new("boolean"))]).0),
                ),
            ),
            ("inner", Schema::record([("needed", text())]).required(true)),
        ])
    }

    fn told(config: &Value) -> Vec<String> {
        let unknown = |path: &Path| path.to_string() == "size";
        let violations = schema().violations(config, &unknown);
        violations
            .iter()
            .map(|violation| format!("{}: {}", violation.path, violation.reason))
            .collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let config = json!({"name": "long", "kind": "c", "share": 0, "list": [{"on": true}, {"on": 1, "off": 2}, 3],
            "inner": {}, "secret": 5});
        assert_eq!(
            told(&config),
            [
                "name: must not be longer than 3",
                "kind: must be one of a, b",
                "share: must be greater than 0",
                "list[1].on: is a boolean, this is a number",
                "list[1].off: unknown field",
                "list[2]: is a map, this is a number",
                "inner.needed: is missing",
                "secret: is a string, this is a number",
            ]
        );
        assert_eq!(
            told(&json!(null)),
            ["is a map, this is null"].map(|text| format!(": {text}"))
        );
    }

    #[test]
    fn what_nobody_knows_yet_is_right() {
        let config = json!({"name": "a", "size": "later", "secret": "{vault://env/x}", "inner": {"needed": ""}});
        assert_eq!(told(&config), [""; 0]);
        assert_eq!(schema().vault_references(&config), [Path::parse("secret")]);
        let config = json!({"name": "{vault://env/x}", "inner": {"needed": ""}, "list": {}});
        assert_eq!(
            told(&config),
            ["name: Kong resolves no vault reference in this field"]
        );
    }

    #[test]
    fn a_path_reads_as_it_is_written() {
        for text in ["", "limits", "limits[2].match.claims[0].path", "a[1][2]"] {
            assert_eq!(Path::parse(text).to_string(), text);
        }
    }
}
