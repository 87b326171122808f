//! The policy of `llm-jwt`: which tokens pass, and what the gateway learns from them. Knows no Kong.
//!
//! # Layout
//!
//! In the order a request meets them: [`token`] finds a token and takes it apart, [`presented`] is what it comes with, [`keys`] hold what may have signed it,
//! [`introspection`] asks about what no key can verify, [`claims`] judges what a token says, [`denylist`] whether it was revoked,
//! [`proof`] whether its holder sent it, with [`expression`] where there is one, [`identity`] is what the rest of the gateway learns, `consumer` remembers Kong's
//! consumers, [`resource`] is what it tells about itself, [`refusal`] says why not and [`answer`] says so in HTTP. [`config`] is what an operator wrote, of each issuer in `issuer`, [`process`]
//! what outlives a configuration, [`outcomes`] counts.
//!
//! # Invariants
//!
//! 1. Nothing of a token is believed before its signature is, except `iss`, `kid` and `alg` to find the key, and these
//!    only choose among issuers, keys and algorithms of the configuration.
//! 2. No lock is held across I/O; an absent provider slows nobody whose keys are loaded.
//! 3. No log line, error or answer holds anything of a token.
//!
//! # Failure
//!
//! A provider that is away is not the client's fault: without keys the answer is 503 with `Retry-After`, never 401. So it is
//! without the denylist, unless the configuration would rather let tokens pass.

pub mod algorithm;
pub mod answer;
mod cache;
pub mod claims;
pub mod config;
mod consumer;
pub mod denylist;
pub mod expression;
pub mod identity;
pub mod introspection;
mod issuer;
pub mod keys;
pub mod outcomes;
pub mod presented;
pub mod process;
pub mod proof;
pub mod refusal;
pub mod resource;
pub mod token;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod discovery_tests;
#[cfg(test)]
mod endpoint_tests;
#[cfg(test)]
mod key_attacks;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use self::cache::Verified;
use self::cache::{Signer, Source, TokenCache, TokenHash, Trusted};
use self::claims::has_scopes;
use self::config::{InvalidSetting, Issuer, Settings};
pub use self::consumer::{Consumer, ConsumerCache, ConsumerKey, Lookup};
use self::denylist::Denylist;
use self::denylist::list::List;
use self::introspection::Introspector;
use self::keys::{KeyHealth, KeySet, Keys, RemoteSettings, Unavailable, Verdict};
use self::outcomes::Outcomes;
use self::presented::Presented;
use self::process::Process;
use self::refusal::{Forbidden, InvalidToken, Refusal};
use self::token::{Jws, Token, is_jose};
use crate::clock::Clock;

/// One configuration at work. Cheap to share; lives as long as an instance uses it.
#[derive(Debug)]
pub struct Authenticator {
    settings: Arc<Settings>,
    /// In the order of `settings.issuers`.
    keys: Vec<Keys>,
    introspector: Option<Arc<Introspector>>,
    tokens: Arc<TokenCache>,
    consumers: ConsumerCache,
    /// Shared with the other configurations of this leeway.
    proofs: Arc<proof::Memory>,
    denylist: Option<Denylist>,
    clock: Arc<dyn Clock>,
    outcomes: Arc<Outcomes>,
}

impl Authenticator {
    /// Judges the settings and gets their keys ready, without any I/O.
    ///
    /// # Errors
    ///
    /// When the settings cannot work.
    pub fn new(settings: Settings, process: &Process) -> Result<Self, InvalidSetting> {
        settings.check()?;
        let keys = settings
            .issuers
            .iter()
            .enumerate()
            .map(|(at, issuer)| Self::keys_of(&settings, at, issuer, process))
            .collect::<Result<_, _>>()?;
        let denylist = match &settings.denylist {
            Some(denylist) => Some(Denylist::new(
                process.list(&denylist.store)?,
                denylist.on_error,
            )),
            None => None,
        };
        let settings = Arc::new(settings);
        let tokens = Arc::new(TokenCache::new(&settings));
        Ok(Self {
            denylist,
            introspector: Introspector::new(&settings, &tokens, process),
            tokens,
            consumers: ConsumerCache::new(settings.consumer_cache_ttl),
            proofs: process.proofs(proof::dpop::lifetime(settings.time_bounds.leeway)),
            keys,
            clock: Arc::clone(process.clock()),
            outcomes: Arc::clone(process.outcomes()),
            settings,
        })
    }

    fn keys_of(
        settings: &Settings,
        at: usize,
        issuer: &Issuer,
        process: &Process,
    ) -> Result<Keys, InvalidSetting> {
        let field = format!("issuers[{at}]");
        match (issuer.remote_keys(), issuer.static_keys(&field)?) {
            (Some(origin), _) => {
                let remote = RemoteSettings {
                    origin,
                    fetch: settings.fetch,
                };
                Ok(Keys::Remote(process.remote(remote)))
            }
            (None, Some(keys)) => {
                for key in keys.rejected() {
                    tracing::warn!(
                        field,
                        position = key.position,
                        reason = key.reason.text(),
                        "a key is left out"
                    );
                }
                Ok(Keys::Static(Arc::new(keys)))
            }
            (None, None) => Err(InvalidSetting::new(field, "no source of keys")),
        }
    }

    /// Starts fetching the keys that live elsewhere, in the background. Needs a tokio runtime.
    pub fn warm(&self) {
        self.keys.iter().for_each(Keys::warm);
    }

    /// The settings at work.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The consumers that Kong has told about.
    pub fn consumers(&self) -> &ConsumerCache {
        &self.consumers
    }

    /// Where revoked tokens are looked for.
    pub fn denylist(&self) -> Option<&List> {
        self.denylist.as_ref().map(Denylist::list)
    }

    /// The clock at work.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The counters.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Decides about a token.
    ///
    /// # Errors
    ///
    /// The refusal, if it may not pass.
    pub async fn authenticate(&self, presented: &Presented<'_>) -> Result<Arc<Verified>, Refusal> {
        let token = presented.token;
        let hash = self.tokens.is_on().then(|| cache::hash(token));
        let remembered = hash.as_ref().and_then(|hash| self.remembered(hash));
        if hash.is_some() {
            self.outcomes.looked_up(remembered.is_some());
        }
        let verified = if let Some(verified) = remembered {
            verified
        } else {
            let verified = self.verify(token).await?;
            if let Some(hash) = hash {
                self.tokens.put(hash, &verified);
            }
            verified
        };
        if let Err(reason) = verified
            .times
            .check(self.clock.unix_seconds(), self.settings.time_bounds)
        {
            if let Some(hash) = &hash {
                self.tokens.forget(hash);
            }
            return Err(reason.into());
        }
        if let Some(denylist) = &self.denylist {
            let hash = hash.unwrap_or_else(|| cache::hash(token));
            denylist
                .check(hash, &verified, &*self.clock, &self.outcomes)
                .await?;
        }
        let at = proof::dpop::Moment {
            unix_seconds: self.clock.unix_seconds(),
            monotonic: self.clock.monotonic(),
            leeway: self.settings.time_bounds.leeway,
            memory: &self.proofs,
        };
        proof::check(&verified.claims, presented, &self.settings, at)?;
        self.authorize(&verified, presented)?;
        Ok(verified)
    }

    /// What is remembered of a token, if the keys that verified it are still the issuer's current ones.
    fn remembered(&self, hash: &TokenHash) -> Option<Arc<Verified>> {
        let verified = self.tokens.get(hash, self.clock.monotonic())?;
        let Some(Signer { issuer, generation }) = verified.source.signer() else {
            return Some(verified);
        };
        let keys = self.keys[issuer].at_once()?;
        (keys.generation() == generation).then_some(verified)
    }

    /// Verifies a token by keys, or asks about it. What the endpoint says is remembered already.
    async fn verify(&self, text: &[u8]) -> Result<Arc<Verified>, Refusal> {
        let settings = &self.settings;
        if let Some(introspector) = &self.introspector
            && !is_jose(text)
        {
            return introspector.verified(text, None).await;
        }
        let token = Token::parse(text, settings.max_token_bytes)?;
        // A token without `typ` is a plain JWT (RFC 7519 §5.1).
        let typ = token.jws.typ.as_deref().unwrap_or("jwt");
        if !settings.allowed_typ.iter().any(|allowed| allowed == typ) {
            return Err(InvalidToken::Type.into());
        }
        let named = token.issuer().ok_or(InvalidToken::Issuer)?;
        let asked = self
            .introspector
            .as_ref()
            .filter(|introspector| introspector.takes_jwts_of(named));
        let known = settings
            .issuers
            .iter()
            .position(|issuer| issuer.name == named);
        let at = match (known, asked) {
            (Some(at), _) => at,
            (None, Some(introspector)) => return introspector.verified(text, None).await,
            (None, None) => return Err(InvalidToken::Issuer.into()),
        };
        let issuer = &settings.issuers[at];
        if !issuer.algorithms.contains(&token.jws.algorithm) {
            return Err(InvalidToken::Algorithm.into());
        }
        let generation = self.verify_signature(&self.keys[at], &token.jws).await?;
        let signer = Signer {
            issuer: at,
            generation,
        };
        if let Some(introspector) = asked {
            return introspector.verified(text, Some(signer)).await;
        }
        let issuer = Trusted {
            name: &issuer.name,
            audience_claim: &issuer.audience_claim,
            audience_required: issuer.audience_required.as_deref(),
        };
        let now = self.clock.monotonic();
        let source = Source::Keys(signer);
        let mut verified = Verified::judge(token.claims, issuer, source, settings, now)?;
        if self.denylist.is_some() {
            verified.twin = denylist::twin(&token.jws);
        }
        Ok(Arc::new(verified))
    }

    /// Finds the key and checks the signature of a token; the generation of the set that had it.
    ///
    /// Newer sets are looked at while none has its key, and for a wrong signature as well: a token without `kid` cannot say that its key
    /// is new, a set without gives no name to it, and some providers keep the name for another key.
    async fn verify_signature(&self, keys: &Keys, jws: &Jws<'_>) -> Result<u64, Refusal> {
        let since = self.clock.monotonic();
        let mut set = keys.current().await?;
        loop {
            let refusal = match self.try_keys(&set, jws) {
                Verdict::Valid => return Ok(set.generation()),
                Verdict::Forged => InvalidToken::Signature,
                Verdict::NoSuchKey => InvalidToken::UnknownKey,
            };
            match keys.newer_than(&set, since).await {
                Some(newer) => set = newer,
                None => return Err(refusal.into()),
            }
        }
    }

    fn try_keys(&self, set: &KeySet, jws: &Jws<'_>) -> Verdict {
        let started = self.clock.monotonic();
        let verdict = set.verify(jws);
        if verdict != Verdict::NoSuchKey {
            let took = self.clock.monotonic().saturating_sub(started);
            self.outcomes.verified(jws.algorithm, took);
        }
        verdict
    }

    /// The issuers whose keys live elsewhere, and how these stand.
    pub fn key_health(&self) -> impl Iterator<Item = (&str, KeyHealth)> {
        self.settings
            .issuers
            .iter()
            .zip(&self.keys)
            .filter_map(|(issuer, keys)| match keys {
                Keys::Remote(remote) => Some((issuer.name.as_str(), remote.health())),
                Keys::Static(_) => None,
            })
    }

    fn authorize(&self, verified: &Verified, presented: &Presented<'_>) -> Result<(), Forbidden> {
        let Settings {
            scopes_claim,
            scopes_required,
            claims_required,
            claims_forbidden,
            expression,
            ..
        } = &*self.settings;
        if !has_scopes(&verified.claims, scopes_claim, scopes_required) {
            return Err(Forbidden::Scopes);
        }
        if let Some(unmet) = claims_required
            .iter()
            .find(|required| !required.are_in(&verified.claims))
        {
            return Err(Forbidden::Claim(unmet.path.to_string()));
        }
        if let Some(met) = claims_forbidden
            .iter()
            .find(|forbidden| forbidden.are_in(&verified.claims))
        {
            return Err(Forbidden::ForbiddenClaim(met.path.to_string()));
        }
        if let Some(expression) = expression {
            expression.check(&verified.claims, presented.request)?;
        }
        match verified.identity.missing_headers.first() {
            Some(name) => Err(Forbidden::Header(name.clone())),
            None => Ok(()),
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(reason: Unavailable) -> Self {
        Self::KeysUnavailable {
            retry_after: reason.retry_after,
        }
    }
}
