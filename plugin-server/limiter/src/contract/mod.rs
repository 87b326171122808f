//! What every [`Store`] must do, as tests that run against any of them.
//!
//! A store's crate implements [`Subject`] and calls [`contract_suite!`](crate::contract_suite) in a test file, with
//! the feature `contract` of this crate among its development dependencies. One suite on every store is what keeps implementations
//! in different languages one algorithm.

mod law;

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use law::never_spends_more_than_the_limit_and_the_underestimates;

use crate::{
    Balance, Charge, Cost, Decision, Denial, Grant, Identity, Key, Limit, Reservation,
    ReservationId, Settlement, Store, Window,
};

/// A store under test, with its time in the test's hands.
pub trait Subject: Sync {
    /// The store's type.
    type Store: Store;

    /// The store: empty of the keys that this process makes.
    fn store(&self) -> &Self::Store;

    /// Lets `by` pass on the store's clock, which otherwise stands still.
    fn advance(&self, by: Duration);

    /// Waits for a call; called from many threads at once.
    fn block_on<F: Future>(&self, call: F) -> F::Output;
}

/// Makes one `#[test]` of each rule of the contract, on a fresh subject from the given function.
#[macro_export]
macro_rules! contract_suite {
    ($subject:expr) => {
        $crate::contract_suite! { $subject =>
            grants_until_the_limit_and_passes_at_retry_after
            decides_all_limits_or_none
            a_refused_request_charges_nothing
            tells_a_request_that_can_never_pass
            refunds_only_the_window_that_was_charged
            charges_an_overage_as_debt
            settling_twice_is_settling_once
            forgets_a_reservation_when_its_lease_ends
            keeps_a_charge_without_an_actual_cost
            keeps_keys_apart
            refuses_foreign_reservations
            a_race_admits_exactly_the_limit
            never_spends_more_than_the_limit_and_the_underestimates
        }
    };
    ($subject:expr => $($rule:ident)+) => {
        $(
            #[test]
            fn $rule() {
                $crate::contract::$rule(&$subject);
            }
        )+
    };
}

/// A lease longer than any window of the suite.
const LEASE: Duration = Duration::from_hours(1);

const WINDOW: Duration = Duration::from_secs(30);

fn limit(name: &str, most: u64, window: Duration) -> Limit {
    Limit {
        name: name.to_owned(),
        limit: Cost::new(most),
        window: Window::sliding(window).expect("the suite's windows are valid"),
    }
}

/// A key that no other call of this process returns.
fn fresh_key(limit: &Limit) -> Key {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = std::process::id().to_le_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    Key::new(limit, "tokens", &Identity::new([&process[..], &number[..]]))
}

/// The calls of a store, waited for; a store that cannot decide fails the test.
trait Calls: Subject {
    fn reserve(&self, charges: &[Charge<'_>]) -> Decision {
        self.block_on(self.store().reserve(charges, LEASE))
            .expect("the store decides")
    }

    fn spend(&self, limit: &Limit, key: Key, cost: u64) -> Decision {
        self.reserve(&[Charge::new(limit, key, Cost::new(cost))])
    }

    fn settle(&self, reservation: &Reservation, actual: &[u64]) -> Settlement {
        let actual: Vec<_> = actual.iter().copied().map(Cost::new).collect();
        self.block_on(self.store().settle(reservation, &actual))
            .expect("the store settles")
    }
}

impl<S: Subject + ?Sized> Calls for S {}

#[track_caller]
fn granted(decision: Decision) -> Grant {
    match decision {
        Decision::Granted(grant) => grant,
        other => panic!("expected a grant, got {other:?}"),
    }
}

#[track_caller]
fn denied(decision: Decision) -> Denial {
    match decision {
        Decision::Denied(denial) => denial,
        other => panic!("expected a denial, got {other:?}"),
    }
}

fn remaining(balances: &[Balance]) -> Vec<u64> {
    balances
        .iter()
        .map(|balance| balance.remaining.units())
        .collect()
}

/// A limit admits what fits, tells what is left and when all of it is back, and keeps its promise to the refused.
pub fn grants_until_the_limit_and_passes_at_retry_after(subject: &impl Subject) {
    let limit = limit("tokens", 100, WINDOW);
    let key = fresh_key(&limit);
    let first = granted(subject.spend(&limit, key, 60));
    assert_eq!(remaining(&first.balances), [40]);
    let slot = WINDOW / 30;
    let reset = first.balances[0].reset_after;
    assert!(reset > WINDOW && reset <= WINDOW + slot, "{reset:?}");

    let denial = denied(subject.spend(&limit, key, 41));
    assert_eq!((denial.index, denial.retry_after), (0, reset));
    assert_eq!(remaining(&denial.balances), [40]);
    assert_eq!(
        remaining(&granted(subject.spend(&limit, key, 40)).balances),
        [0]
    );
    assert_eq!(denied(subject.spend(&limit, key, 1)).retry_after, reset);

    let moment = Duration::from_millis(1);
    subject.advance(reset.saturating_sub(moment));
    assert_eq!(denied(subject.spend(&limit, key, 1)).retry_after, moment);
    subject.advance(moment);
    assert_eq!(
        remaining(&granted(subject.spend(&limit, key, 100)).balances),
        [0]
    );
}

/// The limits of one request are decided together, and the refusal names the one that frees last.
pub fn decides_all_limits_or_none(subject: &impl Subject) {
    let wide = limit("wide", 1_000, 2 * WINDOW);
    let narrow = limit("narrow", 10, WINDOW);
    let (wide_key, narrow_key) = (fresh_key(&wide), fresh_key(&narrow));
    let both = |wide_cost, narrow_cost| {
        [
            Charge::new(&wide, wide_key, Cost::new(wide_cost)),
            Charge::new(&narrow, narrow_key, Cost::new(narrow_cost)),
        ]
    };
    assert_eq!(
        remaining(&granted(subject.reserve(&both(300, 10))).balances),
        [700, 0]
    );
    let refused = denied(subject.reserve(&both(300, 1)));
    assert_eq!(
        (refused.index, remaining(&refused.balances)),
        (1, vec![700, 0])
    );
    let later = denied(subject.reserve(&both(800, 1)));
    assert_eq!(later.index, 0, "the limit that frees last binds");
    assert!(later.retry_after > refused.retry_after);
}

/// However often a request is refused, every counter stands as before.
pub fn a_refused_request_charges_nothing(subject: &impl Subject) {
    let open = limit("open", 100, WINDOW);
    let full = limit("full", 1, WINDOW);
    let (open_key, full_key) = (fresh_key(&open), fresh_key(&full));
    granted(subject.spend(&full, full_key, 1));
    for _ in 0..50 {
        denied(subject.reserve(&[
            Charge::new(&open, open_key, Cost::new(10)),
            Charge::new(&full, full_key, Cost::ONE),
        ]));
    }
    let grant = granted(subject.spend(&open, open_key, 100));
    assert_eq!(remaining(&grant.balances), [0]);
}

/// A cost above its whole limit is told apart from one that must wait, and charges nothing either.
pub fn tells_a_request_that_can_never_pass(subject: &impl Subject) {
    let small = limit("small", 10, WINDOW);
    let large = limit("large", 100, WINDOW);
    let (small_key, large_key) = (fresh_key(&small), fresh_key(&large));
    let decision = subject.reserve(&[
        Charge::new(&large, large_key, Cost::new(50)),
        Charge::new(&small, small_key, Cost::new(11)),
    ]);
    assert_eq!(decision, Decision::NeverPasses { index: 1 });
    granted(subject.spend(&large, large_key, 100));
    granted(subject.spend(&small, small_key, 10));
}

/// A refund returns to the slot that was charged; once that has passed, there is nothing to return.
pub fn refunds_only_the_window_that_was_charged(subject: &impl Subject) {
    let limit = limit("tokens", 100, WINDOW);
    let key = fresh_key(&limit);
    let early = granted(subject.spend(&limit, key, 80));
    subject.advance(WINDOW / 2);
    let late = granted(subject.spend(&limit, key, 20));
    assert_eq!(
        subject.settle(&early.reservation, &[30]),
        Settlement::Settled
    );
    assert_eq!(
        remaining(&granted(subject.spend(&limit, key, 0)).balances),
        [50]
    );

    // The early charge has passed now. Its refund must not have been taken off the late one.
    subject.advance(early.balances[0].reset_after.saturating_sub(WINDOW / 2));
    assert_eq!(
        remaining(&granted(subject.spend(&limit, key, 0)).balances),
        [80]
    );

    let unsettled = granted(subject.spend(&limit, key, 50));
    subject.advance(unsettled.balances[0].reset_after);
    granted(subject.spend(&limit, key, 70));
    assert_eq!(
        subject.settle(&unsettled.reservation, &[0]),
        Settlement::Settled
    );
    assert_eq!(subject.settle(&late.reservation, &[0]), Settlement::Settled);
    assert_eq!(
        remaining(&granted(subject.spend(&limit, key, 0)).balances),
        [30]
    );
}

/// What was reserved too little is charged to the present, above the limit if need be, and holds later requests back.
pub fn charges_an_overage_as_debt(subject: &impl Subject) {
    let limit = limit("tokens", 100, WINDOW);
    let key = fresh_key(&limit);
    let grant = granted(subject.spend(&limit, key, 10));
    subject.advance(WINDOW / 2);
    assert_eq!(
        subject.settle(&grant.reservation, &[250]),
        Settlement::Settled
    );
    let denial = denied(subject.spend(&limit, key, 1));
    assert_eq!(remaining(&denial.balances), [0]);
    assert!(
        denial.retry_after > WINDOW,
        "the debt belongs to the present: {:?}",
        denial.retry_after
    );
    subject.advance(denial.retry_after);
    granted(subject.spend(&limit, key, 100));

    // A debt is charged even if the counter of the reservation has long been forgotten.
    let grant = granted(subject.spend(&limit, fresh_key(&limit), 1));
    let other = fresh_key(&limit);
    let slow = granted(subject.spend(&limit, other, 1));
    subject.advance(4 * WINDOW);
    assert_eq!(
        subject.settle(&slow.reservation, &[101]),
        Settlement::Settled
    );
    denied(subject.spend(&limit, other, 1));
    assert_eq!(
        subject.settle(&grant.reservation, &[0]),
        Settlement::Settled
    );
}

/// Only the first settlement counts, whatever the later ones say.
pub fn settling_twice_is_settling_once(subject: &impl Subject) {
    let limit = limit("tokens", 100, WINDOW);
    let key = fresh_key(&limit);
    let grant = granted(subject.spend(&limit, key, 60));
    assert_eq!(
        subject.settle(&grant.reservation, &[50]),
        Settlement::Settled
    );
    for actual in [0, 50, 1_000] {
        assert_eq!(
            subject.settle(&grant.reservation, &[actual]),
            Settlement::Unknown
        );
    }
    let next = granted(subject.spend(&limit, key, 0));
    assert_eq!(remaining(&next.balances), [50]);
    assert_ne!(next.reservation, grant.reservation);
}

/// A reservation that nobody settles in time keeps its charge.
pub fn forgets_a_reservation_when_its_lease_ends(subject: &impl Subject) {
    let limit = limit("tokens", 100, 10 * WINDOW);
    let key = fresh_key(&limit);
    let charge = [Charge::new(&limit, key, Cost::new(60))];
    let lost = subject
        .block_on(subject.store().reserve(&charge, WINDOW))
        .expect("the store decides");
    subject.advance(WINDOW);
    assert_eq!(
        subject.settle(&granted(lost).reservation, &[0]),
        Settlement::Unknown
    );
    assert_eq!(
        remaining(&denied(subject.spend(&limit, key, 41)).balances),
        [40]
    );
}

/// A settlement may speak of the first charges only; the others stand.
pub fn keeps_a_charge_without_an_actual_cost(subject: &impl Subject) {
    let limit = limit("tokens", 100, WINDOW);
    let (first, second) = (fresh_key(&limit), fresh_key(&limit));
    let cost = Cost::new(40);
    let grant = granted(subject.reserve(&[
        Charge::new(&limit, first, cost),
        Charge::new(&limit, second, cost),
    ]));
    assert_eq!(
        subject.settle(&grant.reservation, &[0]),
        Settlement::Settled
    );
    assert_eq!(
        remaining(&granted(subject.spend(&limit, first, 0)).balances),
        [100]
    );
    assert_eq!(
        remaining(&granted(subject.spend(&limit, second, 0)).balances),
        [60]
    );
}

/// What one key spends is no business of another's.
pub fn keeps_keys_apart(subject: &impl Subject) {
    let limit = limit("tokens", 1, WINDOW);
    let keys: Vec<_> = (0..500).map(|_| fresh_key(&limit)).collect();
    for &key in &keys {
        granted(subject.spend(&limit, key, 1));
    }
    for &key in &keys {
        denied(subject.spend(&limit, key, 1));
    }
}

/// An id that this store never issued closes nothing.
pub fn refuses_foreign_reservations(subject: &impl Subject) {
    let limit = limit("tokens", 100, WINDOW);
    let key = fresh_key(&limit);
    let grant = granted(subject.spend(&limit, key, 60));
    let ReservationId { epoch, serial } = grant.reservation.id;
    for foreign in [
        ReservationId {
            epoch: epoch ^ 1,
            serial,
        },
        ReservationId {
            epoch,
            serial: serial ^ 1,
        },
        ReservationId {
            epoch,
            serial: u64::MAX,
        },
        ReservationId { epoch, serial: 0 },
    ] {
        let foreign = Reservation {
            id: foreign,
            ..grant.reservation.clone()
        };
        assert_eq!(
            subject.settle(&foreign, &[0]),
            Settlement::Unknown,
            "{foreign}"
        );
    }
    assert_eq!(
        remaining(&granted(subject.spend(&limit, key, 0)).balances),
        [40]
    );
}

/// 200 callers at once on a limit of 100 requests: 100 pass, every time, also when each request has a second limit.
pub fn a_race_admits_exactly_the_limit(subject: &impl Subject) {
    let requests = limit("requests", 100, WINDOW);
    let tokens = limit("tokens", 10_000, WINDOW);
    for _ in 0..10 {
        let (request_key, token_key) = (fresh_key(&requests), fresh_key(&tokens));
        let admitted = AtomicUsize::new(0);
        let start = std::sync::Barrier::new(200);
        std::thread::scope(|scope| {
            for caller in 0..200 {
                let charges = [
                    Charge::new(&requests, request_key, Cost::ONE),
                    Charge::new(&tokens, token_key, Cost::new(10)),
                ];
                let (admitted, start) = (&admitted, &start);
                scope.spawn(move || {
                    start.wait();
                    // Both orders of the charges, so that locks taken in the order of the request would show.
                    let mut charges = charges;
                    if caller % 2 == 0 {
                        charges.reverse();
                    }
                    if matches!(subject.reserve(&charges), Decision::Granted(_)) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
        assert_eq!(
            remaining(&denied(subject.spend(&requests, request_key, 1)).balances),
            [0]
        );
        assert_eq!(
            remaining(&granted(subject.spend(&tokens, token_key, 0)).balances),
            [9_000]
        );
    }
}
