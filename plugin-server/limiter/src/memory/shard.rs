//! A part of the store behind one lock: some counters, and the reservations that began with one of them.

use hashbrown::{HashSet, HashTable};

use super::slab::Slab;
use crate::counter::{Counter, Mark, Terms};
use crate::{Cost, CounterRecord, Key, PerCharge, Timestamp};

/// Old entries looked at whenever a new one is made. Two are enough for the dead never to outnumber the living by much.
const EXAMINED_PER_INSERT: usize = 2;

#[derive(Debug)]
pub(super) struct Shard {
    index: HashTable<u32>,
    counters: Slab<(Key, Counter)>,
    reservations: Slab<Reservation>,
    issued: u32,
    latest: Timestamp,
    /// The positions of counters that changed since somebody last asked; none if nobody does.
    changed: Option<HashSet<u32>>,
}

/// What an open reservation holds.
#[derive(Debug)]
pub(super) struct Reservation {
    serial: u32,
    pub(super) expires: Timestamp,
    pub(super) charges: PerCharge<Held>,
}

/// A charge, with what its settlement needs to know.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) cost: Cost,
    pub(super) terms: Terms,
    pub(super) mark: Mark,
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
            changed: None,
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
    pub(super) fn find(&mut self, key: Key, now: Timestamp) -> Option<&mut Counter> {
        let position = self.position(key)?;
        let (_, counter) = self.counters.get_mut(position)?;
        counter.advance(now);
        Some(counter)
    }

    /// The counter of `key`, brought to the present and to `terms`; a new one if there is none.
    pub(super) fn find_or_insert(
        &mut self,
        key: Key,
        terms: &Terms,
        now: Timestamp,
    ) -> &mut Counter {
        let position = self.position(key).unwrap_or_else(|| {
            self.collect_counters(now);
            self.insert(key, Counter::new(terms, now))
        });
        let (_, counter) = self
            .counters
            .get_mut(position)
            .expect("the counter was found or has just been inserted");
        counter.follow(terms, now);
        counter
    }

    /// Puts a counter where the key has none, or in place of the one that it has.
    pub(super) fn restore(&mut self, CounterRecord { key, counter }: CounterRecord) {
        if let Some(place) = self
            .position(key)
            .and_then(|position| self.counters.get_mut(position))
        {
            place.1 = counter;
        } else {
            self.insert(key, counter);
        }
    }

    fn position(&self, key: Key) -> Option<u32> {
        let same = |&position: &u32| {
            self.counters
                .get(position)
                .is_some_and(|(other, _)| *other == key)
        };
        self.index.find(key.table_hash(), same).copied()
    }

    fn insert(&mut self, key: Key, counter: Counter) -> u32 {
        let position = self.counters.insert((key, counter));
        let counters = &self.counters;
        self.index
            .insert_unique(key.table_hash(), position, |&position| {
                counters
                    .get(position)
                    .map_or(0, |(key, _)| key.table_hash())
            });
        position
    }

    /// Remembers from now on which counters change.
    pub(super) fn track_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Says that a counter has changed.
    pub(super) fn note(&mut self, key: Key) {
        if self.changed.is_some() {
            let position = self.position(key);
            if let Some((changed, position)) = self.changed.as_mut().zip(position) {
                changed.insert(position);
            }
        }
    }

    /// Whether a counter has changed and nobody has asked since.
    fn is_untold(&self, position: u32) -> bool {
        self.changed
            .as_ref()
            .is_some_and(|changed| changed.contains(&position))
    }

    /// The counters that changed since the last call.
    pub(super) fn changes(&mut self) -> Vec<CounterRecord> {
        let changed = self.changed.as_mut().map(std::mem::take);
        changed
            .into_iter()
            .flatten()
            .filter_map(|position| self.counters.get(position))
            .map(record)
            .collect()
    }

    /// The counters that hold anything.
    pub(super) fn snapshot(&self, now: Timestamp) -> Vec<CounterRecord> {
        self.counters
            .iter()
            .map(|(_, entry)| entry)
            .filter(|(_, counter)| !counter.is_idle(now))
            .map(record)
            .collect()
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
            // A change to nothing is told like any other: what was told before it would otherwise stand.
            if counter.is_idle(now) && !self.is_untold(position) {
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

fn record((key, counter): &(Key, Counter)) -> CounterRecord {
    CounterRecord {
        key: *key,
        counter: counter.clone(),
    }
}
