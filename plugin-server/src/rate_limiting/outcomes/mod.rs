//! What became of requests: counted for metrics, remembered for a minute for people who watch.
//!
//! # Layout
//!
//! The policy tells of each decision ([`Outcomes::decided`]) and each settlement ([`Outcomes::settled`]), and which limits its
//! instances have ([`Outcomes::publish`]). [`labels`] counts by names that clients may choose, [`recent`] holds the last
//! minute, [`refusals`] the last refusals, [`directory`] the counters that were used last, [`limits`] what is configured. [`notices`] tell
//! operators of limits that warn or refuse.
//!
//! # Invariants
//!
//! Nothing here grows with what clients send: every map has a bound, and what is beyond it is counted as [`OTHER`] or
//! forgotten, least recently used first. A telling is a few atomic additions and short locks; it never waits and never fails.

pub mod directory;
pub mod labels;
pub mod limits;
pub mod notices;
pub mod recent;
pub mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use token_limiter::{Balance, Key, Limit};

use self::directory::Directory;
pub use self::labels::OTHER;
use self::labels::{Labelled, TokenCounts};
use self::limits::Limits;
pub use self::limits::{LimitDescription, Publication, Scope};
use self::notices::{Notice, Notices, Occasion};
use self::recent::Recent;
use self::refusals::{Kind, Refusals};
use crate::clock::Clock;

/// The most names of limits that metrics tell apart.
const MOST_LIMITS: usize = 200;
/// The most models (or pairs of model and consumer) that metrics tell apart.
const MOST_MODELS: usize = 500;
/// Bounds of the histogram of wrong estimates, in tokens.
const ERROR_BUCKETS: [f64; 9] = [
    0.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 100_000.0,
];

/// One decision of the policy.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// Where in Kong the plugin is configured.
    pub scope: &'a Scope,
    /// The store that decided: the name by which the process' stores know it.
    pub store: &'a str,
    /// Who pays, for people: a consumer's username or id, a claim or an address.
    pub tenant: &'a str,
    /// The model that was asked for.
    pub model: Option<&'a str>,
    /// What was decided.
    pub outcome: DecidedOutcome,
    /// The limits that apply, in the order of the charges.
    pub meters: &'a [Metered<'a>],
}

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedOutcome {
    /// It passed, and everything was charged.
    Admitted,
    /// Not now.
    Denied {
        /// The index of the limit that frees the needed room last.
        limit: usize,
        /// How long until it would pass.
        retry_after: Duration,
    },
    /// Not ever: it is larger than a whole limit.
    NeverPasses {
        /// The index of that limit.
        limit: usize,
    },
    /// Its model is not among those that are permitted.
    ModelNotAllowed,
    /// The store could not decide, and the policy refuses then.
    StoreUnavailable,
}

/// One limit as it applied to a request.
#[derive(Debug, Clone, Copy)]
pub struct Metered<'a> {
    /// What the limit counts, as in the configuration: `total_tokens`.
    pub unit: &'static str,
    /// `enforce` or `shadow`.
    pub mode: &'static str,
    /// `sliding`, `fixed`, `token_bucket` or `calendar`.
    pub window_type: &'static str,
    /// The window's length; a calendar's nominal one.
    pub window: Duration,
    /// The limit itself, with its name.
    pub limit: &'a Limit,
    /// The counter.
    pub key: Key,
    /// What the counter is counted by: `limit_by` name → value as people may see it (secrets already redacted).
    pub values: &'a [(String, String)],
    /// Where the counter stands after the decision, if the store said.
    pub balance: Option<Balance>,
    /// Whether this limit had no room (in `shadow` mode: and the request passed all the same).
    pub exceeded: bool,
    /// Whether its soft threshold has just been met.
    pub warned: bool,
}

/// What a provider billed, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of the prompt, cached parts included.
    pub prompt: u64,
    /// All of the completion, reasoning included.
    pub completion: u64,
    /// The part of the prompt that was read from a cache.
    pub cached_read: u64,
    /// The part of the prompt that was written to a cache.
    pub cache_write: u64,
    /// The part of the completion that was reasoning.
    pub reasoning: u64,
}

/// One settlement.
#[derive(Debug, Clone, Copy)]
pub struct Settled<'a> {
    /// Who pays, as in [`Decided`].
    pub tenant: &'a str,
    /// The model that was asked for.
    pub model: Option<&'a str>,
    /// What was used, where somebody counted.
    pub usage: Option<Tokens>,
    /// Who counted: a short word from a fixed set, such as `provider`, `counted` or `reserved`.
    pub source: &'static str,
    /// The tokens that were reserved.
    pub reserved_tokens: u64,
    /// The tokens that were charged in the end.
    pub spent_tokens: u64,
    /// The price in millionths of a dollar, where the model has one.
    pub cost_microdollars: Option<u64>,
}

/// Everything that is remembered about what became of requests. One per process.
#[derive(Debug)]
pub struct Outcomes {
    clock: Arc<dyn Clock>,
    consumer_label: bool,
    decisions: [AtomicU64; DECISIONS.len()],
    refused: Labelled<AtomicU64>,
    shadowed: Labelled<AtomicU64>,
    warned: Labelled<AtomicU64>,
    tokens: Labelled<TokenCounts>,
    costs: Labelled<AtomicU64>,
    underestimates: Histogram,
    overestimates: Histogram,
    sources: Labelled<AtomicU64>,
    recent: Recent,
    refusals: Refusals,
    directory: Directory,
    notices: Notices,
    limits: Arc<Limits>,
}

/// The labels of `llm_requests_total`, in the order of [`DecidedOutcome`].
const DECISIONS: [&str; 5] = [
    "admitted",
    "denied",
    "never_passes",
    "model_not_allowed",
    "store_unavailable",
];

impl DecidedOutcome {
    const fn index(self) -> usize {
        match self {
            Self::Admitted => 0,
            Self::Denied { .. } => 1,
            Self::NeverPasses { .. } => 2,
            Self::ModelNotAllowed => 3,
            Self::StoreUnavailable => 4,
        }
    }
}

impl Outcomes {
    /// Nothing so far. With `consumer_label`, tokens are counted by who pays as well as by model.
    pub fn new(clock: Arc<dyn Clock>, consumer_label: bool) -> Self {
        Self {
            clock,
            consumer_label,
            decisions: Default::default(),
            refused: Labelled::new(MOST_LIMITS),
            shadowed: Labelled::new(MOST_LIMITS),
            warned: Labelled::new(MOST_LIMITS),
            tokens: Labelled::new(MOST_MODELS),
            costs: Labelled::new(MOST_MODELS),
            underestimates: Histogram::new(ERROR_BUCKETS),
            overestimates: Histogram::new(ERROR_BUCKETS),
            sources: Labelled::new(MOST_LIMITS),
            recent: Recent::default(),
            refusals: Refusals::default(),
            directory: Directory::default(),
            notices: Notices::default(),
            limits: Arc::default(),
        }
    }

    /// Shows these limits of an instance for as long as what is returned lives. Instances of several workers that have the same
    /// limits show them once.
    pub fn publish(&self, limits: Vec<LimitDescription>) -> Publication {
        Limits::publish(&self.limits, limits)
    }

    /// The present, on the clock of everything here.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The limits of all instances, each once.
    pub fn limits(&self) -> Vec<LimitDescription> {
        self.limits.all()
    }

    /// The counters that were used last.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The last minute.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The last refusals.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// News of limits that warn or refuse.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Requests so far, by decision.
    pub fn decisions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.decisions.iter();
        DECISIONS
            .into_iter()
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
    }

    /// Refusals so far, by limit and unit ([`labels::parted`]).
    pub fn refused_by_limit(&self) -> &Labelled<AtomicU64> {
        &self.refused
    }

    /// Requests so far that passed although a limit in shadow mode had no room.
    pub fn shadowed_by_limit(&self) -> &Labelled<AtomicU64> {
        &self.shadowed
    }

    /// Soft thresholds met so far.
    pub fn warned_by_limit(&self) -> &Labelled<AtomicU64> {
        &self.warned
    }

    /// Whether [`tokens_by_model`](Self::tokens_by_model) tells consumers apart.
    pub fn has_consumer_label(&self) -> bool {
        self.consumer_label
    }

    /// Tokens so far, by model, or by model and consumer ([`labels::parted`]).
    pub fn tokens_by_model(&self) -> &Labelled<TokenCounts> {
        &self.tokens
    }

    /// Millionths of a dollar so far, by model.
    pub fn costs_by_model(&self) -> &Labelled<AtomicU64> {
        &self.costs
    }

    /// By how many tokens requests were estimated under, and over, what they spent.
    pub fn estimate_errors(&self) -> (&Histogram, &Histogram) {
        (&self.underestimates, &self.overestimates)
    }

    /// Settlements so far, by who counted.
    pub fn usage_by_source(&self) -> &Labelled<AtomicU64> {
        &self.sources
    }

    /// Tells of a decision.
    pub fn decided(&self, decided: &Decided<'_>) {
        let now = self.clock.monotonic();
        let outcome = decided.outcome;
        self.decisions[outcome.index()].fetch_add(1, Ordering::Relaxed);
        let refused = outcome != DecidedOutcome::Admitted;
        self.recent
            .decided(now, decided.tenant, decided.model, refused);
        for meter in decided.meters {
            self.directory.saw(now, decided, meter);
            let name = &meter.limit.name;
            if meter.warned {
                count(&self.warned.of(name));
                self.notify(Occasion::Warning, now, meter);
            }
            // In a refusal, whatever a shadow limit thinks has decided nothing.
            if meter.exceeded && meter.mode == SHADOW && !refused {
                count(&self.shadowed.of(name));
                self.refusals
                    .push(now, decided, Kind::Shadow, Some(meter), None);
            }
        }
        let (kind, limit, retry_after) = match outcome {
            DecidedOutcome::Denied { limit, retry_after } => {
                (Kind::Denied, Some(limit), Some(retry_after))
            }
            DecidedOutcome::NeverPasses { limit } => (Kind::NeverPasses, Some(limit), None),
            DecidedOutcome::ModelNotAllowed => (Kind::ModelNotAllowed, None, None),
            DecidedOutcome::Admitted | DecidedOutcome::StoreUnavailable => return,
        };
        let meter = limit.and_then(|index| decided.meters.get(index));
        if let Some(meter) = meter {
            count(
                &self
                    .refused
                    .of(&labels::joined(&meter.limit.name, meter.unit)),
            );
            if kind == Kind::Denied {
                self.notify(Occasion::Refusal, now, meter);
            }
        }
        self.refusals.push(now, decided, kind, meter, retry_after);
    }

    fn notify(&self, occasion: Occasion, now: Duration, meter: &Metered<'_>) {
        if let Some(balance) = self.notices.news(occasion, now, meter)
            && let Some(counter) = self.directory.get(meter.key)
        {
            self.notices.tell(Notice {
                occasion,
                unix_seconds: self.clock.unix_seconds(),
                counter,
                balance,
            });
        }
    }

    /// Tells of a settlement.
    pub fn settled(&self, settled: &Settled<'_>) {
        let now = self.clock.monotonic();
        count(&self.sources.of(settled.source));
        let (error, histogram) = match settled.spent_tokens.checked_sub(settled.reserved_tokens) {
            Some(more) => (more, &self.underestimates),
            None => (
                settled.reserved_tokens - settled.spent_tokens,
                &self.overestimates,
            ),
        };
        histogram.observe(error as f64);
        self.recent.settled(now, settled);
        // A name that a client made up is refused by its provider and spends nothing: it takes no label from a real one.
        if settled.spent_tokens == 0 && settled.cost_microdollars.is_none() {
            return;
        }
        let model = labels::shown(settled.model.unwrap_or_default());
        let counts = if self.consumer_label {
            self.tokens
                .of(&labels::joined(&model, &labels::shown(settled.tenant)))
        } else {
            self.tokens.of(&model)
        };
        counts.add(settled.usage, settled.spent_tokens);
        if let Some(microdollars) = settled.cost_microdollars {
            self.costs
                .of(&model)
                .fetch_add(microdollars, Ordering::Relaxed);
        }
    }
}

/// The mode of a limit that refuses nobody.
const SHADOW: &str = "shadow";

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
