//! This process's share of the limits while the shared store is away.
//!
//! # Model
//!
//! A memory store counts what is spent meanwhile, up to limit ÷ live processes (at least 1). Its counters are **collected** when the
//! shared store is back: what still counts in each becomes a write-back, and the counter begins anew. Each collection
//! begins a **generation**. A reservation made here is settled here in its own generation; in a later one its charge has been
//! written back already, so only the difference is owed.
//!
//! # Invariants
//!
//! 1. What is spent here is written back once: in a collection, or as a difference after it
//!    (test: `what_was_spent_is_owed_once_whenever_it_is_settled`).
//! 2. A window that has passed is not written back: nothing of it would count.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use moka::sync::Cache;
use parking_lot::Mutex;
use token_limiter::{
    Balance, Charge, Clock, Correction, Cost, Decision, Denial, Grant, Key, Limit, MemoryStore,
    Meter, PerCharge, Reservation, ReservationId, Settlement, Store, SystemClock,
};

use super::{OnStoreFailure, Owed, RETRY, Unavailable};
use crate::stores::redis::RedisStore;

/// The most reservations that are remembered; the charges of others stand.
const HELD: u64 = 100_000;

/// Counters to be written back, from which on those that hold nothing any more are looked for.
const SPENT: usize = 100_000;

/// How long they are remembered.
const HELD_FOR: Duration = Duration::from_hours(1);

pub(super) struct Local<C = SystemClock> {
    store: MemoryStore<C>,
    ledger: Mutex<Ledger>,
    held: Cache<ReservationId, Arc<Held>>,
}

#[derive(Default)]
struct Ledger {
    generation: u64,
    /// The counters of this generation that are to be written back.
    spent: HashMap<Key, Limit>,
    /// How many of them the last look kept.
    kept: usize,
}

/// A request that was admitted here.
struct Held {
    generation: u64,
    /// What the memory store knows it by.
    reservation: Reservation,
    /// For each of its charges: which charge of the request it is, on what, and how much.
    charges: PerCharge<(usize, Limit, Cost)>,
}

/// How many requests were decided in which way.
pub(super) enum Mode {
    Shared,
    Uncounted,
}

impl<C: Clock> Local<C> {
    pub(super) fn new(store: MemoryStore<C>) -> Self {
        Self {
            store,
            ledger: Mutex::default(),
            held: Cache::builder()
                .max_capacity(HELD)
                .time_to_live(HELD_FOR)
                .build(),
        }
    }

    /// Decides without the shared store, as each charge wants it: by a share of its limit among `nodes`, uncounted, or not at all.
    pub(super) fn reserve(
        &self,
        charges: &[Charge<'_>],
        on_failure: &[OnStoreFailure],
        nodes: u64,
        lease: Duration,
    ) -> Result<(Decision, Mode), Unavailable> {
        let mode = |position: usize| on_failure.get(position).copied().unwrap_or_default();
        let closed = |(position, charge): (usize, &Charge<'_>)| {
            charge.enforced && mode(position) == OnStoreFailure::Closed
        };
        if charges.iter().enumerate().any(closed) {
            return Err(Unavailable);
        }
        if let Some(index) = charges
            .iter()
            .position(|charge| charge.enforced && charge.cost > charge.room())
        {
            return Ok((Decision::NeverPasses { index }, Mode::Shared));
        }
        // A shadow that would have to be closed cannot refuse, so it is counted.
        let (positions, shares): (PerCharge<usize>, PerCharge<Charge<'_>>) = charges
            .iter()
            .enumerate()
            .filter(|(position, _)| mode(*position) != OnStoreFailure::Open)
            .map(|(position, charge)| (position, share(charge, nodes)))
            .unzip();
        let everywhere = |balances: &[Balance]| -> PerCharge<Balance> {
            let mut all: PerCharge<Balance> = charges.iter().map(untouched).collect();
            for (&position, balance) in positions.iter().zip(balances) {
                all[position] = *balance;
            }
            all
        };
        let keys = charges.iter().map(|charge| charge.key).collect();
        let mut ledger = self.ledger.lock();
        let decision = match self.decide(&shares, lease) {
            Decision::Granted(grant) => {
                if ledger.spent.len() >= SPENT {
                    self.drop_idle(&mut ledger);
                }
                for share in &shares {
                    ledger
                        .spent
                        .entry(share.key)
                        .or_insert_with(|| share.limit.clone());
                }
                let id = if shares.is_empty() {
                    RedisStore::draw_id()
                } else {
                    grant.reservation.id
                };
                let kept = positions.iter().zip(&shares);
                let held = Held {
                    generation: ledger.generation,
                    reservation: grant.reservation,
                    charges: kept
                        .map(|(&position, share)| (position, share.limit.clone(), share.cost))
                        .collect(),
                };
                self.held.insert(id, Arc::new(held));
                let mut exceeded: PerCharge<bool> = charges.iter().map(|_| false).collect();
                for (&position, one) in positions.iter().zip(grant.exceeded) {
                    exceeded[position] = one;
                }
                Decision::Granted(Grant {
                    reservation: Reservation { id, keys },
                    balances: everywhere(&grant.balances),
                    exceeded,
                })
            }
            Decision::Denied(denial) => Decision::Denied(Denial {
                index: positions[denial.index],
                balances: everywhere(&denial.balances),
                ..denial
            }),
            // Above the share, but not above the limit: it may pass when the shared store is back.
            Decision::NeverPasses { index } => Decision::Denied(Denial {
                index: positions[index],
                retry_after: RETRY,
                balances: everywhere(&self.balances(&shares)),
            }),
        };
        let mode = if shares.is_empty() && !charges.is_empty() {
            Mode::Uncounted
        } else {
            Mode::Shared
        };
        Ok((decision, mode))
    }

    /// Closes a reservation that was made here, with what is then owed to the shared store; nothing if it was not made here.
    pub(super) fn settle(&self, id: ReservationId, actual: &[Cost]) -> Option<Vec<Owed>> {
        let held = self.held.remove(&id)?;
        let ledger = self.ledger.lock();
        let costs = held.charges.iter().map(|&(position, _, charged)| {
            (charged, actual.get(position).copied().unwrap_or(charged))
        });
        if held.generation == ledger.generation {
            let actual: PerCharge<Cost> = costs.map(|(_, actual)| actual).collect();
            let _settlement: Settlement = ready(self.store.settle(&held.reservation, &actual));
            return Some(Vec::new());
        }
        let differences = held.charges.iter().zip(&held.reservation.keys).zip(costs);
        Some(
            differences
                .filter_map(|(((_, limit, _), &key), (charged, actual))| {
                    let correction = match actual.cmp(&charged) {
                        Ordering::Greater => Correction::Add(actual.saturating_sub(charged)),
                        Ordering::Less => Correction::Remove(charged.saturating_sub(actual)),
                        Ordering::Equal => return None,
                    };
                    Some(Owed::correction(limit.clone(), key, correction))
                })
                .collect(),
        )
    }

    /// What still counts of what was spent here, once.
    pub(super) fn collect(&self) -> Vec<Owed> {
        let mut ledger = self.ledger.lock();
        if ledger.spent.is_empty() {
            return Vec::new();
        }
        ledger.generation += 1;
        ledger.kept = 0;
        std::mem::take(&mut ledger.spent)
            .into_iter()
            .filter_map(|(key, limit)| {
                let meter = Meter { limit: &limit, key };
                let spent = ready(self.store.inspect(&[meter]))[0].used;
                ready(self.store.correct(meter, Correction::Reset));
                (spent > Cost::ZERO).then(|| Owed::correction(limit, key, Correction::Add(spent)))
            })
            .collect()
    }

    /// Whether anything has been spent here that was not collected.
    pub(super) fn has_spent(&self) -> bool {
        !self.ledger.lock().spent.is_empty()
    }

    /// Forgets counters whose window has passed. If most have not, the next look waits until there are twice as many.
    fn drop_idle(&self, ledger: &mut Ledger) {
        if ledger.spent.len() < 2 * ledger.kept {
            return;
        }
        ledger.spent.retain(|&key, limit| {
            let meter = Meter { limit, key };
            ready(self.store.inspect(&[meter]))[0].used > Cost::ZERO
        });
        ledger.kept = ledger.spent.len();
    }

    fn decide(&self, charges: &[Charge<'_>], lease: Duration) -> Decision {
        ready(self.store.reserve(charges, lease))
    }

    fn balances(&self, charges: &[Charge<'_>]) -> PerCharge<Balance> {
        let meters: PerCharge<Meter<'_>> = charges
            .iter()
            .map(|charge| Meter {
                limit: charge.limit,
                key: charge.key,
            })
            .collect();
        ready(self.store.inspect(&meters))
            .into_iter()
            .zip(charges)
            .map(|(balance, charge)| Balance {
                remaining: charge.room().saturating_sub(balance.used),
                ..balance
            })
            .collect()
    }
}

/// What this process may spend of a limit that `nodes` processes share.
fn share<'a>(charge: &Charge<'a>, nodes: u64) -> Charge<'a> {
    let share = (charge.room().units() / nodes.max(1)).max(1);
    Charge {
        ceiling: Cost::new(share),
        ..*charge
    }
}

/// What is told of a limit that nobody counts.
fn untouched(charge: &Charge<'_>) -> Balance {
    Balance {
        used: Cost::ZERO,
        remaining: charge.room(),
        reset_after: Duration::ZERO,
    }
}

fn ready<T>(call: impl Future<Output = Result<T, std::convert::Infallible>>) -> T {
    let Ok(answer) = call.now_or_never().expect("the memory store never waits");
    answer
}

#[cfg(test)]
mod tests {
    use token_limiter::{Identity, Window};

    use super::*;

    const LEASE: Duration = Duration::from_mins(1);

    fn limit(name: &str, most: u64) -> Limit {
        Limit {
            name: name.to_owned(),
            limit: Cost::new(most),
            window: Window::sliding(Duration::from_mins(1)).unwrap(),
        }
    }

    fn charge(limit: &Limit, cost: u64) -> Charge<'_> {
        let key = Key::new(limit, "total_tokens", &Identity::new([&b"a"[..]]));
        Charge::new(limit, key, Cost::new(cost))
    }

    fn local() -> Local {
        Local::new(MemoryStore::new())
    }

    fn granted(local: &Local, charges: &[Charge<'_>], modes: &[OnStoreFailure]) -> Reservation {
        match local.reserve(charges, modes, 1, LEASE) {
            Ok((Decision::Granted(grant), _)) => grant.reservation,
            other => panic!(
                "expected a grant, got {:?}",
                other.map(|(decision, _)| decision)
            ),
        }
    }

    fn owed(owed: &[Owed]) -> Vec<Correction> {
        owed.iter()
            .map(|one| match one {
                Owed::Correction { correction, .. } => *correction,
                Owed::Settlement { .. } => panic!("nothing here is settled elsewhere"),
            })
            .collect()
    }

    #[test]
    fn a_share_is_the_limit_among_the_live_and_at_least_one() {
        let limit = limit("tokens", 10);
        let shares = |nodes| share(&charge(&limit, 1), nodes).ceiling.units();
        assert_eq!([0, 1, 3, 10, 11].map(shares), [10, 10, 3, 1, 1]);

        let local = local();
        let reserve = |cost| {
            let decided = local.reserve(&[charge(&limit, cost)], &[], 3, LEASE);
            decided.unwrap().0
        };
        assert!(matches!(reserve(3), Decision::Granted(_)));
        assert!(matches!(reserve(1), Decision::Denied(_)));
        let Decision::Denied(above) = reserve(4) else {
            panic!("above the share, below the limit: not now");
        };
        assert_eq!(above.retry_after, RETRY);
        assert_eq!(reserve(11), Decision::NeverPasses { index: 0 });
    }

    #[test]
    fn each_charge_has_its_own_way() {
        use OnStoreFailure::{Closed, LocalShare, Open};
        let (local, first, second) = (local(), limit("first", 2), limit("second", 2));
        let both = [charge(&first, 2), charge(&second, 2)];
        granted(&local, &both, &[Open, LocalShare]);
        granted(&local, &both[..1], &[Open]);
        let again = local.reserve(&both, &[Open, LocalShare], 1, LEASE).unwrap();
        let Decision::Denied(denial) = again.0 else {
            panic!("the second limit is counted");
        };
        assert_eq!(denial.index, 1);
        assert_eq!(denial.balances[0].remaining, Cost::new(2));
        assert!(local.reserve(&both, &[Open, Closed], 1, LEASE).is_err());
        let shadow = Charge {
            enforced: false,
            ..both[0]
        };
        granted(&local, &[shadow], &[Closed]);
    }

    #[test]
    fn what_was_spent_is_owed_once_whenever_it_is_settled() {
        let (local, limit) = (local(), limit("tokens", 100));
        let before = granted(&local, &[charge(&limit, 10)], &[]);
        let after = granted(&local, &[charge(&limit, 20)], &[]);
        assert_eq!(
            owed(&local.settle(before.id, &[Cost::new(15)]).unwrap()),
            []
        );
        assert!(local.settle(before.id, &[Cost::ZERO]).is_none(), "settled");
        assert_eq!(owed(&local.collect()), [Correction::Add(Cost::new(35))]);
        assert!(!local.has_spent() && local.collect().is_empty());
        assert_eq!(
            owed(&local.settle(after.id, &[Cost::new(5)]).unwrap()),
            [Correction::Remove(Cost::new(15))]
        );
        let more = granted(&local, &[charge(&limit, 100)], &[]);
        local.collect();
        assert_eq!(
            owed(&local.settle(more.id, &[Cost::new(101)]).unwrap()),
            [Correction::Add(Cost::ONE)]
        );
    }
}
