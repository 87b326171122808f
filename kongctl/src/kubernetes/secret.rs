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

/// Takes the secrets out of a plugin's configuration. A list that holds one goes as a whole: a patch can put it back, a single item it would insert.
pub(super) fn take(config: &mut Value) -> Vec<Taken> {
    let mut taken = Vec::new();
    walk(config, "", &mut taken);
    taken
}

fn walk(value: &mut Value, path: &str, taken: &mut Vec<Taken>) {
    match value {
        Value::Object(map) => {
            let secret: Vec<String> = map
                .iter()
                .filter(|(name, value)| is_secret(name) && holds_text(value))
                .map(|(name, _)| name.clone())
                .collect();
            for name in secret {
                if let Some(value) = map.shift_remove(&name) {
                    let path = format!("{path}/{}", escaped(&name));
                    taken.push(Taken { path, value });
                }
            }
            for (name, value) in map {
                walk(value, &format!("{path}/{}", escaped(name)), taken);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}/{index}"), taken);
            }
        }
        _ => {}
    }
}

/// What a field is called that holds a secret in Kong's plugins and in ours.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["secret", "password", "passphrase"]
        .iter()
        .any(|word| name.contains(word))
        || ["private_key", "api_key", "access_key", "_token"]
            .iter()
            .any(|end| name.ends_with(end))
        || ["token", "credential"].contains(&name.as_str())
}

/// References to a vault are no secrets; numbers and booleans are none.
fn holds_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.starts_with("{vault://"),
        Value::Array(items) => items.iter().any(holds_text),
        _ => false,
    }
}

/// A reference token of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
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
    fn what_sounds_like_a_secret_is_taken_and_the_rest_stays() {
        let mut config = json!({
            "redis": {"host": "valkey", "password": "p", "username": "u"},
            "issuers": [{"issuer": "i", "secrets": ["s", "t"]}],
            "client_secret": "{vault://env/x}",
            "secret_is_base64": true,
            "key_names": ["apikey"],
        });
        let taken = take(&mut config);
        let paths: Vec<&str> = taken.iter().map(|taken| taken.path.as_str()).collect();
        assert_eq!(paths, ["/redis/password", "/issuers/0/secrets"]);
        assert_eq!(
            config,
            json!({
                "redis": {"host": "valkey", "username": "u"},
                "issuers": [{"issuer": "i"}],
                "client_secret": "{vault://env/x}",
                "secret_is_base64": true,
                "key_names": ["apikey"],
            })
        );
        let secret = of_plugin("s", &taken).finish(None);
        assert_eq!(secret["stringData"]["redis.password"], "\"p\"");
        assert_eq!(secret["stringData"]["issuers.0.secrets"], r#"["s","t"]"#);
    }
}
