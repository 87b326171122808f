//! The policy of `llm-rate-limiting`: requests, identities, limits and tokens. It knows no gateway.
//!
//! # Layout
//!
//! In the order in which a request meets them:
//!
//! - [`config`]: the settings, typed and checked when they are loaded.
//! - [`api`]: whose API it is; [`request`]: what the body says, in one bounded pass; [`rewrite`]: the
//!   body, asking a stream for its usage and capping the answer.
//! - [`identity`]: who is calling, and whose counters that makes.
//! - [`estimate`]: what the request will probably cost, by what was [`learned`] from those before.
//! - [`Policy::decide`]: all limits at once; [`answer`]: what the client is told.
//! - [`handle`]: what is remembered until the answer is through.
//! - [`usage`]: what the request really cost; [`Policy::settle`]: closing the books with it.
//!
//! # Invariants
//!
//! 1. A refused request charges nothing, and an admitted one is charged on every limit (the store's contract).
//! 2. Nothing that a client sends makes the policy fail: what cannot be read is priced by its size
//!    (test: `a_body_that_cannot_be_read_is_priced_and_never_an_error`).

pub mod answer;
pub mod api;
pub mod config;
pub mod estimate;
pub mod handle;
pub mod identity;
pub mod learned;
pub mod outcomes;
pub mod request;
pub mod rewrite;
pub mod usage;

use std::time::Duration;

use token_limiter::{Charge, Cost, Decision, PerCharge, Settlement, Store};

use self::answer::{Headers, Refusal};
use self::config::{ConfigError, LimitSettings, Settings, StreamUsage, Unit};
use self::estimate::Estimate;
use self::handle::Handle;
use self::identity::{Caller, Needs};
use self::learned::Forecast;
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

/// What a body means to the policy.
#[derive(Clone, Debug, Default)]
pub struct Pricing {
    /// What the request will probably cost.
    pub estimate: Estimate,
    /// The model that it names.
    pub model: Option<String>,
    /// The body to send upstream in place of the client's, if a stream has to be asked for its usage.
    pub rewritten: Option<Vec<u8>>,
}

/// The decision on a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may pass.
    Admitted {
        /// To be settled when the answer is through.
        handle: Handle,
        /// For the client.
        headers: Headers,
    },
    /// It may not.
    Refused(Refusal),
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
        let mut needs = Needs::of(&settings.limits);
        needs.body |= settings.counts_tokens();
        Ok(Self { settings, needs })
    }

    /// What the policy needs to know about a request besides the caller's address.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether the answer has to be watched.
    pub fn counts_tokens(&self) -> bool {
        self.settings.counts_tokens()
    }

    /// Whether a usage event that was asked for is to be dropped before the client sees it.
    pub fn hides_stream_usage(&self) -> bool {
        self.settings.stream_usage == StreamUsage::Hide
    }

    /// Reads and prices a body.
    pub fn price(&self, body: Body<'_>) -> Pricing {
        let bytes = match body {
            Body::Size(bytes) => {
                return Pricing {
                    estimate: Estimate::of_bytes(bytes),
                    ..Pricing::default()
                };
            }
            Body::Whole(bytes) => bytes,
        };
        let Some(request) = Request::read(None, bytes) else {
            return Pricing {
                estimate: Estimate::of_bytes(bytes.len() as u64),
                ..Pricing::default()
            };
        };
        let asks = self.counts_tokens() && self.settings.stream_usage != StreamUsage::Off;
        let rewrite = Rewrite {
            include_usage: asks && request.lacks_stream_usage(),
            ..Rewrite::default()
        };
        Pricing {
            estimate: Estimate::of_request(&request, bytes.len(), Forecast::default()),
            rewritten: rewrite.apply(bytes),
            model: request.model,
        }
    }

    /// Reserves the request's cost on every limit, or refuses it.
    pub async fn decide<S: Store>(
        &self,
        store: &S,
        caller: &Caller,
        estimate: Estimate,
    ) -> Result<Verdict, S::Error> {
        let limits = &self.settings.limits;
        let charges: PerCharge<Charge<'_>> = limits
            .iter()
            .map(|limit| {
                let cost = Cost::new(cost(limit, &estimate));
                Charge::new(&limit.limit, caller.key(limit), cost)
            })
            .collect();
        let requested = |index: usize| charges[index].cost.units();
        Ok(match store.reserve(&charges, LEASE).await? {
            Decision::Granted(grant) => Verdict::Admitted {
                handle: Handle {
                    reservation: grant.reservation,
                    estimate,
                    charges: limits
                        .iter()
                        .zip(&charges)
                        .map(|(limit, charge)| (limit.unit, charge.cost.units()))
                        .collect(),
                },
                headers: answer::allowance(&self.settings, &grant.balances),
            },
            Decision::Denied(denial) => Verdict::Refused(answer::denied(
                &self.settings,
                &denial,
                requested(denial.index),
            )),
            Decision::NeverPasses { index } => Verdict::Refused(answer::never_passes(
                &self.settings,
                index,
                requested(index),
            )),
        })
    }

    /// Closes the books of a request that was answered with `status`. Needs no settings: the handle knows what was charged.
    pub async fn settle<S: Store>(
        store: &S,
        handle: &Handle,
        observed: Option<&Observed>,
        status: u16,
    ) -> Result<Closing, S::Error> {
        let spent = usage::spent(observed, status, &handle.estimate);
        let actual: PerCharge<Cost> = handle
            .charges
            .iter()
            .map(|&(unit, reserved)| match (unit, spent.usage()) {
                (Unit::Requests, _) | (Unit::TotalTokens, None) => Cost::new(reserved),
                (Unit::TotalTokens, Some(usage)) => Cost::new(usage.total_tokens),
            })
            .collect();
        let settlement = store.settle(&handle.reservation, &actual).await?;
        Ok(Closing { spent, settlement })
    }
}

fn cost(limit: &LimitSettings, estimate: &Estimate) -> u64 {
    match limit.unit {
        Unit::Requests => 1,
        Unit::TotalTokens => estimate.reserve_total(limit.limit.limit.units()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use token_limiter::MemoryStore;

    use super::config::tests::{limit, settings};
    use super::*;

    fn ready<T>(call: impl Future<Output = Result<T, Infallible>>) -> T {
        match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(output)) => output,
            Poll::Pending => panic!("the memory store never waits"),
        }
    }

    fn policy(limits: Vec<LimitSettings>) -> Policy {
        Policy::new(settings(limits)).unwrap()
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
            Verdict::Admitted { handle, .. } => handle,
            Verdict::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    fn refused(verdict: Verdict) -> Refusal {
        match verdict {
            Verdict::Refused(refusal) => refusal,
            Verdict::Admitted { handle, .. } => panic!("admitted: {handle:?}"),
        }
    }

    #[test]
    fn a_budget_is_reserved_settled_and_at_last_spent() {
        let store = MemoryStore::new();
        let policy = policy(vec![
            limit("tokens", Unit::TotalTokens, 300, &["consumer"]),
            limit("calls", Unit::Requests, 3, &["consumer"]),
        ]);
        let decide = |who| {
            ready(policy.decide(
                &store,
                &caller(who),
                policy.price(Body::Whole(CHAT)).estimate,
            ))
        };
        let first = admitted(decide("tenant"));
        assert_eq!(
            first.charges,
            [(Unit::TotalTokens, 111), (Unit::Requests, 1)]
        );
        let closing = ready(Policy::settle(&store, &first, Some(&answer(31)), 200));
        assert_eq!(closing.settlement, Settlement::Settled);

        let second = admitted(decide("tenant"));
        ready(Policy::settle(&store, &second, Some(&answer(250)), 200));
        let refusal = refused(decide("tenant"));
        assert!(
            refusal
                .body
                .contains("(tokens): limit 300 in 1m0s, used 281, requested 111"),
            "{}",
            refusal.body
        );
        admitted(decide("other"));
    }

    #[test]
    fn a_failed_upstream_gives_back_tokens_but_no_request() {
        let store = MemoryStore::new();
        let policy = policy(vec![
            limit("tokens", Unit::TotalTokens, 111, &["consumer"]),
            limit("calls", Unit::Requests, 2, &["consumer"]),
        ]);
        let decide = || {
            ready(policy.decide(
                &store,
                &caller("a"),
                policy.price(Body::Whole(CHAT)).estimate,
            ))
        };
        for _ in 0..2 {
            ready(Policy::settle(&store, &admitted(decide()), None, 502));
        }
        assert!(refused(decide()).body.contains("(calls): limit 2"));
    }

    #[test]
    fn a_prompt_above_its_limit_never_passes() {
        let store = MemoryStore::new();
        let policy = policy(vec![limit("tokens", Unit::TotalTokens, 10, &["consumer"])]);
        let refusal = refused(ready(policy.decide(
            &store,
            &caller("a"),
            policy.price(Body::Whole(CHAT)).estimate,
        )));
        assert_eq!(refusal.status, 413);
    }

    #[test]
    fn a_stream_is_asked_for_its_usage_only_if_tokens_count() {
        let stream = br#"{"stream":true,"messages":[]}"#;
        let tokens = policy(vec![limit("tokens", Unit::TotalTokens, 10, &["ip"])]);
        assert!(tokens.price(Body::Whole(stream)).rewritten.is_some());
        assert!(tokens.price(Body::Whole(CHAT)).rewritten.is_none());
        let by_model = policy(vec![limit("calls", Unit::Requests, 10, &["model"])]);
        assert!(by_model.needs().body && !by_model.counts_tokens());
        assert!(by_model.price(Body::Whole(stream)).rewritten.is_none());
        let off = Settings {
            stream_usage: StreamUsage::Off,
            ..tokens.settings.clone()
        };
        assert!(
            Policy::new(off)
                .unwrap()
                .price(Body::Whole(stream))
                .rewritten
                .is_none()
        );
        assert!(
            !policy(vec![limit("calls", Unit::Requests, 10, &["ip"])])
                .needs()
                .body
        );
    }

    #[test]
    fn a_body_that_cannot_be_read_is_priced_and_never_an_error() {
        let policy = policy(vec![limit("tokens", Unit::TotalTokens, 10, &["ip"])]);
        let deep = "[".repeat(1_000_000);
        for body in [
            &b"\xff\xfe\x00"[..],
            b"{\"messages\":",
            b"[1,2",
            b"--boundary\r\n",
            deep.as_bytes(),
        ] {
            let estimate = policy.price(Body::Whole(body)).estimate;
            assert_eq!(estimate.prompt_tokens, (body.len() as u64).div_ceil(4));
        }
        assert_eq!(policy.price(Body::Whole(b"")).estimate, Estimate::default());
        assert_eq!(
            policy.price(Body::Size(u64::MAX)).estimate.prompt_tokens,
            u64::MAX / 4 + 1
        );
    }
}
