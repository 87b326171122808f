//! A plugin's schema for people: one field a paragraph, its type, bounds and default first.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::output::{Paint, text};

use super::{fields_of, wrapped};

/// Columns of a terminal.
const COLUMNS: usize = 80;
const INDENT: &str = "    ";

/// Every field with what is said of it.
pub(super) fn table(config: &Map<String, Value>, paint: Paint) -> String {
    let mut out = String::new();
    each(config, "", &mut |path, field| {
        let summary = summary(field);
        let room = COLUMNS.saturating_sub(text::width(path) + 2);
        if text::width(&summary) <= room {
            let _ = writeln!(out, "{path}  {}", paint.dim(&summary));
        } else {
            let _ = writeln!(out, "{path}");
            for line in wrapped(
                &summary.replace('|', " | ").replace("\",\"", "\", \""),
                COLUMNS - INDENT.len(),
            ) {
                let _ = writeln!(out, "{INDENT}{}", paint.dim(&line));
            }
        }
        let description = field.get("description").and_then(Value::as_str);
        for line in wrapped(
            &text::clean(description.unwrap_or_default()),
            COLUMNS - INDENT.len(),
        ) {
            let _ = writeln!(out, "{INDENT}{line}");
        }
    });
    out
}

/// The paths alone.
pub(super) fn names(config: &Map<String, Value>) -> String {
    let mut out = String::new();
    each(config, "", &mut |path, _| {
        let _ = writeln!(out, "{path}");
    });
    out
}

fn each(
    record: &Map<String, Value>,
    prefix: &str,
    tell: &mut dyn FnMut(&str, &Map<String, Value>),
) {
    for (name, field) in fields_of(record) {
        let mut path = format!("{prefix}{}", text::clean(name));
        tell(&path, field);
        let mut inner = field;
        while let Some(elements) = inner.get("elements").and_then(Value::as_object) {
            path.push_str("[]");
            inner = elements;
        }
        each(inner, &format!("{path}."), tell);
    }
}

fn kind(field: &Map<String, Value>) -> String {
    let inner = |part: &str| {
        let inner = field.get(part).and_then(Value::as_object);
        inner.map_or_else(|| "anything".to_owned(), kind)
    };
    match field
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("anything")
    {
        list @ ("array" | "set") => format!("{list} of {}", inner("elements")),
        "map" => format!("map to {}", inner("values")),
        other => other.to_owned(),
    }
}

/// `integer, required, 1 to 65535, default 6379`
fn summary(field: &Map<String, Value>) -> String {
    let flag = |name: &str| field.get(name) == Some(&Value::Bool(true));
    let mut said = vec![kind(field)];
    if let Some(choices) = choices(field) {
        said.push(choices);
    }
    if let Some([least, most]) = field
        .get("between")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        said.push(format!("{least} to {most}"));
    }
    if let Some(bound) = field.get("gt") {
        said.push(format!("more than {bound}"));
    }
    match field.get("default").filter(|default| !default.is_null()) {
        Some(default) => said.push(format!("default {default}")),
        None if flag("required") && field.get("type").is_some_and(|kind| kind != "record") => {
            said.push("required".to_owned());
        }
        None => {}
    }
    if flag("referenceable") {
        said.push("may be in a vault".to_owned());
    }
    if flag("encrypted") {
        said.push("secret".to_owned());
    }
    text::clean(&said.join(", "))
}

fn choices(field: &Map<String, Value>) -> Option<String> {
    let elements = field.get("elements").and_then(Value::as_object);
    let choices = field.get("one_of").or_else(|| elements?.get("one_of"))?;
    let choices = choices.as_array()?.iter().filter_map(Value::as_str);
    Some(format!("one of {}", choices.collect::<Vec<_>>().join("|")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_says_its_type_its_bounds_and_what_it_is_for() {
        let schema = json!({"type": "record", "fields": [
            {"limits": {"type": "array", "required": true, "description": "The limits.", "elements": {"type": "record", "fields": [
                {"unit": {"type": "string", "one_of": ["a", "b"], "default": "a"}},
                {"size": {"type": "integer", "required": true, "between": [1, 9]}}]}}},
            {"tags": {"type": "map", "values": {"type": "string"}}},
        ]});
        let expected = "\
limits  array of record, required
    The limits.
limits[].unit  string, one of a|b, default \"a\"
limits[].size  integer, 1 to 9, required
tags  map to string
";
        assert_eq!(table(schema.as_object().unwrap(), Paint(false)), expected);
    }
}
