//! The law, against a model that remembers everything.
//!
//! The model keeps every admission with its moment, its estimate and what it really cost, and knows nothing of slots,
//! levels or refunds. It is as slow as it is plain.

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Kind, Subject, fresh_key, period};
use crate::{
    Calendar, Charge, Cost, Decision, Key, Limit, Period, Reservation, Settlement, Store,
    Timestamp, Window,
};

/// Cases of the law for each kind of window, unless the subject says otherwise; each is some forty calls.
pub const CASES: u32 = 10_000;

/// Threads that share the cases: one draws and judges while the store answers another.
const LANES: u32 = 2;

/// How many cases run at once, each with keys and a time of its own: a store that is asked over a network answers many in the time
/// of one.
const AT_ONCE: u32 = 25;

/// How long a reservation can be settled, in windows of the longer limit: a case may well outlast it.
const LEASE_WINDOWS: u32 = 3;

/// A store may forget on its own machine's time as well, which goes on while a case runs.
const SHORTEST_LEASE: Duration = Duration::from_mins(1);

const TENANTS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// Asks for `tokens`; a refused caller comes back when it was told to if `returns`.
    Reserve {
        tenant: usize,
        tokens: u64,
        returns: bool,
    },
    /// Settles one of the open reservations with `tokens`.
    Settle { which: usize, tokens: u64 },
    /// Lets time pass: so many thousandths of the window.
    Wait { thousandths: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reserve = (0..TENANTS, 0_u64..60, any::<bool>()).prop_map(|(tenant, tokens, returns)| {
        Step::Reserve {
            tenant,
            tokens,
            returns,
        }
    });
    let settle = (0_usize..64, prop_oneof![0_u64..60, 0_u64..200])
        .prop_map(|(which, tokens)| Step::Settle { which, tokens });
    let wait =
        prop_oneof![0_u64..40, 0_u64..1_500].prop_map(|thousandths| Step::Wait { thousandths });
    prop::collection::vec(prop_oneof![4 => reserve, 3 => settle, 2 => wait], 1..60)
}

/// One admitted request, as the model remembers it.
struct Admission {
    tenant: usize,
    tokens: Spent,
    request: Spent,
    expires: Timestamp,
    reservation: Reservation,
    open: bool,
}

/// What a request took of one limit: what was reserved for it, and what it really cost.
#[derive(Clone, Copy)]
struct Spent {
    at: Timestamp,
    /// The one that `at` belongs to, if the limit's window has any.
    period: Option<Period>,
    estimate: u64,
    actual: u64,
}

impl Spent {
    fn new(limit: &Limit, at: Timestamp, estimate: u64) -> Self {
        Self {
            at,
            period: period(&limit.window, at),
            estimate,
            actual: estimate,
        }
    }
}

struct Model<'a, S> {
    subject: S,
    tokens: &'a Limit,
    requests: &'a Limit,
    keys: [(Key, Key); TENANTS],
    admissions: Vec<Admission>,
}

/// Two limits whose windows are no multiple of thirty, of different lengths or time zones, and a bucket's burst below its limit.
fn limits(kind: Kind) -> [Limit; 2] {
    let day = |zone: &str| {
        Ok(Window::calendar(
            Calendar::Day,
            zone.parse().expect("the suite's time zones exist"),
        ))
    };
    let (second, less) = (Duration::from_secs(1), Duration::from_millis(640));
    let windows = match kind {
        Kind::Sliding => [Window::sliding(second), Window::sliding(less)],
        Kind::Fixed => [Window::fixed(second), Window::fixed(less)],
        Kind::TokenBucket => [
            Window::token_bucket(second, Cost::new(70)),
            Window::token_bucket(less, Cost::new(7)),
        ],
        Kind::Calendar => [day("Europe/Berlin"), day("America/New_York")],
    };
    let [tokens, requests] = windows.map(|window| window.expect("the suite's windows are valid"));
    [("tokens", 100, tokens), ("requests", 7, requests)].map(|(name, most, window)| Limit {
        name: name.to_owned(),
        limit: Cost::new(most),
        window,
    })
}

impl<'a, S: Subject> Model<'a, S> {
    fn new(subject: S, [tokens, requests]: &'a [Limit; 2]) -> Self {
        Self {
            subject,
            keys: std::array::from_fn(|_| (fresh_key(tokens), fresh_key(requests))),
            tokens,
            requests,
            admissions: Vec::new(),
        }
    }

    /// Whether the store keeps the law in this case.
    async fn obeys(mut self, steps: Vec<Step>) -> bool {
        for step in steps {
            self.step(step).await;
        }
        (0..TENANTS).all(|tenant| {
            let tokens: Vec<_> = self.admitted(tenant).map(|one| one.tokens).collect();
            let requests: Vec<_> = self.admitted(tenant).map(|one| one.request).collect();
            obeys(self.tokens, &tokens) && obeys(self.requests, &requests)
        })
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Wait { thousandths } => {
                let thousandth = self.tokens.window.length() / 1_000;
                let thousandths = u32::try_from(thousandths).expect("a few windows");
                self.subject.advance(thousandth * thousandths);
            }
            Step::Settle { which, tokens } => {
                let mut open: Vec<_> = self.admissions.iter_mut().filter(|one| one.open).collect();
                if open.is_empty() {
                    return;
                }
                let which = which % open.len();
                let one = &mut *open[which];
                let in_time = self.subject.now() < one.expires;
                let settle = async |tokens| {
                    let actual = [Cost::new(tokens)];
                    let settled = self.subject.store().settle(&one.reservation, &actual);
                    settled.await.expect("the store settles")
                };
                let settled = settle(tokens).await;
                assert_eq!(settled == Settlement::Settled, in_time);
                assert_eq!(settle(0).await, Settlement::Unknown);
                one.open = false;
                if in_time {
                    one.tokens.actual = tokens;
                }
            }
            Step::Reserve {
                tenant,
                tokens,
                returns,
            } => {
                let Decision::Denied(denial) = self.reserve(tenant, tokens).await else {
                    return;
                };
                let moment = Duration::from_millis(1);
                assert!(denial.retry_after >= moment);
                if returns {
                    self.subject
                        .advance(denial.retry_after.saturating_sub(moment));
                    let early = self.reserve(tenant, tokens).await;
                    assert!(
                        matches!(early, Decision::Denied(_)),
                        "passed before its time: {early:?}"
                    );
                    self.subject.advance(moment);
                    let late = self.reserve(tenant, tokens).await;
                    assert!(
                        matches!(late, Decision::Granted(_)),
                        "told to wait for nothing: {late:?}"
                    );
                }
            }
        }
    }

    async fn reserve(&mut self, tenant: usize, tokens: u64) -> Decision {
        let (token_key, request_key) = self.keys[tenant];
        let charges = [
            Charge::new(self.tokens, token_key, Cost::new(tokens)),
            Charge::new(self.requests, request_key, Cost::ONE),
        ];
        let lease = SHORTEST_LEASE.max(LEASE_WINDOWS * self.tokens.window.length());
        let decision = self.subject.store().reserve(&charges, lease).await;
        let decision = decision.expect("the store decides");
        if let Decision::Granted(grant) = &decision {
            let now = self.subject.now();
            self.admissions.push(Admission {
                tenant,
                tokens: Spent::new(self.tokens, now, tokens),
                request: Spent::new(self.requests, now, 1),
                expires: now.after(lease),
                reservation: grant.reservation.clone(),
                open: true,
            });
            let used = grant.balances[0].used.units();
            let spent = self.admitted(tenant).map(|one| &one.tokens);
            assert!(
                used >= certainly_used(self.tokens, spent, now),
                "told more than is left: {grant:?}"
            );
            assert_eq!(
                grant.balances[0].remaining,
                self.tokens.capacity().saturating_sub(Cost::new(used))
            );
        }
        decision
    }

    fn admitted(&self, tenant: usize) -> impl Iterator<Item = &Admission> {
        self.admissions
            .iter()
            .filter(move |one| one.tenant == tenant)
    }
}

/// Whether every admission kept the law together with those before it; they are in the order of time.
fn obeys(limit: &Limit, spent: &[Spent]) -> bool {
    let overspent = |span: &[Spent], allowed: u64| {
        let actual: u64 = span.iter().map(|one| one.actual).sum();
        let underestimates: u64 = span
            .iter()
            .map(|one| one.actual.saturating_sub(one.estimate))
            .sum();
        actual > allowed + underestimates
    };
    spent.iter().enumerate().all(|(last, newest)| {
        (0..=last).all(|first| {
            let (span, oldest) = (&spent[first..=last], &spent[first]);
            let apart = newest.at.since(oldest.at);
            match &limit.window {
                Window::TokenBucket(bucket) => {
                    let flowed_off = u128::from(limit.limit.units()) * apart.as_millis()
                        / limit.window.length().as_millis();
                    let flowed_off = u64::try_from(flowed_off).expect("a few windows");
                    !overspent(span, bucket.burst().units() + flowed_off)
                }
                Window::Sliding(_) => {
                    apart >= limit.window.length() || !overspent(span, limit.limit.units())
                }
                Window::Fixed(_) | Window::Calendar(_) => {
                    oldest.period != newest.period || !overspent(span, limit.limit.units())
                }
            }
        })
    })
}

/// What a counter holds at the very least: each admission at the smaller of its estimate and its actual cost.
fn certainly_used<'a>(
    limit: &Limit,
    spent: impl Iterator<Item = &'a Spent>,
    now: Timestamp,
) -> u64 {
    let least = |one: &Spent| one.estimate.min(one.actual);
    if let Window::TokenBucket(bucket) = &limit.window {
        let rate = bucket.rate(limit.limit);
        let falls = |level: u64, from: Timestamp, to: Timestamp| {
            let off = (to.as_millis() - from.as_millis()) * rate.units;
            level.saturating_sub(off)
        };
        let (level, at) = spent.fold((0, now), |(level, at), one| {
            let level = if level == 0 {
                0
            } else {
                falls(level, at, one.at)
            };
            (level + least(one) * rate.milliseconds, one.at)
        });
        return falls(level, at, now).div_ceil(rate.milliseconds);
    }
    let present = period(&limit.window, now);
    let counts = |one: &&Spent| match &limit.window {
        Window::Sliding(_) => now.since(one.at) < limit.window.length(),
        _ => one.period == present,
    };
    spent.filter(counts).map(least).sum()
}

/// The law, under any interleaving of reservations, settlements and time; and every refused caller that comes back when it
/// was told to passes, but not a millisecond earlier.
pub fn never_spends_more_than_the_limit_and_the_underestimates(subject: &impl Subject, kind: Kind) {
    let limits = limits(kind);
    let batch = prop::collection::vec(steps(), AT_ONCE as usize);
    let lane = || {
        let mut runner = TestRunner::new(Config {
            cases: subject.cases().div_ceil(AT_ONCE * LANES),
            failure_persistence: None,
            ..Config::default()
        });
        let outcome = runner.run(&batch, |cases| {
            let cases = cases
                .into_iter()
                .map(|steps| Model::new(subject.apart(), &limits).obeys(steps));
            let obeyed = subject.block_on(join_all(cases));
            prop_assert!(obeyed.into_iter().all(|obeyed| obeyed));
            Ok(())
        });
        outcome.map_err(|error| error.to_string())
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(ScopedJoinHandle::join).collect()
    });
    for outcome in outcomes {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{error}"),
            Err(panic) => resume_unwind(panic),
        }
    }
}
