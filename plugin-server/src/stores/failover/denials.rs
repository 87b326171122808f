//! Refusals that need no asking.
//!
//! # Model
//!
//! A refusal is remembered under the key that refused, with what is needed to say it again: until when it holds, for which costs, and
//! where all limits of that request stood. The same request, or one that costs the refusing limit more, is refused from here.
//!
//! # Invariants
//!
//! 1. Nobody is refused from here who was told to come back by now (test: `a_denial_is_told_again_until_its_moment`).
//! 2. Only an enforced charge refuses; one that may fill the counter further, or has another limit, is asked anew
//!    (test: `whoever_might_pass_is_asked_anew`).
//! 3. What another process gives back is noticed within [`AT_MOST`]; what this one gives back, at once.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use token_limiter::{Balance, Charge, Cost, Denial, Key, PerCharge};

/// The longest that a refusal is repeated without asking. A settlement elsewhere may free a limit long before its window passes, and one
/// question a second is nothing.
const AT_MOST: Duration = Duration::from_secs(1);

/// The most keys whose refusals are remembered: about 300 bytes each.
const KEYS: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Denials(Cache<Key, Arc<Remembered>>);

#[derive(Debug)]
struct Remembered {
    at: Duration,
    until: Duration,
    passes: Duration,
    cost: Cost,
    room: Cost,
    limit: Cost,
    balances: PerCharge<(Key, Balance)>,
}

impl Denials {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(KEYS).build())
    }

    /// Remembers what a store has just said, at `now` of a clock that never steps back.
    pub(super) fn remember(&self, charges: &[Charge<'_>], denial: &Denial, now: Duration) {
        let Some(charge) = charges.get(denial.index) else {
            return;
        };
        let keys = charges.iter().map(|charge| charge.key);
        let remembered = Remembered {
            at: now,
            until: now + denial.retry_after.min(AT_MOST),
            passes: now + denial.retry_after,
            cost: charge.cost,
            room: charge.room(),
            limit: charge.limit.limit,
            balances: keys.zip(denial.balances.iter().copied()).collect(),
        };
        self.0.insert(charge.key, Arc::new(remembered));
    }

    /// The refusal of this request, if one of its limits is known to refuse it still.
    pub(super) fn repeat(&self, charges: &[Charge<'_>], now: Duration) -> Option<Denial> {
        charges
            .iter()
            .enumerate()
            .filter(|(_, charge)| charge.enforced)
            .find_map(|(index, charge)| {
                let known = self.0.get(&charge.key)?;
                let holds = now < known.until
                    && charge.cost >= known.cost
                    && charge.room() <= known.room
                    && charge.cost <= charge.room()
                    && charge.limit.limit == known.limit;
                let age = now.saturating_sub(known.at);
                let balances = || {
                    charges
                        .iter()
                        .map(|charge| known.balance(charge, age))
                        .collect::<Option<_>>()
                };
                Some(Denial {
                    index,
                    retry_after: known.passes.saturating_sub(now),
                    balances: holds.then(balances)??,
                })
            })
    }

    /// Forgets what is known of these keys: something was given back.
    pub(super) fn forget(&self, keys: &[Key]) {
        for key in keys {
            self.0.invalidate(key);
        }
    }
}

impl Remembered {
    fn balance(&self, charge: &Charge<'_>, age: Duration) -> Option<Balance> {
        let (_, balance) = self.balances.iter().find(|(key, _)| *key == charge.key)?;
        Some(Balance {
            used: balance.used,
            remaining: charge.room().saturating_sub(balance.used),
            reset_after: balance.reset_after.saturating_sub(age),
        })
    }
}

#[cfg(test)]
mod tests {
    use token_limiter::{Identity, Limit, Window};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(most: u64) -> Limit {
        Limit {
            name: "tokens".to_owned(),
            limit: Cost::new(most),
            window: Window::sliding(Duration::from_mins(1)).unwrap(),
        }
    }

    fn charge(limit: &Limit, cost: u64) -> Charge<'_> {
        let key = Key::new(limit, "total_tokens", &Identity::new([&b"a"[..]]));
        Charge::new(limit, key, Cost::new(cost))
    }

    fn denial(retry_after: Duration) -> Denial {
        Denial {
            index: 0,
            retry_after,
            balances: [Balance {
                used: Cost::new(95),
                remaining: Cost::new(5),
                reset_after: 40 * SECOND,
            }]
            .into_iter()
            .collect(),
        }
    }

    #[test]
    fn a_denial_is_told_again_until_its_moment() {
        let (denials, limit) = (Denials::new(), limit(100));
        let charges = [charge(&limit, 10)];
        denials.remember(&charges, &denial(SECOND / 2), 10 * SECOND);
        let again = denials.repeat(&charges, 10 * SECOND + SECOND / 4).unwrap();
        assert_eq!(again.retry_after, SECOND / 4);
        assert_eq!(
            (again.balances[0].remaining, again.balances[0].reset_after),
            (Cost::new(5), 39 * SECOND + SECOND / 4 * 3)
        );
        assert_eq!(denials.repeat(&charges, 10 * SECOND + SECOND / 2), None);

        denials.remember(&charges, &denial(30 * SECOND), 20 * SECOND);
        let again = denials.repeat(&charges, 20 * SECOND + SECOND / 2).unwrap();
        assert_eq!(again.retry_after, 29 * SECOND + SECOND / 2);
        assert_eq!(
            denials.repeat(&charges, 21 * SECOND),
            None,
            "asked once a second"
        );
    }

    #[test]
    fn whoever_might_pass_is_asked_anew() {
        let (denials, limit) = (Denials::new(), limit(100));
        let refused = charge(&limit, 10);
        denials.remember(&[refused], &denial(SECOND), Duration::ZERO);
        let repeat = |charge: Charge<'_>| denials.repeat(&[charge], Duration::ZERO);
        assert!(repeat(charge(&limit, 11)).is_some());
        assert_eq!(repeat(charge(&limit, 9)), None, "costs less");
        assert_eq!(repeat(charge(&limit, 101)), None, "can never pass");
        let shadow = Charge {
            enforced: false,
            ..refused
        };
        assert_eq!(repeat(shadow), None);
        let raised = Limit {
            limit: Cost::new(200),
            ..limit.clone()
        };
        assert_eq!(repeat(charge(&raised, 10)), None);
        let other = Limit {
            name: "other".to_owned(),
            ..limit.clone()
        };
        assert_eq!(
            denials.repeat(&[refused, charge(&other, 1)], Duration::ZERO),
            None,
            "a limit of which nothing is known"
        );
        denials.forget(&[refused.key]);
        assert_eq!(repeat(refused), None);
    }
}
