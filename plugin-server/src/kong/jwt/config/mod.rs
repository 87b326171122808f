//! The configuration of `llm-jwt` as Kong keeps it. Kong's schema is derived from these types; their fields' names are
//! a contract with every `kong.yml`.
//!
//! # Layout
//!
//! [`Config`] is the whole, in the order of Kong's schema. [`issuer`] holds the entries of `issuers`, [`claims`] what tokens must
//! say and what becomes of it, [`introspection`] who is asked about opaque ones, [`denylist`] where revocations are, [`proof`]
//! `proof_of_possession`, [`resource`] what clients are told, [`read`] turns single values into the policy's.

mod claims;
mod denylist;
mod introspection;
mod issuer;
mod proof;
mod read;
mod resource;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kong_pdk::PluginConfig;
use serde::Deserialize;

use self::claims::{ClaimProhibitionConfig, ClaimRequirementConfig, UpstreamHeaderConfig};
use self::denylist::DenylistConfig;
use self::introspection::AuthMethodName;
use self::issuer::IssuerConfig;
use self::proof::ProofOfPossessionConfig;
use self::read::{each, path, scopes, seconds, to_usize};
use self::resource::{ErrorFormatName, protected_resource};
use crate::jwt::Authenticator;
use crate::jwt::claims::TimeBounds;
use crate::jwt::config::{FetchSettings, InvalidSetting, Settings};
use crate::jwt::expression::Expression;
use crate::jwt::keys::Reach;
use crate::jwt::process::Process;
use crate::jwt::token::{Locations, normalized_type};
use crate::kong::redis::RedisSection;

/// The realm of challenges when none is configured: a challenge without any parameter is not well-formed (RFC 6750 §3).
const DEFAULT_REALM: &str = "kong";

/// The configuration of one `llm-jwt`.
#[derive(Debug, Deserialize, PluginConfig)]
#[kong(entity_check(conditional_at_least_one_of = serde_json::json!({
    "if_field": "denylist.policy", "if_match": {"eq": "redis"},
    "then_at_least_one_of": ["redis.host", "redis.cluster_nodes", "redis.sentinel_nodes"],
    "then_err": "denylist.policy redis needs at least one of these, to know where it is: %s",
})))]
#[kong(entity_check(at_least_one_of = ["issuers", "introspection_endpoint"]))]
#[kong(entity_check(mutually_required = ["introspection_endpoint", "introspection_issuer", "introspection_client_id", "introspection_client_secret"]))]
pub struct Config {
    /// The issuers whose tokens are accepted, each with its keys. A token is judged by the issuer that it names.
    #[kong(default = [])]
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
    /// The endpoint (RFC 7662) that is asked about opaque tokens: all that are not meant as a JWT. Needs the next three fields.
    #[kong(len_min = 1)]
    introspection_endpoint: Option<String>,
    /// Whose tokens the endpoint knows. An answer that names another iss is refused, one without iss counts as this issuer's.
    #[kong(len_min = 1)]
    introspection_issuer: Option<String>,
    /// Who the gateway is to the endpoint.
    #[kong(len_min = 1)]
    introspection_client_id: Option<String>,
    /// The secret that the gateway shares with the endpoint.
    #[kong(len_min = 1, referenceable, encrypted)]
    introspection_client_secret: Option<String>,
    /// Whether the endpoint gets id and secret in the header Authorization (Basic) or in the body.
    #[kong(default = "client_secret_basic")]
    introspection_endpoint_auth_method: AuthMethodName,
    /// The token_type_hint that the endpoint gets.
    #[kong(default = "access_token", len_min = 1)]
    introspection_hint: String,
    /// The path in the endpoint's answer that holds the audience.
    #[kong(default = ["aud"], len_min = 1)]
    introspection_audience_claim: Vec<String>,
    /// Audiences of which the answer must name one. Required, unless introspection_insecure_skip_audience says that it is not checked.
    #[kong(default = [])]
    introspection_audience_required: Vec<String>,
    /// Accepts opaque tokens that were made for anyone, also for other services of the same server.
    #[kong(default = false)]
    introspection_insecure_skip_audience: bool,
    /// Whether the endpoint is asked about JWTs that name introspection_issuer too: where issuers has it, those with a right signature.
    #[kong(default = false)]
    introspect_jwt_tokens: bool,
    /// How many seconds an active token is remembered at most, never beyond its exp: for so long it outlives its revocation. 0 asks each time.
    #[kong(default = 60, between = [0, 86400])]
    introspection_cache_ttl: u32,
    /// The most milliseconds that a question to the endpoint may take.
    #[kong(default = 5000, between = [100, 9000])]
    introspection_timeout: u32,
    /// Whether the endpoint may be asked by plain http, where anyone on the way sees tokens and secret.
    #[kong(default = false)]
    allow_http_introspection: bool,
    /// Whether the endpoint may have a loopback, private or link-local address.
    #[kong(default = false)]
    allow_private_introspection: bool,
    /// How many verified tokens are remembered; 0 verifies each time.
    #[kong(default = 10000, between = [0, 1_000_000])]
    token_cache_size: u32,
    /// How many seconds a verified token is remembered at most, never beyond its exp.
    #[kong(default = 300, between = [0, 86400])]
    token_cache_ttl: u32,
    /// Whether tokens can be revoked before they expire.
    denylist: DenylistConfig,
    /// The Redis of denylist: a host, a cluster, or sentinels.
    redis: Option<RedisSection>,
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

impl Config {
    /// The authenticator of this configuration, in a process. It fetches nothing yet.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work.
    pub fn authenticator(self, process: &Process) -> Result<Arc<Authenticator>, InvalidSetting> {
        process.authenticator(self.into_settings()?)
    }

    /// The configuration in the policy's terms.
    ///
    /// # Errors
    ///
    /// What Kong's schema cannot rule out and single values already show; the policy finds the rest.
    pub fn into_settings(mut self) -> Result<Settings, InvalidSetting> {
        let fetch = self.fetch();
        let introspection = self.introspection()?;
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
                dpop: self.proof_of_possession.uses_dpop(),
            },
            hide_credentials: self.hide_credentials,
            run_on_preflight: self.run_on_preflight,
            anonymous: self.anonymous,
            realm: self.realm.unwrap_or_else(|| DEFAULT_REALM.to_owned()),
            scopes_claim: path("scopes_claim", self.scopes_claim)?,
            scopes_required: scopes("scopes_required", &self.scopes_required)?,
            claims_required: each(
                "claims_required",
                self.claims_required,
                ClaimRequirementConfig::into_values,
            )?,
            claims_forbidden: each(
                "claims_forbidden",
                self.claims_forbidden,
                ClaimProhibitionConfig::into_values,
            )?,
            expression: self
                .expression
                .map(|source| Expression::compile(&source))
                .transpose()
                .map_err(|problem| InvalidSetting::new("expression", problem.to_string()))?,
            upstream_headers: each(
                "upstream_headers",
                self.upstream_headers,
                UpstreamHeaderConfig::into_header,
            )?,
            consumer_claims: each("consumer_claims", self.consumer_claims, path)?,
            consumer_by: each("consumer_by", self.consumer_by, |field, name| {
                claims::consumer_key(field, &name)
            })?,
            consumer_optional: self.consumer_optional,
            consumer_cache_ttl: seconds(self.consumer_cache_ttl),
            credential_claim: path("credential_claim", self.credential_claim)?,
            limiter_claims: claims::for_limiter(self.limiter_claims)?,
            fetch,
            introspection,
            token_cache_size: self.token_cache_size.into(),
            token_cache_ttl: seconds(self.token_cache_ttl),
            denylist: self.denylist.read(self.redis)?,
            proof_of_possession: self.proof_of_possession.into(),
            protected_resource,
            error_format: self.error_format.into(),
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
            reach: Reach {
                allow_http: self.allow_http_jwks,
                allow_private: self.allow_private_jwks,
            },
        }
    }
}
