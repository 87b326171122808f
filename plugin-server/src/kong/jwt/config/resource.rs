//! What clients are told: the resource's metadata, and the shape of refusals.

use kong_pdk::PluginConfig;
use serde::Deserialize;

use super::read::scopes;
use crate::jwt::config::{ErrorFormat, InvalidSetting};
use crate::jwt::resource::ProtectedResource;

/// The values of `error_format`.
#[derive(Debug, Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "lowercase")]
pub(super) enum ErrorFormatName {
    Kong,
    OpenAi,
    Problem,
}

impl From<ErrorFormatName> for ErrorFormat {
    fn from(name: ErrorFormatName) -> Self {
        match name {
            ErrorFormatName::Kong => Self::Kong,
            ErrorFormatName::OpenAi => Self::OpenAi,
            ErrorFormatName::Problem => Self::Problem,
        }
    }
}

/// The four fields of RFC 9728 go together: one without the others would do nothing.
pub(super) fn protected_resource(
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
