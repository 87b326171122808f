//! Proof that the caller holds the key to which its token is bound: a stolen token alone opens nothing.
//!
//! # Model
//!
//! The issuer writes into `cnf` of a token to which key it is bound (RFC 7800): `jkt`, the thumbprint of a key whose holder
//! signs a proof for each request ([`dpop`], RFC 9449), or `x5t#S256`, the hash of the certificate of the TLS connection
//! ([`certificate`], RFC 8705 §3). `optional` means that bound tokens are proven and others pass, `required` that every
//! token is bound and proven, `off` that `cnf` is not looked at.

pub mod certificate;
pub mod dpop;
mod replay;
#[cfg(test)]
mod tests;

pub use self::dpop::InvalidProof;
pub(super) use self::replay::{Memory, Seen};
use super::claims::Claims;
use super::config::{InvalidSetting, Settings};
use super::presented::{Presented, Scheme};
use super::refusal::{InvalidToken, Refusal};
use super::token::Locations;

/// Whether tokens must be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Bindings are not looked at.
    Off,
    /// Bound tokens must be proven, others pass.
    Optional,
    /// Each token must be bound and proven.
    Required,
}

/// The two ways of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofOfPossession {
    /// By a signed proof in the header `DPoP`.
    pub dpop: Mode,
    /// By the client certificate of the TLS connection.
    pub mtls: Mode,
}

impl ProofOfPossession {
    /// Looks at no binding.
    pub const OFF: Self = Self {
        dpop: Mode::Off,
        mtls: Mode::Off,
    };

    /// Whether a token can be sent so that it is found at all.
    ///
    /// # Errors
    ///
    /// When proofs are asked for where no token can come with one.
    pub fn check(self, locations: &Locations) -> Result<(), InvalidSetting> {
        let authorization = locations.headers.iter().any(|name| name == "authorization");
        if self.dpop != Mode::Off && !authorization {
            return Err(InvalidSetting::new(
                "proof_of_possession.dpop",
                "tokens with a proof come in the header authorization: add it to header_names",
            ));
        }
        Ok(())
    }
}

/// The key to which a token is bound by a member of `cnf`, if it is.
fn binding<'c>(claims: &'c Claims, member: &str) -> Result<Option<&'c str>, InvalidToken> {
    match claims.get("cnf") {
        None => Ok(None),
        Some(confirmation) => match confirmation.as_object().map(|members| members.get(member)) {
            Some(None) => Ok(None),
            Some(Some(value)) => value.as_str().map(Some).ok_or(InvalidToken::Binding),
            None => Err(InvalidToken::Binding),
        },
    }
}

/// Holds what the caller presents against the token's bindings.
///
/// # Errors
///
/// When the token is bound and not proven, or must be bound and is not.
pub(super) fn check(
    claims: &Claims,
    presented: &Presented<'_>,
    settings: &Settings,
    at: dpop::Moment<'_>,
) -> Result<(), Refusal> {
    let ProofOfPossession { dpop, mtls } = settings.proof_of_possession;
    if mtls != Mode::Off {
        match (binding(claims, "x5t#S256")?, mtls) {
            (Some(bound), _) => certificate::check(bound, presented.certificate)?,
            (None, Mode::Required) => return Err(InvalidToken::NotBound.into()),
            (None, _) => {}
        }
    }
    if dpop != Mode::Off {
        match (binding(claims, "jkt")?, presented.scheme) {
            (Some(bound), Scheme::Dpop) => dpop::check(bound, presented, at)?,
            (Some(_), Scheme::Bearer) => return Err(InvalidToken::SentPlain.into()),
            (None, Scheme::Dpop) => return Err(InvalidToken::NotBound.into()),
            (None, Scheme::Bearer) if dpop == Mode::Required => {
                return Err(InvalidToken::NotBound.into());
            }
            (None, Scheme::Bearer) => {}
        }
    }
    Ok(())
}
