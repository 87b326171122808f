//! A configuration to start from: an example, with what the schema says of each field as comments.

use std::fmt::Write as _;

use llm_plugin_server::check::Subject;
use serde_json::{Map, Value, json};

use super::{fields_of, wrapped};

/// Columns that comments keep to.
const COLUMNS: usize = 80;

/// The file. `full` has the fields that the example lacks too, commented out.
pub(super) fn write(subject: &Subject, full: bool) -> String {
    let (what, example) = example(subject.name);
    let mut writer = Writer {
        out: String::new(),
        columns: COLUMNS,
        full,
    };
    writer.comment(what, 0);
    writer.comment(
        "As it stands it acts on every route: move the entry below a route or a service, or name one beside `config`.",
        0,
    );
    let _ = write!(
        writer.out,
        "_format_version: \"3.0\"\nplugins:\n- name: {}\n  config:\n",
        subject.name
    );
    writer.record(subject.schema().as_json(), &example, 4);
    writer.out
}

fn example(plugin: &str) -> (&'static str, Map<String, Value>) {
    let (what, example) = if plugin == "llm-jwt" {
        (
            "llm-jwt: who may pass, by the tokens of your identity provider.",
            json!({
                "issuers": [{
                    "issuer": "https://idp.example",
                    "discovery_endpoint": "https://idp.example/.well-known/openid-configuration",
                    "algorithms": ["RS256", "ES256"],
                    "audience_required": ["llm-gateway"],
                }],
                "scopes_required": ["llm:chat"],
                "limiter_claims": {"tenant": ["org_id"]},
            }),
        )
    } else {
        (
            "llm-rate-limiting: how much each caller may spend, in tokens, money or requests.",
            json!({
                "limits": [
                    {"name": "tokens-per-minute", "unit": "total_tokens", "limit": 100_000, "window_size": 60,
                     "limit_by": ["consumer"]},
                    {"name": "requests-at-once", "unit": "concurrent_requests", "limit": 10, "window_size": 600,
                     "limit_by": ["consumer"]},
                ],
                "policy": "memory",
            }),
        )
    };
    match example {
        Value::Object(example) => (what, example),
        _ => unreachable!("an example is a map"),
    }
}

struct Writer {
    out: String,
    /// What comments keep to.
    columns: usize,
    full: bool,
}

impl Writer {
    /// The fields of a record, each below its description.
    fn record(&mut self, schema: &Map<String, Value>, example: &Map<String, Value>, indent: usize) {
        for (name, field) in fields_of(schema) {
            let description = field.get("description").and_then(Value::as_str);
            match example.get(name) {
                Some(value) => {
                    self.comment(description.unwrap_or_default(), indent);
                    self.member(name, field, value, indent);
                }
                None if self.full => {
                    self.comment(description.unwrap_or_default(), indent);
                    let mut absent = Self {
                        out: String::new(),
                        columns: self.columns - indent - 2,
                        full: true,
                    };
                    absent.member(name, field, &placeholder(field), 0);
                    for line in absent.out.lines() {
                        let _ = writeln!(self.out, "{}# {line}", " ".repeat(indent));
                    }
                }
                None => {}
            }
        }
    }

    fn member(&mut self, name: &str, field: &Map<String, Value>, value: &Value, indent: usize) {
        let pad = " ".repeat(indent);
        let elements = field.get("elements").and_then(Value::as_object);
        match (value, elements) {
            (Value::Object(inner), _) if field.contains_key("fields") => {
                let _ = writeln!(self.out, "{pad}{name}:");
                self.record(field, inner, indent + 2);
            }
            (Value::Array(items), Some(elements)) if elements.contains_key("fields") => {
                let _ = writeln!(self.out, "{pad}{name}:");
                for (at, item) in items.iter().filter_map(Value::as_object).enumerate() {
                    if at == 0 {
                        self.explained(elements, item, indent);
                    } else {
                        self.plain(item, indent);
                    }
                }
            }
            _ => {
                let _ = writeln!(self.out, "{pad}{name}: {}", flow(value));
            }
        }
    }

    /// The first entry of a list of records. The dash stands before the first field, below its comment.
    fn explained(&mut self, schema: &Map<String, Value>, item: &Map<String, Value>, indent: usize) {
        let mut entry = Self {
            out: String::new(),
            columns: self.columns,
            full: self.full,
        };
        entry.record(schema, item, indent + 2);
        let pad = " ".repeat(indent);
        let mut dash = "- ";
        for line in entry.out.lines() {
            let inner = line.trim_start();
            if dash.is_empty() {
                let _ = writeln!(self.out, "{line}");
            } else if inner.starts_with('#') {
                let _ = writeln!(self.out, "{pad}{inner}");
            } else {
                let _ = writeln!(self.out, "{pad}{dash}{inner}");
                dash = "";
            }
        }
    }

    fn plain(&mut self, item: &Map<String, Value>, indent: usize) {
        let mut dash = "- ";
        for (name, value) in item {
            let _ = writeln!(
                self.out,
                "{}{dash}{name}: {}",
                " ".repeat(indent),
                flow(value)
            );
            dash = "  ";
        }
    }

    fn comment(&mut self, text: &str, indent: usize) {
        for line in wrapped(text, self.columns.saturating_sub(indent + 2)) {
            let _ = writeln!(self.out, "{}# {line}", " ".repeat(indent));
        }
    }
}

/// The field's default, or something of its type.
fn placeholder(field: &Map<String, Value>) -> Value {
    let inner = |part: &str| field.get(part).and_then(Value::as_object);
    let lists_records = inner("elements").is_some_and(|inner| inner.contains_key("fields"));
    if let Some(default) = field.get("default").filter(|_| !lists_records) {
        return default.clone();
    }
    match field
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "record" => Value::Object(
            fields_of(field)
                .map(|(name, field)| (name.clone(), placeholder(field)))
                .collect(),
        ),
        "array" | "set" => Value::Array(inner("elements").map(placeholder).into_iter().collect()),
        "map" => json!({}),
        "boolean" => json!(false),
        "integer" | "number" => {
            let least = field.get("between").and_then(|between| between.get(0));
            match field.get("gt") {
                Some(_) => json!(1),
                None => least.cloned().unwrap_or(json!(0)),
            }
        }
        _ => match field.get("one_of").and_then(Value::as_array) {
            Some(choices) => choices.first().cloned().unwrap_or_default(),
            None => json!("VALUE"),
        },
    }
}

/// A value in one line. JSON is YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text)
            if text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_/.".contains(&byte))
                && text.starts_with(|first: char| first.is_ascii_alphabetic()) =>
        {
            text.clone()
        }
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(flow).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(map) if !map.is_empty() => {
            let members: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{name}: {}", flow(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::declared;
    use crate::state::diagnostics::Diagnostics;
    use crate::state::references::References;
    use crate::state::yaml;

    fn names<'a>(schema: &'a Map<String, Value>, found: &mut Vec<&'a str>) {
        for (name, field) in fields_of(schema) {
            found.push(name);
            names(field, found);
            if let Some(elements) = field.get("elements").and_then(Value::as_object) {
                names(elements, found);
            }
        }
    }

    #[test]
    fn a_scaffold_has_no_mistakes_and_the_full_one_every_field() {
        for subject in Subject::all() {
            for full in [false, true] {
                let text = write(subject, full);
                let mut diagnostics = Diagnostics::default();
                let documents = yaml::read("f", &text, &References::none(), &mut diagnostics);
                let configuration = declared::read(&documents, &mut diagnostics);
                declared::check_our_plugins(&configuration, &mut diagnostics);
                diagnostics
                    .into_result()
                    .unwrap_or_else(|error| panic!("{error}\n{text}"));
                assert_eq!(configuration.entities.len(), 1);
                let longest = text
                    .lines()
                    .filter(|line| line.trim_start().starts_with('#'));
                assert!(longest.map(str::len).max() <= Some(COLUMNS), "{text}");
                if full {
                    let schema = subject.schema();
                    let mut known = Vec::new();
                    names(schema.as_json(), &mut known);
                    for name in known {
                        assert!(
                            text.contains(&format!("{name}:")),
                            "{name} is not in\n{text}"
                        );
                    }
                }
            }
        }
    }
}
