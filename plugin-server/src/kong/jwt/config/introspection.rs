//! The fields of introspection.

use std::time::Duration;

use kong_pdk::PluginConfig;
use serde::Deserialize;

use super::Config;
use super::read::{path, seconds};
use crate::jwt::config::InvalidSetting;
use crate::jwt::introspection::{ClientAuthentication, ClientCredentials, IntrospectionSettings};
use crate::jwt::keys::{Reach, Secret};

/// The values of `introspection_endpoint_auth_method`.
#[derive(Debug, Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthMethodName {
    ClientSecretBasic,
    ClientSecretPost,
}

impl From<AuthMethodName> for ClientAuthentication {
    fn from(name: AuthMethodName) -> Self {
        match name {
            AuthMethodName::ClientSecretBasic => Self::Basic,
            AuthMethodName::ClientSecretPost => Self::Post,
        }
    }
}

impl Config {
    /// Who is asked about opaque tokens, taken out of the configuration.
    ///
    /// # Errors
    ///
    /// When only a part of what is needed is there.
    pub(super) fn introspection(
        &mut self,
    ) -> Result<Option<IntrospectionSettings>, InvalidSetting> {
        let Some(endpoint) = self.introspection_endpoint.take() else {
            return self.no_introspection();
        };
        let needed = |field: &str, value: Option<String>| {
            value.ok_or_else(|| InvalidSetting::new(field, "introspection_endpoint needs it"))
        };
        let audiences = std::mem::take(&mut self.introspection_audience_required);
        Ok(Some(IntrospectionSettings {
            endpoint,
            issuer: needed("introspection_issuer", self.introspection_issuer.take())?,
            client: ClientCredentials {
                id: needed(
                    "introspection_client_id",
                    self.introspection_client_id.take(),
                )?,
                secret: Secret::from_text(&needed(
                    "introspection_client_secret",
                    self.introspection_client_secret.take(),
                )?),
                method: self.introspection_endpoint_auth_method.into(),
            },
            hint: std::mem::take(&mut self.introspection_hint),
            audience_claim: path(
                "introspection_audience_claim",
                std::mem::take(&mut self.introspection_audience_claim),
            )?,
            audience_required: match (self.introspection_insecure_skip_audience, audiences) {
                (true, audiences) if audiences.is_empty() => None,
                (true, _) => {
                    return Err(InvalidSetting::new(
                        "introspection_insecure_skip_audience",
                        "audiences are named, so they are checked: remove one of the two",
                    ));
                }
                (false, audiences) => Some(audiences),
            },
            introspects_jwts: self.introspect_jwt_tokens,
            cache_ttl: seconds(self.introspection_cache_ttl),
            timeout: Duration::from_millis(self.introspection_timeout.into()),
            reach: Reach {
                allow_http: self.allow_http_introspection,
                allow_private: self.allow_private_introspection,
            },
        }))
    }

    /// Fields that would do nothing are a mistake.
    fn no_introspection(&self) -> Result<Option<IntrospectionSettings>, InvalidSetting> {
        let set = [
            ("introspection_issuer", self.introspection_issuer.is_some()),
            (
                "introspection_client_id",
                self.introspection_client_id.is_some(),
            ),
            (
                "introspection_client_secret",
                self.introspection_client_secret.is_some(),
            ),
            (
                "introspection_audience_required",
                !self.introspection_audience_required.is_empty(),
            ),
            (
                "introspection_insecure_skip_audience",
                self.introspection_insecure_skip_audience,
            ),
            ("introspect_jwt_tokens", self.introspect_jwt_tokens),
        ];
        match set.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(InvalidSetting::new(
                field,
                "nobody is asked about tokens: set introspection_endpoint",
            )),
            None => Ok(None),
        }
    }
}
