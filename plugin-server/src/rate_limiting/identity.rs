//! Who is calling, as far as the limits ask.
//!
//! # Model
//!
//! `limit_by` names values of a request: every combination of them has its own counter. What comes from a client unverified
//! (a header, the model) is the client's to choose; claims come from `llm-jwt`, never from the request.
//!
//! # Invariants
//!
//! 1. A value that is absent is replaced by the caller's address, as in Kong's own rate limiting, and marked as a
//!    replacement: callers without a consumer have a counter each address, never one for all, and never one that a present
//!    value could name too (test: `an_absent_value_falls_back_to_the_address_and_never_meets_a_present_one`).
//! 2. Values are compared byte for byte, each with its kind (test: `values_of_different_kinds_never_meet`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;
use token_limiter::{Identity, Key};

use super::config::{EstimateMode, LimitSettings, Settings};
use super::matching::Match;

/// A value that a limit keeps its counters apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// The consumer's id.
    Consumer,
    /// The credential's id.
    Credential,
    /// The client's address, as told by a proxy that Kong trusts.
    Ip,
    /// The service's id.
    Service,
    /// The route's id.
    Route,
    /// The model that the request names.
    Model,
    /// The first value of a header of the request, by its name in lower case.
    Header(String),
    /// A claim that `llm-jwt` handed over, by its path.
    Claim(Vec<String>),
}

/// A text that names no value to limit by.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is none of consumer, credential, ip, service, route, model, header:NAME, claim:PATH"
)]
pub struct InvalidLimitBy(String);

impl FromStr for LimitBy {
    type Err = InvalidLimitBy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidLimitBy(text.to_owned());
        match text {
            "consumer" => Ok(Self::Consumer),
            "credential" => Ok(Self::Credential),
            "ip" => Ok(Self::Ip),
            "service" => Ok(Self::Service),
            "route" => Ok(Self::Route),
            "model" => Ok(Self::Model),
            _ => match text.split_once(':') {
                Some(("header", name)) if is_header_name(name) => {
                    Ok(Self::Header(name.to_ascii_lowercase()))
                }
                Some(("claim", path)) if path.split('.').all(|step| !step.is_empty()) => {
                    Ok(Self::Claim(path.split('.').map(str::to_owned).collect()))
                }
                _ => Err(invalid()),
            },
        }
    }
}

impl fmt::Display for LimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Credential => "credential",
            Self::Ip => "ip",
            Self::Service => "service",
            Self::Route => "route",
            Self::Model => "model",
            Self::Header(name) => return write!(f, "header:{name}"),
            Self::Claim(path) => return write!(f, "claim:{}", path.join(".")),
        })
    }
}

/// RFC 9110, section 5.6.2: a token.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What is known about the caller. A front fills in what [`Needs`] says and leaves the rest empty.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The entity that the plugin is attached to: counters of different scopes never meet, whatever their limits' names.
    pub scope: Arc<str>,
    /// The client's address; empty only if the gateway does not know it.
    pub ip: Vec<u8>,
    /// The consumer's id.
    pub consumer: Option<Vec<u8>>,
    /// The consumer's username, for people.
    pub username: Option<String>,
    /// The consumer's tags.
    pub consumer_tags: Vec<String>,
    /// The credential's id.
    pub credential: Option<Vec<u8>>,
    /// The service's id.
    pub service: Option<Vec<u8>>,
    /// The route's id.
    pub route: Option<Vec<u8>>,
    /// The model that the request names.
    pub model: Option<String>,
    /// The headers that were asked for: names as in [`Needs::headers`], first values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The claims that `llm-jwt` verified, by the limiter's names.
    pub claims: Value,
    /// Whose token that was.
    pub subject: Option<Subject>,
}

/// Whom a verified token is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The token's `iss`.
    pub issuer: String,
    /// Its `sub`, which tells the subjects of one issuer apart.
    pub name: String,
}

/// What a configuration needs to know about a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The address, in any case. It also stands in for whatever is absent: see [`Caller::needs_address`].
    pub address: bool,
    /// The consumer.
    pub consumer: bool,
    /// The credential.
    pub credential: bool,
    /// The service.
    pub service: bool,
    /// The route.
    pub route: bool,
    /// The body, for the model or for tokens.
    pub body: bool,
    /// The size of the body, in its place.
    pub content_length: bool,
    /// The path, for the API of the body and for a model that is named there.
    pub path: bool,
    /// The verified claims.
    pub claims: bool,
    /// These headers, in lower case, each once.
    pub headers: Vec<String>,
}

impl Needs {
    /// What these settings ask about a caller.
    pub fn of(settings: &Settings) -> Self {
        let mut needs = Self {
            body: settings.reads_bodies(),
            ..Self::default()
        };
        for by in settings.limits.iter().flat_map(|limit| &limit.limit_by) {
            match by {
                LimitBy::Consumer => needs.consumer = true,
                LimitBy::Credential => needs.credential = true,
                LimitBy::Ip => needs.address = true,
                LimitBy::Service => needs.service = true,
                LimitBy::Route => needs.route = true,
                LimitBy::Model => {
                    needs.body = true;
                    // Whether there is one is known too late to ask.
                    needs.address = true;
                }
                LimitBy::Claim(_) => needs.claims = true,
                LimitBy::Header(name) => {
                    if !needs.headers.contains(name) {
                        needs.headers.push(name.clone());
                    }
                }
            }
        }
        let limits = settings.limits.iter().map(|limit| &limit.matches);
        let priorities = settings.priorities.iter().map(|priority| &priority.matches);
        for Match {
            models,
            consumer_tags,
            claims,
        } in limits.chain(priorities)
        {
            needs.body |= !models.is_empty();
            needs.consumer |= !consumer_tags.is_empty();
            needs.claims |= !claims.is_empty();
        }
        // Where no limit applies, the address is who pays.
        let everywhere = |limit: &LimitSettings| limit.matches.is_for_all();
        needs.address |= !settings.limits.iter().any(everywhere);
        // A model may be named in the path.
        needs.path |= needs.body;
        needs.content_length = !needs.body
            && settings.counts_usage()
            && settings.estimate == EstimateMode::ContentLength;
        needs
    }
}

impl Caller {
    /// Whether the address has to stand in for something that these limits are kept apart by.
    pub fn needs_address<'a>(&self, limits: impl IntoIterator<Item = &'a LimitSettings>) -> bool {
        let mut kinds = limits.into_iter().flat_map(|limit| &limit.limit_by);
        kinds.any(|by| self.value(by).is_none())
    }

    /// The digest of the values that these limits are kept apart by, with the scope.
    pub fn identity(&self, limit_by: &[LimitBy]) -> Identity {
        let mut parts = vec![self.scope.as_bytes().to_vec()];
        for by in limit_by {
            let (kind, value) = self.value(by).unwrap_or_else(|| (b'-', self.ip.clone()));
            parts.push(vec![kind]);
            parts.push(value);
        }
        Identity::new(parts.iter().map(Vec::as_slice))
    }

    /// The counter of this caller under a limit.
    pub fn key(&self, limit: &LimitSettings) -> Key {
        Key::new(
            &limit.limit,
            limit.unit.name(),
            &self.identity(&limit.limit_by),
        )
    }

    /// What the values are called, for people: the username for a consumer's id, and no header that may be a secret.
    pub fn labels(&self, limit_by: &[LimitBy]) -> Vec<(String, String)> {
        limit_by
            .iter()
            .map(|by| (by.to_string(), self.label(by)))
            .collect()
    }

    /// The address, for people.
    pub fn address(&self) -> String {
        String::from_utf8_lossy(&self.ip).into_owned()
    }

    fn label(&self, by: &LimitBy) -> String {
        let text = |value: &[u8]| {
            String::from_utf8_lossy(value)
                .chars()
                .take(LONGEST_LABEL)
                .collect()
        };
        match (by, self.value(by)) {
            (_, None) => self.address(),
            (LimitBy::Claim(_), Some((SUBJECT, _))) => self.subject_label(),
            (LimitBy::Consumer, Some((_, id))) => {
                self.username.clone().unwrap_or_else(|| text(&id))
            }
            (LimitBy::Header(name), Some((_, value))) if may_be_secret(name) => {
                let digest = Sha256::digest(&value);
                format!(
                    "sha256:{:02x}{:02x}{:02x}{:02x}",
                    digest[0], digest[1], digest[2], digest[3]
                )
            }
            (_, Some((_, value))) => text(&value),
        }
    }

    fn subject_label(&self) -> String {
        let subject = self.subject.as_ref();
        let text = subject.map(|Subject { issuer, name }| format!("{name} of {issuer}"));
        text.unwrap_or_default()
            .chars()
            .take(LONGEST_LABEL)
            .collect()
    }

    /// The value, and a letter for what kind of value it is. `-` is taken: it marks an address in place of an absent value.
    fn value(&self, by: &LimitBy) -> Option<(u8, Vec<u8>)> {
        let text = |value: &Option<Vec<u8>>| {
            value
                .clone()
                .filter(|value| !value.is_empty())
                .map(|value| (b't', value))
        };
        match by {
            LimitBy::Ip => Some((b't', self.ip.clone())),
            LimitBy::Consumer => text(&self.consumer),
            LimitBy::Credential => text(&self.credential),
            LimitBy::Service => text(&self.service),
            LimitBy::Route => text(&self.route),
            LimitBy::Model => self.model.clone().map(|model| (b't', model.into_bytes())),
            LimitBy::Header(name) => self
                .headers
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, value)| (b't', value.clone())),
            LimitBy::Claim(path) => match path
                .iter()
                .try_fold(&self.claims, |value, step| value.get(step))
            {
                // One bucket for all whose token lacks it would be theirs to empty for each other.
                None | Some(Value::Null) => {
                    let Subject { issuer, name } = self.subject.as_ref()?;
                    Some((SUBJECT, json!([issuer, name]).to_string().into_bytes()))
                }
                Some(Value::String(text)) => Some((b't', text.clone().into_bytes())),
                Some(other) => Some((b'j', other.to_string().into_bytes())),
            },
        }
    }
}

/// The kind of a value that stands in for a claim: the token's issuer and subject.
const SUBJECT: u8 = b's';

/// The longest label, in characters.
const LONGEST_LABEL: usize = 128;

/// Whether a header's name says that its value may let somebody in.
fn may_be_secret(name: &str) -> bool {
    [
        "auth", "key", "token", "secret", "cookie", "password", "session",
    ]
    .iter()
    .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests;
