//! Counters in this process's memory.
//!
//! The store lives in this crate because it is the reference: the contract suite is proved on it, and a store elsewhere
//! (Redis, say) is right when the same suite passes on it. One process serves all of Kong's workers on a node, so it is also
//! exact for that node.
//!
//! # Model
//!
//! A key belongs to one of 64 shards, each behind its own lock. A decision locks the shards of all its keys, in ascending
//! order, so that decisions never wait for each other in a circle and none sees half of another; the counters of one identity share a
//! shard, so most decisions take one lock. An open reservation is
//! kept in the shard of its first key.
//!
//! # Memory
//!
//! 176 bytes a counter and 5 to 10 for its place in the index; about 330 for an open reservation of up to four charges.
//! Whoever makes a new counter or reservation looks at two old ones and drops them if their time has passed, so that nothing needs to run
//! in the background and no request pays for a sweep (tests: `idle_counters_are_collected`, `expired_reservations_are_collected`).
//!
//! # Failure
//!
//! None: every call is ready at once, and cannot fail. A clock that steps back stops the store's time until it has caught up. What the process
//! counted ends with it, unless somebody keeps its [`snapshot`](MemoryStore::snapshot) and [`changes`](MemoryStore::changes).

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

use crate::counter::{Counter, Terms};
use crate::{
    Balance, Charge, Clock, Correction, Cost, CounterRecord, Decision, Denial, Grant, Meter,
    OpenReservation, PerCharge, Reservation, ReservationId, Settlement, Store, SystemClock,
    Timestamp,
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

    /// Remembers from now on which counters change, for [`changes`](Self::changes). Costs nothing until called; afterwards a look-up for
    /// each change, and 5 to 10 bytes for each counter that changed.
    pub fn track_changes(&self) {
        for shard in &self.shards {
            shard.lock().track_changes();
        }
    }

    /// The counters that changed since the last call, or since [`track_changes`](Self::track_changes): as they stand, each once.
    ///
    /// After the whole of a [`snapshot`](Self::snapshot) that was taken since tracking began, they make the store's state: a change that
    /// stood before the snapshot's record of the same counter would be undone by it. Shards are locked one after another and for no longer than copying takes. What is not
    /// iterated over is kept for the next call.
    pub fn changes(&self) -> impl Iterator<Item = CounterRecord> {
        self.shards.iter().flat_map(|shard| shard.lock().changes())
    }

    /// Every counter that holds anything, one shard after another.
    pub fn snapshot(&self) -> impl Iterator<Item = CounterRecord> {
        self.shards.iter().flat_map(|shard| {
            let mut shard = shard.lock();
            let now = shard.present(self.clock.now());
            shard.snapshot(now)
        })
    }

    /// Takes counters over, before the first request; the last record of a key counts. What they held has passed
    /// in the meantime as if the store had gone on, by the clock, which must have the same origin as when the records were made.
    ///
    /// Reservations are not restored: their charges stand.
    pub fn restore(&self, records: impl IntoIterator<Item = CounterRecord>) {
        for mut record in records {
            let mut shard = self.shards[record.key.shard(SHARD_BITS)].lock();
            let now = shard.present(self.clock.now());
            record.counter.not_after(now);
            shard.restore(record);
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
            .position(|charge| charge.enforced && charge.cost > charge.room())
        {
            return Decision::NeverPasses { index };
        }
        let mut shards = Locked::all(&self.shards, charges);
        let now = shards.present(self.clock.now());
        let terms: PerCharge<Terms> = charges
            .iter()
            .map(|charge| Terms::of(charge.limit))
            .collect();
        let waits: PerCharge<Option<Timestamp>> = charges
            .iter()
            .zip(&terms)
            .map(|(charge, terms)| shards.lacks_room(charge, terms, now))
            .collect();
        if let Some((index, passes_at)) = binding(charges, &waits) {
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
        for (charge, terms) in charges.iter().zip(terms) {
            let (charged, balance) = shards.charge(charge, terms, now);
            held.push(charged);
            balances.push(balance);
        }
        let home = charges
            .first()
            .map_or(0, |charge| charge.key.shard(SHARD_BITS));
        let ticket = shards.of(home).open(held, now.after(lease), now);
        Decision::Granted(Grant {
            reservation: Reservation {
                id: self.id(home, ticket),
                keys: charges.iter().map(|charge| charge.key).collect(),
            },
            balances,
            // Whatever lacks room here is not enforced.
            exceeded: waits.iter().map(Option::is_some).collect(),
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
                    counter.refund(held.mark, held.cost.saturating_sub(actual));
                    shard.note(held.key);
                }
            } else if actual > held.cost {
                shard
                    .find_or_insert(held.key, &held.terms, now)
                    .charge(actual.saturating_sub(held.cost));
                shard.note(held.key);
            }
        }
        Settlement::Settled
    }

    fn read(&self, meter: Meter<'_>) -> Balance {
        let mut shard = self.shards[meter.key.shard(SHARD_BITS)].lock();
        let now = shard.present(self.clock.now());
        let room = meter.limit.capacity();
        shard
            .find(meter.key, now)
            .map_or(Balance::untouched(room), |counter| {
                Balance::of(counter, room, now)
            })
    }

    fn change(&self, meter: Meter<'_>, correction: Correction) -> Balance {
        let mut shard = self.shards[meter.key.shard(SHARD_BITS)].lock();
        let now = shard.present(self.clock.now());
        let room = meter.limit.capacity();
        let counter = match correction {
            Correction::Add(_) => {
                Some(shard.find_or_insert(meter.key, &Terms::of(meter.limit), now))
            }
            Correction::Reset | Correction::Remove(_) => shard.find(meter.key, now),
        };
        let Some(counter) = counter else {
            return Balance::untouched(room);
        };
        match correction {
            Correction::Reset => counter.reset(),
            Correction::Add(cost) => {
                counter.charge(cost);
            }
            Correction::Remove(cost) => counter.forgive(cost),
        }
        let balance = Balance::of(counter, room, now);
        shard.note(meter.key);
        balance
    }

    fn list(&self, most: usize) -> Vec<OpenReservation> {
        let mut listed = Vec::new();
        for (home, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.lock();
            let now = shard.present(self.clock.now());
            let room = most - listed.len();
            listed.extend(shard.open_at(now).take(room).map(|(ticket, reservation)| {
                OpenReservation {
                    reservation: Reservation {
                        id: self.id(home, ticket),
                        keys: reservation.charges.iter().map(|held| held.key).collect(),
                    },
                    costs: reservation.charges.iter().map(|held| held.cost).collect(),
                    expires_in: reservation.expires.since(now),
                }
            }));
        }
        listed
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
        reservation: &Reservation,
        actual: &[Cost],
    ) -> impl Future<Output = Result<Settlement, Infallible>> + Send {
        ready(Ok(self.close(reservation.id, actual)))
    }

    fn inspect(
        &self,
        meters: &[Meter<'_>],
    ) -> impl Future<Output = Result<PerCharge<Balance>, Infallible>> + Send {
        ready(Ok(meters.iter().map(|&meter| self.read(meter)).collect()))
    }

    fn correct(
        &self,
        meter: Meter<'_>,
        correction: Correction,
    ) -> impl Future<Output = Result<Balance, Infallible>> + Send {
        ready(Ok(self.change(meter, correction)))
    }

    fn reservations(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<OpenReservation>, Infallible>> + Send {
        ready(Ok(self.list(most)))
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

    /// When a charge that does not fit now will.
    fn lacks_room(
        &mut self,
        charge: &Charge<'_>,
        terms: &Terms,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let room = charge.room();
        match self.of(charge.key.shard(SHARD_BITS)).find(charge.key, now) {
            Some(counter) => {
                counter.follow(terms, now);
                counter.lacks_room(charge.cost, room)
            }
            None => (charge.cost > room).then_some(now),
        }
    }

    fn charge(&mut self, charge: &Charge<'_>, terms: Terms, now: Timestamp) -> (Held, Balance) {
        let shard = self.of(charge.key.shard(SHARD_BITS));
        let counter = shard.find_or_insert(charge.key, &terms, now);
        let mark = counter.charge(charge.cost);
        let balance = Balance::of(counter, charge.room(), now);
        shard.note(charge.key);
        let held = Held {
            key: charge.key,
            cost: charge.cost,
            terms,
            mark,
        };
        (held, balance)
    }

    fn balance(&mut self, charge: &Charge<'_>, now: Timestamp) -> Balance {
        self.of(charge.key.shard(SHARD_BITS))
            .find(charge.key, now)
            .map_or(Balance::untouched(charge.room()), |counter| {
                Balance::of(counter, charge.room(), now)
            })
    }
}

/// The enforced charge that passes last among those that do not pass now, and when it does.
fn binding(charges: &[Charge<'_>], waits: &[Option<Timestamp>]) -> Option<(usize, Timestamp)> {
    let mut last: Option<(usize, Timestamp)> = None;
    for (index, (charge, wait)) in charges.iter().zip(waits).enumerate() {
        if let Some(passes_at) = *wait
            && charge.enforced
            && last.is_none_or(|(_, latest)| passes_at > latest)
        {
            last = Some((index, passes_at));
        }
    }
    last
}

impl Balance {
    fn of(counter: &Counter, room: Cost, now: Timestamp) -> Self {
        Self {
            used: counter.used(),
            remaining: room.saturating_sub(counter.used()),
            reset_after: counter.clears().since(now),
        }
    }

    const fn untouched(room: Cost) -> Self {
        Self {
            used: Cost::ZERO,
            remaining: room,
            reset_after: Duration::ZERO,
        }
    }
}
