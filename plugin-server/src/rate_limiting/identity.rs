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

use serde_json::Value;
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
                .try_fold(&self.claims, |value, step| value.get(step))?
            {
                Value::Null => None,
                Value::String(text) => Some((b't', text.clone().into_bytes())),
                other => Some((b'j', other.to_string().into_bytes())),
            },
        }
    }
}

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
mod tests {
    use serde_json::json;

    use super::super::config::Unit;
    use super::super::config::tests::{limit, settings};
    use super::*;

    fn key(caller: &Caller, limit_by: &[&str]) -> Key {
        caller.key(&limit("tokens", Unit::TotalTokens, 1, limit_by))
    }

    fn caller(ip: &str, consumer: Option<&str>) -> Caller {
        Caller {
            ip: ip.into(),
            consumer: consumer.map(Into::into),
            ..Caller::default()
        }
    }

    #[test]
    fn limit_by_is_read_and_anything_else_refused() {
        assert_eq!(
            "header:X-Tenant".parse(),
            Ok(LimitBy::Header("x-tenant".to_owned()))
        );
        assert_eq!(
            "claim:org.id".parse(),
            Ok(LimitBy::Claim(vec!["org".to_owned(), "id".to_owned()]))
        );
        for text in [
            "",
            "Consumer",
            "header:",
            "header:a b",
            "claim:",
            "claim:a..b",
            "cookie:x",
            "header",
        ] {
            let error = text.parse::<LimitBy>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{text:?} is none of consumer")),
                "{error}"
            );
        }
    }

    #[test]
    fn an_absent_value_falls_back_to_the_address_and_never_meets_a_present_one() {
        let one = key(&caller("192.0.2.1", None), &["consumer"]);
        let other = key(&caller("192.0.2.2", None), &["consumer"]);
        let named_like_an_address = key(&caller("192.0.2.2", Some("192.0.2.1")), &["consumer"]);
        assert_ne!(one, other);
        assert_ne!(one, named_like_an_address);
        assert_eq!(one, key(&caller("192.0.2.1", Some("")), &["consumer"]));
        for by in [
            "credential",
            "service",
            "route",
            "model",
            "header:x",
            "claim:tenant",
        ] {
            let absent = |ip| key(&caller(ip, None), &[by]);
            assert_ne!(absent("192.0.2.1"), absent("192.0.2.2"), "{by}");
        }
    }

    #[test]
    fn a_consumer_has_one_counter_wherever_it_calls_from() {
        let from = |ip| key(&caller(ip, Some("tenant")), &["consumer"]);
        assert_eq!(from("192.0.2.1"), from("192.0.2.2"));
        assert_ne!(
            from("192.0.2.1"),
            key(&caller("192.0.2.1", Some("other")), &["consumer"])
        );
    }

    #[test]
    fn values_of_different_kinds_never_meet() {
        let with_claims = |claims| Caller {
            claims,
            ..caller("192.0.2.1", None)
        };
        let of = |claims| key(&with_claims(claims), &["claim:org.id"]);
        assert_ne!(
            of(json!({"org": {"id": 7}})),
            of(json!({"org": {"id": "7"}}))
        );
        assert_ne!(
            of(json!({"org": {"id": null}})),
            of(json!({"org": {"id": "null"}}))
        );
        assert_eq!(of(json!({"org": {"id": null}})), of(json!({})));
        assert_eq!(of(json!({"org": "no map"})), of(json!({})));
        assert_eq!(
            of(json!({"org": {"id": ["a"]}})),
            of(json!({"org": {"id": ["a"]}, "more": 1}))
        );
    }

    #[test]
    fn scopes_units_and_the_order_of_composites_keep_counters_apart() {
        let caller = Caller {
            model: Some("b".to_owned()),
            ..caller("192.0.2.1", Some("a"))
        };
        let tokens = limit("n", Unit::TotalTokens, 1, &["consumer", "model"]);
        let requests = limit("n", Unit::Requests, 1, &["consumer", "model"]);
        let elsewhere = Caller {
            scope: "route-2".into(),
            ..caller.clone()
        };
        assert_ne!(caller.key(&tokens), elsewhere.key(&tokens));
        assert_ne!(caller.key(&tokens), caller.key(&requests));
        let swapped = Caller {
            model: Some("a".to_owned()),
            consumer: Some("b".into()),
            ..caller.clone()
        };
        assert_ne!(caller.key(&tokens), swapped.key(&tokens));
    }

    #[test]
    fn only_what_the_limits_name_is_needed() {
        let needs = |limits| Needs::of(&settings(limits));
        let plain = needs(vec![
            limit("a", Unit::Requests, 1, &["ip", "header:X-A"]),
            limit(
                "b",
                Unit::ConcurrentRequests,
                1,
                &["header:x-a", "claim:tenant"],
            ),
        ]);
        let expected = Needs {
            address: true,
            claims: true,
            headers: vec!["x-a".to_owned()],
            ..Needs::default()
        };
        assert_eq!(plain, expected);
        let mut tiered = limit("a", Unit::Requests, 1, &["ip"]);
        tiered.matches.consumer_tags.push("free".to_owned());
        assert_eq!(
            needs(vec![tiered]),
            Needs {
                address: true,
                consumer: true,
                ..Needs::default()
            }
        );
        let by_claim = vec![limit("a", Unit::Requests, 1, &["consumer", "claim:tenant"])];
        assert!(!needs(by_claim.clone()).address);
        let known = Caller {
            consumer: Some(b"c".to_vec()),
            claims: json!({"tenant": "acme"}),
            ..Caller::default()
        };
        assert!(!known.needs_address(&by_claim));
        let nobody = Caller {
            consumer: None,
            ..known
        };
        assert!(nobody.needs_address(&by_claim));
        let tokens = needs(vec![limit("a", Unit::PromptTokens, 1, &["ip"])]);
        assert!(tokens.body && tokens.path);
    }

    #[test]
    fn people_see_names_and_never_what_may_be_a_secret() {
        let caller = Caller {
            username: Some("alice".to_owned()),
            headers: vec![
                ("x-team".to_owned(), b"red".to_vec()),
                ("x-api-key".to_owned(), b"hunter2".to_vec()),
            ],
            claims: json!({"org": {"id": 7}}),
            ..caller("192.0.2.1", Some("0f0e"))
        };
        let by = |texts: &[&str]| -> Vec<LimitBy> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let labels = caller.labels(&by(&[
            "consumer",
            "header:x-team",
            "header:X-Api-Key",
            "claim:org.id",
            "route",
        ]));
        let shown: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown,
            [
                "consumer=alice",
                "header:x-team=red",
                "header:x-api-key=sha256:f52fbd32",
                "claim:org.id=7",
                "route=192.0.2.1"
            ]
        );
    }
}
