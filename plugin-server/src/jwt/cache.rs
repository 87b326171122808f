//! Verified tokens, remembered by their hash.
//!
//! # Invariants
//!
//! 1. A token is never stored, only its SHA-256; a cache belongs to one configuration, so an entry of another route
//!    with another audience cannot be found.
//! 2. An entry is believed while the key set that verified it is the current one, at most for the configured time and
//!    never past `exp`. Whoever uses it checks dates and authorization again.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::claims::{Claims, Times};
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
    /// The position of its issuer in the configuration.
    pub(super) issuer: usize,
    /// The key set that verified it.
    pub(super) generation: u64,
    /// When it was verified (monotonic).
    pub(super) at: Duration,
    /// Its dates.
    pub(super) times: Times,
    /// Its payload.
    pub(super) claims: Claims,
    /// What the gateway makes of it.
    pub identity: Identity,
}

/// The verified tokens of one configuration.
#[derive(Debug)]
pub(super) struct TokenCache {
    entries: Option<Cache<TokenHash, Arc<Verified>>>,
    ttl: Duration,
}

impl TokenCache {
    /// A cache of at most `size` tokens for at most `ttl`; zero of either remembers nothing.
    pub(super) fn new(size: u64, ttl: Duration) -> Self {
        let entries = (size > 0 && !ttl.is_zero())
            // Its own expiry only frees memory: what counts is checked against our clock.
            .then(|| {
                Cache::builder()
                    .max_capacity(size)
                    .time_to_live(ttl)
                    .build()
            });
        Self { entries, ttl }
    }

    /// What is remembered of a token, if it is young enough at `now` (monotonic).
    pub(super) fn get(&self, hash: &TokenHash, now: Duration) -> Option<Arc<Verified>> {
        let verified = self.entries.as_ref()?.get(hash)?;
        (now.saturating_sub(verified.at) < self.ttl).then_some(verified)
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
