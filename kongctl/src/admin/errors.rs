//! What can go wrong between us and an Admin API, in words that say what to do.

use serde_json::Value;

/// A call that did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// Nothing answered: refused, unreachable, timed out, or TLS failed.
    #[error("no answer from the Admin API at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// Kong refused, with its own words.
    #[error("{method} {path}: {rejection}")]
    Rejected {
        method: &'static str,
        path: String,
        rejection: Box<Rejection>,
    },
    /// The answer is not what an Admin API says.
    #[error("{method} {path} answered something that is not Kong's: {reason}")]
    Unexpected {
        method: &'static str,
        path: String,
        reason: String,
    },
    /// The connection's own settings are wrong.
    #[error("{0}")]
    Settings(String),
    /// The node is no longer as it was when the change was planned.
    #[error("somebody else has loaded another configuration since this one was planned")]
    Moved,
}

/// Kong's error body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// HTTP status.
    pub(crate) status: u16,
    /// Kong's number for the error, where it gives one.
    pub(crate) code: Option<i64>,
    pub(crate) message: String,
    /// What is wrong with which field, as (path, message).
    pub(crate) fields: Vec<(String, String)>,
    /// What `POST /config` says of single entities.
    pub(crate) entities: Vec<EntityRejection>,
}

/// One entity that a DB-less node refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityRejection {
    /// The kind in the singular, as Kong names it.
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) fields: Vec<(String, String)>,
}

impl Rejection {
    /// Reads an error body; anything that is not Kong's shape becomes its message.
    pub(crate) fn read(status: u16, body: &str) -> Self {
        let parsed: Option<Value> = serde_json::from_str(body).ok();
        let text = |key: &str| parsed.as_ref()?.get(key)?.as_str().map(str::to_owned);
        let mut fields = Vec::new();
        if let Some(found) = parsed.as_ref().and_then(|value| value.get("fields")) {
            flatten("", found, &mut fields);
        }
        let entities = parsed
            .as_ref()
            .and_then(|value| value.get("flattened_errors"))
            .and_then(Value::as_array)
            .map(|list| list.iter().map(EntityRejection::read).collect())
            .unwrap_or_default();
        Self {
            status,
            code: parsed
                .as_ref()
                .and_then(|value| value.get("code"))
                .and_then(Value::as_i64),
            message: text("message").unwrap_or_else(|| {
                let words = title(body).unwrap_or(body);
                words.trim().chars().take(LONGEST_PAGE).collect()
            }),
            fields,
            entities,
        }
    }
}

/// The most that is shown of an error body that is not Kong's, in characters.
const LONGEST_PAGE: usize = 200;

/// What an error page of nginx, or of a proxy, is called.
fn title(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("<title>")?;
    rest.split_once("</title>").map(|(title, _)| title)
}

impl EntityRejection {
    fn read(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let errors = value
            .get("errors")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            kind: text("entity_type").unwrap_or_default(),
            id: text("entity_id"),
            name: text("entity_name"),
            fields: errors
                .iter()
                .flat_map(|error| {
                    let field = error
                        .get("field")
                        .and_then(Value::as_str)
                        .unwrap_or("@entity")
                        .to_owned();
                    let mut messages = Vec::new();
                    flatten(
                        &field,
                        error
                            .get("message")
                            .or_else(|| error.get("messages"))
                            .unwrap_or(&Value::Null),
                        &mut messages,
                    );
                    messages
                })
                .collect(),
        }
    }
}

fn flatten(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&path, inner, out);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| flatten(path, inner, out)),
        Value::Null => {}
        Value::String(text) => out.push((path.to_owned(), text.clone())),
        other => out.push((path.to_owned(), other.to_string())),
    }
}

/// Without what the fields say once more: whoever shows it shows them too.
impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headline = self.message.split_once(" (").map(|(headline, _)| headline);
        let headline = headline.filter(|headline| {
            !self.fields.is_empty() && headline.trim_end_matches('s').ends_with("schema violation")
        });
        let message = headline.unwrap_or(&self.message);
        write!(f, "{message} (HTTP {})", self.status)
    }
}

impl AdminError {
    /// What may help, where we know it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { reason, .. } if reason.contains("certificate") => Some(
                "an authority that the system does not know is named by --ca-file, a certificate of our own by \
                 --client-cert and --client-key",
            ),
            Self::Unreachable { .. } => Some(
                "is Kong running, and its Admin API listening there? Set --admin-url or KONGCTL_ADMIN_URL; \
                 `kongctl ping` tries the connection",
            ),
            Self::Rejected { rejection, .. } => match rejection.status {
                401 | 403 => Some("the Admin API wants credentials: see --token and --header"),
                413 => Some(
                    "the configuration is larger than the node takes: raise nginx_admin_client_max_body_size or lmdb_map_size in kong.conf",
                ),
                _ => None,
            },
            Self::Unexpected { .. } => Some(
                "does --admin-url point at the Admin API (port 8001 by default), not at the proxy or Kong Manager?",
            ),
            Self::Settings(_) => None,
            Self::Moved => Some("nothing was loaded; the same command plans anew"),
        }
    }

    /// Kong's own words, where it gave some.
    pub(crate) fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected { rejection, .. } => Some(rejection),
            _ => None,
        }
    }

    /// The HTTP status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        self.rejection().map(|rejection| rejection.status)
    }

    /// True where the call was sent and nobody can tell from the answer whether it was carried out.
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unexpected { .. } => true,
            Self::Rejected { rejection, .. } => matches!(rejection.status, 500 | 502 | 504),
            Self::Settings(_) | Self::Moved => false,
        }
    }

    /// The same error without these texts, where Kong repeats what it was sent.
    pub(crate) fn without(mut self, secrets: &[String]) -> Self {
        if let Self::Rejected { rejection, .. } = &mut self {
            let hide = |text: &mut String| {
                for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                    *text = taken_out(text, secret);
                }
            };
            let entities = rejection
                .entities
                .iter_mut()
                .flat_map(|entity| &mut entity.fields);
            rejection
                .fields
                .iter_mut()
                .chain(entities)
                .for_each(|(_, message)| hide(message));
            hide(&mut rejection.message);
        }
        self
    }

    /// True where the node asked for less rather than saying no.
    pub(crate) fn is_overload(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Rejected { rejection, .. } => matches!(rejection.status, 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// Secrets from this length on, in bytes, are taken out of words too: shorter ones are parts of many.
const LONG: usize = 8;

/// The text with `[redacted]` for each time that it has the secret.
fn taken_out(text: &str, secret: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(secret) {
        let (before, found) = rest.split_at(at);
        let after = &found[secret.len()..];
        out.push_str(before);
        let inside = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
        let in_word = inside(out.chars().next_back()) || inside(after.chars().next());
        out.push_str(if in_word && secret.len() < LONG {
            secret
        } else {
            "[redacted]"
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kongs_nested_fields_become_paths() {
        let body = r#"{"code":2,"name":"schema violation","fields":{"config":{"minute":"expected a number"},"@entity":["a","b"]},
                       "message":"3 schema violations"}"#;
        let rejection = Rejection::read(400, body);
        assert_eq!(rejection.code, Some(2));
        assert_eq!(
            rejection.fields,
            [
                ("config.minute".to_owned(), "expected a number".to_owned()),
                ("@entity".to_owned(), "a".to_owned()),
                ("@entity".to_owned(), "b".to_owned()),
            ]
        );
    }

    #[test]
    fn a_secret_that_kong_repeats_is_taken_out() {
        let body = r#"{"code":5,"fields":{"key":"s3cret"},"message":"UNIQUE violation detected on '{key=\"s3cret\"}'"}"#;
        let rejection = Box::new(Rejection::read(409, body));
        let error = AdminError::Rejected {
            method: "PUT",
            path: "/".to_owned(),
            rejection,
        };
        let error = error.without(&["s3cret".to_owned()]);
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn a_short_secret_is_taken_out_where_it_stands_alone() {
        let out = |text: &str, secret: &str| taken_out(text, secret);
        assert_eq!(
            out(
                "schema violation (redis_host = h vs redis.host = \"h\")",
                "h"
            ),
            "schema violation (redis_host = [redacted] vs redis.host = \"[redacted]\")"
        );
        assert_eq!(
            out("Bearer-s3cret-key1", "s3cret-key"),
            "Bearer-[redacted]1"
        );
        assert_eq!(out("hh h", "h"), "hh [redacted]");
    }

    #[test]
    fn a_proxys_error_page_is_cut_short() {
        let rejection = Rejection::read(502, &"x".repeat(1000));
        assert_eq!(rejection.message.len(), LONGEST_PAGE);

        let page = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>…</body>\r\n</html>";
        let error = AdminError::Rejected {
            method: "POST",
            path: "/config".to_owned(),
            rejection: Box::new(Rejection::read(413, page)),
        };
        assert_eq!(
            error.to_string(),
            "POST /config: 413 Request Entity Too Large (HTTP 413)"
        );
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("nginx_admin_client_max_body_size"), "{hint}");
    }
}
