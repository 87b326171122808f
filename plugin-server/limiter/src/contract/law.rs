//! The law, against a model that remembers everything.
//!
//! The model keeps every admission with its moment, its estimate and what it really cost, and knows nothing of slots,
//! levels or refunds. It is as slow as it is plain.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Calls, Kind, Subject, fresh_key, period};
use crate::{
    Calendar, Charge, Cost, Decision, Key, Limit, Reservation, Settlement, Timestamp, Window,
};

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
    at: Timestamp,
    estimate: u64,
    actual: u64,
    reservation: Reservation,
    open: bool,
}

/// What a request took of one limit: what was reserved for it, and what it really cost.
#[derive(Clone, Copy)]
struct Spent {
    at: Timestamp,
    estimate: u64,
    actual: u64,
}

struct Model<'a, S> {
    subject: &'a S,
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
    fn new(subject: &'a S, [tokens, requests]: &'a [Limit; 2]) -> Self {
        Self {
            subject,
            keys: std::array::from_fn(|_| (fresh_key(tokens), fresh_key(requests))),
            tokens,
            requests,
            admissions: Vec::new(),
        }
    }

    fn reserve(&mut self, tenant: usize, tokens: u64) -> Decision {
        let (token_key, request_key) = self.keys[tenant];
        let decision = self.subject.reserve(&[
            Charge::new(self.tokens, token_key, Cost::new(tokens)),
            Charge::new(self.requests, request_key, Cost::ONE),
        ]);
        if let Decision::Granted(grant) = &decision {
            self.admissions.push(Admission {
                tenant,
                at: self.subject.now(),
                estimate: tokens,
                actual: tokens,
                reservation: grant.reservation.clone(),
                open: true,
            });
            let used = grant.balances[0].used.units();
            assert!(
                used >= certainly_used(self.tokens, &self.spent(tenant), self.subject.now()),
                "told more than is left: {grant:?}"
            );
            assert_eq!(
                grant.balances[0].remaining,
                self.tokens.capacity().saturating_sub(Cost::new(used))
            );
        }
        decision
    }

    fn spent(&self, tenant: usize) -> Vec<Spent> {
        self.admissions
            .iter()
            .filter(|one| one.tenant == tenant)
            .map(|one| Spent {
                at: one.at,
                estimate: one.estimate,
                actual: one.actual,
            })
            .collect()
    }

    fn step(&mut self, step: &Step) {
        match *step {
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
                assert_eq!(
                    self.subject.settle(&one.reservation, &[tokens]),
                    Settlement::Settled
                );
                (one.open, one.actual) = (false, tokens);
                assert_eq!(
                    self.subject.settle(&one.reservation, &[0]),
                    Settlement::Unknown
                );
            }
            Step::Reserve {
                tenant,
                tokens,
                returns,
            } => {
                let Decision::Denied(denial) = self.reserve(tenant, tokens) else {
                    return;
                };
                let moment = Duration::from_millis(1);
                assert!(denial.retry_after >= moment);
                if returns {
                    self.subject
                        .advance(denial.retry_after.saturating_sub(moment));
                    let early = self.reserve(tenant, tokens);
                    assert!(
                        matches!(early, Decision::Denied(_)),
                        "passed before its time: {early:?}"
                    );
                    self.subject.advance(moment);
                    let late = self.reserve(tenant, tokens);
                    assert!(
                        matches!(late, Decision::Granted(_)),
                        "told to wait for nothing: {late:?}"
                    );
                }
            }
        }
    }

    fn obeys_the_law(&self) -> bool {
        (0..TENANTS).all(|tenant| {
            let tokens = self.spent(tenant);
            let requests: Vec<_> = tokens
                .iter()
                .map(|one| Spent {
                    estimate: 1,
                    actual: 1,
                    ..*one
                })
                .collect();
            obeys(self.tokens, &tokens) && obeys(self.requests, &requests)
        })
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
                window => {
                    period(window, oldest.at) != period(window, newest.at)
                        || !overspent(span, limit.limit.units())
                }
            }
        })
    })
}

/// What a counter holds at the very least: each admission at the smaller of its estimate and its actual cost.
fn certainly_used(limit: &Limit, spent: &[Spent], now: Timestamp) -> u64 {
    let least = |one: &Spent| one.estimate.min(one.actual);
    if let Window::TokenBucket(bucket) = &limit.window {
        let rate = bucket.rate(limit.limit);
        let falls = |level: u64, from: Timestamp, to: Timestamp| {
            let off = (to.as_millis() - from.as_millis()) * rate.units;
            level.saturating_sub(off)
        };
        let (level, at) = spent.iter().fold((0, now), |(level, at), one| {
            let level = if level == 0 {
                0
            } else {
                falls(level, at, one.at)
            };
            (level + least(one) * rate.milliseconds, one.at)
        });
        return falls(level, at, now).div_ceil(rate.milliseconds);
    }
    let counts = |one: &&Spent| match &limit.window {
        Window::Sliding(_) => now.since(one.at) < limit.window.length(),
        window => period(window, one.at) == period(window, now),
    };
    spent.iter().filter(counts).map(least).sum()
}

/// The law, under any interleaving of reservations, settlements and time; and every refused caller that comes back when it
/// was told to passes, but not a millisecond earlier.
pub fn never_spends_more_than_the_limit_and_the_underestimates(subject: &impl Subject, kind: Kind) {
    let limits = limits(kind);
    let mut runner = TestRunner::new(Config {
        cases: subject.cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        let mut model = Model::new(subject, &limits);
        for step in &steps {
            model.step(step);
        }
        prop_assert!(model.obeys_the_law());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
