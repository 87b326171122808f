//! Opaque tokens, judged by asking the server that gave them out (RFC 7662).
//!
//! # Model
//!
//! | token | what becomes of it |
//! |---|---|
//! | looks like a JOSE object: JWS, JWE, whole or broken | never sent: verified by the keys of the issuer that it names, or refused |
//! | the same, a sound JWS that names `introspection_issuer`, with `introspect_jwt_tokens` | sent; where `issuers` has that issuer, only if its signature is right |
//! | longer than `max_token_size`, or with characters that no access token has | refused, not sent |
//! | anything else | sent |
//!
//! So a token of a stranger's issuer is shown to nobody, and a forged one of ours costs the endpoint nothing.
//! The claims of an active token run through the same checks as those of a JWT; `active` itself is one of them.
//!
//! # Invariants
//!
//! 1. One question at a time for each token; whoever needs it waits for the same one, and it goes on when they leave. At most
//!    `MOST_AT_ONCE` questions are at the endpoint, the others wait for their turn within `introspection_timeout`.
//! 2. No lock is held while anything is awaited.
//! 3. An active token is remembered for `introspection_cache_ttl` since it was asked about and never past `exp`; a refused one for
//!    `REFUSAL_TTL` at most, in a cache of its own, so that a flood of invented tokens drives no good one out.
//! 4. Only an answer of the protocol is believed. Everything else refuses the request as not decidable, never the token.
//!
//! # Failure
//!
//! An endpoint that is away, slow, huge or lying, or that does not let us in, is a 503 with `Retry-After`. After a few failures
//! in a row it is left alone for a while (`patience`), and requests with tokens that are not remembered are answered at once.

mod outcomes;
mod patience;
mod request;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture, Shared};
use moka::sync::Cache;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;

pub use self::outcomes::{Introspected, IntrospectionOutcomes};
use self::patience::{FIRST_PAUSE, Patience};
use self::request::{Answer, Endpoint, IntrospectionError};
pub use self::settings::{ClientAuthentication, ClientCredentials, IntrospectionSettings};
use super::cache::{self, Signer, Source, TokenCache, TokenHash, Trusted, Verified};
use super::claims::Claims;
use super::config::Settings;
use super::denylist;
use super::outcomes::Outcomes;
use super::process::Process;
use super::refusal::{InvalidToken, Refusal};
use super::token::{Jws, access_token};
use crate::clock::Clock;

/// Questions that are at the endpoint at once.
const MOST_AT_ONCE: usize = 64;
/// Questions under way, those that wait for their turn included. Each holds a token.
const MOST_UNDER_WAY: usize = 4096;
/// How long a refused token is remembered at most: one that was given out a moment ago may not be known everywhere yet.
const REFUSAL_TTL: Duration = Duration::from_secs(5);

type Verdict = Result<Arc<Verified>, Refusal>;
type Flight = Shared<BoxFuture<'static, Verdict>>;

#[derive(Default)]
struct State {
    flights: HashMap<TokenHash, Flight>,
    patience: Patience,
}

/// The introspection of one configuration.
pub(super) struct Introspector {
    settings: Arc<Settings>,
    introspection: IntrospectionSettings,
    clock: Arc<dyn Clock>,
    outcomes: Arc<Outcomes>,
    endpoint: Endpoint,
    turns: Semaphore,
    /// Shared with the tokens that keys have verified.
    tokens: Arc<TokenCache>,
    /// When a token was asked about (monotonic) and why it is refused.
    refused: Cache<TokenHash, (Duration, InvalidToken)>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Introspector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Introspector")
            .field("introspection", &self.introspection)
            .finish_non_exhaustive()
    }
}

impl Introspector {
    /// The introspection that `settings` ask for, if they do; what it finds goes into `tokens`. Without any I/O.
    pub(super) fn new(
        settings: &Arc<Settings>,
        tokens: &Arc<TokenCache>,
        process: &Process,
    ) -> Option<Arc<Self>> {
        let introspection = settings.introspection.clone()?;
        Some(Arc::new(Self {
            settings: Arc::clone(settings),
            introspection,
            clock: Arc::clone(process.clock()),
            outcomes: Arc::clone(process.outcomes()),
            endpoint: Endpoint::default(),
            turns: Semaphore::new(MOST_AT_ONCE),
            tokens: Arc::clone(tokens),
            // Its own expiry only frees memory: what counts is checked against our clock.
            refused: Cache::builder()
                .max_capacity(settings.token_cache_size)
                .time_to_live(REFUSAL_TTL)
                .build(),
            state: Mutex::default(),
        }))
    }

    /// Whether JWTs of `issuer` are asked about.
    pub(super) fn takes_jwts_of(&self, issuer: &str) -> bool {
        self.introspection.introspects_jwts && self.introspection.issuer == issuer
    }

    /// What the endpoint makes of a token, whose signature `signer` has made if that was looked at.
    ///
    /// # Errors
    ///
    /// When the token is not acceptable, or there is no usable answer.
    pub(super) async fn verified(
        self: &Arc<Self>,
        token: &[u8],
        signer: Option<Signer>,
    ) -> Verdict {
        let token = access_token(token, self.settings.max_token_bytes)?;
        self.flight(token, Source::Introspection(signer)).await
    }

    /// The question about `token` that is under way, or a new one, or what is known without asking.
    fn flight(self: &Arc<Self>, token: &str, source: Source) -> Flight {
        let hash = cache::hash(token.as_bytes());
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if let Some(flight) = state.flights.get(&hash) {
            return flight.clone();
        }
        // A flight leaves its verdict before it is gone from the map, so that none is missed between the two looks.
        let known = self.remembered(&hash, source, now).or_else(|| {
            let crowded = state.flights.len() >= MOST_UNDER_WAY;
            let pause = state.patience.pause_left(now);
            pause
                .or(crowded.then_some(FIRST_PAUSE))
                .map(|retry_after| Err(Refusal::IntrospectionUnavailable { retry_after }))
        });
        if let Some(verdict) = known {
            return future::ready(verdict).boxed().shared();
        }
        let (this, token) = (Arc::clone(self), token.to_owned());
        // Its own task: it goes on when the request that needed it is gone. It cannot end before it is in the map, because it
        // takes the same lock.
        let task = tokio::spawn(async move {
            let asked = AssertUnwindSafe(this.ask(&token, hash, source, now)).catch_unwind();
            let verdict = asked.await.unwrap_or(Err(UNAVAILABLE));
            this.state.lock().flights.remove(&hash);
            verdict
        });
        let flight = async move { task.await.unwrap_or(Err(UNAVAILABLE)) };
        let flight: Flight = flight.boxed().shared();
        state.flights.insert(hash, flight.clone());
        flight
    }

    fn remembered(&self, hash: &TokenHash, source: Source, now: Duration) -> Option<Verdict> {
        let verified = self.tokens.get(hash, now);
        if let Some(verified) = verified.filter(|verified| verified.source == source) {
            return Some(Ok(verified));
        }
        let (at, reason) = self.refused.get(hash)?;
        (now.saturating_sub(at) < self.refusal_ttl()).then(|| Err(reason.into()))
    }

    fn refusal_ttl(&self) -> Duration {
        REFUSAL_TTL.min(self.introspection.cache_ttl)
    }

    /// Asks, judges and remembers.
    async fn ask(&self, token: &str, hash: TokenHash, source: Source, asked: Duration) -> Verdict {
        let question = async {
            let _turn = self.turns.acquire().await;
            self.endpoint.ask(token, &self.introspection).await
        };
        let answer = tokio::time::timeout(self.introspection.timeout, question)
            .await
            .unwrap_or(Err(IntrospectionError::TimedOut));
        let now = self.clock.monotonic();
        let outcome = match &answer {
            Ok(Answer::Active(_)) => Introspected::Active,
            Ok(Answer::Inactive) => Introspected::Inactive,
            Err(_) => Introspected::Failed,
        };
        self.outcomes
            .introspection
            .count(outcome, now.saturating_sub(asked));
        let judged = match answer {
            Ok(Answer::Active(claims)) => self.judge(claims, source, asked),
            Ok(Answer::Inactive) => Err(InvalidToken::Inactive),
            Err(error) => return Err(self.failed(&error, asked, now)),
        };
        self.state.lock().patience.succeeded();
        match judged {
            Ok(mut verified) => {
                if self.settings.denylist.is_some() {
                    verified.twin = Jws::parse(token.as_bytes(), self.settings.max_token_bytes)
                        .ok()
                        .and_then(|(jws, _)| denylist::twin(&jws));
                }
                let verified = Arc::new(verified);
                self.tokens.put(hash, &verified);
                Ok(verified)
            }
            Err(reason) => {
                self.refused.insert(hash, (asked, reason.clone()));
                Err(reason.into())
            }
        }
    }

    fn judge(
        &self,
        claims: Claims,
        source: Source,
        asked: Duration,
    ) -> Result<Verified, InvalidToken> {
        if is_of_another_use(&claims) {
            return Err(InvalidToken::Use);
        }
        let IntrospectionSettings {
            issuer,
            audience_claim,
            audience_required,
            ..
        } = &self.introspection;
        match claims.get("iss") {
            None | Some(Value::Null) => {}
            Some(Value::String(named)) if named == issuer => {}
            Some(_) => return Err(InvalidToken::Issuer),
        }
        let issuer = Trusted {
            name: issuer,
            audience_claim,
            audience_required: audience_required.as_deref(),
        };
        let verified = Verified::judge(claims, issuer, source, &self.settings, asked)?;
        // Checked again at each use; here so that an answer that contradicts itself is remembered as a refusal.
        verified
            .times
            .check(self.clock.unix_seconds(), self.settings.time_bounds)?;
        Ok(verified)
    }

    fn failed(&self, error: &IntrospectionError, asked: Duration, now: Duration) -> Refusal {
        let pause = {
            let patience = &mut self.state.lock().patience;
            patience.failed(asked, now);
            patience.pause_left(now)
        };
        tracing::warn!(
            endpoint = self.introspection.endpoint,
            %error,
            paused_seconds = pause.map(|pause| pause.as_secs()),
            "a token could not be introspected"
        );
        Refusal::IntrospectionUnavailable {
            retry_after: pause.unwrap_or(FIRST_PAUSE),
        }
    }
}

/// Whether an answer is about a refresh token or an ID token: these are active as well, and no access tokens. RFC 7662 has no name for
/// that, servers have several: `token_use` (Ory Hydra), `typ` (Keycloak), `token_type`.
fn is_of_another_use(claims: &Claims) -> bool {
    ["token_use", "token_type", "typ"]
        .into_iter()
        .filter_map(|name| claims.get(name)?.as_str())
        .any(|named| {
            ["refresh_token", "refresh", "offline", "id_token", "id"]
                .into_iter()
                .any(|other| named.eq_ignore_ascii_case(other))
        })
}

const UNAVAILABLE: Refusal = Refusal::IntrospectionUnavailable {
    retry_after: FIRST_PAUSE,
};
