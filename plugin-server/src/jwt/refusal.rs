//! Why a request is not let through, in the words of the policy.

use std::time::Duration;

use super::claims::UnacceptableClaims;
use super::expression::Unmet;
use super::outcomes::Outcome;
use super::proof::InvalidProof;
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
    /// A proof of possession that is not acceptable.
    #[error("{0}")]
    Proof(#[from] InvalidProof),
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
    /// The denylist cannot be asked, and `denylist.on_error` is `closed`.
    #[error("the denylist cannot be asked")]
    DenylistUnavailable {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// The introspection endpoint gave no usable answer, or is left alone because it gave none before.
    #[error("the introspection endpoint gives no usable answer")]
    IntrospectionUnavailable {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// More proofs were used than can be remembered, and without memory none can be accepted.
    #[error("no more proofs of possession can be remembered")]
    MemoryFull,
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
    /// The server that would know says no.
    #[error("the token is not active")]
    Inactive,
    /// The server that knows it calls it a refresh token or an ID token.
    #[error("the endpoint says that this is a refresh token or an ID token")]
    Use,
    /// `cnf` has not its form (RFC 7800 §3.1).
    #[error("the token's `cnf` is malformed")]
    Binding,
    /// It is bound to no key where it must be, or was sent as if it were.
    #[error("the token is bound to no key")]
    NotBound,
    /// It is bound to a key and came without a proof.
    #[error("the token is bound to a key and came without proof")]
    SentPlain,
    /// The proof is by another key.
    #[error("the token is bound to another key than the proof's")]
    OtherKey,
    /// It is bound to a certificate, and the client has shown none.
    #[error("the token is bound to a certificate and the client has shown none")]
    NoCertificate,
    /// The client's certificate is another.
    #[error("the token is bound to another certificate than the client's")]
    OtherCertificate,
    /// An operator has revoked it.
    #[error("the token was revoked")]
    Revoked,
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
        matches!(
            self,
            Self::Missing | Self::Ambiguous | Self::Invalid(_) | Self::Proof(_)
        )
    }

    /// How it is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Missing => Outcome::Missing,
            Self::Ambiguous | Self::TooManyHeaders => Outcome::Ambiguous,
            Self::Invalid(_) | Self::Proof(_) => Outcome::Invalid,
            Self::Forbidden(_) | Self::NoConsumer => Outcome::Forbidden,
            Self::KeysUnavailable { .. }
            | Self::DenylistUnavailable { .. }
            | Self::IntrospectionUnavailable { .. }
            | Self::MemoryFull => Outcome::Unavailable,
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
