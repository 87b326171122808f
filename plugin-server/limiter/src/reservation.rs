//! By what an admitted request is known until its books are closed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::{Cost, Key, PerCharge};

/// The charges of one admitted request, held until it is settled or its lease ends.
///
/// Its text is `<id>:<key>,<key>…`: a process that did not make it can settle it, if they share a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reservation {
    /// Its name.
    pub id: ReservationId,
    /// The counters that were charged, in the order of the charges: a store that is spread over machines finds its part by them.
    pub keys: PerCharge<Key>,
}

/// Names one reservation for as long as its lease lasts. Opaque; unique across restarts of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId {
    /// Drawn at random by whoever issued the id, once for its life.
    pub epoch: u64,
    /// Unique within the epoch.
    pub serial: u64,
}

/// A reservation that nobody has settled yet, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReservation {
    /// Which.
    pub reservation: Reservation,
    /// What each charge holds.
    pub costs: PerCharge<Cost>,
    /// How long until its lease ends and its charges stand as they are.
    pub expires_in: Duration,
}

/// A text that is no reservation.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a reservation is an id, ':' and the keys separated by ',', each of 32 hexadecimal digits")]
pub struct InvalidReservation;

/// A text that is not a reservation's id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a reservation id is 32 hexadecimal digits")]
pub struct InvalidReservationId;

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.id)?;
        for (index, key) in self.keys.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}")?;
        }
        Ok(())
    }
}

impl FromStr for Reservation {
    type Err = InvalidReservation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, keys) = text.split_once(':').ok_or(InvalidReservation)?;
        let key = |text: &str| text.parse().map_err(|_| InvalidReservation);
        Ok(Self {
            id: id.parse().map_err(|_| InvalidReservation)?,
            keys: if keys.is_empty() {
                PerCharge::new()
            } else {
                keys.split(',').map(key).collect::<Result<_, _>>()?
            },
        })
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.epoch, self.serial)
    }
}

impl FromStr for ReservationId {
    type Err = InvalidReservationId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [epoch, serial] = words(text).ok_or(InvalidReservationId)?;
        Ok(Self { epoch, serial })
    }
}

/// Two words of 16 hexadecimal digits each.
pub(crate) fn words(text: &str) -> Option<[u64; 2]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let word = |half: &str| u64::from_str_radix(half, 16).ok();
    Some([word(&text[..16])?, word(&text[16..])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ReservationId = ReservationId {
        epoch: 0xfeed,
        serial: u64::MAX,
    };

    #[test]
    fn an_id_survives_its_text() {
        assert_eq!(ID.to_string(), "000000000000feedffffffffffffffff");
        assert_eq!(ID.to_string().parse(), Ok(ID));
        for text in [
            "",
            "0",
            "+00000000000feedffffffffffffffff",
            "ä00000000000feedffffffffffffffff",
        ] {
            assert_eq!(text.parse::<ReservationId>(), Err(InvalidReservationId));
        }
    }

    #[test]
    fn a_reservation_survives_its_text_and_no_part_of_it_is_one() {
        let key = |text: &str| text.repeat(32).parse::<Key>().unwrap();
        for keys in [vec![], vec![key("a")], vec![key("a"), key("0")]] {
            let reservation = Reservation {
                id: ID,
                keys: keys.into(),
            };
            assert_eq!(reservation.to_string().parse(), Ok(reservation));
        }
        let text = format!("{ID}:{},{}", key("a"), key("b"));
        for cut in (0..text.len()).filter(|&cut| cut != 33 && cut != 65) {
            assert_eq!(
                text[..cut].parse::<Reservation>(),
                Err(InvalidReservation),
                "{cut}"
            );
        }
    }
}
