//! Shadows, shares, and what an operator sees and changes.

use super::{Calls, Kind, LEASE, Subject, denied, fresh_key, granted, remaining};
use crate::{
    Balance, Charge, Correction, Cost, Decision, Meter, OpenReservation, ReservationId, Settlement,
    Store,
};

/// A shadow tells that it would have refused, and counts on.
pub fn a_shadow_never_refuses_and_is_always_charged(subject: &impl Subject, kind: Kind) {
    let shadow = kind.limit("shadow", 10);
    let enforced = kind.limit("enforced", 24);
    let (shadow_key, enforced_key) = (fresh_key(&shadow), fresh_key(&enforced));
    let both = |cost, enforced_cost| {
        [
            Charge {
                enforced: false,
                ..Charge::new(&shadow, shadow_key, Cost::new(cost))
            },
            Charge::new(&enforced, enforced_key, Cost::new(enforced_cost)),
        ]
    };
    for exceeded in [false, true, true] {
        let grant = granted(subject.reserve(&both(8, 8)));
        assert_eq!(grant.exceeded[..], [exceeded, false]);
    }
    assert_eq!(subject.used(&shadow, shadow_key), 24);
    let denial = denied(subject.reserve(&both(8, 8)));
    assert_eq!((denial.index, remaining(&denial.balances)), (1, vec![0, 0]));
    assert_eq!(
        subject.reserve(&both(1, 25)),
        Decision::NeverPasses { index: 1 }
    );
    assert_eq!(subject.used(&shadow, shadow_key), 24);

    // More than the shadow's whole limit, on a counter that nobody has used.
    let fresh = [Charge {
        enforced: false,
        ..Charge::new(&shadow, fresh_key(&shadow), Cost::new(11))
    }];
    let grant = granted(subject.reserve(&fresh));
    assert_eq!(grant.exceeded[..], [true]);
    assert_eq!(grant.balances[0].used, Cost::new(11));
    assert_eq!(
        subject.settle(&grant.reservation, &[0]),
        Settlement::Settled
    );
    assert_eq!(subject.used(&shadow, fresh[0].key), 0);
}

/// Whoever may fill the counter only in part is refused while others still pass.
pub fn a_ceiling_holds_back_a_part_of_the_limit(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    let upto = |ceiling, cost| {
        subject.reserve(&[Charge {
            ceiling: Cost::new(ceiling),
            ..Charge::new(&limit, key, Cost::new(cost))
        }])
    };
    assert_eq!(remaining(&granted(upto(70, 60)).balances), [10]);
    assert_eq!(remaining(&denied(upto(70, 20)).balances), [10]);
    assert_eq!(remaining(&granted(upto(100, 20)).balances), [20]);
    let denial = denied(upto(70, 1));
    assert_eq!(remaining(&denial.balances), [0]);
    assert_eq!(denial.balances[0].used, Cost::new(80));
    assert_eq!(upto(70, 71), Decision::NeverPasses { index: 0 });
    // More than there is cannot be given.
    assert_eq!(upto(1_000, 101), Decision::NeverPasses { index: 0 });
    denied(upto(1_000, 21));
    subject.advance(denial.retry_after);
    granted(upto(70, 1));
}

/// Whoever looks sees what a decision would see, and leaves no trace.
pub fn looking_changes_nothing(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let other = kind.long_limit("other", 50);
    let (key, other_key) = (fresh_key(&limit), fresh_key(&other));
    let untouched = Balance {
        used: Cost::ZERO,
        remaining: Cost::new(100),
        reset_after: std::time::Duration::ZERO,
    };
    assert_eq!(subject.balance(&limit, key), untouched);
    let charged = granted(subject.spend(&limit, key, 30)).balances[0];
    let meters = [
        Meter {
            limit: &other,
            key: other_key,
        },
        Meter { limit: &limit, key },
    ];
    for _ in 0..3 {
        let balances = subject
            .block_on(subject.store().inspect(&meters))
            .expect("the store tells");
        assert_eq!(remaining(&balances), [50, 70]);
        assert_eq!(balances[1], charged);
    }
    subject.advance(charged.reset_after);
    assert_eq!(subject.balance(&limit, key), untouched);
}

/// An operator adds, takes off and wipes; nothing falls below zero.
pub fn an_operator_corrects_what_counts_as_spent(subject: &impl Subject, kind: Kind) {
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    let correct = |correction| subject.correct(&limit, key, correction).used.units();
    assert_eq!(correct(Correction::Reset), 0);
    assert_eq!(correct(Correction::Remove(Cost::new(10))), 0);
    assert_eq!(correct(Correction::Add(Cost::new(120))), 120);
    denied(subject.spend(&limit, key, 1));
    assert_eq!(correct(Correction::Remove(Cost::new(50))), 70);
    let open = granted(subject.spend(&limit, key, 30));
    denied(subject.spend(&limit, key, 1));
    assert_eq!(correct(Correction::Reset), 0);
    assert_eq!(
        subject.settle(&open.reservation, &[10]),
        Settlement::Settled
    );
    assert_eq!(subject.used(&limit, key), 0);
    granted(subject.spend(&limit, key, 100));
    assert_eq!(correct(Correction::Remove(Cost::new(1_000))), 0);
}

/// What is open can be listed, and closed as if nothing had been spent.
pub fn open_reservations_are_listed_and_released(subject: &impl Subject, kind: Kind) {
    const ALL: usize = 100_000;
    let limit = kind.limit("tokens", 100);
    let key = fresh_key(&limit);
    let find = |id: ReservationId| -> Option<OpenReservation> {
        subject
            .block_on(subject.store().reservations(ALL))
            .expect("the store lists")
            .into_iter()
            .find(|open| open.reservation.id == id)
    };
    let release = |open: &OpenReservation| {
        subject
            .block_on(subject.store().release(&open.reservation))
            .expect("the store releases")
    };
    let first = granted(subject.spend(&limit, key, 60)).reservation;
    let second = granted(subject.spend(&limit, key, 40)).reservation;
    let open = find(first.id).expect("the reservation is open");
    assert_eq!(open.reservation, first);
    assert_eq!(open.costs[..], [Cost::new(60)]);
    assert_eq!(open.expires_in, LEASE);
    for most in [0, 1] {
        let some = subject
            .block_on(subject.store().reservations(most))
            .expect("the store lists");
        assert_eq!(some.len(), most);
    }

    assert_eq!(release(&open), Settlement::Settled);
    assert_eq!(subject.used(&limit, key), 40);
    assert_eq!(release(&open), Settlement::Unknown);
    assert_eq!(subject.used(&limit, key), 40);
    assert_eq!(find(first.id), None);
    assert!(find(second.id).is_some());
    subject.advance(LEASE);
    assert_eq!(find(second.id), None);
}
