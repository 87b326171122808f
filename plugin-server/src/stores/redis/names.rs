//! What things are called in Redis, and which of them live together.
//!
//! | name | what |
//! |---|---|
//! | `llm:{<group>}:<rest>` | a counter: 16 hexadecimal digits each, the two halves of its key |
//! | `llm:{<group>}:r:<id>` | the record of an open reservation, beside its first counter |
//! | `llm:{<group>}:w:<id>` | the mark of a write-back that has happened |
//! | `llm:nodes` | the processes that share this Redis |
//! | `llm:{denied}` | what is denied, by its key |
//! | `llm:{denied}:ends` | when each of it may go |
//!
//! A cluster places a name by what stands in its braces: all counters of one identity share a slot.

use std::time::Duration;

use token_limiter::{Cost, Key, OpenReservation, PerCharge, Reservation, ReservationId};

use super::config::{RedisConfig, Topology};

/// Every record of an open reservation.
pub(super) const RECORDS: &str = "llm:{*}:r:*";

/// The processes that share this Redis.
pub(super) const NODES: &str = "llm:nodes";

/// What is denied. In a slot with [`DENIED_ENDS`].
pub(super) const DENIED: &str = "llm:{denied}";

/// When what is denied may go.
pub(super) const DENIED_ENDS: &str = "llm:{denied}:ends";

/// Slots of a cluster (Redis cluster specification, "Key distribution model").
const SLOTS: u16 = 16_384;

pub(super) fn counter(key: Key) -> String {
    let text = key.to_string();
    format!("llm:{{{}}}:{}", &text[..16], &text[16..])
}

pub(super) fn record(beside: Key, id: ReservationId) -> String {
    format!("llm:{{{:016x}}}:r:{id}", beside.group())
}

pub(super) fn mark(beside: Key, id: ReservationId) -> String {
    format!("llm:{{{:016x}}}:w:{id}", beside.group())
}

/// The positions of `keys` by where they live: one part on a single server, one a slot on a cluster.
pub(super) fn parts(config: &RedisConfig, keys: &[Key]) -> Vec<PerCharge<usize>> {
    if !matches!(config.topology(), Ok(Topology::Cluster(_))) {
        return vec![(0..keys.len()).collect()];
    }
    let mut parts: Vec<(u16, PerCharge<usize>)> = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        let slot = slot(&format!("{:016x}", key.group()));
        match parts.iter_mut().find(|(other, _)| *other == slot) {
            Some((_, part)) => part.push(position),
            None => parts.push((slot, PerCharge::from_slice(&[position]))),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// The slot of a name whose braces hold `tag`: CRC-16/XMODEM, as the cluster specification says.
fn slot(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    crc % SLOTS
}

/// Reads a record as `settle.lua` does, at `now_ms` of the store's time; nothing if it is no record of this version, or its lease has ended.
pub(super) fn open_reservation(name: &str, record: &str, now_ms: u64) -> Option<OpenReservation> {
    let id = name.rsplit_once(':')?.1.parse().ok()?;
    let mut lines = record.lines();
    let expires_ms: u64 = lines.next()?.parse().ok()?;
    let left_ms = expires_ms.checked_sub(now_ms).filter(|&left| left > 0)?;
    let mut reservation = OpenReservation {
        reservation: Reservation {
            id,
            keys: PerCharge::new(),
        },
        costs: PerCharge::new(),
        expires_in: Duration::from_millis(left_ms),
    };
    for line in lines {
        let mut fields = line.split(' ');
        let key: String = fields
            .next()?
            .chars()
            .filter(char::is_ascii_hexdigit)
            .collect();
        // "llm" holds no hexadecimal digit.
        reservation.reservation.keys.push(key.parse().ok()?);
        let cost = fields.nth(2)?.parse().ok()?;
        reservation.costs.push(Cost::new(cost));
    }
    Some(reservation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // Its own example: CRC16("123456789") is 0x31C3.
        assert_eq!(slot("123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(""), 0);
    }

    #[test]
    fn a_record_is_read_back() {
        let key: Key = "0123456789abcdef0011223344556677".parse().unwrap();
        let id: ReservationId = "00000000000000010000000000000002".parse().unwrap();
        let record_name = record(key, id);
        let text = format!("5000\n{} s 2000 42 7 0", counter(key));
        let open = open_reservation(&record_name, &text, 1_000).unwrap();
        assert_eq!(open.reservation.id, id);
        assert_eq!(open.reservation.keys[..], [key]);
        assert_eq!(open.costs[..], [Cost::new(42)]);
        assert_eq!(open.expires_in.as_millis(), 4_000);
        assert_eq!(open_reservation(&record_name, &text, 5_000), None);
        assert_eq!(open_reservation(&record_name, "", 0), None);
    }
}
