//! The policy of `llm-rate-limiting`: requests, identities, limits and tokens. It knows no gateway.
//!
//! # Layout
//!
//! In the order in which a request meets them:
//!
//! - [`config`]: the settings, typed and checked when they are loaded.
//! - [`api`]: whose API it speaks; [`request`]: what the body says, in one bounded pass; [`rewrite`]: the body, with a cap or asking
//!   a stream for its usage.
//! - [`identity`]: who is calling, and whose counters that makes (`payers`); [`matching`]: which limits that brings to bear.
//! - [`estimate`]: what the request will probably cost, [`learned`] from those before; [`price`]: in money.
//! - [`Policy::decide`]: all limits at once; [`answer`]: what the client is told.
//! - [`handle`]: what is remembered until the answer is through.
//! - [`usage`]: what the request really cost; [`Policy::settle`]: closing the books with it.
//! - [`outcomes`]: what is told to those who watch.
//!
//! # Invariants
//!
//! 1. A refused request charges nothing, and an admitted one is charged on every limit (the store's contract).
//! 2. Nothing that a client sends makes the policy fail: what cannot be read is priced by its size
//!    (test: `a_body_that_cannot_be_read_is_priced_and_never_an_error`).

pub mod answer;
pub mod api;
mod charge;
pub mod config;
pub mod estimate;
pub mod handle;
pub mod identity;
pub mod learned;
pub mod matching;
pub mod outcomes;
mod payers;
pub mod price;
pub mod request;
pub mod rewrite;
pub mod usage;

use std::time::Duration;

use token_limiter::{Balance, Charge, Cost, Decision, Key, PerCharge, Settlement};

use self::answer::{Headers, Refusal};
use self::api::{Address, Api};
use self::config::{ConfigError, LimitSettings, Settings, StreamUsage, Unit};
use self::estimate::{Estimate, EstimateMode};
use self::handle::{Admitted, Charged, Handle};
use self::identity::{Caller, LimitBy, Needs};
use self::learned::{Learned, Lesson};
use self::outcomes::{
    Decided, DecidedOutcome, LimitDescription, Metered, Outcomes, Scope, Settled, Tokens,
};
use self::payers::Payers;
use self::price::Price;
use self::request::Request;
use self::rewrite::Rewrite;
use self::usage::{Observed, Spent};
use crate::stores::failover::{OnStoreFailure, Unavailable};
use crate::stores::{LimitStore, StoreConfig};

/// How long an admitted request may take until nobody can settle it any more; its charge then stands as reserved.
pub const LEASE: Duration = Duration::from_mins(30);

/// One configuration of `llm-rate-limiting`, ready to decide.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: Settings,
    needs: Needs,
}

/// A request's body, as far as a front could get at it.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// All of it; empty if there is none.
    Whole(&'a [u8]),
    /// Only its size, in bytes.
    Size(u64),
}

/// What a request's path and body mean to the policy.
#[derive(Clone, Debug, Default)]
pub struct Pricing {
    /// Whose API it speaks.
    pub api: Api,
    /// What the request will probably cost.
    pub estimate: Estimate,
    /// Whose answers are like this request's: see [`learned`].
    pub learner: u64,
    /// The model that it names.
    pub model: Option<String>,
    /// Whether there is a body whose model could not be read.
    pub unreadable: bool,
    /// The body to send upstream in place of the client's.
    pub rewritten: Option<Vec<u8>>,
    /// Whether the rewritten body asks for a usage event that the client did not ask for.
    pub asks_usage: bool,
}

/// The decision on a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may pass.
    Admitted {
        /// To be settled when the answer is through; `None` if nothing is.
        handle: Option<Box<Handle>>,
        /// For the client.
        headers: Headers,
    },
    /// It may not.
    Refused(Refusal),
}

/// Who is told of a decision, and where it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// Who is told.
    pub outcomes: &'a Outcomes,
    /// The entity that the plugin is attached to.
    pub scope: &'a Scope,
}

/// What became of the books of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// What the request really cost.
    pub spent: Spent,
    /// Whether the reservation was still open.
    pub settlement: Settlement,
}

impl Policy {
    /// A policy of these settings, unless they cannot work.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        let needs = Needs::of(&settings);
        Ok(Self { settings, needs })
    }

    /// What the policy needs to know about a request.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether it needs to know the address of a caller of whom all else is known, which its [`needs`](Self::needs) do not say.
    pub fn needs_address(&self, caller: &Caller) -> bool {
        !self.needs.address && caller.needs_address(&self.settings.limits)
    }

    /// Whether a reservation is settled only when the answer is through.
    pub fn settles_late(&self) -> bool {
        self.settings.settles_late()
    }

    /// Whether the answer has to be watched for what the provider reports.
    pub fn counts_usage(&self) -> bool {
        self.settings.counts_usage()
    }

    /// Whether a usage event that was asked for is to be dropped before the client sees it.
    pub fn hides_stream_usage(&self) -> bool {
        self.settings.stream_usage == StreamUsage::Hide
    }

    /// The limits, as they are shown to those who watch.
    pub fn describe(&self, scope: &Scope) -> Vec<LimitDescription> {
        let describe = |limit: &LimitSettings| LimitDescription {
            name: limit.limit.name.clone(),
            unit: limit.unit.name(),
            limit: limit.limit.limit.units(),
            window_type: config::window_type(&limit.limit.window),
            window: limit.limit.window.length(),
            mode: limit.mode.name(),
            limit_by: limit.limit_by.iter().map(LimitBy::to_string).collect(),
            scope: scope.clone(),
            store: self.settings.store.policy(),
            warn_at: limit.warn_at.map(config::Share::fraction),
        };
        self.settings.limits.iter().map(describe).collect()
    }

    /// Reads and prices a request, by what was learned from those before.
    pub fn price(
        &self,
        caller: &Caller,
        path: Option<&str>,
        body: Body<'_>,
        learned: &Learned,
    ) -> Pricing {
        let (mode, size) = match body {
            Body::Size(bytes) => (EstimateMode::ContentLength, bytes),
            Body::Whole(bytes) => (EstimateMode::Body, bytes.len() as u64),
        };
        let by_size = match self.settings.estimate {
            EstimateMode::None if size > 0 => Estimate::unknown(),
            EstimateMode::None => Estimate::default(),
            EstimateMode::ContentLength | EstimateMode::Body => Estimate::of_bytes(size),
        };
        let learner = self.learner(caller);
        let request = match body {
            Body::Whole(bytes) if mode == EstimateMode::Body => {
                Request::read(path, bytes).map(|request| (request, bytes))
            }
            Body::Whole(_) | Body::Size(_) => None,
        };
        let Some((mut request, bytes)) = request else {
            let address = path.and_then(Address::of);
            return Pricing {
                api: address
                    .as_ref()
                    .map(|address| address.api)
                    .unwrap_or_default(),
                estimate: by_size,
                learner,
                unreadable: size > 0,
                model: address.and_then(|address| address.model),
                ..Pricing::default()
            };
        };
        let caps = self.settings.max_tokens;
        let asks_usage = self.counts_usage()
            && self.settings.stream_usage != StreamUsage::Off
            && request.lacks_stream_usage();
        let rewrite = Rewrite {
            include_usage: asks_usage,
            ..Rewrite::capping(&mut request, caps.clamp, caps.inject)
        };
        let rewritten = rewrite.apply(bytes);
        let estimate = match self.settings.estimate {
            EstimateMode::Body => {
                let model = request.model.as_deref();
                let forecast = model.map(|model| learned.forecast(model, learner));
                Estimate::of_request(&request, bytes.len(), forecast.unwrap_or_default())
            }
            EstimateMode::None | EstimateMode::ContentLength => by_size,
        };
        Pricing {
            api: request.api,
            estimate,
            learner,
            unreadable: request.model.is_none(),
            asks_usage: asks_usage && rewritten.is_some(),
            rewritten,
            model: request.model,
        }
    }

    /// Whose answers tell how long this caller's will be: those of whoever shares its first limit.
    fn learner(&self, caller: &Caller) -> u64 {
        self.settings.limits.first().map_or(0, |limit| {
            let identity = caller.identity(&limit.limit_by);
            Key::new(&limit.limit, limit.unit.name(), &identity).group()
        })
    }

    /// Reserves the request's cost on every limit that it matches, or refuses it; and tells those who watch.
    pub async fn decide(
        &self,
        store: &LimitStore,
        caller: &Caller,
        pricing: &Pricing,
        watch: Watch<'_>,
    ) -> Verdict {
        let settings = &self.settings;
        let limits: Vec<&LimitSettings> = settings
            .limits
            .iter()
            .filter(|limit| limit.matches.fits(caller))
            .collect();
        let payers = Payers::of(caller, &limits);
        let tell = |outcome, meters: &[Metered<'_>]| {
            watch.outcomes.decided(&Decided {
                scope: watch.scope,
                store: store.name(),
                tenant: &payers.tenant,
                model: pricing.model.as_deref(),
                outcome,
                meters,
            });
        };
        if !self.allows(pricing) {
            tell(DecidedOutcome::ModelNotAllowed, &[]);
            let refusal = answer::model_not_allowed(settings, pricing.model.as_deref());
            return Verdict::Refused(refusal);
        }
        if limits.is_empty() {
            tell(DecidedOutcome::Admitted, &[]);
            return Verdict::Admitted {
                handle: None,
                headers: Headers::new(),
            };
        }
        let price = settings.prices.get(pricing.model.as_deref());
        if let Some(limit) = limits.iter().find(|limit| limit.lacks(price, pricing)) {
            tell(DecidedOutcome::ModelNotAllowed, &[]);
            let refusal = answer::no_price(settings, &limit.limit.name);
            return Verdict::Refused(refusal);
        }
        let charges = self.charges(caller, &limits, &payers, &pricing.estimate, price);
        let meters = |balances: &[Balance], exceeded: &[bool]| -> PerCharge<Metered<'_>> {
            limits
                .iter()
                .zip(&charges)
                .enumerate()
                .map(|(index, (limit, charge))| {
                    let balance = balances.get(index).copied();
                    Metered {
                        unit: limit.unit.name(),
                        mode: limit.mode.name(),
                        window_type: config::window_type(&limit.limit.window),
                        window: limit.limit.window.length(),
                        limit: &limit.limit,
                        key: charge.key,
                        values: payers.values(limit),
                        balance,
                        exceeded: exceeded.get(index).copied().unwrap_or(false),
                        warned: balance.is_some_and(|balance| answer::is_near(limit, &balance)),
                    }
                })
                .collect()
        };
        let requested = |index: usize| charges[index].cost.units();
        let on_failure: PerCharge<OnStoreFailure> =
            limits.iter().map(|limit| limit.on_store_failure).collect();
        let decision = if self.settles_late() {
            store.reserve(&charges, &on_failure, LEASE).await
        } else {
            store.charge(&charges, &on_failure).await
        };
        match decision {
            Err(Unavailable) => {
                tell(DecidedOutcome::StoreUnavailable, &[]);
                Verdict::Refused(answer::unavailable(settings))
            }
            Ok(Decision::Granted(grant)) => {
                tell(
                    DecidedOutcome::Admitted,
                    &meters(&grant.balances, &grant.exceeded),
                );
                let charged = limits.iter().zip(&charges).map(|(limit, charge)| Charged {
                    unit: limit.unit,
                    reserved: charge.cost.units(),
                    cached_weight: limit.cached_weight,
                });
                Verdict::Admitted {
                    headers: answer::allowance(settings, &limits, &grant.balances),
                    handle: self.settles_late().then(|| {
                        Box::new(Handle {
                            store: store.name().to_owned(),
                            request: Admitted {
                                estimate: pricing.estimate,
                                learner: pricing.learner,
                                model: pricing.model.clone(),
                                charges: charged.collect(),
                                price: price.copied(),
                                tenant: payers.tenant,
                            },
                            reservation: grant.reservation,
                        })
                    }),
                }
            }
            Ok(Decision::Denied(denial)) => {
                let (limit, retry_after) = (denial.index, denial.retry_after);
                tell(
                    DecidedOutcome::Denied { limit, retry_after },
                    &meters(&denial.balances, &[]),
                );
                let requested = requested(limit);
                Verdict::Refused(answer::denied(settings, &limits, &denial, requested))
            }
            Ok(Decision::NeverPasses { index: limit }) => {
                tell(DecidedOutcome::NeverPasses { limit }, &meters(&[], &[]));
                let requested = requested(limit);
                Verdict::Refused(answer::never_passes(settings, &limits, limit, requested))
            }
        }
    }

    /// Where it counts.
    pub fn store(&self) -> &StoreConfig {
        &self.settings.store
    }

    /// Closes the books of a request that was answered with `status`, and tells those who watch. Needs no settings: the handle
    /// knows what was charged.
    pub async fn settle(
        store: &LimitStore,
        handle: &Handle,
        observed: Option<&Observed>,
        status: u16,
        outcomes: &Outcomes,
        learned: &Learned,
    ) -> Closing {
        let Admitted {
            estimate,
            learner,
            model,
            tenant,
            price,
            charges,
        } = &handle.request;
        let spent = usage::spent(observed, status, estimate);
        let usage = spent.usage();
        let actual: PerCharge<Cost> = charges
            .iter()
            .map(|charged| Cost::new(charge::settle(charged, usage.as_ref(), price.as_ref())))
            .collect();
        let settlement = store.settle(&handle.reservation, &actual).await;
        if let (Spent::Reported(usage), Some(model)) = (&spent, model) {
            let lesson = Lesson {
                counted_tokens: estimate.counted_tokens,
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: (estimate.output_tokens > 0).then_some(usage.completion_tokens),
            };
            learned.observe(model, *learner, lesson);
        }
        if charges
            .iter()
            .any(|charged| charged.unit.is_priced_by_body())
        {
            let reserved_tokens = estimate
                .prompt_tokens
                .saturating_add(estimate.output_tokens);
            outcomes.settled(&Settled {
                tenant,
                model: model.as_deref(),
                usage: usage.map(|usage| Tokens {
                    prompt: usage.prompt_tokens,
                    completion: usage.completion_tokens,
                    cached_read: usage.cached_read_tokens,
                    cache_write: usage.cache_write_tokens,
                    reasoning: usage.reasoning_tokens,
                }),
                source: spent.source().name(),
                reserved_tokens,
                spent_tokens: usage.map_or(reserved_tokens, |usage| usage.total_tokens),
                cost_microdollars: price.zip(usage).map(|(price, usage)| price.of(&usage)),
            });
        }
        Closing { spent, settlement }
    }

    /// Whether the model may be asked; one that cannot be read may not. A request without a body asks no model.
    fn allows(&self, pricing: &Pricing) -> bool {
        let allowed = &self.settings.allowed_models;
        if allowed.is_empty() {
            return true;
        }
        match &pricing.model {
            Some(model) => allowed.iter().any(|pattern| pattern.is_match(model)),
            None => !pricing.unreadable,
        }
    }

    fn charges<'a>(
        &self,
        caller: &Caller,
        limits: &[&'a LimitSettings],
        payers: &Payers<'_>,
        estimate: &Estimate,
        price: Option<&Price>,
    ) -> PerCharge<Charge<'a>> {
        let class = self
            .settings
            .priorities
            .iter()
            .find(|priority| priority.matches.fits(caller));
        limits
            .iter()
            .map(|limit| {
                let capacity = limit.limit.capacity().units();
                // A class without any share could never pass; one unit keeps "not now" apart from "never".
                let room = class.map_or(capacity, |class| class.share.of(capacity).max(1));
                Charge {
                    limit: &limit.limit,
                    key: Key::new(&limit.limit, limit.unit.name(), payers.identity(limit)),
                    cost: Cost::new(charge::reserve(limit, estimate, price, room)),
                    ceiling: Cost::new(room),
                    enforced: limit.is_enforced(),
                }
            })
            .collect()
    }
}

impl LimitSettings {
    /// Whether the limit refuses the request because nobody knows what its tokens cost.
    fn lacks(&self, price: Option<&Price>, pricing: &Pricing) -> bool {
        let asks_a_model = pricing.model.is_some() || pricing.unreadable;
        self.unit == Unit::Cost && self.is_enforced() && price.is_none() && asks_a_model
    }
}

#[cfg(test)]
mod tests;
