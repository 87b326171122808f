//! The entries of `issuers`.

use kong_pdk::PluginConfig;
use serde::Deserialize;

use super::read::{each, path};
use crate::jwt::algorithm::Algorithm;
use crate::jwt::config::{InvalidSetting, Issuer, KeySource};
use crate::jwt::keys::Secret;

/// One entry of `issuers`.
#[derive(Debug, Deserialize, PluginConfig)]
#[kong(entity_check(only_one_of = ["discovery_endpoint", "jwks_endpoint", "jwks", "public_keys", "secrets"]))]
pub(super) struct IssuerConfig {
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
    /// The algorithms that the issuer's tokens may use; EdDSA is Ed25519 by either name. HS256, HS384 and HS512 only with secrets, the others only without.
    #[kong(
        default = ["RS256", "ES256", "EdDSA"],
        len_min = 1,
        elements(one_of = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"])
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

    /// The entry at this position in the policy's terms.
    pub(super) fn into_issuer(mut self, at: usize) -> Result<Issuer, InvalidSetting> {
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
