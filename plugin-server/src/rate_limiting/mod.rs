//! The policy of `llm-rate-limiting`: requests, identities, limits and tokens. It knows no gateway.
//!
//! # Layout
//!
//! In the order in which a request meets them:
//!
//! - [`config`]: the settings, typed and checked when they are loaded.
//! - [`api`]: whose API it speaks; [`request`]: what the body says, in one bounded pass; [`rewrite`]: the body, with a cap or asking
//!   a stream for its usage.
//! - [`identity`]: who is calling, and whose counters that makes; [`matching`]: which limits that brings to bear.
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
pub mod price;
pub mod request;
pub mod rewrite;
pub mod usage;

use std::time::Duration;

use token_limiter::{Balance, Charge, Cost, Decision, Identity, Key, PerCharge, Settlement, Store};

use self::answer::{Headers, Refusal};
use self::api::{Address, Api};
use self::config::{ConfigError, LimitSettings, Settings, StreamUsage, Unit};
use self::estimate::{Estimate, EstimateMode};
use self::handle::{Admitted, Charged, Handle, StoreKind};
use self::identity::{Caller, LimitBy, Needs};
use self::learned::{Learned, Lesson};
use self::outcomes::{
    Decided, DecidedOutcome, LimitDescription, Metered, Outcomes, Scope, Settled, Tokens,
};
use self::price::Price;
use self::request::Request;
use self::rewrite::Rewrite;
use self::usage::{Observed, Spent};

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
        /// To be settled when the answer is through; `None` if no limit applies.
        handle: Option<Handle>,
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

    /// What the policy needs to know about a request besides the caller's address.
    pub fn needs(&self) -> &Needs {
        &self.needs
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
            store: StoreKind::Memory.name(),
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
    pub async fn decide<S: Store>(
        &self,
        store: &S,
        caller: &Caller,
        pricing: &Pricing,
        watch: Watch<'_>,
    ) -> Result<Verdict, S::Error> {
        let (settings, api) = (&self.settings, pricing.api);
        let limits: Vec<&LimitSettings> = settings
            .limits
            .iter()
            .filter(|limit| limit.matches.fits(caller))
            .collect();
        let payers = Payers::of(caller, &limits);
        let tell = |outcome, meters: &[Metered<'_>]| {
            watch.outcomes.decided(&Decided {
                scope: watch.scope,
                store: StoreKind::Memory.name(),
                tenant: &payers.tenant,
                model: pricing.model.as_deref(),
                outcome,
                meters,
            });
        };
        if !self.allows(pricing) {
            tell(DecidedOutcome::ModelNotAllowed, &[]);
            let refusal = answer::model_not_allowed(settings, api, pricing.model.as_deref());
            return Ok(Verdict::Refused(refusal));
        }
        if limits.is_empty() {
            tell(DecidedOutcome::Admitted, &[]);
            return Ok(Verdict::Admitted {
                handle: None,
                headers: Headers::new(),
            });
        }
        let price = settings.prices.get(pricing.model.as_deref());
        if let Some(limit) = limits.iter().find(|limit| limit.lacks(price, pricing)) {
            tell(DecidedOutcome::ModelNotAllowed, &[]);
            let refusal = answer::no_price(settings, api, &limit.limit.name);
            return Ok(Verdict::Refused(refusal));
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
        Ok(match store.reserve(&charges, LEASE).await? {
            Decision::Granted(grant) => {
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
                    handle: Some(Handle {
                        store: StoreKind::Memory,
                        request: Admitted {
                            estimate: pricing.estimate,
                            learner: pricing.learner,
                            model: pricing.model.clone(),
                            charges: charged.collect(),
                            price: price.copied(),
                            tenant: payers.tenant,
                        },
                        reservation: grant.reservation,
                    }),
                }
            }
            Decision::Denied(denial) => {
                let (limit, retry_after) = (denial.index, denial.retry_after);
                tell(
                    DecidedOutcome::Denied { limit, retry_after },
                    &meters(&denial.balances, &[]),
                );
                let requested = requested(limit);
                Verdict::Refused(answer::denied(settings, api, &limits, &denial, requested))
            }
            Decision::NeverPasses { index: limit } => {
                tell(DecidedOutcome::NeverPasses { limit }, &meters(&[], &[]));
                let requested = requested(limit);
                Verdict::Refused(answer::never_passes(
                    settings, api, &limits, limit, requested,
                ))
            }
        })
    }

    /// What a client is told when no store can decide.
    pub fn unavailable(&self, pricing: &Pricing) -> Refusal {
        answer::unavailable(&self.settings, pricing.api)
    }

    /// Closes the books of a request that was answered with `status`, and tells those who watch. Needs no settings: the handle
    /// knows what was charged.
    pub async fn settle<S: Store>(
        store: &S,
        handle: &Handle,
        observed: Option<&Observed>,
        status: u16,
        outcomes: &Outcomes,
        learned: &Learned,
    ) -> Result<Closing, S::Error> {
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
        let settlement = store.settle(&handle.reservation, &actual).await?;
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
        Ok(Closing { spent, settlement })
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

/// Who pays under each of some limits: digests for the counters, names for people. Each list of values is looked at once.
struct Payers<'a> {
    lists: PerCharge<Payer<'a>>,
    /// The values of the first limit, for people.
    tenant: String,
}

/// One list of values: how it is written in the configuration, its digest, and its names.
struct Payer<'a> {
    by: &'a [LimitBy],
    identity: Identity,
    values: Vec<(String, String)>,
}

impl<'a> Payers<'a> {
    fn of(caller: &Caller, limits: &[&'a LimitSettings]) -> Self {
        let mut lists: PerCharge<Payer<'a>> = PerCharge::new();
        for limit in limits {
            let by = limit.limit_by.as_slice();
            if !lists.iter().any(|payer| payer.by == by) {
                lists.push(Payer {
                    by,
                    identity: caller.identity(by),
                    values: caller.labels(by),
                });
            }
        }
        let tenant = lists.first().map_or_else(
            || caller.address(),
            |payer| {
                let values: Vec<&str> = payer
                    .values
                    .iter()
                    .map(|(_, value)| value.as_str())
                    .collect();
                values.join("/")
            },
        );
        Self { lists, tenant }
    }

    fn find(&self, limit: &LimitSettings) -> &Payer<'a> {
        self.lists
            .iter()
            .find(|payer| payer.by == limit.limit_by)
            .expect("the payers of these limits have been looked at")
    }

    fn identity(&self, limit: &LimitSettings) -> &Identity {
        &self.find(limit).identity
    }

    fn values(&self, limit: &LimitSettings) -> &[(String, String)] {
        &self.find(limit).values
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use serde_json::json;
    use token_limiter::MemoryStore;

    use super::config::tests::{limit, settings};
    use super::config::{MaxTokens, Mode, Priority, Share};
    use super::matching::{ClaimMatch, Match, ModelPattern};
    use super::price::{PriceTable, TokenPrice};
    use super::*;
    use crate::clock::SystemClock;

    fn ready<T>(call: impl Future<Output = Result<T, Infallible>>) -> T {
        match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(output)) => output,
            Poll::Pending => panic!("the memory store never waits"),
        }
    }

    /// A policy on a store of its own.
    struct World {
        policy: Policy,
        store: MemoryStore,
        outcomes: Outcomes,
        learned: Learned,
    }

    impl World {
        fn new(settings: Settings) -> Self {
            Self {
                policy: Policy::new(settings).unwrap(),
                store: MemoryStore::new(),
                outcomes: Outcomes::new(std::sync::Arc::new(SystemClock::new()), false),
                learned: Learned::new(),
            }
        }

        fn limits(limits: Vec<LimitSettings>) -> Self {
            Self::new(settings(limits))
        }

        fn decide(&self, caller: &Caller, body: &[u8]) -> Verdict {
            let pricing = self
                .policy
                .price(caller, None, Body::Whole(body), &self.learned);
            let caller = Caller {
                model: pricing.model.clone(),
                ..caller.clone()
            };
            let watch = Watch {
                outcomes: &self.outcomes,
                scope: &Scope::default(),
            };
            ready(self.policy.decide(&self.store, &caller, &pricing, watch))
        }

        fn settle(&self, handle: &Handle, observed: Option<&Observed>, status: u16) -> Closing {
            ready(Policy::settle(
                &self.store,
                handle,
                observed,
                status,
                &self.outcomes,
                &self.learned,
            ))
        }
    }

    fn caller(consumer: &str) -> Caller {
        Caller {
            ip: b"192.0.2.1".to_vec(),
            consumer: Some(consumer.into()),
            ..Caller::default()
        }
    }

    const CHAT: &[u8] = br#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Hello, world!"}]}"#;

    fn answer(total_tokens: u64) -> Observed {
        let body = format!(r#"{{"usage":{{"prompt_tokens":11,"total_tokens":{total_tokens}}}}}"#);
        Observed {
            head: Vec::new(),
            bytes: body.len() as u64,
            tail: body.into(),
            ended: true,
        }
    }

    fn admitted(verdict: Verdict) -> Handle {
        match verdict {
            Verdict::Admitted { handle, .. } => handle.expect("a limit applies"),
            Verdict::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    fn refused(verdict: Verdict) -> Refusal {
        match verdict {
            Verdict::Refused(refusal) => refusal,
            Verdict::Admitted { handle, .. } => panic!("admitted: {handle:?}"),
        }
    }

    fn reserved(handle: &Handle) -> Vec<(Unit, u64)> {
        let charges = handle.request.charges.iter();
        charges
            .map(|charged| (charged.unit, charged.reserved))
            .collect()
    }

    #[test]
    fn a_budget_is_reserved_settled_and_at_last_spent() {
        let world = World::limits(vec![
            limit("tokens", Unit::TotalTokens, 300, &["consumer"]),
            limit("calls", Unit::Requests, 3, &["consumer"]),
        ]);
        let tenant = caller("tenant");
        let first = admitted(world.decide(&tenant, CHAT));
        assert_eq!(
            reserved(&first),
            [(Unit::TotalTokens, 111), (Unit::Requests, 1)]
        );
        let closing = world.settle(&first, Some(&answer(31)), 200);
        assert_eq!(closing.settlement, Settlement::Settled);

        let second = admitted(world.decide(&tenant, CHAT));
        world.settle(&second, Some(&answer(250)), 200);
        let refusal = refused(world.decide(&tenant, CHAT));
        assert!(
            refusal
                .body
                .contains("(tokens): limit 300 in 1m0s, used 281, requested 111"),
            "{}",
            refusal.body
        );
        admitted(world.decide(&caller("other"), CHAT));
    }

    #[test]
    fn a_failed_upstream_gives_back_tokens_but_no_request() {
        let world = World::limits(vec![
            limit("tokens", Unit::TotalTokens, 111, &["consumer"]),
            limit("calls", Unit::Requests, 2, &["consumer"]),
        ]);
        for _ in 0..2 {
            let handle = admitted(world.decide(&caller("a"), CHAT));
            world.settle(&handle, None, 502);
        }
        assert!(
            refused(world.decide(&caller("a"), CHAT))
                .body
                .contains("(calls): limit 2")
        );
    }

    #[test]
    fn a_slot_is_free_again_when_its_request_ends_however_it_ends() {
        let world = World::limits(vec![limit("slots", Unit::ConcurrentRequests, 1, &["ip"])]);
        for status in [200, 502, 0] {
            let handle = admitted(world.decide(&caller("a"), CHAT));
            assert_eq!(refused(world.decide(&caller("a"), CHAT)).status, 429);
            world.settle(&handle, None, status);
        }
        admitted(world.decide(&caller("a"), CHAT));
    }

    #[test]
    fn a_prompt_above_its_limit_never_passes() {
        let world = World::limits(vec![limit("tokens", Unit::TotalTokens, 10, &["consumer"])]);
        assert_eq!(refused(world.decide(&caller("a"), CHAT)).status, 413);
    }

    #[test]
    fn a_tier_has_its_own_limits_and_others_none() {
        let mut free = limit("free", Unit::Requests, 1, &["claim:org"]);
        free.matches = Match {
            claims: vec![ClaimMatch {
                path: vec!["tier".to_owned()],
                one_of: vec!["free".to_owned()],
            }],
            ..Match::default()
        };
        let world = World::limits(vec![free]);
        let of = |tier| Caller {
            claims: json!({"org": "acme", "tier": tier}),
            ..caller("a")
        };
        admitted(world.decide(&of("free"), CHAT));
        assert_eq!(refused(world.decide(&of("free"), CHAT)).status, 429);
        for _ in 0..3 {
            let Verdict::Admitted { handle, headers } = world.decide(&of("pro"), CHAT) else {
                panic!("no limit is for this tier");
            };
            assert_eq!((handle, headers.len()), (None, 0));
        }
    }

    #[test]
    fn a_shadow_counts_and_never_refuses() {
        let mut shadow = limit("shadow", Unit::Requests, 1, &["ip"]);
        shadow.mode = Mode::Shadow;
        let world = World::limits(vec![shadow]);
        for _ in 0..3 {
            let Verdict::Admitted { headers, .. } = world.decide(&caller("a"), CHAT) else {
                panic!("a shadow refuses nobody");
            };
            assert_eq!(headers, Headers::new());
        }
    }

    #[test]
    fn a_class_leaves_its_share_to_the_others() {
        let mut settings = settings(vec![limit("calls", Unit::Requests, 10, &["route"])]);
        settings.priorities.push(Priority {
            name: "batch".to_owned(),
            matches: Match {
                consumer_tags: vec!["batch".to_owned()],
                ..Match::default()
            },
            share: Share::new(0.6).unwrap(),
        });
        let world = World::new(settings);
        let batch = Caller {
            consumer_tags: vec!["batch".to_owned()],
            ..caller("a")
        };
        let passes = |caller: &Caller| {
            std::iter::repeat_with(|| world.decide(caller, CHAT))
                .take_while(|verdict| matches!(verdict, Verdict::Admitted { .. }))
                .count()
        };
        assert_eq!(passes(&batch), 6);
        assert_eq!(passes(&caller("b")), 4);
    }

    #[test]
    fn cost_is_counted_in_micro_dollars_and_an_unpriced_model_refused() {
        let dollars = |dollars| TokenPrice::dollars_per_million(dollars).unwrap();
        let price = Price {
            input: dollars(1.0),
            output: dollars(10.0),
            ..Price::default()
        };
        let mut settings = settings(vec![limit("spend", Unit::Cost, 5_000, &["consumer"])]);
        settings.prices = PriceTable {
            entries: vec![(ModelPattern::new("gpt-4o").unwrap(), price)],
        };
        let world = World::new(settings);
        let handle = admitted(world.decide(&caller("a"), CHAT));
        assert_eq!(reserved(&handle), [(Unit::Cost, 11 + 1_000)]);
        world.settle(&handle, Some(&answer(31)), 200);
        let refusal = refused(world.decide(&caller("a"), br#"{"model":"o3","messages":[]}"#));
        assert_eq!(refusal.status, 403);
        assert!(refusal.body.contains("no price"), "{}", refusal.body);
    }

    #[test]
    fn a_model_outside_the_list_is_refused_and_so_is_one_that_cannot_be_read() {
        let mut settings = settings(vec![limit("calls", Unit::Requests, 10, &["ip"])]);
        settings.allowed_models = vec![ModelPattern::new("gpt-4o*").unwrap()];
        let world = World::new(settings);
        admitted(world.decide(&caller("a"), CHAT));
        admitted(world.decide(&caller("a"), b""));
        for body in [
            &br#"{"model":"o3","messages":[]}"#[..],
            br#"{"messages":[]}"#,
            b"no JSON",
            br#"{"model":["gpt-4o"],"messages":[]}"#,
        ] {
            assert_eq!(refused(world.decide(&caller("a"), body)).status, 403);
        }
    }

    #[test]
    fn caps_are_lowered_or_added_and_the_estimate_follows() {
        let mut settings = settings(vec![limit("tokens", Unit::TotalTokens, 9_000, &["ip"])]);
        settings.max_tokens = MaxTokens {
            clamp: Some(50),
            inject: Some(20),
        };
        let policy = Policy::new(settings).unwrap();
        let lowered = policy.price(&Caller::default(), None, Body::Whole(CHAT), &Learned::new());
        assert_eq!(lowered.estimate.output_tokens, 50);
        let body = String::from_utf8(lowered.rewritten.unwrap()).unwrap();
        assert!(body.contains(r#""max_tokens":50"#), "{body}");
        let uncapped = br#"{"model":"gpt-4o","messages":[]}"#;
        let added = policy.price(
            &Caller::default(),
            Some("/v1/chat/completions"),
            Body::Whole(uncapped),
            &Learned::new(),
        );
        assert_eq!(added.estimate.output_tokens, 20);
        assert!(!added.asks_usage);
        let body = String::from_utf8(added.rewritten.unwrap()).unwrap();
        assert!(body.contains(":20"), "{body}");
    }

    #[test]
    fn an_estimate_costs_what_was_chosen() {
        let estimate = |mode, body| {
            let mut settings = settings(vec![limit("tokens", Unit::TotalTokens, 9_000, &["ip"])]);
            settings.estimate = mode;
            let policy = Policy::new(settings).unwrap();
            policy
                .price(&Caller::default(), None, body, &Learned::new())
                .estimate
        };
        assert_eq!(
            estimate(EstimateMode::None, Body::Whole(CHAT)),
            Estimate::unknown()
        );
        let by_size = estimate(EstimateMode::ContentLength, Body::Size(400));
        assert_eq!(by_size.prompt_tokens, 100);
        let exact = estimate(EstimateMode::Body, Body::Whole(CHAT));
        assert_eq!((exact.prompt_tokens, exact.output_tokens), (11, 100));
    }

    #[test]
    fn a_stream_is_asked_for_its_usage_only_if_tokens_count() {
        let stream = br#"{"stream":true,"messages":[]}"#;
        let policy = |limits| Policy::new(settings(limits)).unwrap();
        let tokens = policy(vec![limit("tokens", Unit::TotalTokens, 10, &["ip"])]);
        assert!(
            tokens
                .price(
                    &Caller::default(),
                    None,
                    Body::Whole(stream),
                    &Learned::new()
                )
                .asks_usage
        );
        assert!(
            tokens
                .price(&Caller::default(), None, Body::Whole(CHAT), &Learned::new())
                .rewritten
                .is_none()
        );
        let by_model = policy(vec![limit("calls", Unit::Requests, 10, &["model"])]);
        assert!(by_model.needs().body && !by_model.counts_usage());
        assert!(
            by_model
                .price(
                    &Caller::default(),
                    None,
                    Body::Whole(stream),
                    &Learned::new()
                )
                .rewritten
                .is_none()
        );
        let off = Policy::new(Settings {
            stream_usage: StreamUsage::Off,
            ..tokens.settings.clone()
        });
        assert!(
            off.unwrap()
                .price(
                    &Caller::default(),
                    None,
                    Body::Whole(stream),
                    &Learned::new()
                )
                .rewritten
                .is_none()
        );
        let plain = policy(vec![limit("calls", Unit::Requests, 10, &["ip"])]);
        assert!(!plain.needs().body);
    }

    #[test]
    fn a_body_that_cannot_be_read_is_priced_and_never_an_error() {
        let policy = Policy::new(settings(vec![limit(
            "tokens",
            Unit::TotalTokens,
            10,
            &["ip"],
        )]))
        .unwrap();
        let deep = "[".repeat(1_000_000);
        for body in [
            &b"\xff\xfe\x00"[..],
            b"{\"messages\":",
            b"[1,2",
            b"--boundary\r\n",
            deep.as_bytes(),
        ] {
            let estimate = policy
                .price(&Caller::default(), None, Body::Whole(body), &Learned::new())
                .estimate;
            assert_eq!(estimate.prompt_tokens, (body.len() as u64).div_ceil(4));
        }
        assert_eq!(
            policy
                .price(&Caller::default(), None, Body::Whole(b""), &Learned::new())
                .estimate,
            Estimate::default()
        );
        assert_eq!(
            policy
                .price(
                    &Caller::default(),
                    None,
                    Body::Size(u64::MAX),
                    &Learned::new()
                )
                .estimate
                .prompt_tokens,
            u64::MAX / 4 + 1
        );
    }
}
