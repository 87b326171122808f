//! An issuer's published keys, kept fresh by the requests that need them.
//!
//! # Model
//!
//! | age of the keys | what a request sees |
//! |---|---|
//! | below `refresh_after` | the keys |
//! | below `cache_ttl` | the keys; the first request starts a fetch in the background |
//! | below `cache_ttl + stale_ttl` | the keys, after waiting for a fetch if none has failed since they came |
//! | above, or never loaded | waits for a fetch; without keys after it, [`Unavailable`] |
//!
//! An unknown key waits for a fetch that began after its token came: one that began before may have been answered before the key was
//! published. A wrong signature counts as one by an unknown key: that key may have taken another's `kid`, or have none. They cause a
//! fetch only if the last that they caused began at least `cooldown` ago; those for age do not count.
//! A fetch by discovery asks the metadata first, then the JWK set that they name. For an unknown key it goes straight to
//! the set that they named last, and asks them only if nothing usable is there.
//! After a failure the next fetch may begin after 1 s, then 2, 4, …, never later than `cooldown`.
//!
//! # Invariants
//!
//! 1. One fetch at a time; whoever needs it waits for the same one, and it goes on when they leave.
//! 2. No lock is held while anything is awaited.
//! 3. A failed fetch, or one without a usable key, changes no keys. One that brings the same text keeps the
//!    generation, so that remembered tokens stay remembered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::KeySet;
use super::discovery;
use super::fetch::{Document, FetchError, Fetcher};
use crate::clock::Clock;
use crate::jwt::config::FetchSettings;
use crate::jwt::outcomes::{Fetched, Outcomes};

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Where keys are published.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// At the URL of a JWK set.
    Jwks(String),
    /// Where an issuer's metadata say.
    Discovery {
        /// The URL of the metadata.
        document: String,
        /// The `issuer` that they must name.
        issuer: String,
    },
}

impl Origin {
    /// The URL that the configuration names.
    fn url(&self) -> &str {
        match self {
            Self::Jwks(url) | Self::Discovery { document: url, .. } => url,
        }
    }
}

/// What two issuers must have in common to share their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteSettings {
    /// Where the keys are.
    pub origin: Origin,
    /// How it is fetched and kept.
    pub fetch: FetchSettings,
}

/// There are no keys to judge a token with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys could not be loaded")]
pub struct Unavailable {
    /// When it is worth asking again.
    pub retry_after: Duration,
}

/// How an issuer's published keys stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHealth {
    /// Since they were last fetched, or since they were first wanted if they never were.
    pub age: Duration,
    /// How long they serve yet if their provider stays away; zero if there are none.
    pub serve_for: Duration,
    /// Whether tokens are judged by keys past `cache_ttl`, or by none, because fetches fail. Keys that nobody has asked for
    /// since they grew old are not stale: the next request fetches them.
    pub stale: bool,
}

impl KeyHealth {
    /// The worse of two, where one name stands for both.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        Self {
            age: self.age.max(other.age),
            serve_for: self.serve_for.min(other.serve_for),
            stale: self.stale || other.stale,
        }
    }
}

type Flight = Shared<BoxFuture<'static, ()>>;

struct Loaded {
    keys: Arc<KeySet>,
    at: Duration,
    digest: [u8; 32],
}

#[derive(Default)]
struct State {
    flight: Option<Flight>,
    last_start: Option<Duration>,
    /// The last start for [`Cause::UnknownKey`].
    last_search: Option<Duration>,
    /// Failures since the last success.
    failures: u32,
}

/// The keys of one origin. Shared by every configuration that names it with the same [`RemoteSettings`].
pub struct RemoteKeys {
    settings: RemoteSettings,
    clock: Arc<dyn Clock>,
    outcomes: Arc<Outcomes>,
    fetcher: Fetcher,
    /// When these keys were first wanted (monotonic).
    wanted: Duration,
    loaded: ArcSwapOption<Loaded>,
    /// The URL of the set that the metadata named when they last led to keys.
    discovered: Mutex<Option<String>>,
    state: Mutex<State>,
}

impl std::fmt::Debug for RemoteKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RemoteKeys")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Cause {
    /// The keys are absent or old.
    Age,
    /// A token names a key that the set lacks: anyone can cause this.
    UnknownKey,
}

impl RemoteKeys {
    /// Keys that are not loaded yet.
    pub fn new(
        settings: RemoteSettings,
        clock: Arc<dyn Clock>,
        outcomes: Arc<Outcomes>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            wanted: clock.monotonic(),
            clock,
            outcomes,
            fetcher: Fetcher::default(),
            loaded: ArcSwapOption::empty(),
            discovered: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Starts the first fetch without waiting for it. Needs a tokio runtime.
    pub fn warm(self: &Arc<Self>) {
        if self.loaded.load().is_none() {
            let _in_background = self.fetch(Cause::Age);
        }
    }

    /// The keys, if they may be used without waiting; starts a fetch in the background when they are due.
    pub fn at_once(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let FetchSettings {
            cache_ttl,
            refresh_after,
            ..
        } = self.settings.fetch;
        let (keys, age) = self.usable()?;
        if age >= refresh_after {
            let failing = self.state.lock().failures > 0;
            let _in_background = self.fetch(Cause::Age);
            if age >= cache_ttl && !failing {
                return None;
            }
        }
        Some(keys)
    }

    /// The keys to try first; see the table of this module.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, Unavailable> {
        if let Some(keys) = self.at_once() {
            return Ok(keys);
        }
        if let Some(flight) = self.fetch(Cause::Age) {
            flight.await;
        }
        match self.usable() {
            Some((keys, _)) => Ok(keys),
            None => Err(Unavailable {
                retry_after: self.pause_left(),
            }),
        }
    }

    /// A set of another generation than `tried`, which did not do for a token that came at `since` (monotonic); fetched if that is
    /// allowed now.
    pub async fn newer_than(
        self: &Arc<Self>,
        tried: &KeySet,
        since: Duration,
    ) -> Option<Arc<KeySet>> {
        loop {
            if let Some((keys, _)) = self.usable()
                && keys.generation() != tried.generation()
            {
                return Some(keys);
            }
            if self.has_looked_since(since) {
                return None;
            }
            self.fetch(Cause::UnknownKey)?.await;
            if self.state.lock().failures > 0 {
                return None;
            }
        }
    }

    /// Whether a fetch is over that began at `since` or later: another would see no more of what was published then.
    fn has_looked_since(&self, since: Duration) -> bool {
        let state = self.state.lock();
        state.flight.is_none() && state.last_start.is_some_and(|start| start >= since)
    }

    /// How they stand, for operators.
    pub fn health(&self) -> KeyHealth {
        let FetchSettings {
            cache_ttl,
            stale_ttl,
            ..
        } = self.settings.fetch;
        let loaded = self.loaded.load().as_ref().map(|loaded| loaded.at);
        let since = loaded.unwrap_or(self.wanted);
        let age = self.clock.monotonic().saturating_sub(since);
        let life = cache_ttl.saturating_add(stale_ttl);
        let failing = self.state.lock().failures > 0;
        KeyHealth {
            age,
            serve_for: loaded.map_or(Duration::ZERO, |_| life.saturating_sub(age)),
            stale: failing && (loaded.is_none() || age >= cache_ttl),
        }
    }

    /// The keys and their age, unless they are too old for anything.
    fn usable(&self) -> Option<(Arc<KeySet>, Duration)> {
        let FetchSettings {
            cache_ttl,
            stale_ttl,
            ..
        } = self.settings.fetch;
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref()?;
        let age = self.clock.monotonic().saturating_sub(loaded.at);
        (age < cache_ttl.saturating_add(stale_ttl)).then(|| (Arc::clone(&loaded.keys), age))
    }

    /// The fetch that is under way, or a new one; `None` when it is too early for another.
    fn fetch(self: &Arc<Self>, cause: Cause) -> Option<Flight> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if let Some(flight) = &state.flight {
            return Some(flight.clone());
        }
        let last = match cause {
            Cause::Age => state.last_start,
            Cause::UnknownKey => state.last_search,
        };
        let pause = self.pause(&state, cause);
        if last.is_some_and(|start| now.saturating_sub(start) < pause) {
            return None;
        }
        state.last_start = Some(now);
        if matches!(cause, Cause::UnknownKey) {
            state.last_search = Some(now);
        }
        let this = Arc::clone(self);
        // Its own task: it goes on when the request that needed it is gone. It cannot end before `flight` is set below,
        // because it takes the same lock.
        let task = tokio::spawn(async move {
            let fetched = AssertUnwindSafe(this.fetch_once(cause))
                .catch_unwind()
                .await
                .unwrap_or(Fetched::Fault);
            this.outcomes.fetched(fetched);
            let mut state = this.state.lock();
            state.flight = None;
            state.failures = if fetched == Fetched::Success {
                0
            } else {
                state.failures.saturating_add(1)
            };
        });
        let flight: Flight = async move { drop(task.await) }.boxed().shared();
        state.flight = Some(flight.clone());
        Some(flight)
    }

    fn pause(&self, state: &State, cause: Cause) -> Duration {
        let cooldown = self.settings.fetch.cooldown;
        match (cause, state.failures) {
            (Cause::UnknownKey, _) => cooldown,
            (Cause::Age, 0) => Duration::ZERO,
            (Cause::Age, failures) => FIRST_PAUSE
                .saturating_mul(1 << (failures - 1).min(16))
                .min(cooldown),
        }
    }

    fn pause_left(&self) -> Duration {
        let now = self.clock.monotonic();
        let state = self.state.lock();
        let since = state
            .last_start
            .map_or(Duration::MAX, |start| now.saturating_sub(start));
        self.pause(&state, Cause::Age).saturating_sub(since)
    }

    /// Whether keys came of it, or why not. Takes at most `timeout`.
    async fn fetch_once(&self, cause: Cause) -> Fetched {
        let endpoint = self.settings.origin.url();
        let in_time = tokio::time::timeout(self.settings.fetch.timeout, self.fetch_keys(cause));
        match in_time.await.unwrap_or(Err(FetchError::TimedOut)) {
            Ok(keys) => {
                for key in keys.rejected() {
                    tracing::warn!(
                        endpoint,
                        position = key.position,
                        reason = key.reason.text(),
                        "a key is left out"
                    );
                }
                tracing::info!(
                    endpoint,
                    keys = keys.len(),
                    generation = keys.generation(),
                    "keys loaded"
                );
                Fetched::Success
            }
            Err(error) => {
                let older_keys = self.usable().is_some();
                tracing::warn!(endpoint, %error, serving_older_keys = older_keys, "keys could not be loaded");
                error.outcome()
            }
        }
    }

    async fn fetch_keys(&self, cause: Cause) -> Result<Arc<KeySet>, FetchError> {
        let (document, issuer) = match &self.settings.origin {
            Origin::Jwks(url) => return self.fetch_set(url).await,
            Origin::Discovery { document, issuer } => (document, issuer),
        };
        let discovered = self.discovered.lock().clone();
        if let (Cause::UnknownKey, Some(url)) = (cause, discovered) {
            match self.fetch_set(&url).await {
                Ok(keys) => return Ok(keys),
                Err(error) => {
                    tracing::info!(endpoint = url, %error, "no keys there: asking the metadata again");
                }
            }
        }
        let fetch = &self.settings.fetch;
        let metadata = self
            .fetcher
            .fetch(Document::Metadata, document, fetch)
            .await?;
        let url = discovery::keys_url(&metadata, document, issuer, fetch.reach)?;
        let keys = self.fetch_set(&url).await?;
        *self.discovered.lock() = Some(url);
        Ok(keys)
    }

    async fn fetch_set(&self, url: &str) -> Result<Arc<KeySet>, FetchError> {
        let fetch = &self.settings.fetch;
        let body = self.fetcher.fetch(Document::KeySet, url, fetch).await?;
        self.install(&body)
    }

    fn install(&self, body: &[u8]) -> Result<Arc<KeySet>, FetchError> {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let same = self
            .loaded
            .load()
            .as_ref()
            .filter(|loaded| loaded.digest == digest)
            .map(|l| Arc::clone(&l.keys));
        let keys = match same {
            Some(keys) => keys,
            None => Arc::new(KeySet::from_jwks(body)?),
        };
        self.loaded.store(Some(Arc::new(Loaded {
            keys: Arc::clone(&keys),
            at: self.clock.monotonic(),
            digest,
        })));
        Ok(keys)
    }
}
