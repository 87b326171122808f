//! What a plugin server says of its limits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which counter: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Key(String);

/// The text is no key.
#[derive(Debug, thiserror::Error)]
#[error("a key has 32 hexadecimal digits; `kongctl quota list` shows the keys")]
pub(crate) struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    /// Reads a key, also as `quota list -o name` writes it.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let digits = text.strip_prefix("counters/").unwrap_or(text);
        if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(digits.to_ascii_lowercase()))
        } else {
            Err(NotAKey)
        }
    }
}

impl TryFrom<String> for Key {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One identity's use of one limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) key: Key,
    pub(crate) limit_name: String,
    pub(crate) unit: String,
    pub(crate) limit: u64,
    /// The most that it can hold, where that is not the limit: a bucket's burst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capacity: Option<u64>,
    /// May exceed the limit: what a request spent beyond its estimate is a debt.
    pub(crate) used: u64,
    pub(crate) remaining: u64,
    /// When all of it is free again if nothing more is spent.
    pub(crate) reset_after_ms: u64,
    /// `enforce` or `shadow`.
    #[serde(default)]
    pub(crate) mode: String,
    /// What it is counted by, with this counter's values.
    #[serde(default)]
    pub(crate) values: Map<String, Value>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl Counter {
    /// Whose counter it is: `consumer=alice model=gpt-4o`.
    pub(crate) fn identity(&self) -> String {
        if self.values.is_empty() {
            return "everyone".to_owned();
        }
        words(&self.values).join(" ")
    }

    /// What is left of what it can hold, from 0 to 1.
    pub(crate) fn left(&self) -> f64 {
        let capacity = self.capacity.unwrap_or(self.limit).max(1);
        (self.remaining as f64 / capacity as f64).min(1.0)
    }
}

/// `name=value` of what has a value.
pub(crate) fn words(values: &Map<String, Value>) -> Vec<String> {
    values
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect()
}

/// The change that an operator wants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Correction {
    /// Nothing counts as used.
    Reset,
    /// So much more, or less, counts as used.
    Adjust(i64),
    /// Up to so much of what was used is given back.
    Grant(u64),
}

/// Cost that is held until its request ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) id: String,
    pub(crate) expires_in_ms: u64,
    #[serde(default)]
    pub(crate) charges: Vec<Charge>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl Reservation {
    /// What it holds: `tokens-per-minute 500, requests 1`.
    pub(crate) fn held(&self) -> String {
        let charges = self.charges.iter().map(|charge| {
            let limit = charge.limit_name.as_deref().unwrap_or(&charge.key.0);
            format!("{limit} {}", charge.cost)
        });
        charges.collect::<Vec<_>>().join(", ")
    }
}

/// What a reservation holds of one counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) key: Key,
    /// Absent where the server does not remember the counter.
    #[serde(default)]
    pub(crate) limit_name: Option<String>,
    pub(crate) cost: u64,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// Tokens that are refused though they have not expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) id: String,
    /// `token`, `jti` or `subject`.
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// In Unix seconds, as the other dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issued_before: Option<i64>,
    pub(crate) revoked_at: i64,
    pub(crate) expires_at: i64,
    /// `memory` or `redis`.
    pub(crate) store: String,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl Revocation {
    /// As `-o name` writes it.
    pub(crate) fn name(&self) -> String {
        format!("revocations/{}\n", self.shown_id())
    }

    /// The id, safe for a terminal.
    pub(crate) fn shown_id(&self) -> String {
        crate::output::text::fit(&self.id, 64)
    }

    /// What is revoked: `jti 7f3a of https://idp.example`.
    pub(crate) fn words(&self) -> String {
        let issuer = self.issuer.as_deref().unwrap_or("-");
        match (&self.jti, &self.subject, &self.token_sha256) {
            (Some(jti), ..) => format!("jti {jti} of {issuer}"),
            (None, Some(subject), _) => {
                let moment = self
                    .issued_before
                    .and_then(|at| jiff::Timestamp::from_second(at).ok());
                let before =
                    moment.map_or(String::new(), |moment| format!(", issued before {moment}"));
                format!("sub {subject} of {issuer}{before}")
            }
            (None, None, Some(hash)) => format!("sha256 {hash}"),
            (None, None, None) => self.kind.clone(),
        }
    }
}

/// What became of a wish to revoke.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Revoked {
    /// What each denylist has now.
    pub(crate) data: Vec<Revocation>,
    /// Whether a plugin at work accepts the issuer's tokens; absent where none is named.
    #[serde(default)]
    pub(crate) issuer_is_known: Option<bool>,
}

/// The traffic of the last seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) window_seconds: u64,
    #[serde(default)]
    pub(crate) tenants: Vec<Traffic>,
    #[serde(default)]
    pub(crate) models: Vec<Traffic>,
    #[serde(default)]
    pub(crate) totals: Traffic,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The traffic of one tenant, one model, or all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Traffic {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) tokens: u64,
    pub(crate) cost_microdollars: u64,
    pub(crate) tokens_per_second: f64,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl Traffic {
    /// The tenant's or the model's name.
    pub(crate) fn name(&self) -> &str {
        let name = self.tenant.as_deref().or(self.model.as_deref());
        name.filter(|name| !name.is_empty()).unwrap_or("-")
    }
}

/// A request that a limit did not let pass, or would not have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) at_ms_ago: u64,
    /// `denied`, `never_passes`, `shadow` or `model_not_allowed`.
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) limit_name: Option<String>,
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    #[serde(default)]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_digits_with_or_without_its_kind() {
        let digits = "0123456789ABCDEF0123456789abcdef";
        for text in [digits.to_owned(), format!("counters/{digits}")] {
            let key: Key = text.parse().unwrap();
            assert_eq!(key.to_string(), digits.to_lowercase());
        }
        assert!("alice".parse::<Key>().is_err() && digits[1..].parse::<Key>().is_err());
    }
}
