//! The configuration of one `llm-jwt`, typed, and what makes it one that cannot work.
//!
//! Reading Kong's JSON is the front's business; everything that JSON's types cannot rule out is ruled out here, once,
//! when the configuration is loaded. Equal settings share their keys and caches, whatever plugin they came from.

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use super::algorithm::Algorithm;
use super::claims::{ClaimPath, ClaimRequirement, ScopeSet, TimeBounds};
use super::consumer::ConsumerKey;
use super::identity::UpstreamHeader;
use super::keys::{KeySet, RemoteSettings, address};
use super::token::Locations;

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
    pub claims_required: Vec<ClaimRequirement>,
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
    /// How many verified tokens are remembered; 0 remembers none.
    pub token_cache_size: u64,
    /// How long at most a verified token is remembered.
    pub token_cache_ttl: Duration,
    /// The shape of refusals.
    pub error_format: ErrorFormat,
}

/// One trusted issuer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// `iss`, compared byte for byte.
    pub name: String,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The algorithms that its tokens may use.
    pub algorithms: Vec<Algorithm>,
    /// Where the audience is.
    pub audience_claim: ClaimPath,
    /// Accepted audiences; `None` when the configuration says out loud that it is not checked.
    pub audience_required: Option<Vec<String>>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// PEM texts.
    PublicKeys(Vec<String>),
    /// The text of a JWK set.
    Jwks(String),
    /// The address of a JWK set.
    JwksEndpoint(String),
}

/// How JWK sets are fetched and kept.
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
    /// The most time that one fetch may take, from name resolution to the last byte.
    pub timeout: Duration,
    /// The largest answer, in bytes.
    pub max_bytes: usize,
    /// Whether `http://` is allowed.
    pub allow_http: bool,
    /// Whether loopback, private and link-local addresses are allowed.
    pub allow_private: bool,
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
        if self.issuers.is_empty() {
            return Err(InvalidSetting::new(
                "issuers",
                "at least one issuer is needed",
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
            if let KeySource::JwksEndpoint(address) = &issuer.keys {
                self.check_endpoint(address)
                    .map_err(|problem| InvalidSetting::new(field("jwks_endpoint"), problem))?;
            }
        }
        let Locations {
            headers,
            cookies,
            parameters,
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

    fn check_endpoint(&self, address: &str) -> Result<(), &'static str> {
        let url = Url::parse(address).map_err(|_| "not an absolute URL")?;
        match url.scheme() {
            "https" => {}
            "http" if self.fetch.allow_http => {}
            "http" => {
                return Err(
                    "keys over plain http can be replaced on the way: use https, or set allow_http_jwks",
                );
            }
            _ => return Err("only https can be fetched"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials in the URL are not supported");
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err("the URL names no host"),
        };
        if literal.is_some_and(|literal| !self.fetch.allow_private && !address::is_public(literal))
        {
            return Err("the address is private: set allow_private_jwks if the provider is inside");
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

    /// How the keys at `endpoint` are fetched and kept: what two issuers must share to share their keys.
    pub fn remote(&self, endpoint: &str) -> RemoteSettings {
        RemoteSettings {
            endpoint: endpoint.to_owned(),
            fetch: self.fetch,
        }
    }
}

impl Issuer {
    /// The issuer's keys, if the configuration itself holds them; `field` is the issuer's own path.
    ///
    /// # Errors
    ///
    /// When a key cannot be used, or no key fits one of the issuer's algorithms.
    pub fn static_keys(&self, field: &str) -> Result<Option<KeySet>, InvalidSetting> {
        let (name, keys) = match &self.keys {
            KeySource::JwksEndpoint(_) => return Ok(None),
            KeySource::PublicKeys(texts) => {
                let name = format!("{field}.public_keys");
                let keys = KeySet::from_pem(texts).map_err(|(at, problem)| {
                    InvalidSetting::new(format!("{name}[{at}]"), problem.to_string())
                })?;
                (name, keys)
            }
            KeySource::Jwks(text) => {
                let name = format!("{field}.jwks");
                let keys = KeySet::from_jwks(text.as_bytes())
                    .map_err(|problem| InvalidSetting::new(name.clone(), problem.to_string()))?;
                (name, keys)
            }
        };
        if self
            .algorithms
            .iter()
            .any(|algorithm| keys.serves(*algorithm))
        {
            Ok(Some(keys))
        } else {
            Err(InvalidSetting::new(
                name,
                "no key fits one of the issuer's algorithms",
            ))
        }
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
    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::jwt::process::Process;
    use crate::jwt::testing::{TestKey, issuer, jwks, path, settings};

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

    #[test]
    fn keys_that_cannot_work_are_reported_by_their_field() {
        let field = |keys: KeySource| problem_field(|settings| settings.issuers[0].keys = keys);
        let pem = TestKey::rsa().pem();
        assert_eq!(
            field(KeySource::PublicKeys(vec![pem.clone(), "nonsense".into()])),
            "issuers[0].public_keys[1]"
        );
        assert_eq!(field(KeySource::Jwks("nonsense".into())), "issuers[0].jwks");
        assert_eq!(
            field(KeySource::Jwks(json!({"keys": []}).to_string())),
            "issuers[0].jwks"
        );
        let other_algorithm = problem_field(|settings| {
            settings.issuers[0].keys = KeySource::PublicKeys(vec![pem]);
            settings.issuers[0].algorithms = vec![Algorithm::Es256];
        });
        assert_eq!(other_algorithm, "issuers[0].public_keys");
    }

    #[test]
    fn endpoints_that_must_not_be_fetched_are_reported() {
        let problem = |endpoint: &str, allow_http: bool, allow_private: bool| {
            let mut settings = settings(KeySource::JwksEndpoint(endpoint.into()));
            settings.issuers = vec![issuer(KeySource::JwksEndpoint(endpoint.into()))];
            settings.fetch.allow_http = allow_http;
            settings.fetch.allow_private = allow_private;
            settings.check().err().map(|problem| problem.field)
        };
        let field = Some("issuers[0].jwks_endpoint".to_owned());
        assert_eq!(problem("https://idp.example/jwks", false, false), None);
        assert_eq!(problem("http://127.0.0.1:8080/jwks", true, true), None);
        for endpoint in [
            "http://idp.example/jwks",
            "ftp://idp.example/jwks",
            "file:///etc/passwd",
            "unix:/run/docker.sock",
            "/jwks",
            "",
            "https://user:secret@idp.example/jwks",
            "https://127.0.0.1/jwks",
            "https://169.254.169.254/latest/meta-data",
            "https://2130706433/jwks",
            "https://0x7f.1/jwks",
            "https://[::1]/jwks",
            "https://[::ffff:10.0.0.1]/jwks",
        ] {
            assert_eq!(problem(endpoint, false, false), field, "{endpoint}");
        }
    }
}
