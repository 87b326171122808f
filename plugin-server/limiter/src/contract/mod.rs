//! What every [`Store`] must do, as tests that run against any of them.
//!
//! A store's crate implements [`Subject`] and calls [`contract_suite!`](crate::contract_suite) in a test file, with
//! the feature `contract` of this crate among its development dependencies. One suite on every store is what keeps implementations
//! in different languages one algorithm. Each rule runs on each [`Kind`] of window.

mod law;
mod operation;
mod rules;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use law::{CASES, never_spends_more_than_the_limit_and_the_underestimates};
pub use operation::*;
pub use rules::*;

use crate::{
    Balance, Calendar, Charge, Correction, Cost, Decision, Denial, Grant, Identity, Key, Limit,
    Meter, Period, Reservation, Settlement, Store, Timestamp, Window,
};

/// A store under test, with its time in the test's hands.
pub trait Subject: Sized + Sync {
    /// The store's type.
    type Store: Store;

    /// The store: empty of the keys that this process makes.
    fn store(&self) -> &Self::Store;

    /// The store's present, since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// Lets `by` pass on the store's clock, which otherwise stands still.
    fn advance(&self, by: Duration);

    /// Waits for a call; called from many threads at once.
    fn block_on<F: Future>(&self, call: F) -> F::Output;

    /// A subject whose time is its own: in the same store if that can be, for the calls of all are awaited at once, by whichever of
    /// them blocks.
    #[must_use]
    fn apart(&self) -> Self;

    /// How many cases of a law it is put to.
    fn cases(&self) -> u32 {
        CASES
    }
}

/// The kinds of windows that the rules run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sliding windows.
    Sliding,
    /// Fixed windows.
    Fixed,
    /// Token buckets, which hold as much as flows in.
    TokenBucket,
    /// Days and months of a time zone with summer time.
    Calendar,
}

/// Makes, for each kind of window, a module with one `#[test]` of each rule of the contract, each on a fresh subject from the
/// given expression.
#[macro_export]
macro_rules! contract_suite {
    ($subject:expr) => {
        $crate::contract_suite! { @kind $subject, sliding Sliding }
        $crate::contract_suite! { @kind $subject, fixed Fixed }
        $crate::contract_suite! { @kind $subject, token_bucket TokenBucket }
        $crate::contract_suite! { @kind $subject, calendar Calendar }
    };
    (@kind $subject:expr, $module:ident $kind:ident) => {
        mod $module {
            use super::*;

            $crate::contract_suite! { @rules $subject, $kind =>
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
                a_shadow_never_refuses_and_is_always_charged
                a_ceiling_holds_back_a_part_of_the_limit
                looking_changes_nothing
                an_operator_corrects_what_counts_as_spent
                open_reservations_are_listed_and_released
                never_spends_more_than_the_limit_and_the_underestimates
            }
        }
    };
    (@rules $subject:expr, $kind:ident => $($rule:ident)+) => {
        $(
            #[test]
            fn $rule() {
                $crate::contract::$rule(&$subject, $crate::contract::Kind::$kind);
            }
        )+
    };
}

/// A lease longer than any window of the suite.
const LEASE: Duration = Duration::from_hours(90 * 24);

impl Kind {
    /// A limit of `most` in a window of this kind.
    fn limit(self, name: &str, most: u64) -> Limit {
        self.limit_of(name, most, Duration::from_secs(30), Calendar::Day)
    }

    /// A limit of `most` in a longer window, which contains whole windows of [`limit`](Self::limit).
    fn long_limit(self, name: &str, most: u64) -> Limit {
        self.limit_of(name, most, Duration::from_mins(1), Calendar::Month)
    }

    fn limit_of(self, name: &str, most: u64, length: Duration, unit: Calendar) -> Limit {
        let most = Cost::new(most);
        let berlin = "Europe/Berlin".parse().expect("Berlin has a time zone");
        let window = match self {
            Self::Sliding => Window::sliding(length),
            Self::Fixed => Window::fixed(length),
            Self::TokenBucket => Window::token_bucket(length, most),
            Self::Calendar => Ok(Window::calendar(unit, berlin)),
        };
        let limit = Limit {
            name: name.to_owned(),
            limit: most,
            window: window.expect("the suite's windows are valid"),
        };
        limit.check().expect("the suite's limits are valid");
        limit
    }
}

/// The period that a moment belongs to, if the window has periods.
fn period(window: &Window, moment: Timestamp) -> Option<Period> {
    match window {
        Window::Fixed(window) => Some(window.period(moment)),
        Window::Calendar(window) => Some(window.period(moment)),
        Window::Sliding(_) | Window::TokenBucket(_) => None,
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

    fn balance(&self, limit: &Limit, key: Key) -> Balance {
        let balances = self
            .block_on(self.store().inspect(&[Meter { limit, key }]))
            .expect("the store tells");
        assert_eq!(balances.len(), 1);
        balances[0]
    }

    fn used(&self, limit: &Limit, key: Key) -> u64 {
        self.balance(limit, key).used.units()
    }

    fn correct(&self, limit: &Limit, key: Key, correction: Correction) -> Balance {
        let balance = self
            .block_on(self.store().correct(Meter { limit, key }, correction))
            .expect("the store corrects");
        assert_eq!(balance, self.balance(limit, key));
        balance
    }

    /// Waits for the beginning of a period of the window, if it has periods.
    fn await_period(&self, window: &Window) {
        let now = self.now();
        if let Some(period) = period(window, now) {
            self.advance(period.end.since(now));
        }
    }
}

impl<S: Subject> Calls for S {}

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
