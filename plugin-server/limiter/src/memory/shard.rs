//! A part of the store behind one lock: some counters, and the reservations that began with one of them.

use hashbrown::HashTable;

use super::slab::Slab;
use crate::sliding::{SlidingCounter, Slot};
use crate::{Cost, Key, PerCharge, SlidingWindow, Timestamp};

/// Old entries looked at whenever a new one is made. Two are enough for the dead never to outnumber the living by much.
const EXAMINED_PER_INSERT: usize = 2;

#[derive(Debug)]
pub(super) struct Shard {
    index: HashTable<u32>,
    counters: Slab<(Key, SlidingCounter)>,
    reservations: Slab<Reservation>,
    issued: u32,
    latest: Timestamp,
}

/// What an open reservation holds.
#[derive(Debug)]
pub(super) struct Reservation {
    serial: u32,
    pub(super) expires: Timestamp,
    pub(super) charges: PerCharge<Held>,
}

/// A charge, with the slot of the window that it was charged in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) window: SlidingWindow,
    pub(super) slot: Slot,
    pub(super) cost: Cost,
}

/// An open reservation's place in its shard, and which of the reservations that had that place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) position: u32,
    pub(super) serial: u32,
}

impl Shard {
    pub(super) const fn new() -> Self {
        Self {
            index: HashTable::new(),
            counters: Slab::new(),
            reservations: Slab::new(),
            issued: 0,
            latest: Timestamp::from_millis(0),
        }
    }

    pub(super) fn counters(&self) -> usize {
        self.counters.len()
    }

    pub(super) fn reservations(&self) -> usize {
        self.reservations.len()
    }

    /// The shard's time: `now`, but never before a time that the shard has seen.
    pub(super) fn present(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// The counter of `key`, brought to the present, if there is one.
    pub(super) fn find(&mut self, key: Key, now: Timestamp) -> Option<&mut SlidingCounter> {
        let counters = &self.counters;
        let position = *self.index.find(key.table_hash(), |&position| {
            counters
                .get(position)
                .is_some_and(|(other, _)| *other == key)
        })?;
        let (_, counter) = self.counters.get_mut(position)?;
        counter.advance(now);
        Some(counter)
    }

    /// The counter of `key`, brought to the present; a new one if there is none.
    pub(super) fn find_or_insert(
        &mut self,
        key: Key,
        window: SlidingWindow,
        now: Timestamp,
    ) -> &mut SlidingCounter {
        if self.find(key, now).is_none() {
            self.collect_counters(now);
            let position = self
                .counters
                .insert((key, SlidingCounter::new(window, now)));
            let counters = &self.counters;
            self.index
                .insert_unique(key.table_hash(), position, |&position| {
                    counters
                        .get(position)
                        .map_or(0, |(key, _)| key.table_hash())
                });
        }
        self.find(key, now)
            .expect("the counter was found or has just been inserted")
    }

    /// Opens a reservation that can be settled until `expires`.
    pub(super) fn open(
        &mut self,
        charges: PerCharge<Held>,
        expires: Timestamp,
        now: Timestamp,
    ) -> Ticket {
        self.collect_reservations(now);
        self.issued = self.issued.wrapping_add(1);
        let serial = self.issued;
        let position = self.reservations.insert(Reservation {
            serial,
            expires,
            charges,
        });
        Ticket { position, serial }
    }

    /// The reservations that can still be settled.
    pub(super) fn open_at(&self, now: Timestamp) -> impl Iterator<Item = (Ticket, &Reservation)> {
        self.reservations
            .iter()
            .filter(move |(_, reservation)| reservation.expires > now)
            .map(|(position, reservation)| {
                let serial = reservation.serial;
                (Ticket { position, serial }, reservation)
            })
    }

    /// Forgets a counter.
    pub(super) fn remove(&mut self, key: Key) {
        let counters = &self.counters;
        if let Ok(entry) = self.index.find_entry(key.table_hash(), |&position| {
            counters
                .get(position)
                .is_some_and(|(other, _)| *other == key)
        }) {
            let (position, _) = entry.remove();
            self.counters.remove(position);
        }
    }

    /// Removes an open reservation: whoever gets it closes its books, and nobody gets it again.
    pub(super) fn close(&mut self, ticket: Ticket, now: Timestamp) -> Option<Reservation> {
        let reservation = self.reservations.get(ticket.position)?;
        if reservation.serial != ticket.serial {
            return None;
        }
        let expired = reservation.expires <= now;
        let reservation = self.reservations.remove(ticket.position)?;
        (!expired).then_some(reservation)
    }

    fn collect_counters(&mut self, now: Timestamp) {
        for _ in 0..EXAMINED_PER_INSERT {
            let Some(position) = self.counters.walk() else {
                return;
            };
            let Some((key, counter)) = self.counters.get(position) else {
                continue;
            };
            if counter.is_idle(now) {
                if let Ok(entry) = self
                    .index
                    .find_entry(key.table_hash(), |&other| other == position)
                {
                    entry.remove();
                }
                self.counters.remove(position);
            }
        }
    }

    fn collect_reservations(&mut self, now: Timestamp) {
        for _ in 0..EXAMINED_PER_INSERT {
            let Some(position) = self.reservations.walk() else {
                return;
            };
            if self
                .reservations
                .get(position)
                .is_some_and(|reservation| reservation.expires <= now)
            {
                self.reservations.remove(position);
            }
        }
    }
}
