//! The law, against a model that remembers everything.
//!
//! The model keeps every admission with its moment, its estimate and what it really cost, and knows nothing of slots. It
//! is as slow as it is plain.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Calls, Subject, fresh_key, limit};
use crate::{Charge, Cost, Decision, Key, Limit, Reservation, Settlement};

/// Cases to run; each is some forty steps.
const CASES: u32 = 10_000;

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
    /// Lets time pass.
    Wait { milliseconds: u64 },
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
        prop_oneof![0_u64..40, 0_u64..1_500].prop_map(|milliseconds| Step::Wait { milliseconds });
    prop::collection::vec(prop_oneof![4 => reserve, 3 => settle, 2 => wait], 1..60)
}

/// One admitted request, as the model remembers it.
struct Admission {
    tenant: usize,
    at_ms: u64,
    estimate: u64,
    actual: u64,
    reservation: Reservation,
    open: bool,
}

struct Model<'a, S> {
    subject: &'a S,
    tokens: Limit,
    requests: Limit,
    keys: [(Key, Key); TENANTS],
    now_ms: u64,
    admissions: Vec<Admission>,
}

impl<'a, S: Subject> Model<'a, S> {
    fn new(subject: &'a S) -> Self {
        // Windows that are no multiple of thirty, of different lengths.
        let tokens = limit("tokens", 100, Duration::from_secs(1));
        let requests = limit("requests", 7, Duration::from_millis(640));
        Self {
            subject,
            keys: std::array::from_fn(|_| (fresh_key(&tokens), fresh_key(&requests))),
            tokens,
            requests,
            now_ms: 0,
            admissions: Vec::new(),
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.subject.advance(Duration::from_millis(milliseconds));
        self.now_ms += milliseconds;
    }

    fn reserve(&mut self, tenant: usize, tokens: u64) -> Decision {
        let (token_key, request_key) = self.keys[tenant];
        let decision = self.subject.reserve(&[
            Charge::new(&self.tokens, token_key, Cost::new(tokens)),
            Charge::new(&self.requests, request_key, Cost::ONE),
        ]);
        if let Decision::Granted(grant) = &decision {
            self.admissions.push(Admission {
                tenant,
                at_ms: self.now_ms,
                estimate: tokens,
                actual: tokens,
                reservation: grant.reservation.clone(),
                open: true,
            });
            assert!(
                grant.balances[0].remaining.units() <= 100 - self.certainly_held(tenant),
                "told more than is left: {grant:?}"
            );
        }
        decision
    }

    /// What the present window of a tenant holds at the very least.
    fn certainly_held(&self, tenant: usize) -> u64 {
        self.admissions
            .iter()
            .filter(|one| one.tenant == tenant && one.at_ms + 1_000 > self.now_ms)
            .map(|one| one.estimate.min(one.actual))
            .sum()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Wait { milliseconds } => self.wait(milliseconds),
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
                assert!(denial.retry_after >= Duration::from_millis(1));
                if returns {
                    let wait_ms = u64::try_from(denial.retry_after.as_millis())
                        .expect("a wait within the windows");
                    self.wait(wait_ms - 1);
                    let early = self.reserve(tenant, tokens);
                    assert!(
                        matches!(early, Decision::Denied(_)),
                        "passed before its time: {early:?}"
                    );
                    self.wait(1);
                    let late = self.reserve(tenant, tokens);
                    assert!(
                        matches!(late, Decision::Granted(_)),
                        "told to wait for nothing: {late:?}"
                    );
                }
            }
        }
    }

    /// Every span that ends with an admission: no other holds more.
    fn obeys_the_law(&self) -> bool {
        self.admissions.iter().all(|last| {
            let within = |window_ms: u64| {
                self.admissions.iter().filter(move |one| {
                    one.tenant == last.tenant
                        && one.at_ms <= last.at_ms
                        && one.at_ms + window_ms > last.at_ms
                })
            };
            let spent: u64 = within(1_000).map(|one| one.actual).sum();
            let underestimates: u64 = within(1_000)
                .map(|one| one.actual.saturating_sub(one.estimate))
                .sum();
            spent <= 100 + underestimates && within(640).count() <= 7
        })
    }
}

/// The law, under any interleaving of reservations, settlements and time; and every refused caller that comes back when it
/// was told to passes, but not a millisecond earlier.
pub fn never_spends_more_than_the_limit_and_the_underestimates(subject: &impl Subject) {
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        let mut model = Model::new(subject);
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
