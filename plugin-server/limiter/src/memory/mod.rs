//! Counters in this process's memory.
//!
//! The store lives in this crate because it is the reference: the contract suite is proved on it, and a store elsewhere
//! (Redis, say) is right when the same suite passes on it. One process serves all of Kong's workers on a node, so it is also
//! exact for that node.
//!
//! # Model
//!
//! A key belongs to one of 64 shards, each behind its own lock. A decision locks the shards of all its keys, in ascending
//! order, so that decisions never wait for each other in a circle and none sees half of another. An open reservation is
//! kept in the shard of its first key.
//!
//! # Memory
//!
//! 176 bytes a counter and 5 to 10 for its place in the index; about 230 for an open reservation of up to four charges.
//! Whoever makes a new counter or reservation looks at two old ones and drops them if their time has passed, so that nothing needs to run
//! in the background and no request pays for a sweep (tests: `idle_counters_are_collected`, `expired_reservations_are_collected`).
//!
//! # Failure
//!
//! None: every call is ready at once, and cannot fail. A clock that steps back stops the store's time until it has caught up. What the process
//! counted ends with it.

mod shard;
mod slab;

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::hash::BuildHasher;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use shard::{Held, Shard, Ticket};
use smallvec::SmallVec;

use crate::{
    Balance, Charge, Clock, Cost, Decision, Denial, Grant, PerCharge, ReservationId, Settlement,
    Store, SystemClock, Timestamp,
};

const SHARD_BITS: u32 = 6;

/// A reservation's shard takes the top bits of the upper half of its serial, so a shard has this many places for them.
const POSITION_BITS: u32 = 32 - SHARD_BITS;

/// The reference implementation of [`Store`]: see the module's documentation.
#[derive(Debug)]
pub struct MemoryStore<C = SystemClock> {
    clock: C,
    epoch: u64,
    shards: Box<[Mutex<Shard>]>,
}

/// How much a [`MemoryStore`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// Counters, idle ones that are not yet collected included.
    pub counters: usize,
    /// Open reservations, expired ones that are not yet collected included.
    pub reservations: usize,
}

impl MemoryStore {
    /// An empty store on the machine's time.
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> MemoryStore<C> {
    /// An empty store on `clock`'s time.
    pub fn with_clock(clock: C) -> Self {
        Self {
            clock,
            // Keys of the standard hasher are drawn from the system's randomness.
            epoch: RandomState::new().hash_one(0),
            shards: (0..1 << SHARD_BITS)
                .map(|_| Mutex::new(Shard::new()))
                .collect(),
        }
    }

    /// Counts what the store holds, one shard after another.
    pub fn population(&self) -> Population {
        self.shards
            .iter()
            .fold(Population::default(), |sum, shard| {
                let shard = shard.lock();
                Population {
                    counters: sum.counters + shard.counters(),
                    reservations: sum.reservations + shard.reservations(),
                }
            })
    }

    fn decide(&self, charges: &[Charge<'_>], lease: Duration) -> Decision {
        if let Some(index) = charges
            .iter()
            .position(|charge| charge.cost > charge.limit.limit)
        {
            return Decision::NeverPasses { index };
        }
        let mut shards = Locked::all(&self.shards, charges);
        let now = shards.present(self.clock.now());
        if let Some((index, passes_at)) = shards.refusal(charges, now) {
            return Decision::Denied(Denial {
                index,
                retry_after: passes_at.since(now).max(Duration::from_millis(1)),
                balances: charges
                    .iter()
                    .map(|charge| shards.balance(charge, now))
                    .collect(),
            });
        }
        let mut balances = PerCharge::new();
        let mut held = PerCharge::new();
        for charge in charges {
            let (charged, balance) = shards.charge(charge, now);
            held.push(charged);
            balances.push(balance);
        }
        let home = charges
            .first()
            .map_or(0, |charge| charge.key.shard(SHARD_BITS));
        let ticket = shards.of(home).open(held, now.after(lease), now);
        let reservation = self.id(home, ticket);
        Decision::Granted(Grant {
            reservation,
            balances,
        })
    }

    fn close(&self, id: ReservationId, actual: &[Cost]) -> Settlement {
        let Some((home, ticket)) = self.ticket(id) else {
            return Settlement::Unknown;
        };
        let now = self.clock.now();
        let closed = {
            let mut shard = self.shards[home].lock();
            let now = shard.present(now);
            shard.close(ticket, now)
        };
        let Some(reservation) = closed else {
            return Settlement::Unknown;
        };
        // Whoever removed the reservation is alone with it, and its charges are corrected one by one: a decision in between
        // sees a charge as reserved or as settled, both of which keep the law.
        for (held, &actual) in reservation.charges.iter().zip(actual) {
            let mut shard = self.shards[held.key.shard(SHARD_BITS)].lock();
            let now = shard.present(now);
            if actual < held.cost {
                if let Some(counter) = shard.find(held.key, now) {
                    counter.refund(held.slot, held.cost.saturating_sub(actual));
                }
            } else if actual > held.cost {
                shard
                    .find_or_insert(held.key, held.window, now)
                    .charge(actual.saturating_sub(held.cost));
            }
        }
        Settlement::Settled
    }

    fn id(&self, home: usize, ticket: Ticket) -> ReservationId {
        debug_assert!(
            ticket.position >> POSITION_BITS == 0,
            "a shard holds too many open reservations"
        );
        let place = (home as u64) << POSITION_BITS | u64::from(ticket.position);
        ReservationId {
            epoch: self.epoch,
            serial: place << 32 | u64::from(ticket.serial),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each part is masked to its bits"
    )]
    fn ticket(&self, id: ReservationId) -> Option<(usize, Ticket)> {
        let place = id.serial >> 32;
        let ticket = Ticket {
            position: (place & ((1 << POSITION_BITS) - 1)) as u32,
            serial: id.serial as u32,
        };
        (id.epoch == self.epoch).then_some(((place >> POSITION_BITS) as usize, ticket))
    }
}

impl<C: Clock> Store for MemoryStore<C> {
    type Error = Infallible;

    fn reserve(
        &self,
        charges: &[Charge<'_>],
        lease: Duration,
    ) -> impl Future<Output = Result<Decision, Infallible>> + Send {
        ready(Ok(self.decide(charges, lease)))
    }

    fn settle(
        &self,
        reservation: ReservationId,
        actual: &[Cost],
    ) -> impl Future<Output = Result<Settlement, Infallible>> + Send {
        ready(Ok(self.close(reservation, actual)))
    }
}

/// The shards that a decision needs, all locked.
struct Locked<'a>(SmallVec<[(usize, MutexGuard<'a, Shard>); 4]>);

impl<'a> Locked<'a> {
    fn all(shards: &'a [Mutex<Shard>], charges: &[Charge<'_>]) -> Self {
        let mut needed: SmallVec<[usize; 4]> = charges
            .iter()
            .map(|charge| charge.key.shard(SHARD_BITS))
            .collect();
        if needed.is_empty() {
            needed.push(0);
        }
        needed.sort_unstable();
        needed.dedup();
        Self(
            needed
                .into_iter()
                .map(|number| (number, shards[number].lock()))
                .collect(),
        )
    }

    fn of(&mut self, number: usize) -> &mut Shard {
        let (_, shard) = self
            .0
            .iter_mut()
            .find(|(locked, _)| *locked == number)
            .expect("every shard of the request is locked");
        shard
    }

    /// The decision's time: the latest that any of its shards knows.
    fn present(&mut self, now: Timestamp) -> Timestamp {
        self.0
            .iter_mut()
            .fold(now, |latest, (_, shard)| shard.present(latest).max(latest))
    }

    /// The charge that passes last among those that do not pass now, and when it does.
    fn refusal(&mut self, charges: &[Charge<'_>], now: Timestamp) -> Option<(usize, Timestamp)> {
        let mut last: Option<(usize, Timestamp)> = None;
        for (index, charge) in charges.iter().enumerate() {
            let Some(counter) = self.of(charge.key.shard(SHARD_BITS)).find(charge.key, now) else {
                continue;
            };
            let wanted = counter.total().saturating_add(charge.cost);
            if wanted <= charge.limit.limit {
                continue;
            }
            let passes_at = counter.frees(wanted.saturating_sub(charge.limit.limit));
            if last.is_none_or(|(_, latest)| passes_at > latest) {
                last = Some((index, passes_at));
            }
        }
        last
    }

    fn charge(&mut self, charge: &Charge<'_>, now: Timestamp) -> (Held, Balance) {
        let window = charge.limit.window;
        let counter = self
            .of(charge.key.shard(SHARD_BITS))
            .find_or_insert(charge.key, window, now);
        let slot = counter.charge(charge.cost);
        let held = Held {
            key: charge.key,
            window,
            slot,
            cost: charge.cost,
        };
        (
            held,
            balance(charge, counter.total(), counter.clears(), now),
        )
    }

    fn balance(&mut self, charge: &Charge<'_>, now: Timestamp) -> Balance {
        self.of(charge.key.shard(SHARD_BITS))
            .find(charge.key, now)
            .map_or(balance(charge, Cost::ZERO, now, now), |counter| {
                balance(charge, counter.total(), counter.clears(), now)
            })
    }
}

fn balance(charge: &Charge<'_>, total: Cost, clears: Timestamp, now: Timestamp) -> Balance {
    Balance {
        remaining: charge.limit.limit.saturating_sub(total),
        reset_after: clears.since(now),
    }
}
