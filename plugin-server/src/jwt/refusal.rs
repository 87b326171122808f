//! Why a request is not let through, in the words of the policy.

use std::time::Duration;

use super::claims::UnacceptableClaims;
use super::expression::Unmet;
use super::outcomes::Outcome;
use super::token::Malformed;

/// A decision against a request. The text is for the log: it holds nothing of a token, and no client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No location holds a token.
    #[error("no token")]
    Missing,
    /// Two different tokens.
    #[error("two different tokens")]
    Ambiguous,
    /// More headers than Kong shows: one of them might hold another token, or forge a header of ours.
    #[error("more headers than can be checked")]
    TooManyHeaders,
    /// A token that is not acceptable.
    #[error("{0}")]
    Invalid(#[from] InvalidToken),
    /// A valid token that may not do this.
    #[error("{0}")]
    Forbidden(#[from] Forbidden),
    /// A consumer is required and there is none of that name.
    #[error("no consumer belongs to the token")]
    NoConsumer,
    /// The issuer's keys were never loaded, or are too old.
    #[error("the issuer's keys could not be loaded")]
    KeysUnavailable {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// The configured anonymous consumer does not exist.
    #[error("the consumer of `anonymous` does not exist")]
    NoAnonymousConsumer,
}

/// Why a token is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Its form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// `typ` is not among `allowed_typ`.
    #[error("the token is of another type than allowed_typ")]
    Type,
    /// `iss` is absent, not a string, or not configured.
    #[error("the token's issuer is not configured")]
    Issuer,
    /// The issuer may not use this algorithm.
    #[error("the algorithm is not among the issuer's algorithms")]
    Algorithm,
    /// The issuer has no such key, also after a fetch if one was allowed.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// No key of the issuer made the signature.
    #[error("the signature is wrong")]
    Signature,
    /// Its claims.
    #[error(transparent)]
    Claims(#[from] UnacceptableClaims),
}

/// Why a valid token may not do this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// None of `scopes_required`.
    #[error("the token lacks the required scopes")]
    Scopes,
    /// One of `claims_required`.
    #[error("the claim `{0}` has not a required value")]
    Claim(String),
    /// One of `claims_forbidden`.
    #[error("the claim `{0}` has a forbidden value")]
    ForbiddenClaim(String),
    /// `expression` is not true.
    #[error("the expression is not met: {0}")]
    Expression(#[from] Unmet),
    /// No claim for a required upstream header.
    #[error("the token has no claim for the required header `{0}`")]
    Header(String),
}

impl Refusal {
    /// Whether a request refused for this may pass as the anonymous consumer: when nobody is known to be calling,
    /// never when somebody is and may not, nor when it cannot be known.
    pub fn admits_anonymous(&self) -> bool {
        matches!(self, Self::Missing | Self::Ambiguous | Self::Invalid(_))
    }

    /// How it is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Missing => Outcome::Missing,
            Self::Ambiguous | Self::TooManyHeaders => Outcome::Ambiguous,
            Self::Invalid(_) => Outcome::Invalid,
            Self::Forbidden(_) | Self::NoConsumer => Outcome::Forbidden,
            Self::KeysUnavailable { .. } => Outcome::Unavailable,
            Self::NoAnonymousConsumer => Outcome::Misconfigured,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(reason: Malformed) -> Self {
        Self::Invalid(reason.into())
    }
}

impl From<UnacceptableClaims> for Refusal {
    fn from(reason: UnacceptableClaims) -> Self {
        Self::Invalid(reason.into())
    }
}
