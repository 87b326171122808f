//! YAML as Kong reads it: scalars by the rules of YAML 1.1, aliases followed, `<<` merged.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Aliases can make a short text huge: a document with more values than this is refused.
const MOST_VALUES: usize = 1_000_000;

/// A collection that is not closed yet.
struct Open {
    anchor: usize,
    value: Value,
    /// In a mapping: the key whose value comes next.
    key: Option<String>,
}

/// Reads the first document of a text. The error says where and why.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let mut values = 0;
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| {
            let marker = error.marker();
            format!("{}:{}: {}", marker.line(), marker.col() + 1, error.info())
        })?;
        let (anchor, value) = match event {
            Event::SequenceStart(anchor, _) => {
                open.push(Open {
                    anchor,
                    value: Value::Array(Vec::new()),
                    key: None,
                });
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open {
                    anchor,
                    value: Value::Object(Map::new()),
                    key: None,
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(closed) = open.pop() else { continue };
                (closed.anchor, closed.value)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text_by_tag = tag.is_some_and(|tag| tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !text_by_tag;
                (
                    anchor,
                    if plain {
                        scalar(&text)
                    } else {
                        Value::from(text.as_ref())
                    },
                )
            }
            Event::Alias(anchor) => (
                0,
                anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or("an alias without an anchor")?,
            ),
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {
                continue;
            }
        };
        values += size(&value);
        if values > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values"));
        }
        if anchor > 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            None => return Ok(value),
            Some(parent) => add(parent, value),
        }
    }
    Ok(Value::Null)
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn add(parent: &mut Open, value: Value) {
    match (&mut parent.value, parent.key.take()) {
        (Value::Array(items), _) => items.push(value),
        (Value::Object(_), None) => {
            parent.key = Some(
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            );
        }
        (Value::Object(members), Some(key)) if key == "<<" => merge(members, value),
        (Value::Object(members), Some(key)) => {
            members.insert(key, value);
        }
        _ => {}
    }
}

/// Own members win over merged ones, wherever the merge stands.
fn merge(members: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(merged) => {
            for (key, value) in merged {
                members.entry(key).or_insert(value);
            }
        }
        Value::Array(list) => list.into_iter().for_each(|value| merge(members, value)),
        _ => {}
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return true.into();
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return false.into();
        }
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).map_or_else(|_| text.into(), Value::from);
    }
    if !numeric {
        return text.into();
    }
    let integer = text.parse::<i64>().map(Value::from).ok();
    integer
        .or_else(|| text.parse::<f64>().ok().map(Value::from))
        .unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_have_yaml_1_1_types() {
        let text = "a: 1\nb: 1.5\nc: yes\nd: '1'\ne: ~\nf: text\ng: 1.2.3.4\nh: '3.0'\n";
        let expected = json!({
            "a": 1, "b": 1.5, "c": true, "d": "1", "e": null, "f": "text", "g": "1.2.3.4", "h": "3.0",
        });
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: [*x]\n";
        let expected =
            json!({"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": [{"a": 1, "b": 2}]});
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..8 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
        }
        assert!(parse(&text).is_err());
    }

    #[test]
    fn a_fault_says_where() {
        assert!(parse("services: [").is_err_and(|error| error.contains(':')));
    }
}
