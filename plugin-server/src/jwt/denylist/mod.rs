//! Tokens that are over before they expire: what an operator has revoked.
//!
//! # Layout
//!
//! [`revocation`] says what can be revoked and how it is known again, [`list`] where that is kept ([`memory`], or a Redis that all
//! processes share), and `Denylist` is what a configuration makes of a list, and of one that is away.
//!
//! # Model
//!
//! A token is looked for by its SHA-256, by `iss` and `jti`, and by `iss` and `sub`; an entry of the last kind denies those issued
//! before a moment. All are one question to the list, asked for every request, remembered tokens included.
//!
//! # Invariants
//!
//! 1. An entry stays until the last token that it denies is over, with all the leeway that a configuration may give it.
//! 2. No entry is given up for another: a list that is full refuses the next one.
//! 3. A token itself is never in a list.
//! 4. A token by ECDSA is found by its SHA-256 with either of its two signatures: whoever has the one can make the other (`twin`).
//!
//! # Failure
//!
//! A Redis that is away is, by `on_error`, a 503 or a request that passes unchecked, which is logged and counted. No request waits
//! for it longer than its timeout, nor at all once it is known to be away. The list in memory ends with its process.

pub mod list;
pub mod memory;
pub mod revocation;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::list::List;
use self::revocation::{RevocationId, Standing};
use super::cache::{self, TokenHash, Verified};
use super::keys;
use super::outcomes::{Denial, Outcomes};
use super::refusal::{InvalidToken, Refusal};
use super::token::Jws;
use crate::clock::Clock;
use crate::stores::StoreConfig;
use crate::stores::failover::RETRY;

/// How often the log says that requests pass unchecked.
const REMINDER: Duration = Duration::from_secs(10);

/// The denylist of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DenylistSettings {
    /// Where it is kept.
    pub store: StoreConfig,
    /// What becomes of requests while that cannot be asked.
    pub on_error: OnError,
}

/// What becomes of requests while the denylist cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnError {
    /// They are refused with 503.
    Closed,
    /// They pass unchecked.
    Open,
}

/// A list, and what one configuration makes of it.
#[derive(Debug)]
pub(super) struct Denylist {
    list: List,
    on_error: OnError,
    /// When the log may speak again (monotonic, in milliseconds).
    silent_until_ms: AtomicU64,
}

impl Denylist {
    pub(super) fn new(list: List, on_error: OnError) -> Self {
        Self {
            list,
            on_error,
            silent_until_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn list(&self) -> &List {
        &self.list
    }

    /// Refuses a token that was revoked, and, by `on_error`, one of which that cannot be known.
    pub(super) async fn check(
        &self,
        token: TokenHash,
        verified: &Verified,
        clock: &dyn Clock,
        outcomes: &Outcomes,
    ) -> Result<(), Refusal> {
        let identity = &verified.identity;
        let jti = verified.claims.get("jti").and_then(|jti| jti.as_str());
        let ids = [
            Some(RevocationId::of_token(&token)),
            verified.twin.map(|twin| RevocationId::of_token(&twin)),
            jti.map(|jti| RevocationId::of_jti(&identity.issuer, jti)),
            identity
                .subject
                .as_deref()
                .map(|subject| RevocationId::of_subject(&identity.issuer, subject)),
        ];
        let (counted, answer) = match self.list.look_up(ids).await {
            Ok([token, twin, jti, subject]) => {
                let now = clock.unix_seconds();
                let holds = |standing: Option<Standing>| standing.is_some_and(|it| it.holds(now));
                let before = subject.map_or(0, |standing| standing.issued_before);
                // A token that does not say when it was issued may be any old one.
                let is_old = verified.times.issued.is_none_or(|issued| issued < before);
                if [token, twin, jti].into_iter().any(holds) || holds(subject) && is_old {
                    (Denial::Revoked, Err(InvalidToken::Revoked.into()))
                } else {
                    (Denial::NotRevoked, Ok(()))
                }
            }
            Err(_) if self.on_error == OnError::Open => {
                self.warn(clock.monotonic());
                (Denial::Unchecked, Ok(()))
            }
            Err(_) => {
                let refusal = Refusal::DenylistUnavailable { retry_after: RETRY };
                (Denial::Refused, Err(refusal))
            }
        };
        outcomes.looked_for_denial(counted);
        answer
    }

    fn warn(&self, now: Duration) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let until = self.silent_until_ms.load(Ordering::Relaxed);
        let next = ms(now.saturating_add(REMINDER));
        let order = Ordering::Relaxed;
        if ms(now) >= until
            && (self.silent_until_ms)
                .compare_exchange(until, next, order, order)
                .is_ok()
        {
            tracing::warn!(
                store = %self.list.name(),
                "the denylist cannot be asked: tokens pass though they may be revoked (denylist.on_error: open)"
            );
        }
    }
}

/// The hash of the same token with its other signature, where it has one.
pub(super) fn twin(jws: &Jws<'_>) -> Option<TokenHash> {
    let signature = URL_SAFE_NO_PAD.decode(jws.signature).ok()?;
    let twin = URL_SAFE_NO_PAD.encode(keys::twin(jws.algorithm, &signature)?);
    let token = format!("{}.{twin}", jws.signing_input);
    Some(cache::hash(token.as_bytes()))
}

#[cfg(test)]
mod tests;
