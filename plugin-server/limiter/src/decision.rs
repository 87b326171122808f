//! What is asked of a store and what it answers.

use std::time::Duration;

use smallvec::SmallVec;

use crate::{Cost, Key, Limit, Reservation};

/// One limit's part of a request.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The limit that applies.
    pub limit: &'a Limit,
    /// Whose counter is charged: made by [`Key::new`] with the same limit.
    pub key: Key,
    /// What the request costs this limit; limits of one request may count different units.
    pub cost: Cost,
    /// Up to where this request may fill the counter: the limit's [`capacity`](Limit::capacity), or a share of it. What
    /// lies above the capacity counts as the capacity.
    pub ceiling: Cost,
    /// Whether the limit may refuse. One that may not (a shadow) is charged all the same whenever the request is admitted, and the
    /// grant tells whether it would have refused.
    pub enforced: bool,
}

impl<'a> Charge<'a> {
    /// A charge that is enforced and may fill the whole limit.
    pub fn new(limit: &'a Limit, key: Key, cost: Cost) -> Self {
        Self {
            limit,
            key,
            cost,
            ceiling: limit.capacity(),
            enforced: true,
        }
    }

    /// Up to where this request may really fill the counter.
    pub fn room(&self) -> Cost {
        self.ceiling.min(self.limit.capacity())
    }
}

/// A value for each charge of a request, in the order of the charges. Four need no allocation.
pub type PerCharge<T> = SmallVec<[T; 4]>;

/// The answer to a request: a refusal is a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every enforced limit had room, and every limit has been charged.
    Granted(Grant),
    /// At least one enforced limit has no room now; nothing has been charged.
    Denied(Denial),
    /// A cost exceeds the ceiling of an enforced charge, so waiting cannot help; nothing has been charged.
    NeverPasses {
        /// The first charge that can never pass.
        index: usize,
    },
}

/// An admitted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// By which the request is settled.
    pub reservation: Reservation,
    /// Every limit after the charge.
    pub balances: PerCharge<Balance>,
    /// Of each charge, whether it would have refused the request had it been enforced; never true of one that is.
    pub exceeded: PerCharge<bool>,
}

/// A request refused for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The charge whose limit frees the needed room last.
    pub index: usize,
    /// How long until the same request passes if nobody else spends meanwhile; at least 1 ms.
    pub retry_after: Duration,
    /// Every limit as it stands.
    pub balances: PerCharge<Balance>,
}

/// Where a counter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What counts as spent now, debts included: more than the limit while in debt.
    pub used: Cost,
    /// What may still be spent now, up to the charge's ceiling; zero while in debt.
    pub remaining: Cost,
    /// How long until the whole limit is free again if nobody spends meanwhile.
    pub reset_after: Duration,
}

/// A counter, with the limit that it counts for.
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// Whose counter: made by [`Key::new`] with the same limit.
    pub key: Key,
}

/// An operator's change to a counter.
///
/// A reservation that was open before keeps what it holds: if it is settled for less, the difference is taken off the window
/// that was charged as far as there is anything left to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// Nothing counts as spent any more.
    Reset,
    /// So much more counts as spent, as of now, whether it fits the limit or not.
    Add(Cost),
    /// So much less counts as spent, the latest first; what was spent stops at zero.
    Remove(Cost),
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The books of this reservation are closed with the actual cost.
    Settled,
    /// No open reservation has this id: it was settled before, its lease ended, or another process made it.
    /// Nothing has changed.
    Unknown,
}
