//! Verified tokens, remembered by their hash.
//!
//! # Invariants
//!
//! 1. A token is never stored, only its SHA-256; a cache belongs to one configuration, so an entry of another route
//!    with another audience cannot be found.
//! 2. An entry is believed while the key set that verified it is the current one, if keys did, at most for the configured time and
//!    never past `exp`. Whoever uses it checks dates and authorization again.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::claims::{ClaimPath, Claims, Times, UnacceptableClaims, check_audience, check_required};
use super::config::Settings;
use super::identity::Identity;

/// The SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// The hash under which `token` is remembered.
pub(super) fn hash(token: &[u8]) -> TokenHash {
    Sha256::digest(token).into()
}

/// What a verified token said.
#[derive(Debug)]
pub struct Verified {
    /// What vouches for it.
    pub(super) source: Source,
    /// When it was verified, or asked about (monotonic).
    pub(super) at: Duration,
    /// The hash of the same token with its other signature (see `denylist::twin`), where revoked tokens are looked for.
    pub(super) twin: Option<TokenHash>,
    /// Its dates.
    pub(super) times: Times,
    /// Its payload.
    pub(super) claims: Claims,
    /// What the gateway makes of it.
    pub identity: Identity,
}

/// What vouches for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A key has made its signature.
    Keys(Signer),
    /// The server that gave it out, and a key where its signature was looked at first.
    Introspection(Option<Signer>),
}

/// Whose key has made a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signer {
    /// The position of the issuer in the configuration.
    pub(super) issuer: usize,
    /// The key set that had the key.
    pub(super) generation: u64,
}

impl Source {
    pub(super) fn signer(self) -> Option<Signer> {
        match self {
            Self::Keys(signer) => Some(signer),
            Self::Introspection(signer) => signer,
        }
    }
}

/// Whose token it is, and whom such a token must be meant for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted<'s> {
    pub(super) name: &'s str,
    pub(super) audience_claim: &'s ClaimPath,
    /// `None` accepts any.
    pub(super) audience_required: Option<&'s [String]>,
}

impl Verified {
    /// Judges claims that `source` vouches for, apart from the time and from what a route asks for.
    ///
    /// # Errors
    ///
    /// Why they are not acceptable.
    pub(super) fn judge(
        claims: Claims,
        issuer: Trusted<'_>,
        source: Source,
        settings: &Settings,
        at: Duration,
    ) -> Result<Self, UnacceptableClaims> {
        check_required(&claims, &settings.required_claims)?;
        if let Some(accepted) = issuer.audience_required {
            check_audience(&claims, issuer.audience_claim, accepted)?;
        }
        Ok(Self {
            source,
            at,
            twin: None,
            times: Times::read(&claims)?,
            identity: Identity::read(issuer.name, &claims, settings)?,
            claims,
        })
    }
}

/// The verified tokens of one configuration.
#[derive(Debug)]
pub(super) struct TokenCache {
    entries: Option<Cache<TokenHash, Arc<Verified>>>,
    verified_ttl: Duration,
    introspected_ttl: Duration,
}

impl TokenCache {
    /// The cache that `settings` ask for.
    pub(super) fn new(settings: &Settings) -> Self {
        let (size, verified_ttl) = (settings.token_cache_size, settings.token_cache_ttl);
        let introspected_ttl = settings
            .introspection
            .as_ref()
            .map_or(Duration::ZERO, |introspection| introspection.cache_ttl);
        let ttl = verified_ttl.max(introspected_ttl);
        let entries = (size > 0 && !ttl.is_zero())
            // Its own expiry only frees memory: what counts is checked against our clock.
            .then(|| {
                Cache::builder()
                    .max_capacity(size)
                    .time_to_live(ttl)
                    .build()
            });
        Self {
            entries,
            verified_ttl,
            introspected_ttl,
        }
    }

    /// What is remembered of a token, if it is young enough at `now` (monotonic).
    pub(super) fn get(&self, hash: &TokenHash, now: Duration) -> Option<Arc<Verified>> {
        let verified = self.entries.as_ref()?.get(hash)?;
        let ttl = match verified.source {
            Source::Keys(_) => self.verified_ttl,
            Source::Introspection(_) => self.introspected_ttl,
        };
        (now.saturating_sub(verified.at) < ttl).then_some(verified)
    }

    pub(super) fn put(&self, hash: TokenHash, verified: &Arc<Verified>) {
        if let Some(entries) = &self.entries {
            entries.insert(hash, Arc::clone(verified));
        }
    }

    pub(super) fn forget(&self, hash: &TokenHash) {
        if let Some(entries) = &self.entries {
            entries.invalidate(hash);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.entries.is_some()
    }
}
