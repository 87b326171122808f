//! The field `proof_of_possession`.

use kong_pdk::PluginConfig;
use serde::Deserialize;

use crate::jwt::proof::{Mode, ProofOfPossession};

/// The field `proof_of_possession`.
#[derive(Debug, Deserialize, PluginConfig)]
pub(super) struct ProofOfPossessionConfig {
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

impl ProofOfPossessionConfig {
    /// Whether tokens may come with the scheme DPoP.
    pub(super) fn uses_dpop(&self) -> bool {
        !matches!(self.dpop, ModeName::Off)
    }
}

impl From<ProofOfPossessionConfig> for ProofOfPossession {
    fn from(config: ProofOfPossessionConfig) -> Self {
        Self {
            dpop: config.dpop.into(),
            mtls: config.mtls.into(),
        }
    }
}
