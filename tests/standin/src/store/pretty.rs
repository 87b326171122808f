//! How Kong writes a table into a message: as a Lua table constructor, keys in order.

use serde_json::Value;

/// On one line, without spaces: `{name="llm"}`.
pub(crate) fn compact(value: &Value) -> String {
    let mut text = String::new();
    write(value, None, &mut text);
    text
}

/// Over several lines, indented.
pub(crate) fn indented(value: &Value) -> String {
    let mut text = String::new();
    write(value, Some(1), &mut text);
    text
}

/// `depth` is that of the members, in steps of two spaces; none means one line.
fn write(value: &Value, depth: Option<usize>, text: &mut String) {
    match value {
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Array(items) => {
            // A hole in a list leaves later elements with their numbers.
            let holes = items.iter().any(Value::is_null);
            let members = items.iter().enumerate().filter(|(_, item)| !item.is_null());
            let members =
                members.map(|(index, item)| (holes.then(|| format!("[{}]", index + 1)), item));
            write_members(members.collect(), depth, text);
        }
        Value::Object(object) => {
            let mut members: Vec<(&String, &Value)> = object.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members = members
                .into_iter()
                .map(|(name, value)| (Some(key(name)), value));
            write_members(members.collect(), depth, text);
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_members(members: Vec<(Option<String>, &Value)>, depth: Option<usize>, text: &mut String) {
    let new_line = |depth: usize, text: &mut String| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    };
    if members.is_empty() {
        text.push_str("{}");
        return;
    }
    text.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        if let Some(depth) = depth {
            new_line(depth, text);
        }
        if let Some(name) = name {
            text.push_str(&name);
            text.push_str(if depth.is_some() { " = " } else { "=" });
        }
        write(value, depth.map(|depth| depth + 1), text);
    }
    if let Some(depth) = depth {
        new_line(depth - 1, text);
    }
    text.push('}');
}

fn quoted(string: &str) -> String {
    format!(
        "\"{}\"",
        string
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\\n")
    )
}

/// A name as it is, anything else in brackets.
fn key(name: &str) -> String {
    const KEYWORDS: [&str; 22] = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if",
        "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && !KEYWORDS.contains(&name);
    if plain {
        name.to_owned()
    } else {
        format!("[{}]", quoted(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_written_with_its_keys_in_order() {
        let table =
            json!({"group": "gold", "consumer": {"id": "x"}, "route": null, "@entity": ["a", "b"]});
        assert_eq!(
            compact(&table),
            r#"{["@entity"]={"a","b"},consumer={id="x"},group="gold",route=null}"#
        );
    }

    #[test]
    fn elements_after_a_hole_keep_their_numbers() {
        assert_eq!(
            compact(&json!([null, {"name": "taken"}])),
            r#"{[2]={name="taken"}}"#
        );
    }
}
