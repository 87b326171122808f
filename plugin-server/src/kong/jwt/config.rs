//! The configuration of `llm-jwt` as Kong keeps it. Kong's schema is derived from these types; their fields' names are
//! a contract with every `kong.yml`.

use std::collections::BTreeMap;
use std::time::Duration;

use kong_pdk::PluginConfig;
use serde::Deserialize;

use crate::jwt::ConsumerKey;
use crate::jwt::algorithm::Algorithm;
use crate::jwt::claims::{ClaimPath, ClaimValues, ScopeSet, TimeBounds};
use crate::jwt::config::{ErrorFormat, FetchSettings, InvalidSetting, Issuer, KeySource, Settings};
use crate::jwt::expression::Expression;
use crate::jwt::identity::UpstreamHeader;
use crate::jwt::keys::Secret;
use crate::jwt::proof::{Mode, ProofOfPossession};
use crate::jwt::resource::ProtectedResource;
use crate::jwt::token::{Locations, normalized_type};

/// The realm of challenges when none is configured: a challenge without any parameter is not well-formed (RFC 6750 §3).
const DEFAULT_REALM: &str = "kong";

/// The configuration of one `llm-jwt`.
#[derive(Debug, Deserialize, PluginConfig)]
pub struct Config {
    /// The issuers whose tokens are accepted, each with its keys. A token is judged by the issuer that it names.
    #[kong(len_min = 1)]
    issuers: Vec<IssuerConfig>,
    /// Accepted values of the header's typ, without regard to case. A token without typ counts as JWT.
    #[kong(default = ["at+jwt", "JWT"], len_min = 1)]
    allowed_typ: Vec<String>,
    /// Claims that every token must have.
    #[kong(default = ["exp", "sub"])]
    required_claims: Vec<String>,
    /// How many seconds the clocks of issuer and gateway may differ.
    #[kong(default = 30, between = [0, 300])]
    leeway: u32,
    /// How many seconds ahead exp may lie at most; 0 accepts any distance, and tokens without exp if required_claims does.
    #[kong(default = 86400, between = [0, 31_536_000])]
    maximum_expiration: u32,
    /// The longest token that is looked at, in bytes.
    #[kong(default = 8192, between = [256, 65536])]
    max_token_size: u32,
    /// Headers that may carry the token. Authorization must use the Bearer scheme; others may, or hold the token alone.
    #[kong(default = ["authorization"])]
    header_names: Vec<String>,
    /// Cookies that may carry the token.
    #[kong(default = [])]
    cookie_names: Vec<String>,
    /// Query parameters that may carry the token. They end up in logs of others: prefer headers.
    #[kong(default = [])]
    uri_param_names: Vec<String>,
    /// Whether the token is removed from the request before the upstream sees it.
    #[kong(default = true)]
    hide_credentials: bool,
    /// Whether CORS preflight requests need a token too. Browsers send them without any.
    #[kong(default = false)]
    run_on_preflight: bool,
    /// The username or id of the consumer that requests without a valid token get. Without it they are refused.
    #[kong(len_min = 1)]
    anonymous: Option<String>,
    /// The realm in challenges; kong if it is not set.
    #[kong(len_min = 1)]
    realm: Option<String>,
    /// The path of the claim that holds the scopes: a list, or a string separated by spaces.
    #[kong(default = ["scope"], len_min = 1)]
    scopes_claim: Vec<String>,
    /// Scopes that a token must have: one of the entries, and of that entry all the scopes, which spaces separate.
    #[kong(default = [])]
    scopes_required: Vec<String>,
    /// Claims that must have one of certain values. All entries must be met.
    #[kong(default = [])]
    claims_required: Vec<ClaimRequirementConfig>,
    /// Claims that must have none of certain values. A token without the claim passes.
    #[kong(default = [])]
    claims_forbidden: Vec<ClaimProhibitionConfig>,
    /// A condition in CEL on claims, method and path that must be true. It is compiled when the configuration is loaded.
    #[kong(len_min = 1, len_max = 2048)]
    expression: Option<String>,
    /// Headers that carry claims to the upstream. What a client sends under these names is removed on every path.
    #[kong(default = [])]
    upstream_headers: Vec<UpstreamHeaderConfig>,
    /// Paths of claims that may name the consumer in Kong, tried in this order. Without any, no consumer is looked for.
    #[kong(default = [])]
    consumer_claims: Vec<Vec<String>>,
    /// What of a consumer those claims may name.
    #[kong(default = ["username", "id"], elements(one_of = ["username", "id"]))]
    consumer_by: Vec<String>,
    /// Whether a token without a consumer in Kong passes. If not, it is answered with 403.
    #[kong(default = true)]
    consumer_optional: bool,
    /// How many seconds a consumer that Kong has found is remembered; 0 asks Kong at each request.
    #[kong(default = 60, between = [0, 86400])]
    consumer_cache_ttl: u32,
    /// The path of the claim that identifies the credential, for rate limits by credential and X-Credential-Identifier.
    #[kong(default = ["sub"], len_min = 1)]
    credential_claim: Vec<String>,
    /// Claims for llm-rate-limiting, by the name that limit_by uses: tenant is read with claim:tenant.
    #[kong(default = {})]
    limiter_claims: BTreeMap<String, Vec<String>>,
    /// How many seconds fetched keys are fresh.
    #[kong(default = 600, between = [10, 86400])]
    jwks_cache_ttl: u32,
    /// At which part of jwks_cache_ttl keys are fetched again in the background.
    #[kong(default = 0.8, between = [0.1, 1])]
    jwks_refresh_before: f64,
    /// The least seconds between two fetches that tokens with unknown keys cause.
    #[kong(default = 30, between = [1, 3600])]
    jwks_cooldown: u32,
    /// How many seconds after jwks_cache_ttl keys still serve while their provider is away.
    #[kong(default = 86400, between = [0, 2_592_000])]
    jwks_stale_ttl: u32,
    /// The most milliseconds that fetching keys may take. A request waits for it only when no loaded key fits its token.
    #[kong(default = 5000, between = [100, 9000])]
    jwks_timeout: u32,
    /// The largest key set, or metadata that lead to it, in bytes.
    #[kong(default = 262_144, between = [1024, 4_194_304])]
    jwks_max_size: u32,
    /// Whether keys may be fetched by plain http, where anyone on the way can replace them.
    #[kong(default = false)]
    allow_http_jwks: bool,
    /// Whether keys may be fetched from loopback, private and link-local addresses.
    #[kong(default = false)]
    allow_private_jwks: bool,
    /// How many verified tokens are remembered; 0 verifies each time.
    #[kong(default = 10000, between = [0, 1_000_000])]
    token_cache_size: u32,
    /// How many seconds a verified token is remembered at most, never beyond its exp.
    #[kong(default = 300, between = [0, 86400])]
    token_cache_ttl: u32,
    /// Whether tokens must be bound to a key, so that a stolen one opens nothing.
    proof_of_possession: ProofOfPossessionConfig,
    /// The address of the protected resource as its clients write it, for RFC 9728 and MCP. Needs metadata_endpoint.
    #[kong(len_min = 1)]
    resource: Option<String>,
    /// Issuers that give tokens for the resource; its metadata name them to clients.
    #[kong(default = [])]
    authorization_servers: Vec<String>,
    /// Scopes that the resource's metadata tell clients to ask for.
    #[kong(default = [])]
    scopes_supported: Vec<String>,
    /// The path at which the gateway itself answers, without a token, with the resource's metadata. The route must match it.
    #[kong(len_min = 1)]
    metadata_endpoint: Option<String>,
    /// The shape of refusals: Kong's message, OpenAI's error object, or problem details (RFC 9457).
    #[kong(default = "kong")]
    error_format: ErrorFormatName,
}

/// One entry of `issuers`.
#[derive(Debug, Deserialize, PluginConfig)]
#[kong(entity_check(only_one_of = ["discovery_endpoint", "jwks_endpoint", "jwks", "public_keys", "secrets"]))]
struct IssuerConfig {
    /// The value of iss, compared character for character.
    #[kong(len_min = 1)]
    issuer: String,
    /// The address of the issuer's metadata (OpenID Connect Discovery, RFC 8414), which must name this issuer and say where its
    /// keys are.
    #[kong(len_min = 1)]
    discovery_endpoint: Option<String>,
    /// The address of the issuer's JWK set.
    #[kong(len_min = 1)]
    jwks_endpoint: Option<String>,
    /// The issuer's JWK set itself, as JSON text.
    #[kong(referenceable, len_min = 2)]
    jwks: Option<String>,
    /// The issuer's public keys as PEM. They have no kid: a token is tried on each that fits its algorithm.
    #[kong(len_min = 1, elements(referenceable))]
    public_keys: Option<Vec<String>>,
    /// Secrets that the issuer shares with the gateway, at least as long as the hash of each of algorithms: 32, 48, 64 bytes. Each is tried.
    #[kong(len_min = 1, elements(referenceable, encrypted))]
    secrets: Option<Vec<String>>,
    /// Whether secrets are base64 or base64url of the bytes. If not, the characters themselves are the secret.
    #[kong(default = false)]
    secret_is_base64: bool,
    /// The algorithms that the issuer's tokens may use. HS256, HS384 and HS512 only with secrets, the others only without.
    #[kong(
        default = ["RS256", "ES256", "EdDSA"],
        len_min = 1,
        elements(one_of = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"])
    )]
    algorithms: Vec<String>,
    /// The path of the claim that holds the audience.
    #[kong(default = ["aud"], len_min = 1)]
    audience_claim: Vec<String>,
    /// Audiences of which a token must name one. Required, unless insecure_skip_audience says that it is not checked.
    #[kong(default = [])]
    audience_required: Vec<String>,
    /// Accepts tokens that were made for anyone, also for other services of the same issuer.
    #[kong(default = false)]
    insecure_skip_audience: bool,
}

/// One entry of `claims_required`.
#[derive(Debug, Deserialize, PluginConfig)]
struct ClaimRequirementConfig {
    /// The path of the claim.
    #[kong(len_min = 1)]
    path: Vec<String>,
    /// Accepted values. Numbers and booleans are compared as text; of a list, one element must match.
    #[kong(len_min = 1)]
    one_of: Vec<String>,
}

/// One entry of `claims_forbidden`.
#[derive(Debug, Deserialize, PluginConfig)]
struct ClaimProhibitionConfig {
    /// The path of the claim.
    #[kong(len_min = 1)]
    path: Vec<String>,
    /// Refused values. Numbers and booleans are compared as text; of a list, no element may match.
    #[kong(len_min = 1)]
    one_of: Vec<String>,
}

/// One entry of `upstream_headers`.
#[derive(Debug, Deserialize, PluginConfig)]
struct UpstreamHeaderConfig {
    /// The name of the header.
    #[kong(len_min = 1)]
    header: String,
    /// The path of the claim that becomes its value.
    #[kong(len_min = 1)]
    path: Vec<String>,
    /// Whether a token without this claim is refused with 403.
    #[kong(default = false)]
    required: bool,
}

/// The field `proof_of_possession`.
#[derive(Debug, Deserialize, PluginConfig)]
struct ProofOfPossessionConfig {
    /// Proofs by DPoP (RFC 9449): with optional, bound tokens (cnf.jkt) need one and others pass; with required, every token.
    #[kong(default = "off")]
    dpop: ModeName,
    /// Certificate-bound tokens (RFC 8705), likewise by cnf.x5t#S256. Kong must ask clients for certificates in TLS.
    #[kong(default = "off")]
    mtls: ModeName,
}

/// The values of `proof_of_possession`.
#[derive(Debug, Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Off,
    Optional,
    Required,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Off => Self::Off,
            ModeName::Optional => Self::Optional,
            ModeName::Required => Self::Required,
        }
    }
}

/// The values of `error_format`.
#[derive(Debug, Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "lowercase")]
enum ErrorFormatName {
    Kong,
    OpenAi,
    Problem,
}

impl Config {
    /// The configuration in the policy's terms.
    ///
    /// # Errors
    ///
    /// What Kong's schema cannot rule out and single values already show; the policy finds the rest.
    pub fn into_settings(self) -> Result<Settings, InvalidSetting> {
        let fetch = self.fetch();
        let protected_resource = protected_resource(
            self.resource,
            self.authorization_servers,
            &self.scopes_supported,
            self.metadata_endpoint,
        )?;
        let issuers = self
            .issuers
            .into_iter()
            .enumerate()
            .map(|(at, issuer)| issuer.into_issuer(at));
        Ok(Settings {
            issuers: issuers.collect::<Result<_, _>>()?,
            allowed_typ: self
                .allowed_typ
                .iter()
                .map(|typ| normalized_type(typ))
                .collect(),
            required_claims: self.required_claims,
            time_bounds: TimeBounds {
                leeway: self.leeway.into(),
                maximum_expiration: self.maximum_expiration.into(),
            },
            max_token_bytes: to_usize(self.max_token_size),
            locations: Locations {
                headers: self
                    .header_names
                    .iter()
                    .map(|name| name.to_ascii_lowercase())
                    .collect(),
                cookies: self.cookie_names,
                parameters: self.uri_param_names,
                dpop: !matches!(self.proof_of_possession.dpop, ModeName::Off),
            },
            hide_credentials: self.hide_credentials,
            run_on_preflight: self.run_on_preflight,
            anonymous: self.anonymous,
            realm: self.realm.unwrap_or_else(|| DEFAULT_REALM.to_owned()),
            scopes_claim: path("scopes_claim", self.scopes_claim)?,
            scopes_required: scopes("scopes_required", &self.scopes_required)?,
            claims_required: each("claims_required", self.claims_required, |field, entry| {
                Ok(ClaimValues {
                    path: path(&format!("{field}.path"), entry.path)?,
                    one_of: entry.one_of,
                })
            })?,
            claims_forbidden: each("claims_forbidden", self.claims_forbidden, |field, entry| {
                Ok(ClaimValues {
                    path: path(&format!("{field}.path"), entry.path)?,
                    one_of: entry.one_of,
                })
            })?,
            expression: self
                .expression
                .map(|source| Expression::compile(&source))
                .transpose()
                .map_err(|problem| InvalidSetting::new("expression", problem.to_string()))?,
            upstream_headers: each("upstream_headers", self.upstream_headers, |field, entry| {
                Ok(UpstreamHeader {
                    name: entry.header.to_ascii_lowercase(),
                    path: path(&format!("{field}.path"), entry.path)?,
                    required: entry.required,
                })
            })?,
            consumer_claims: each("consumer_claims", self.consumer_claims, path)?,
            consumer_by: each("consumer_by", self.consumer_by, |field, name| {
                match name.as_str() {
                    "username" => Ok(ConsumerKey::Username),
                    "id" => Ok(ConsumerKey::Id),
                    _ => Err(InvalidSetting::new(
                        field,
                        "only username and id can be looked up",
                    )),
                }
            })?,
            consumer_optional: self.consumer_optional,
            consumer_cache_ttl: seconds(self.consumer_cache_ttl),
            credential_claim: path("credential_claim", self.credential_claim)?,
            limiter_claims: self
                .limiter_claims
                .into_iter()
                .map(|(name, names)| {
                    let claim = path(&format!("limiter_claims.{name}"), names)?;
                    Ok((name, claim))
                })
                .collect::<Result<_, _>>()?,
            fetch,
            token_cache_size: self.token_cache_size.into(),
            token_cache_ttl: seconds(self.token_cache_ttl),
            proof_of_possession: ProofOfPossession {
                dpop: self.proof_of_possession.dpop.into(),
                mtls: self.proof_of_possession.mtls.into(),
            },
            protected_resource,
            error_format: match self.error_format {
                ErrorFormatName::Kong => ErrorFormat::Kong,
                ErrorFormatName::OpenAi => ErrorFormat::OpenAi,
                ErrorFormatName::Problem => ErrorFormat::Problem,
            },
        })
    }

    fn fetch(&self) -> FetchSettings {
        let cache_ttl = seconds(self.jwks_cache_ttl);
        FetchSettings {
            cache_ttl,
            refresh_after: cache_ttl.mul_f64(self.jwks_refresh_before.clamp(0.0, 1.0)),
            cooldown: seconds(self.jwks_cooldown),
            stale_ttl: seconds(self.jwks_stale_ttl),
            timeout: Duration::from_millis(self.jwks_timeout.into()),
            max_bytes: to_usize(self.jwks_max_size),
            allow_http: self.allow_http_jwks,
            allow_private: self.allow_private_jwks,
        }
    }
}

impl IssuerConfig {
    /// The one source of keys.
    fn keys(&mut self, field: &str) -> Result<KeySource, InvalidSetting> {
        let secret_is_base64 = self.secret_is_base64;
        let secrets = |texts| {
            let read = |field: &str, text: String| {
                if secret_is_base64 {
                    Secret::from_base64(&text)
                        .map_err(|problem| InvalidSetting::new(field, problem.to_string()))
                } else {
                    Ok(Secret::from_text(&text))
                }
            };
            each(&format!("{field}.secrets"), texts, read).map(KeySource::Secrets)
        };
        let mut sources = [
            self.discovery_endpoint
                .take()
                .map(KeySource::DiscoveryEndpoint)
                .map(Ok),
            self.jwks_endpoint
                .take()
                .map(KeySource::JwksEndpoint)
                .map(Ok),
            self.jwks.take().map(KeySource::Jwks).map(Ok),
            self.public_keys.take().map(KeySource::PublicKeys).map(Ok),
            self.secrets.take().map(secrets),
        ]
        .into_iter()
        .flatten();
        match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            _ => Err(InvalidSetting::new(
                field,
                "exactly one of discovery_endpoint, jwks_endpoint, jwks, public_keys and secrets is needed",
            )),
        }
    }

    fn into_issuer(mut self, at: usize) -> Result<Issuer, InvalidSetting> {
        let field = format!("issuers[{at}]");
        let keys = self.keys(&field)?;
        let algorithms = each(
            &format!("{field}.algorithms"),
            self.algorithms,
            |field, name| {
                Algorithm::from_name(&name).ok_or_else(|| {
                    InvalidSetting::new(
                        field,
                        format!("{name:?} is not supported: RS*, PS*, ES*, EdDSA and HS* are"),
                    )
                })
            },
        )?;
        Ok(Issuer {
            name: self.issuer,
            keys,
            algorithms,
            audience_claim: path(&format!("{field}.audience_claim"), self.audience_claim)?,
            audience_required: match (self.insecure_skip_audience, self.audience_required) {
                (true, audiences) if audiences.is_empty() => None,
                (true, _) => {
                    return Err(InvalidSetting::new(
                        format!("{field}.insecure_skip_audience"),
                        "audiences are named, so they are checked: remove one of the two",
                    ));
                }
                (false, audiences) => Some(audiences),
            },
        })
    }
}

/// The four fields of RFC 9728 go together: one without the others would do nothing.
fn protected_resource(
    resource: Option<String>,
    authorization_servers: Vec<String>,
    scopes_supported: &[String],
    metadata_endpoint: Option<String>,
) -> Result<Option<ProtectedResource>, InvalidSetting> {
    match (resource, metadata_endpoint) {
        (Some(identifier), Some(metadata_endpoint)) => Ok(Some(ProtectedResource {
            identifier,
            authorization_servers,
            scopes_supported: scopes("scopes_supported", scopes_supported)?
                .iter()
                .map(ToString::to_string)
                .collect(),
            metadata_endpoint,
        })),
        (Some(_), None) => Err(InvalidSetting::new(
            "metadata_endpoint",
            "resource is set: say at which path its metadata are asked for",
        )),
        (None, Some(_)) => Err(InvalidSetting::new(
            "resource",
            "metadata_endpoint is set: say which resource the metadata describe",
        )),
        (None, None) if !authorization_servers.is_empty() => Err(InvalidSetting::new(
            "authorization_servers",
            "only the metadata name them: set resource and metadata_endpoint",
        )),
        (None, None) if !scopes_supported.is_empty() => Err(InvalidSetting::new(
            "scopes_supported",
            "only the metadata name them: set resource and metadata_endpoint",
        )),
        (None, None) => Ok(None),
    }
}

fn each<T, U>(
    field: &str,
    entries: Vec<T>,
    read: impl Fn(&str, T) -> Result<U, InvalidSetting>,
) -> Result<Vec<U>, InvalidSetting> {
    entries
        .into_iter()
        .enumerate()
        .map(|(at, entry)| read(&format!("{field}[{at}]"), entry))
        .collect()
}

fn path(field: &str, names: Vec<String>) -> Result<ClaimPath, InvalidSetting> {
    ClaimPath::new(names).ok_or_else(|| {
        InvalidSetting::new(field, "a path has at least one name, none of them empty")
    })
}

fn scopes(field: &str, lists: &[String]) -> Result<Vec<ScopeSet>, InvalidSetting> {
    let read = |(at, list): (usize, &String)| {
        let problem = || {
            InvalidSetting::new(
                format!("{field}[{at}]"),
                "not a list of scopes (RFC 6749 §3.3)",
            )
        };
        ScopeSet::parse(list).ok_or_else(problem)
    };
    lists.iter().enumerate().map(read).collect()
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).expect("this runs on machines of 32 bits or more")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys(sources: &Value) -> Result<KeySource, String> {
        let mut issuer = json!({
            "issuer": "https://idp.example",
            "secret_is_base64": false,
            "algorithms": ["HS256"],
            "audience_claim": ["aud"],
            "audience_required": ["llm"],
            "insecure_skip_audience": false,
        });
        for (name, value) in sources.as_object().unwrap() {
            issuer[name] = value.clone();
        }
        serde_json::from_value::<IssuerConfig>(issuer)
            .unwrap()
            .into_issuer(2)
            .map(|issuer| issuer.keys)
            .map_err(|problem| problem.field)
    }

    #[test]
    fn an_issuer_has_exactly_one_source_of_keys() {
        let sources = [
            json!({"discovery_endpoint": "https://idp.example/.well-known/openid-configuration"}),
            json!({"jwks_endpoint": "https://idp.example/jwks"}),
            json!({"jwks": "{}"}),
            json!({"public_keys": ["-----BEGIN PUBLIC KEY-----"]}),
            json!({"secrets": ["s"]}),
        ];
        assert_eq!(keys(&json!({})), Err("issuers[2]".into()));
        for (at, one) in sources.iter().enumerate() {
            assert!(keys(one).is_ok(), "{one}");
            for other in &sources[at + 1..] {
                let mut both = one.clone();
                both.as_object_mut()
                    .unwrap()
                    .extend(other.as_object().unwrap().clone());
                assert_eq!(keys(&both), Err("issuers[2]".into()));
            }
        }
    }

    #[test]
    fn a_secret_is_its_characters_or_the_bytes_of_its_base64() {
        assert_eq!(
            keys(&json!({"secrets": ["c2VjcmV0"]})),
            Ok(KeySource::Secrets(vec![Secret::from_text("c2VjcmV0")]))
        );
        let encoded = |text: &str| keys(&json!({"secrets": [text], "secret_is_base64": true}));
        assert_eq!(
            encoded("c2VjcmV0"),
            Ok(KeySource::Secrets(vec![Secret::from_text("secret")]))
        );
        assert_eq!(encoded("not base64"), Err("issuers[2].secrets[0]".into()));
    }
}
