//! What the configuration says about introspection.

use std::time::Duration;

use crate::jwt::claims::ClaimPath;
use crate::jwt::config::InvalidSetting;
use crate::jwt::keys::{Reach, Secret, UnfetchableUrl, endpoint};

/// Who is asked about opaque tokens, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IntrospectionSettings {
    /// The URL of the endpoint.
    pub endpoint: String,
    /// Whose tokens it knows: what `iss` of an answer must be, and what it counts as where there is none.
    pub issuer: String,
    /// Who we are to the endpoint.
    pub client: ClientCredentials,
    /// `token_type_hint`.
    pub hint: String,
    /// Where the audience is.
    pub audience_claim: ClaimPath,
    /// Accepted audiences; `None` when the configuration says out loud that it is not checked.
    pub audience_required: Option<Vec<String>>,
    /// Whether JWTs that name `issuer` are asked about too.
    pub introspects_jwts: bool,
    /// How long at most an active token is remembered.
    pub cache_ttl: Duration,
    /// The most time that one question may take, from waiting for its turn to the last byte.
    pub timeout: Duration,
    /// Where the question may go.
    pub reach: Reach,
}

/// The gateway as a client of the authorization server (RFC 6749 §2.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCredentials {
    /// `client_id`.
    pub id: String,
    /// `client_secret`.
    pub secret: Secret,
    /// How they are sent.
    pub method: ClientAuthentication,
}

/// How a client shows its credentials, by the names of OpenID Connect Core 1.0 §9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuthentication {
    /// `client_secret_basic`: in the header `Authorization`.
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

impl IntrospectionSettings {
    /// Finds what cannot work.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        endpoint::check(&self.endpoint, self.reach).map_err(|problem| {
            let text = match problem {
                UnfetchableUrl::Plain => {
                    "plain http shows tokens and our secret on the way: use https, or set allow_http_introspection"
                        .to_owned()
                }
                UnfetchableUrl::Private => {
                    "the address is private: set allow_private_introspection if the endpoint is inside".to_owned()
                }
                other => other.to_string(),
            };
            InvalidSetting::new("introspection_endpoint", text)
        })?;
        let texts = [
            ("introspection_issuer", self.issuer.is_empty()),
            ("introspection_client_id", self.client.id.is_empty()),
            ("introspection_client_secret", self.client.secret.is_empty()),
            ("introspection_hint", self.hint.is_empty()),
        ];
        if let Some((field, _)) = texts.into_iter().find(|(_, is_empty)| *is_empty) {
            return Err(InvalidSetting::new(field, "it is empty"));
        }
        if self.audience_required.as_ref().is_some_and(Vec::is_empty) {
            return Err(InvalidSetting::new(
                "introspection_audience_required",
                "name the audiences, or set introspection_insecure_skip_audience to accept tokens that are meant for others",
            ));
        }
        if self.timeout.is_zero() {
            return Err(InvalidSetting::new(
                "introspection_timeout",
                "a question needs some time",
            ));
        }
        Ok(())
    }
}
