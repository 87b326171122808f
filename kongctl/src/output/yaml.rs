//! Writes YAML: block style, stable, quoted only where a reader would otherwise see something else.

use std::fmt::Write as _;

use serde_json::Value;

use super::text;
use crate::state::references::{is_kept, shown};

/// The value as a YAML document.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut out, value, 0),
        scalar => {
            scalar_to(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

/// A text as a scalar that stands after a key at this indentation; in brackets, `flow`, it takes one line.
pub(crate) fn scalar(text: &str, indent: usize, flow: bool) -> String {
    let mut out = String::new();
    if flow && !is_kept(text) {
        out.push_str(&flow_word(text));
    } else {
        scalar_to(&mut out, &Value::String(text.to_owned()), indent);
    }
    out
}

/// As [`word`]; what ends an entry of a list in brackets is quoted.
fn flow_word(text: &str) -> String {
    let plain = word(text);
    if plain.starts_with('"') || !plain.contains([',', '[', ']', '{', '}', ':']) {
        plain
    } else {
        text::escape_yaml(&Value::String(text.to_owned()).to_string()).replace("${{", "\\u0024{{")
    }
}

fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                // The first key of a list's item stands after its dash.
                if index > 0 || !out.ends_with("- ") {
                    pad(out, indent);
                }
                out.push_str(&word(key));
                out.push(':');
                inner(out, value, indent);
            }
        }
        Value::Array(list) => {
            for item in list {
                pad(out, indent);
                out.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => block(out, item, indent + 2),
                    Value::Array(items) if !items.is_empty() => {
                        out.pop();
                        out.push('\n');
                        block(out, item, indent + 2);
                    }
                    scalar => {
                        scalar_to(out, scalar, indent);
                        out.push('\n');
                    }
                }
            }
        }
        _ => {}
    }
}

fn inner(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, indent + 2);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(out, value, indent);
        }
        scalar => {
            out.push(' ');
            scalar_to(out, scalar, indent);
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar_to(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) if is_kept(text) => out.push_str(&shown(text, |text| {
            text::escape_yaml(&Value::String(text.to_owned()).to_string())
        })),
        Value::String(text) if is_literal(text) => {
            let chomp = if text.ends_with('\n') { "" } else { "-" };
            let _ = write!(out, "|{chomp}");
            for line in text.lines() {
                out.push('\n');
                if !line.is_empty() {
                    pad(out, indent + 2);
                    out.push_str(line);
                }
            }
        }
        Value::String(text) => out.push_str(&word(text)),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// May the text stand in a literal block, as it is?
fn is_literal(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.ends_with("\n\n")
        && !text.contains("${{")
        && text
            .lines()
            .all(|line| !line.ends_with([' ', '\t']) && !line.contains('\r'))
        && text
            .chars()
            .all(|character| character == '\n' || character == '\t' || !text::is_hidden(character))
}

/// A string or key: plain where that reads back as the same string, in YAML 1.1 too; else quoted as JSON quotes.
fn word(text: &str) -> String {
    let first_is_plain =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let plain = first_is_plain
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./:@+*=, ()".contains(c))
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        return text.to_owned();
    }
    // What looks like a template is text here.
    text::escape_yaml(&Value::String(text.to_owned()).to_string()).replace("${{", "\\u0024{{")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::state::diagnostics::Diagnostics;
    use crate::state::references::References;

    fn read_back(text: &str) -> Value {
        let mut diagnostics = Diagnostics::default();
        let documents =
            crate::state::yaml::read("out.yml", text, &References::none(), &mut diagnostics);
        diagnostics
            .into_result()
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        documents.first().map_or(Value::Null, |node| node.to_json())
    }

    #[test]
    fn a_configuration_reads_as_a_person_would_write_it() {
        let value = json!({"_format_version": "3.0", "services": [{"name": "llm", "port": 80, "tags": ["a"],
            "routes": [{"paths": ["/chat", "~/x$"], "headers": {}}]}], "cert": "-----BEGIN\nx\n"});
        let expected = "\
_format_version: \"3.0\"
services:
- name: llm
  port: 80
  tags:
  - a
  routes:
  - paths:
    - /chat
    - \"~/x$\"
    headers: {}
cert: |
  -----BEGIN
  x
";
        assert_eq!(write(&value), expected);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~\n\t]{0,24}".prop_map(Value::from),
            Just(Value::from("a ${{ env \"X\" }}\n${{ open")),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z0-9 :#-]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in values()) {
            prop_assert_eq!(read_back(&write(&value)), value);
        }
    }
}
