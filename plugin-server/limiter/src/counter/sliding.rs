//! One counter of a sliding window.
//!
//! # Model
//!
//! A window of length `W` is counted in slots of width `g = ⌈W / 30⌉` milliseconds, aligned to the clock's origin. A charge
//! at the time `u` belongs to slot `⌊u / g⌋`. At the time `t` the **live** slots are the 31 from `⌊t / g⌋ − 30` to `⌊t / g⌋`.
//!
//! # Algorithm
//!
//! ```text
//! total(t)      = Σ charges of the live slots
//! admit c       ⇔ total(t) + c ≤ limit; then slot ⌊t / g⌋ += c
//! refund r to s   slot s −= r if s is live, else nothing (it no longer counts)
//! debt d          slot ⌊t / g⌋ += d, even above the limit
//! forgive n       the latest live slots −= n in all, each down to 0
//! passes at     = (j + 31) · g, where j is the oldest slot such that the charges of the live slots up to j
//!                 reach total(t) + c − limit
//! ```
//!
//! A charge therefore counts for longer than `W` and for at most `31 · g`: the price of a bounded memory is that budget
//! comes back up to `W / 30` (and rounding) late, never early. The well-known weighting of two fixed windows needs less
//! memory, but only approximates: it admits up to twice the limit in a window that straddles two of its own.
//!
//! Worked: `W` = 60 s, limit 100, so `g` = 2 s. 60 tokens at 0:01 (slot 0), 40 at 0:05 (slot 2). At 0:30 the total is 100;
//! a request for 50 needs 50 freed, slot 0 frees 60 and leaves at (0 + 31) · 2 s = 1:02, so `retry_after` is 32 s. At 1:02 the
//! total is 40 and the request passes. A request for 70 needs 70 freed: slots 0 and 2, so 1:06.
//!
//! # Invariants
//!
//! 1. A charge at `u` counts at every `t ≤ u + W`: slot `j` with `j·g ≤ u < (j+1)·g` is dead only from
//!    `(j + 31)·g > u + 30·g ≥ u + W` (test: `a_charge_counts_for_its_whole_window_and_at_most_a_thirtieth_longer`).
//! 2. `total` is the sum of the slots (test: `the_total_is_the_sum_of_what_is_live`).
//! 3. The request passes at the promised moment and not a millisecond earlier (test: `the_promised_moment_is_exact`).

use crate::{Cost, Timestamp};

/// Slots that make up a whole window. One more is live, since the oldest is only partly inside.
pub(crate) const SLOTS_PER_WINDOW: u64 = 30;

const LIVE_SLOTS: usize = 31;

/// What a slot holds at most: so the sum of all fits its integer, and a slot in Redis holds the same.
const MOST: u64 = Cost::MAX.units();

/// The number of a slot: `⌊time / slot width⌋`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

/// The charges of one key in one window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlidingCounter {
    total: u64,
    present: Slot,
    pub(super) slot_ms: u32,
    slots: Slots,
}

/// A ring indexed by slot number modulo its length. Nearly every counter fits 32 bits a slot, which is what lets a
/// million of them fit 200 MB; one that does not is widened once and stays so.
#[derive(Clone, Debug, PartialEq)]
enum Slots {
    Narrow([u32; LIVE_SLOTS]),
    Wide(Box<[u64; LIVE_SLOTS]>),
}

impl SlidingCounter {
    /// An empty counter whose present is `now`.
    pub(crate) fn new(slot_ms: u32, now: Timestamp) -> Self {
        Self {
            total: 0,
            present: Slot(now.as_millis() / u64::from(slot_ms)),
            slot_ms,
            slots: Slots::Narrow([0; LIVE_SLOTS]),
        }
    }

    /// Moves the present to `now`, dropping what is no longer live. A moment before the present changes nothing.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let Slot(old) = self.present;
        let new = now.as_millis() / u64::from(self.slot_ms);
        if new <= old {
            return;
        }
        self.present = Slot(new);
        if self.total == 0 {
            return;
        }
        if new - old >= LIVE_SLOTS as u64 {
            self.clear();
            return;
        }
        for slot in old + 1..=new {
            let left = self.slots.take(Slot(slot));
            self.total = self.total.saturating_sub(left);
        }
    }

    /// What the live slots hold.
    pub(crate) const fn used(&self) -> Cost {
        Cost::new(self.total)
    }

    /// If `cost` does not fit under `ceiling`: when it will.
    pub(crate) fn lacks_room(&self, cost: Cost, ceiling: Cost) -> Option<Timestamp> {
        let wanted = self.total.saturating_add(cost.units());
        (wanted > ceiling.units()).then(|| self.frees(wanted - ceiling.units()))
    }

    /// Charges the present, and says which slot that is.
    pub(crate) fn charge(&mut self, cost: Cost) -> Slot {
        self.put(self.present, cost.units());
        self.present
    }

    /// Takes `cost` off the slot that was charged, if that still counts.
    pub(crate) fn refund(&mut self, slot: Slot, cost: Cost) {
        if slot.0 > self.present.0 || slot.0.saturating_add(LIVE_SLOTS as u64) <= self.present.0 {
            return;
        }
        let taken = self.slots.subtract(slot, cost.units());
        self.total = self.total.saturating_sub(taken);
    }

    /// Takes off all that counts.
    pub(crate) fn clear(&mut self) {
        self.slots = Slots::Narrow([0; LIVE_SLOTS]);
        self.total = 0;
    }

    /// Takes a counter that is ahead of `now` back to `now`, each charge by as many slots.
    pub(crate) fn not_after(&mut self, now: Timestamp) {
        let present = now.as_millis() / u64::from(self.slot_ms);
        let Some(ahead) = self
            .present
            .0
            .checked_sub(present)
            .filter(|&slots| slots > 0)
        else {
            return;
        };
        let mut back = Self::new(self.slot_ms, now);
        for slot in self.live() {
            back.put(Slot(slot.0.saturating_sub(ahead)), self.slots.get(slot));
        }
        *self = back;
    }

    /// The slots that hold something, by how many slots before the present they are.
    pub(super) fn held(&self) -> impl Iterator<Item = (u64, u64)> {
        self.live().filter_map(|slot| {
            let amount = self.slots.get(slot);
            (amount > 0).then_some((self.present.0 - slot.0, amount))
        })
    }

    /// A counter whose slot of number `present` is the present, with what its slots hold.
    pub(super) fn restored(
        slot_ms: u32,
        present: u64,
        held: impl IntoIterator<Item = (u64, u64)>,
    ) -> Self {
        let mut counter = Self::new(slot_ms, Timestamp::default());
        counter.present = Slot(present);
        for (age, amount) in held {
            counter.put(Slot(present.saturating_sub(age)), amount);
        }
        counter
    }

    pub(super) const fn present(&self) -> u64 {
        self.present.0
    }

    fn put(&mut self, slot: Slot, amount: u64) {
        self.total += self.slots.add(slot, amount);
    }

    /// Takes at most `cost` off what counts, the latest first.
    pub(crate) fn forgive(&mut self, cost: Cost) {
        let mut left = cost.units();
        for slot in self.live().rev() {
            if left == 0 {
                return;
            }
            let taken = self.slots.subtract(slot, left);
            left -= taken;
            self.total = self.total.saturating_sub(taken);
        }
    }

    /// The first moment at which `needed` of the total no longer counts, if nothing more is charged.
    fn frees(&self, needed: u64) -> Timestamp {
        let mut freed = 0_u64;
        for slot in self.live() {
            freed = freed.saturating_add(self.slots.get(slot));
            if freed >= needed {
                return self.expiry(slot);
            }
        }
        self.expiry(self.present)
    }

    /// The first moment at which nothing counts any more; the past if nothing does now.
    pub(crate) fn clears(&self) -> Timestamp {
        self.live()
            .rev()
            .find(|&slot| self.slots.get(slot) > 0)
            .map_or(Timestamp::default(), |slot| self.expiry(slot))
    }

    /// Whether the counter has stood untouched for so long that a new one would be the same.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        now >= self.expiry(self.present)
    }

    fn live(&self) -> impl DoubleEndedIterator<Item = Slot> + use<> {
        (self.present.0.saturating_sub(SLOTS_PER_WINDOW)..=self.present.0).map(Slot)
    }

    fn expiry(&self, slot: Slot) -> Timestamp {
        Timestamp::from_millis(
            slot.0
                .saturating_add(LIVE_SLOTS as u64)
                .saturating_mul(u64::from(self.slot_ms)),
        )
    }
}

impl Slots {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below the ring's length"
    )]
    const fn position(slot: Slot) -> usize {
        (slot.0 % LIVE_SLOTS as u64) as usize
    }

    fn get(&self, slot: Slot) -> u64 {
        match self {
            Self::Narrow(ring) => u64::from(ring[Self::position(slot)]),
            Self::Wide(ring) => ring[Self::position(slot)],
        }
    }

    fn set(&mut self, slot: Slot, amount: u64) {
        match self {
            Self::Wide(ring) => ring[Self::position(slot)] = amount,
            Self::Narrow(ring) => {
                if let Ok(amount) = u32::try_from(amount) {
                    ring[Self::position(slot)] = amount;
                } else {
                    let mut wide = Box::new(ring.map(u64::from));
                    wide[Self::position(slot)] = amount;
                    *self = Self::Wide(wide);
                }
            }
        }
    }

    /// Adds at most `amount`, up to [`MOST`]; returns what was added.
    fn add(&mut self, slot: Slot, amount: u64) -> u64 {
        let held = self.get(slot);
        let added = amount.min(MOST - held);
        self.set(slot, held + added);
        added
    }

    /// Takes off at most `amount`; returns what was taken.
    fn subtract(&mut self, slot: Slot, amount: u64) -> u64 {
        let held = self.get(slot);
        let taken = held.min(amount);
        self.set(slot, held - taken);
        taken
    }

    /// Empties a slot; returns what it held.
    fn take(&mut self, slot: Slot) -> u64 {
        let held = self.get(slot);
        self.set(slot, 0);
        held
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    fn counter(window_ms: u32, now: u64) -> SlidingCounter {
        SlidingCounter::new(window_ms.div_ceil(30), at(now))
    }

    #[test]
    fn the_worked_numbers_of_the_documentation_hold() {
        let mut counter = counter(60_000, 1_000);
        counter.charge(Cost::new(60));
        counter.advance(at(5_000));
        counter.charge(Cost::new(40));
        counter.advance(at(30_000));
        assert_eq!(counter.used(), Cost::new(100));
        assert_eq!(counter.frees(50), at(62_000));
        assert_eq!(counter.frees(70), at(66_000));
        counter.advance(at(61_999));
        assert_eq!(counter.used(), Cost::new(100));
        counter.advance(at(62_000));
        assert_eq!(counter.used(), Cost::new(40));
    }

    #[test]
    fn a_slot_that_outgrows_32_bits_keeps_its_neighbours() {
        let mut counter = counter(30_000, 0);
        let first = counter.charge(Cost::new(7));
        counter.advance(at(1_000));
        let huge = counter.charge(Cost::new(u64::from(u32::MAX) + 1));
        assert_eq!(counter.used(), Cost::new(u64::from(u32::MAX) + 8));
        counter.refund(huge, Cost::new(u64::from(u32::MAX)));
        counter.refund(first, Cost::new(6));
        assert_eq!(counter.used(), Cost::new(2));
    }

    #[test]
    fn a_refund_to_a_window_that_has_passed_is_ignored() {
        let mut counter = counter(30_000, 0);
        let old = counter.charge(Cost::new(7));
        counter.advance(at(31_000));
        counter.charge(Cost::new(5));
        counter.refund(old, Cost::new(7));
        assert_eq!(counter.used(), Cost::new(5));
    }

    #[test]
    fn the_latest_is_forgiven_first() {
        let mut counter = counter(30_000, 0);
        counter.charge(Cost::new(10));
        counter.advance(at(5_000));
        counter.charge(Cost::new(10));
        counter.forgive(Cost::new(15));
        assert_eq!(counter.held().collect::<Vec<_>>(), [(5, 5)]);
        counter.forgive(Cost::new(15));
        assert_eq!(counter.used(), Cost::ZERO);
    }

    #[test]
    fn a_debt_beyond_all_numbers_leaves_with_its_slot() {
        let mut counter = counter(30_000, 0);
        for _ in 0..3 {
            counter.charge(Cost::MAX);
        }
        counter.advance(at(1_000));
        counter.charge(Cost::new(5));
        assert_eq!(counter.used(), Cost::MAX);
        counter.advance(at(31_000));
        assert_eq!(counter.used(), Cost::new(5));
        let absurd = [(1, u64::MAX), (0, u64::MAX)];
        let mut restored = SlidingCounter::restored(1_000, 100, absurd);
        restored.advance(at(130_000));
        assert_eq!(restored.used(), Cost::MAX);
        restored.advance(at(131_000));
        assert_eq!(restored.used(), Cost::ZERO);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_charge_counts_for_its_whole_window_and_at_most_a_thirtieth_longer(
            window_ms in 1_u32..200_000,
            charged in 0_u64..1_000_000,
        ) {
            let mut counter = counter(window_ms, 0);
            counter.advance(at(charged));
            counter.charge(Cost::ONE);
            counter.advance(at(charged + u64::from(window_ms)));
            prop_assert_eq!(counter.used(), Cost::ONE);
            counter.advance(at(charged + 31 * u64::from(window_ms.div_ceil(30))));
            prop_assert_eq!(counter.used(), Cost::ZERO);
        }

        #[test]
        fn the_total_is_the_sum_of_what_is_live(
            steps in prop::collection::vec((0_u64..4_000, 0_u64..100, 0_usize..64, 0_u64..100), 1..60),
        ) {
            let (window_ms, slot_ms) = (30_000_u32, 1_000);
            let mut counter = counter(window_ms, 0);
            let mut now = 0;
            let mut charges: Vec<(Slot, u64)> = Vec::new();
            for (step, cost, which, refund) in steps {
                now += step;
                counter.advance(at(now));
                charges.push((counter.charge(Cost::new(cost)), cost));
                let which = which % charges.len();
                let (slot, held) = charges[which];
                let refund = refund.min(held);
                counter.refund(slot, Cost::new(refund));
                charges[which].1 -= refund;
                let live: u64 = charges
                    .iter()
                    .filter(|(slot, _)| slot.0 + 31 > now / slot_ms)
                    .map(|(_, cost)| cost)
                    .sum();
                prop_assert_eq!(counter.used(), Cost::new(live));
            }
        }

        #[test]
        fn the_promised_moment_is_exact(
            steps in prop::collection::vec((0_u64..4_000, 1_u64..100), 1..40),
            share in 1_u64..=100,
        ) {
            let mut counter = counter(30_000, 0);
            let mut now = 0;
            for (step, cost) in steps {
                now += step;
                counter.advance(at(now));
                counter.charge(Cost::new(cost));
            }
            let before = counter.used().units();
            let needed = (before * share).div_ceil(100);
            let promised = counter.frees(needed);
            counter.advance(at(promised.as_millis() - 1));
            prop_assert!(before - counter.used().units() < needed);
            counter.advance(promised);
            prop_assert!(before - counter.used().units() >= needed);
        }
    }
}
