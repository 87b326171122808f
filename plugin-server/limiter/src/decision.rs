//! What is asked of a store and what it answers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use smallvec::SmallVec;
use thiserror::Error;

use crate::{Cost, Key, Limit};

/// One limit's part of a request.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The limit that applies.
    pub limit: &'a Limit,
    /// Whose counter is charged: made by [`Key::new`] with the same limit.
    pub key: Key,
    /// What the request costs this limit; limits of one request may count different units.
    pub cost: Cost,
}

/// A value for each charge of a request, in the order of the charges. Four need no allocation.
pub type PerCharge<T> = SmallVec<[T; 4]>;

/// The answer to a request: a refusal is a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every limit had room, and every one has been charged.
    Granted(Grant),
    /// At least one limit has no room now; nothing has been charged.
    Denied(Denial),
    /// A cost exceeds its whole limit, so waiting cannot help; nothing has been charged.
    NeverPasses {
        /// The first charge that can never pass.
        index: usize,
    },
}

/// An admitted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// By which the request is settled.
    pub reservation: ReservationId,
    /// Every limit after the charge.
    pub balances: PerCharge<Balance>,
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
    /// What may still be spent now; zero while in debt.
    pub remaining: Cost,
    /// How long until the whole limit is free again if nobody spends meanwhile.
    pub reset_after: Duration,
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

/// Names one reservation for as long as its lease lasts. Opaque; unique across restarts of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId {
    /// Drawn at random by whoever issued the id, once for its life.
    pub epoch: u64,
    /// Unique within the epoch.
    pub serial: u64,
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.epoch, self.serial)
    }
}

/// A text that is not a reservation's id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a reservation id is 32 hexadecimal digits")]
pub struct InvalidReservationId;

impl FromStr for ReservationId {
    type Err = InvalidReservationId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidReservationId);
        }
        let word = |half: &str| u64::from_str_radix(half, 16).map_err(|_| InvalidReservationId);
        Ok(Self {
            epoch: word(&text[..16])?,
            serial: word(&text[16..])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = ReservationId {
            epoch: 0xfeed,
            serial: u64::MAX,
        };
        assert_eq!(id.to_string(), "000000000000feedffffffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "0",
            "+00000000000feedffffffffffffffff",
            "ä00000000000feedffffffffffffffff",
        ] {
            assert_eq!(text.parse::<ReservationId>(), Err(InvalidReservationId));
        }
    }
}
