//! The configuration of one `llm-jwt`, typed, and what makes it one that cannot work.
//!
//! Reading Kong's JSON is the front's business; everything that JSON's types cannot rule out is ruled out here, once,
//! when the configuration is loaded. Equal settings share their keys and caches, whatever plugin they came from.

use std::time::Duration;

use super::claims::{ClaimPath, ClaimValues, ScopeSet, TimeBounds};
use super::consumer::ConsumerKey;
use super::denylist::DenylistSettings;
use super::expression::Expression;
use super::identity::UpstreamHeader;
use super::introspection::IntrospectionSettings;
use super::keys::Reach;
use super::proof::ProofOfPossession;
use super::resource::ProtectedResource;
use super::token::Locations;

pub use super::issuer::{Issuer, KeySource};

/// Everything that the configuration of one `llm-jwt` says, typed. Durations are exact; names are as the guide's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The issuers whose tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// Accepted `typ`s, as [`normalized_type`](super::token::normalized_type) spells them.
    pub allowed_typ: Vec<String>,
    /// Claims that each token must have.
    pub required_claims: Vec<String>,
    /// Bounds on `exp`, `nbf`, `iat`.
    pub time_bounds: TimeBounds,
    /// The longest token, in bytes.
    pub max_token_bytes: usize,
    /// Where tokens are looked for.
    pub locations: Locations,
    /// Whether the token is removed from what goes upstream.
    pub hide_credentials: bool,
    /// Whether CORS preflight requests need a token too.
    pub run_on_preflight: bool,
    /// The consumer (username or id) of requests without an acceptable token; `None` refuses them.
    pub anonymous: Option<String>,
    /// The realm of challenges.
    pub realm: String,
    /// Where the scopes are.
    pub scopes_claim: ClaimPath,
    /// Alternatives, one of which must be granted; empty requires nothing.
    pub scopes_required: Vec<ScopeSet>,
    /// Claims that must have certain values, all of them.
    pub claims_required: Vec<ClaimValues>,
    /// Claims that must have none of certain values.
    pub claims_forbidden: Vec<ClaimValues>,
    /// A condition on claims and request.
    pub expression: Option<Expression>,
    /// Headers for the upstream.
    pub upstream_headers: Vec<UpstreamHeader>,
    /// Claims that may name Kong's consumer, tried in this order; empty looks for none.
    pub consumer_claims: Vec<ClaimPath>,
    /// What of a consumer the claim names.
    pub consumer_by: Vec<ConsumerKey>,
    /// Whether a token without consumer passes.
    pub consumer_optional: bool,
    /// How long Kong's answer about a consumer is believed.
    pub consumer_cache_ttl: Duration,
    /// The claim that identifies the virtual credential.
    pub credential_claim: ClaimPath,
    /// Claims for the limiter, by the limiter's name for them.
    pub limiter_claims: Vec<(String, ClaimPath)>,
    /// How keys are fetched.
    pub fetch: FetchSettings,
    /// Who is asked about tokens that no key can verify.
    pub introspection: Option<IntrospectionSettings>,
    /// How many verified tokens are remembered; 0 remembers none.
    pub token_cache_size: u64,
    /// How long at most a verified token is remembered.
    pub token_cache_ttl: Duration,
    /// Where revoked tokens are looked for; `None` looks for none.
    pub denylist: Option<DenylistSettings>,
    /// Whether tokens must be bound to a key that the caller holds.
    pub proof_of_possession: ProofOfPossession,
    /// What clients learn before they have a token.
    pub protected_resource: Option<ProtectedResource>,
    /// The shape of refusals.
    pub error_format: ErrorFormat,
}

/// How JWK sets, and the metadata that names them, are fetched and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FetchSettings {
    /// How long a fetched set is fresh.
    pub cache_ttl: Duration,
    /// The age at which it is fetched again in the background.
    pub refresh_after: Duration,
    /// The least time between two fetches that unknown keys cause.
    pub cooldown: Duration,
    /// How long after `cache_ttl` a set still serves while the provider is away.
    pub stale_ttl: Duration,
    /// The most time that one fetch may take, from name resolution to the last byte, metadata included.
    pub timeout: Duration,
    /// The largest document, in bytes.
    pub max_bytes: usize,
    /// Where it may go.
    pub reach: Reach,
}

/// The shape of a refusal's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorFormat {
    /// `{"message": …}`, as Kong's own plugins.
    Kong,
    /// `{"error": {"message", "type", "param", "code"}}`, as OpenAI's API.
    OpenAi,
    /// `application/problem+json` (RFC 9457).
    Problem,
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidSetting {
    /// The field's path in the plugin's configuration, such as `issuers[0].audience_required`.
    pub field: String,
    /// What is wrong with it. Holds no secret.
    pub problem: String,
}

impl InvalidSetting {
    /// Reports `problem` at `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl Settings {
    /// Finds what cannot work together or by itself, apart from the keys, which [`Issuer::static_keys`] judges.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        if self.issuers.is_empty() && self.introspection.is_none() {
            return Err(InvalidSetting::new(
                "issuers",
                "at least one issuer is needed, or introspection_endpoint",
            ));
        }
        for (at, issuer) in self.issuers.iter().enumerate() {
            let field = |name: &str| format!("issuers[{at}].{name}");
            if issuer.name.is_empty() {
                return Err(InvalidSetting::new(field("issuer"), "an issuer has a name"));
            }
            if self.issuers[..at]
                .iter()
                .any(|earlier| earlier.name == issuer.name)
            {
                return Err(InvalidSetting::new(
                    field("issuer"),
                    "this issuer is already named above",
                ));
            }
            if issuer.algorithms.is_empty() {
                return Err(InvalidSetting::new(
                    field("algorithms"),
                    "at least one algorithm is needed",
                ));
            }
            if issuer.audience_required.as_ref().is_some_and(Vec::is_empty) {
                return Err(InvalidSetting::new(
                    field("audience_required"),
                    "name the audiences, or set insecure_skip_audience to accept tokens that are meant for others",
                ));
            }
            issuer.check_source(&format!("issuers[{at}]"), &self.fetch)?;
        }
        let Locations {
            headers,
            cookies,
            parameters,
            dpop: _,
        } = &self.locations;
        if headers.is_empty() && cookies.is_empty() && parameters.is_empty() {
            return Err(InvalidSetting::new(
                "header_names",
                "no place is left to look for a token",
            ));
        }
        if let Some(name) = headers.iter().find(|name| !is_header_name(name)) {
            return Err(InvalidSetting::new(
                "header_names",
                format!("{name:?} is no header name"),
            ));
        }
        if self
            .realm
            .chars()
            .any(|character| !(' '..='~').contains(&character))
        {
            return Err(InvalidSetting::new(
                "realm",
                "only printable ASCII can be sent in a challenge",
            ));
        }
        self.proof_of_possession.check(&self.locations)?;
        if let Some(introspection) = &self.introspection {
            introspection.check()?;
        }
        if let Some(resource) = &self.protected_resource {
            resource
                .check()
                .map_err(|(field, problem)| InvalidSetting::new(field, problem))?;
        }
        self.check_upstream_headers()?;
        if !self.consumer_claims.is_empty() && self.consumer_by.is_empty() {
            return Err(InvalidSetting::new(
                "consumer_by",
                "consumer_claims need at least one of username and id",
            ));
        }
        if self.fetch.timeout.is_zero() {
            return Err(InvalidSetting::new(
                "jwks_timeout",
                "a fetch needs some time",
            ));
        }
        Ok(())
    }

    fn check_upstream_headers(&self) -> Result<(), InvalidSetting> {
        for (at, header) in self.upstream_headers.iter().enumerate() {
            let field = || format!("upstream_headers[{at}].header");
            if !is_header_name(&header.name) {
                return Err(InvalidSetting::new(
                    field(),
                    format!("{:?} is no header name", header.name),
                ));
            }
            if RESERVED_HEADERS.contains(&header.name.as_str()) {
                return Err(InvalidSetting::new(
                    field(),
                    format!("{:?} belongs to the protocol or to Kong", header.name),
                ));
            }
            if self.upstream_headers[..at]
                .iter()
                .any(|earlier| earlier.name == header.name)
            {
                return Err(InvalidSetting::new(
                    field(),
                    "this header is already named above",
                ));
            }
        }
        Ok(())
    }
}

/// Headers that carry the message itself or that this plugin sets from other sources.
const RESERVED_HEADERS: [&str; 16] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-anonymous-consumer",
    "x-consumer-custom-id",
    "x-consumer-id",
    "x-consumer-username",
    "x-credential-identifier",
];

/// Whether `name` is a field name (RFC 9110 §5.1).
fn is_header_name(name: &str) -> bool {
    const SYMBOLS: &[u8] = b"!#$%&'*+-.^_`|~";
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || SYMBOLS.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::jwt::process::Process;
    use crate::jwt::testing::{TestKey, jwks, path, settings};

    fn problem_field(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
        change(&mut settings);
        Process::new(ManualClock::new())
            .authenticator(settings)
            .expect_err("cannot work")
            .field
    }

    #[test]
    fn what_cannot_work_is_reported_by_its_field() {
        assert_eq!(problem_field(|s| s.issuers.clear()), "issuers");
        assert_eq!(
            problem_field(|s| s.issuers[0].name.clear()),
            "issuers[0].issuer"
        );
        assert_eq!(
            problem_field(|s| s.issuers.push(s.issuers[0].clone())),
            "issuers[1].issuer"
        );
        assert_eq!(
            problem_field(|s| s.issuers[0].algorithms.clear()),
            "issuers[0].algorithms"
        );
        assert_eq!(
            problem_field(|s| s.issuers[0].audience_required = Some(vec![])),
            "issuers[0].audience_required"
        );
        assert_eq!(
            problem_field(|s| s.locations.headers.clear()),
            "header_names"
        );
        assert_eq!(
            problem_field(|s| s.locations.headers.push("a b".into())),
            "header_names"
        );
        assert_eq!(problem_field(|s| s.realm = "a\r\nb".into()), "realm");
        assert_eq!(
            problem_field(|s| {
                s.consumer_claims = vec![path(&["sub"])];
                s.consumer_by.clear();
            }),
            "consumer_by"
        );
        for name in ["host", "x-consumer-id", "a\nb", ""] {
            let header = UpstreamHeader {
                name: name.into(),
                path: path(&["sub"]),
                required: false,
            };
            assert_eq!(
                problem_field(|s| s.upstream_headers.push(header)),
                "upstream_headers[0].header",
                "{name:?}"
            );
        }
        assert_eq!(
            problem_field(|s| s.fetch.timeout = Duration::ZERO),
            "jwks_timeout"
        );
    }
}
