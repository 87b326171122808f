//! Secrets in Secrets.

use serde_json::{Map, Value, json};

use super::object::{KONG, Object};

/// A Secret with one of the controller's types of credentials.
pub(super) fn credential(name: &str, kind: &str, fields: Map<String, Value>) -> Object {
    let data: Map<String, Value> = fields
        .into_iter()
        .map(|(field, value)| (field, Value::String(text(&value))))
        .collect();
    Object::new("v1", "Secret", name)
        .label(&format!("{KONG}/credential"), kind)
        .with("type", "Opaque")
        .with("stringData", data)
}

/// What a Secret holds of a value: a string as it is, anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A secret of a plugin's configuration: where it was (a JSON pointer), and its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) path: String,
    pub(super) value: Value,
}

/// Takes what these pointers name out of a plugin's configuration.
pub(super) fn take(config: &mut Value, pointers: Vec<String>) -> Vec<Taken> {
    let mut taken = Vec::new();
    for path in pointers {
        let Some((parent, token)) = path.rsplit_once('/') else {
            continue;
        };
        let name = token.replace("~1", "/").replace("~0", "~");
        let parent = config.pointer_mut(parent).and_then(Value::as_object_mut);
        if let Some(value) = parent.and_then(|map| map.shift_remove(&name)) {
            taken.push(Taken { path, value });
        }
    }
    taken
}

/// The patches of a KongPlugin that put `taken` back from the Secret.
pub(super) fn patches(taken: &[Taken], secret: &str, namespace: Option<&str>) -> Value {
    let patch = |taken: &Taken| {
        let mut reference = json!({ "name": secret, "key": key(&taken.path) });
        if let Some(namespace) = namespace {
            reference["namespace"] = json!(namespace);
        }
        json!({ "path": taken.path, "valueFrom": { "secretKeyRef": reference } })
    };
    taken.iter().map(patch).collect()
}

/// The Secret with what was taken. The controller puts each text into a JSON patch, so it is JSON.
pub(super) fn of_plugin(name: &str, taken: &[Taken]) -> Object {
    let data: Map<String, Value> = taken
        .iter()
        .map(|taken| (key(&taken.path), Value::String(taken.value.to_string())))
        .collect();
    Object::new("v1", "Secret", name)
        .with("type", "Opaque")
        .with("stringData", data)
}

/// A Secret's key for a path: what is no letter, digit, dash, dot or underscore is a dot.
fn key(path: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || "-_.".contains(character) {
            character
        } else {
            '.'
        }
    };
    path.trim_start_matches('/').chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_in_the_secret_and_the_rest_stays() {
        let mut config = json!({
            "redis": {"host": "valkey", "password": "p"},
            "issuers": [{"issuer": "i", "secrets": ["s", "t"]}],
            "a/b": "c",
        });
        let pointers = [
            "/redis/password",
            "/issuers/0/secrets",
            "/a~1b",
            "/nowhere/x",
        ];
        let taken = take(&mut config, pointers.map(str::to_owned).into());
        assert_eq!(
            config,
            json!({"redis": {"host": "valkey"}, "issuers": [{"issuer": "i"}]})
        );
        let secret = of_plugin("s", &taken).finish(None);
        assert_eq!(secret["stringData"]["redis.password"], "\"p\"");
        assert_eq!(secret["stringData"]["issuers.0.secrets"], r#"["s","t"]"#);
        assert_eq!(secret["stringData"]["a.1b"], "\"c\"");
    }
}
