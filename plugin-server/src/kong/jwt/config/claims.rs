//! What tokens must say, and what becomes of what they say.

use std::collections::BTreeMap;

use kong_pdk::PluginConfig;
use serde::Deserialize;

use super::read::path;
use crate::jwt::ConsumerKey;
use crate::jwt::claims::{ClaimPath, ClaimValues};
use crate::jwt::config::InvalidSetting;
use crate::jwt::identity::UpstreamHeader;

/// One entry of `claims_required`.
#[derive(Debug, Deserialize, PluginConfig)]
pub(super) struct ClaimRequirementConfig {
    /// The path of the claim.
    #[kong(len_min = 1)]
    path: Vec<String>,
    /// Accepted values. Numbers and booleans are compared as text; of a list, one element must match.
    #[kong(len_min = 1)]
    one_of: Vec<String>,
}

/// One entry of `claims_forbidden`.
#[derive(Debug, Deserialize, PluginConfig)]
pub(super) struct ClaimProhibitionConfig {
    /// The path of the claim.
    #[kong(len_min = 1)]
    path: Vec<String>,
    /// Refused values. Numbers and booleans are compared as text; of a list, no element may match.
    #[kong(len_min = 1)]
    one_of: Vec<String>,
}

/// One entry of `upstream_headers`.
#[derive(Debug, Deserialize, PluginConfig)]
pub(super) struct UpstreamHeaderConfig {
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

impl ClaimRequirementConfig {
    pub(super) fn into_values(field: &str, entry: Self) -> Result<ClaimValues, InvalidSetting> {
        values(field, entry.path, entry.one_of)
    }
}

impl ClaimProhibitionConfig {
    pub(super) fn into_values(field: &str, entry: Self) -> Result<ClaimValues, InvalidSetting> {
        values(field, entry.path, entry.one_of)
    }
}

impl UpstreamHeaderConfig {
    pub(super) fn into_header(field: &str, entry: Self) -> Result<UpstreamHeader, InvalidSetting> {
        Ok(UpstreamHeader {
            name: entry.header.to_ascii_lowercase(),
            path: path(&format!("{field}.path"), entry.path)?,
            required: entry.required,
        })
    }
}

fn values(
    field: &str,
    names: Vec<String>,
    one_of: Vec<String>,
) -> Result<ClaimValues, InvalidSetting> {
    Ok(ClaimValues {
        path: path(&format!("{field}.path"), names)?,
        one_of,
    })
}

/// An entry of `consumer_by`.
pub(super) fn consumer_key(field: &str, name: &str) -> Result<ConsumerKey, InvalidSetting> {
    match name {
        "username" => Ok(ConsumerKey::Username),
        "id" => Ok(ConsumerKey::Id),
        _ => Err(InvalidSetting::new(
            field,
            "only username and id can be looked up",
        )),
    }
}

/// The field `limiter_claims`.
pub(super) fn for_limiter(
    claims: BTreeMap<String, Vec<String>>,
) -> Result<Vec<(String, ClaimPath)>, InvalidSetting> {
    claims
        .into_iter()
        .map(|(name, names)| {
            let claim = path(&format!("limiter_claims.{name}"), names)?;
            Ok((name, claim))
        })
        .collect()
}
