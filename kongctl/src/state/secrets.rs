//! What is a secret: the one judgement behind what is shown, which references stay references, and what goes into Kubernetes' Secrets.
//!
//! # Model
//!
//! 1. A field is secret if its schema says so: `encrypted` or `referenceable` in Kong's, `secret` in our table.
//! 2. In the configuration of a plugin, a text is secret if its field is called like one, as long as no schema is at hand.
//! 3. There, a text from an environment variable is secret too, unless a schema has a field of its own for it: it stands in a list or a
//!    map of anything (a header, say), or nobody told what it is.
//! 4. There, a header, an argument or a form's field that is called like one that carries a credential is secret, whoever wrote it:
//!    `Authorization: Bearer …` in a list, `x-api-key` in a map.
//!
//! What a node keeps does not tell where it came from: of it, 3 is not known. Nor is it known of code.
//!
//! Numbers and booleans are none, nor is a reference to a vault, nor, in a plugin, what is called a public key.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::{Field, Record, Schemas, Type};

use super::node::Node;

/// The names of fields that hold secrets, in any kind.
static SECRET_FIELDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    fn collect(record: &'static Record, names: &mut HashSet<&'static str>) {
        for (name, field) in &record.fields {
            if field.secret {
                names.insert(name);
            }
            if let Type::Record(inner) = &field.ty {
                collect(inner, names);
            }
        }
    }
    let mut names = HashSet::new();
    for kind in Kind::all() {
        collect(kind.record(), &mut names);
    }
    names
});

/// May a value below these keys be a secret? What a plugin or a vault is configured with may, and all of an entity that Kong itself has
/// not: only a node knows better.
pub(super) fn may_be_secret<'k>(mut keys: impl DoubleEndedIterator<Item = &'k str>) -> bool {
    let Some(last) = keys.next_back() else {
        return false;
    };
    let mut at_top = true;
    SECRET_FIELDS.contains(last)
        || last == "config"
        || keys.any(|key| {
            let is_list = std::mem::take(&mut at_top) && !key.starts_with('_');
            matches!(key, "config" | "_plugin_configs")
                || is_list && !Kind::is_kongs_own(key)
                || Kind::from_name(key).is_some_and(Kind::is_custom)
        })
}

/// What a field is called that holds a secret in Kong's plugins and in ours.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["secret", "password", "passphrase"]
        .iter()
        .any(|word| name.contains(word))
        || ["private_key", "api_key", "access_key", "_token"]
            .iter()
            .any(|end| name.ends_with(end))
        || ["token", "credential"].contains(&name.as_str())
}

/// What a field is called whose value anybody may see.
fn is_public(name: &str) -> bool {
    name.starts_with("public_key")
}

/// What a header, an argument of a query or a field of a form is called that carries a credential.
fn names_credential(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "key",
    ];
    const ENDS: [&str; 7] = [
        "token",
        "apikey",
        "api-key",
        "auth-key",
        "access-key",
        "functions-key",
        "subscription-key",
    ];
    const PARTS: [&str; 4] = ["secret", "password", "passphrase", "credential"];
    let name = name.trim().to_ascii_lowercase().replace('_', "-");
    NAMES.contains(&name.as_str())
        || ENDS.iter().any(|end| name.ends_with(end))
        || PARTS.iter().any(|part| name.contains(part))
}

/// `Authorization: Bearer …`: the name and the value of what carries a credential, as Kong's transformers write it.
pub(crate) fn credential_pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    // What is taken from the request, or from a vault, is not there.
    let is_elsewhere = value.trim().starts_with("$(") && value.trim().ends_with(')')
        || value.contains("{vault://");
    (names_credential(name) && !value.trim().is_empty() && !is_elsewhere).then_some((name, value))
}

fn has_credential_pair(value: &Value) -> bool {
    let mut texts = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    texts.any(|text| credential_pair(text).is_some())
}

/// True of what can be a secret at all.
fn holds_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.starts_with("{vault://"),
        Value::Array(items) => items.iter().any(holds_text),
        _ => false,
    }
}

/// The secrets of a plugin's configuration, as JSON pointers (RFC 6901) in it. A list that holds one is named as a whole.
///
/// `record` is its schema, where one is at hand; `source` what a file says of it.
pub(crate) fn of_config(
    config: &Value,
    record: Option<&Record>,
    source: Option<&Node>,
) -> Vec<String> {
    let mut found = Vec::new();
    let field = record.map_or(Known::Nothing, Known::Record);
    below(config, field, source, "", &mut found);
    found
}

/// The same of an entity that a file declares, from its `body`; nothing for what is no plugin.
pub(crate) fn of_entity(
    kind: Kind,
    body: &Map<String, Value>,
    schemas: &Schemas,
    source: Option<&Node>,
) -> Vec<String> {
    let (Kind::Plugin, Some(config)) = (kind, body.get("config")) else {
        return Vec::new();
    };
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    let source = source.and_then(|node| node.get("config"));
    let found = of_config(
        config,
        schemas.plugin_config(name),
        source.map(|node| &**node),
    );
    found
        .into_iter()
        .map(|pointer| format!("/config{pointer}"))
        .collect()
}

/// What a schema tells of a value.
#[derive(Clone, Copy)]
enum Known<'a> {
    Record(&'a Record),
    /// A field of its own.
    Field(&'a Field),
    /// One of a list or a map.
    Element(&'a Field),
    Nothing,
}

impl<'a> Known<'a> {
    fn ty(self) -> Option<&'a Type> {
        match self {
            Self::Field(field) | Self::Element(field) => Some(&field.ty),
            Self::Record(_) | Self::Nothing => None,
        }
    }

    fn named(self, name: &str) -> Self {
        match (self, self.ty()) {
            (Self::Record(record), _) | (_, Some(Type::Record(record))) => {
                record.fields.get(name).map_or(Self::Nothing, Self::Field)
            }
            (_, Some(Type::Map(element))) => Self::Element(element),
            _ => Self::Nothing,
        }
    }

    fn item(self) -> Self {
        match self.ty() {
            Some(Type::Set(element) | Type::Array(element)) => Self::Element(element),
            _ => Self::Nothing,
        }
    }

    fn is_secret(self, name: &str) -> bool {
        match self {
            Self::Field(field) => field.secret,
            Self::Element(field) => field.secret || names_credential(name),
            Self::Nothing => sounds_secret(name) || names_credential(name),
            Self::Record(_) => false,
        }
    }
}

fn below(
    value: &Value,
    known: Known<'_>,
    source: Option<&Node>,
    path: &str,
    found: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => {
            // What renames headers and arguments has names on both sides.
            let named = map
                .iter()
                .filter(|(name, _)| !is_public(name) && *name != "rename");
            for (name, value) in named {
                let known = known.named(name);
                let path = format!("{path}/{}", escaped(name));
                let source = source.and_then(|node| node.get(name)).map(|node| &**node);
                if known.is_secret(name) && holds_text(value)
                    || has_credential_pair(value)
                    || is_from_env(value, known, source)
                {
                    found.push(path);
                } else {
                    below(value, known, source, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let source = source.and_then(|node| node.items().get(index));
                let source = source.map(|node| &**node);
                below(
                    item,
                    known.item(),
                    source,
                    &format!("{path}/{index}"),
                    found,
                );
            }
        }
        _ => {}
    }
}

/// True of a text, or a list with one, that an environment variable told and that no schema has a field for.
fn is_from_env(value: &Value, known: Known<'_>, source: Option<&Node>) -> bool {
    let Some(source) = source else { return false };
    match (value, known) {
        (Value::String(_), Known::Element(_) | Known::Nothing) => {
            source.from_env && holds_text(value)
        }
        (Value::Array(items), _) => items.iter().zip(source.items()).any(|(item, source)| {
            let known = known.item();
            known.is_secret("") && holds_text(item) || is_from_env(item, known, Some(source))
        }),
        _ => false,
    }
}

/// A reference token of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A pointer as the path of a changed field: dots between names, `[n]` for places in lists.
pub(crate) fn as_path(pointer: &str) -> String {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        if name.bytes().all(|byte| byte.is_ascii_digit()) && !path.is_empty() {
            path = format!("{path}[{name}]");
        } else if path.is_empty() {
            path = name;
        } else {
            path = format!("{path}.{name}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::super::diagnostics::Diagnostics;
    use super::super::references::References;
    use super::super::yaml;
    use super::*;

    fn judged(text: &str, schema: Option<&Value>) -> Vec<String> {
        let references = References {
            env: &|_| Some("value".to_owned()),
            directory: PathBuf::new(),
            ..References::none()
        };
        let documents = yaml::read("kong.yml", text, &references, &mut Diagnostics::default());
        let record = schema.map(Record::from_kong);
        of_config(
            &documents[0].to_json(),
            record.as_ref(),
            Some(&documents[0]),
        )
    }

    #[test]
    fn without_a_schema_names_tell_and_what_an_environment_variable_says_is_secret() {
        let text = r#"
redis: {host: valkey, password: p, username: u, port: 1}
issuers: [{issuer: i, secrets: [s, t], public_keys: ['${{ env "PUBLIC" }}']}]
client_secret: "{vault://env/x}"
secret_is_base64: true
add: {headers: ["x-a: b", 'authorization: Bearer ${{ env "KEY" }}']}
endpoint: ${{ env "ENDPOINT" }}
"#;
        let expected = [
            "/redis/password",
            "/issuers/0/secrets",
            "/add/headers",
            "/endpoint",
        ];
        assert_eq!(judged(text, None), expected);
    }

    #[test]
    fn a_schema_has_the_last_word_on_fields_of_their_own_and_none_on_free_text() {
        let schema = json!({"fields": [
            {"issuer": {"type": "string"}},
            {"password_field": {"type": "string"}},
            {"key": {"type": "string", "referenceable": true}},
            {"headers": {"type": "map", "values": {"type": "string"}}},
            {"tokens": {"type": "array", "elements": {"type": "string", "encrypted": true}}},
        ]});
        let text = r#"
issuer: ${{ env "ISSUER" }}
password_field: pw
key: k
headers: {a: plain, b: '${{ env "B" }}'}
tokens: [t]
"#;
        assert_eq!(
            judged(text, Some(&schema)),
            ["/key", "/headers/b", "/tokens"]
        );
    }

    #[test]
    fn what_carries_a_credential_is_known_by_its_name_whatever_the_schema_says() {
        let list = json!({"type": "array", "elements": {"type": "string"}});
        let lists = json!({"type": "record", "fields": [{"headers": list}, {"querystring": list}]});
        let schema = json!({"fields": [
            {"add": lists}, {"remove": lists}, {"rename": lists}, {"replace": lists},
            {"labels": {"type": "map", "values": {"type": "string"}}},
            {"key": {"type": "string"}},
        ]});
        let text = r#"
add: {headers: ["Authorization: Bearer s3cret", "x-a: b"], querystring: ["api_key:s3cret"]}
remove: {headers: [authorization, cookie]}
rename: {headers: ["authorization:x-was-authorization"]}
replace: {headers: ["authorization: $(headers['x-token'])", "x-api-key:{vault://env/key}", "cookie:"]}
labels: {X-Auth-Token: s3cret, team: a}
key: its field says what it is
"#;
        assert_eq!(
            judged(text, Some(&schema)),
            ["/add/headers", "/add/querystring", "/labels/X-Auth-Token"]
        );
    }

    #[test]
    fn a_pointer_reads_as_the_path_of_a_field() {
        assert_eq!(as_path("/config/issuers/0/a~1b"), "config.issuers[0].a/b");
    }
}
