//! Reserving and settling.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Calls, Kind, LEASE, Subject, denied, fresh_key, granted, period, remaining};
use crate::{Charge, Cost, Decision, Key, Reservation, ReservationId, Settlement, Store, Window};

const MOMENT: Duration = Duration::from_millis(1);

/// A limit admits what fits, tells what is left and when all of it is back, and keeps its promise to the refused.
pub fn grants_until_the_limit_and_passes_at_retry_after(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    let length = limit.window.length();
    for _ in 0..3 {
        let first = granted(subject.spend(&limit, key, 60)).balances[0];
        assert_eq!(
            (first.used, first.remaining),
            (Cost::new(60), Cost::new(40))
        );
        let reset = first.reset_after;
        match &limit.window {
            Window::Sliding(_) => assert!(reset > length && reset <= length + length / 30),
            Window::TokenBucket(_) => assert_eq!(reset, length * 6 / 10),
            window => {
                let end = period(window, subject.now()).expect("it has periods").end;
                assert_eq!(reset, end.since(subject.now()));
            }
        }

        let denial = denied(subject.spend(&limit, key, 41));
        assert_eq!((denial.index, remaining(&denial.balances)), (0, vec![40]));
        let wait = if kind == Kind::TokenBucket {
            length / 100
        } else {
            reset
        };
        assert_eq!(denial.retry_after, wait);
        let second = granted(subject.spend(&limit, key, 40)).balances[0];
        assert_eq!(second.remaining, Cost::ZERO);
        assert_eq!(denied(subject.spend(&limit, key, 1)).retry_after, wait);

        subject.advance(wait.saturating_sub(MOMENT));
        assert_eq!(denied(subject.spend(&limit, key, 1)).retry_after, MOMENT);
        subject.advance(MOMENT);
        granted(subject.spend(&limit, key, 1));
        let whole = denied(subject.spend(&limit, key, 100)).retry_after;
        assert_eq!(whole, subject.balance(&limit, key).reset_after);
        subject.advance(whole);
        granted(subject.spend(&limit, key, 100));
        subject.advance(subject.balance(&limit, key).reset_after);
        assert_eq!(subject.used(&limit, key), 0);
    }
}

/// The limits of one request are decided together, and the refusal names the one that frees last.
pub fn decides_all_limits_or_none(subject: &impl Subject, kind: Kind) {
    let wide = kind.long_limit("wide", 1_000);
    let narrow = kind.limit("narrow", 10);
    let (wide_key, narrow_key) = (fresh_key(&wide), fresh_key(&narrow));
    let both = |wide_cost, narrow_cost| {
        [
            Charge::new(&wide, wide_key, Cost::new(wide_cost)),
            Charge::new(&narrow, narrow_key, Cost::new(narrow_cost)),
        ]
    };
    subject.await_period(&wide.window);
    let grant = granted(subject.reserve(&both(300, 10)));
    assert_eq!(remaining(&grant.balances), [700, 0]);
    assert_eq!(grant.reservation.keys[..], [wide_key, narrow_key]);
    let refused = denied(subject.reserve(&both(300, 1)));
    assert_eq!(
        (refused.index, remaining(&refused.balances)),
        (1, vec![700, 0])
    );
    let later = denied(subject.reserve(&both(800, 1)));
    assert_eq!(later.index, 0, "the limit that frees last binds");
    assert!(later.retry_after > refused.retry_after);
    subject.advance(later.retry_after);
    granted(subject.reserve(&both(800, 1)));
}

/// However often a request is refused, every counter stands as before.
pub fn a_refused_request_charges_nothing(subject: &impl Subject, kind: Kind) {
    let open = kind.limit("open", 100);
    let full = kind.limit("full", 1);
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
pub fn tells_a_request_that_can_never_pass(subject: &impl Subject, kind: Kind) {
    let small = kind.limit("small", 10);
    let large = kind.limit("large", 100);
    let (small_key, large_key) = (fresh_key(&small), fresh_key(&large));
    let decision = subject.reserve(&[
        Charge::new(&large, large_key, Cost::new(50)),
        Charge::new(&small, small_key, Cost::new(11)),
    ]);
    assert_eq!(decision, Decision::NeverPasses { index: 1 });
    granted(subject.spend(&large, large_key, 100));
    granted(subject.spend(&small, small_key, 10));
}

/// A refund returns to what was charged; once that has passed, there is nothing to return.
pub fn refunds_only_the_window_that_was_charged(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    subject.await_period(&limit.window);
    let half = limit.window.length() / 2;
    let early = granted(subject.spend(&limit, key, 80));
    subject.advance(half);
    let late = granted(subject.spend(&limit, key, 20));
    assert_eq!(
        subject.settle(&early.reservation, &[30]),
        Settlement::Settled
    );
    // Of the 80, a bucket has lost 50 by then: the refund is the other 30.
    let left = if kind == Kind::TokenBucket { 20 } else { 50 };
    assert_eq!(subject.used(&limit, key), left);

    let unsettled = granted(subject.spend(&limit, key, 50));
    subject.advance(unsettled.balances[0].reset_after);
    granted(subject.spend(&limit, key, 70));
    for passed in [unsettled, late] {
        assert_eq!(
            subject.settle(&passed.reservation, &[0]),
            Settlement::Settled
        );
        assert_eq!(subject.used(&limit, key), 70);
    }
}

/// What was reserved too little is charged to the present, above the limit if need be, and holds later requests back.
pub fn charges_an_overage_as_debt(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    subject.await_period(&limit.window);
    let grant = granted(subject.spend(&limit, key, 10));
    subject.advance(limit.window.length() / 2);
    assert_eq!(
        subject.settle(&grant.reservation, &[250]),
        Settlement::Settled
    );
    // The 10 have flowed off a bucket.
    let used = if kind == Kind::TokenBucket { 240 } else { 250 };
    assert_eq!(subject.used(&limit, key), used);
    let denial = denied(subject.spend(&limit, key, 1));
    assert_eq!(remaining(&denial.balances), [0]);
    if kind == Kind::Sliding {
        assert!(
            denial.retry_after > limit.window.length(),
            "the debt belongs to the present: {:?}",
            denial.retry_after
        );
    }
    subject.advance(denial.retry_after);
    granted(subject.spend(&limit, key, 1));

    // A debt is charged even if the counter of the reservation has long been forgotten.
    let other = fresh_key(&limit);
    let slow = granted(subject.spend(&limit, other, 1));
    subject.advance(4 * limit.window.length());
    assert_eq!(
        subject.settle(&slow.reservation, &[101]),
        Settlement::Settled
    );
    assert_eq!(subject.used(&limit, other), 100);
    denied(subject.spend(&limit, other, 1));
}

/// Only the first settlement counts, whatever the later ones say.
pub fn settling_twice_is_settling_once(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
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
pub fn forgets_a_reservation_when_its_lease_ends(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    subject.await_period(&limit.window);
    let lease = limit.window.length() / 10;
    let charge = [Charge::new(&limit, key, Cost::new(60))];
    let lost = subject
        .block_on(subject.store().reserve(&charge, lease))
        .expect("the store decides");
    subject.advance(lease);
    let used = if kind == Kind::TokenBucket { 50 } else { 60 };
    assert_eq!(subject.used(&limit, key), used);
    assert_eq!(
        subject.settle(&granted(lost).reservation, &[0]),
        Settlement::Unknown
    );
    assert_eq!(subject.used(&limit, key), used);
}

/// A settlement may speak of the first charges only; the others stand.
pub fn keeps_a_charge_without_an_actual_cost(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
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
    assert_eq!(subject.used(&limit, first), 0);
    assert_eq!(subject.used(&limit, second), 40);
}

/// What one key spends is no business of another's.
pub fn keeps_keys_apart(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 1);
    let keys: Vec<_> = (0..500).map(|_| fresh_key(&limit)).collect();
    for &key in &keys {
        granted(subject.spend(&limit, key, 1));
    }
    for &key in &keys {
        denied(subject.spend(&limit, key, 1));
    }
}

/// An id that this store never issued closes nothing.
pub fn refuses_foreign_reservations(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    let grant = granted(subject.spend(&limit, key, 60));
    let ReservationId { epoch, serial } = grant.reservation.id;
    for (epoch, serial) in [
        (epoch ^ 1, serial),
        (epoch, serial ^ 1),
        (epoch, u64::MAX),
        (epoch, 0),
    ] {
        let foreign = Reservation {
            id: ReservationId { epoch, serial },
            ..grant.reservation.clone()
        };
        assert_eq!(
            subject.settle(&foreign, &[0]),
            Settlement::Unknown,
            "{foreign}"
        );
    }
    assert_eq!(subject.used(&limit, key), 60);
}

/// 200 callers at once on a limit of 100 requests: 100 pass, every time, also when each request has a second limit.
pub fn a_race_admits_exactly_the_limit(subject: &impl Subject, kind: Kind) {
    const CALLERS: usize = 200;
    const RACES: usize = 50;
    struct Race {
        request_key: Key,
        token_key: Key,
        admitted: AtomicUsize,
        failed: AtomicUsize,
    }
    let requests = kind.limit("requests", 100);
    let tokens = kind.limit("tokens", 10_000);
    let races: [Race; RACES] = std::array::from_fn(|_| Race {
        request_key: fresh_key(&requests),
        token_key: fresh_key(&tokens),
        admitted: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
    });
    let start = Barrier::new(CALLERS);
    let run = |caller: usize| {
        for race in &races {
            let mut charges = [
                Charge::new(&requests, race.request_key, Cost::ONE),
                Charge::new(&tokens, race.token_key, Cost::new(10)),
            ];
            // Both orders of the charges, so that locks taken in the order of the request would show.
            if caller.is_multiple_of(2) {
                charges.reverse();
            }
            start.wait();
            // A caller that panicked here would leave all others at the start.
            let passed = match subject.block_on(subject.store().reserve(&charges, LEASE)) {
                Ok(Decision::Granted(_)) => &race.admitted,
                Ok(Decision::Denied(_)) => continue,
                Ok(Decision::NeverPasses { .. }) | Err(_) => &race.failed,
            };
            passed.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let run = &run;
            scope.spawn(move || run(caller));
        }
    });
    for race in races {
        assert_eq!(race.failed.into_inner(), 0);
        assert_eq!(race.admitted.into_inner(), 100);
        assert_eq!(subject.used(&requests, race.request_key), 100);
        assert_eq!(subject.used(&tokens, race.token_key), 1_000);
    }
}
