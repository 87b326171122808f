//! A counter as bytes, for a state file.
//!
//! # Format
//!
//! ```text
//! record   = (length of the payload, 2 bytes) (first 4 bytes of the payload's SHA-256) payload
//! payload  = version (1) key (16 bytes) kind state
//! kind     = 's' sliding | 'p' fixed or calendar | 'b' token bucket
//! state    = s: slot_ms present (which of the 31 slots hold something, a bit each, the present's lowest) each of these slots
//!            p: start end used
//!            b: units milliseconds level at charged born
//! ```
//!
//! Fixed-width numbers are little-endian, others are LEB128. A record says all about its counter and may follow any other: the last
//! one of a key counts.
//!
//! # Failure
//!
//! A record that is cut short or was changed is an [`InvalidRecord`], never a panic and never another counter
//! (test: `a_damaged_record_is_refused`).

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Counter;
use super::bucket::BucketCounter;
use super::period::PeriodCounter;
use super::sliding::SlidingCounter;
use crate::window::Rate;
use crate::{Cost, Key, Period, Timestamp};

const VERSION: u8 = 1;

const LIVE_SLOTS: u64 = super::SLOTS_PER_WINDOW + 1;

/// One counter of a [`MemoryStore`](crate::MemoryStore), as it stood at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterRecord {
    pub(crate) key: Key,
    pub(crate) counter: Counter,
}

/// Bytes that do not begin with a whole record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidRecord {
    /// The record goes on where the bytes end.
    #[error("the record is cut short")]
    Truncated,
    /// The bytes are not what was written, or were written by another version.
    #[error("the record is damaged, or another version's")]
    Damaged,
}

impl CounterRecord {
    /// Whose counter it is.
    pub const fn key(&self) -> Key {
        self.key
    }

    /// Appends the record to `out`: at most 360 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut payload = vec![VERSION];
        payload.extend(self.key.to_bytes());
        match &self.counter {
            Counter::Sliding(counter) => {
                payload.push(b's');
                put(&mut payload, u64::from(counter.slot_ms));
                put(&mut payload, counter.present());
                let which = counter.held().fold(0, |which, (age, _)| which | 1 << age);
                put(&mut payload, which);
                for (_, amount) in counter.held() {
                    put(&mut payload, amount);
                }
            }
            Counter::Period(counter) => {
                payload.push(b'p');
                put(&mut payload, counter.period.start.as_millis());
                put(&mut payload, counter.period.end.as_millis());
                put(&mut payload, counter.used.units());
            }
            Counter::Bucket(counter) => {
                payload.push(b'b');
                put(&mut payload, counter.rate.units);
                put(&mut payload, counter.rate.milliseconds);
                put(&mut payload, counter.level);
                put(&mut payload, counter.at.as_millis());
                put(&mut payload, counter.charged);
                put(&mut payload, counter.born.as_millis());
            }
        }
        let length = u16::try_from(payload.len()).expect("a payload has at most 354 bytes");
        out.extend(length.to_le_bytes());
        out.extend(checksum(&payload));
        out.append(&mut payload);
    }

    /// Takes the record at the front of `bytes`; none if there are no bytes. After an error `bytes` stand where the
    /// record began.
    pub fn decode(bytes: &mut &[u8]) -> Result<Option<Self>, InvalidRecord> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (length, rest) = bytes
            .split_first_chunk::<2>()
            .ok_or(InvalidRecord::Truncated)?;
        let (sum, rest) = rest
            .split_first_chunk::<4>()
            .ok_or(InvalidRecord::Truncated)?;
        let (payload, rest) = rest
            .split_at_checked(usize::from(u16::from_le_bytes(*length)))
            .ok_or(InvalidRecord::Truncated)?;
        if checksum(payload) != *sum {
            return Err(InvalidRecord::Damaged);
        }
        let record = Self::read(payload).ok_or(InvalidRecord::Damaged)?;
        *bytes = rest;
        Ok(Some(record))
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (&version, payload) = payload.split_first()?;
        let (key, payload) = payload.split_first_chunk::<16>()?;
        let (kind, mut state) = payload.split_first()?;
        if version != VERSION {
            return None;
        }
        let state = &mut state;
        let counter = match kind {
            b's' => Counter::Sliding(sliding(state)?),
            b'p' => Counter::Period(period(state)?),
            b'b' => Counter::Bucket(bucket(state)?),
            _ => return None,
        };
        state.is_empty().then_some(Self {
            key: Key::from_bytes(*key),
            counter,
        })
    }
}

fn sliding(state: &mut &[u8]) -> Option<SlidingCounter> {
    let slot_ms = u32::try_from(take(state)?).ok()?;
    let present = take(state)?;
    let which = take(state)?;
    let began = present.checked_mul(u64::from(slot_ms))?;
    if slot_ms == 0 || began > Cost::MAX.units() || which >> LIVE_SLOTS != 0 {
        return None;
    }
    let mut held = Vec::new();
    for age in (0..LIVE_SLOTS).rev().filter(|age| which >> age & 1 == 1) {
        held.push((age, take(state)?));
    }
    let reaches_back = held.first().map_or(0, |&(age, _)| age);
    (reaches_back <= present).then(|| SlidingCounter::restored(slot_ms, present, held))
}

fn period(state: &mut &[u8]) -> Option<PeriodCounter> {
    let (start, end, used) = (take(state)?, take(state)?, take(state)?);
    (start < end && start <= Cost::MAX.units()).then(|| PeriodCounter {
        period: Period {
            start: Timestamp::from_millis(start),
            end: Timestamp::from_millis(end),
        },
        used: Cost::new(used),
    })
}

fn bucket(state: &mut &[u8]) -> Option<BucketCounter> {
    let mut bounded = || take(state).filter(|&number| number <= Cost::MAX.units());
    let rate = Rate {
        units: bounded()?,
        milliseconds: bounded()?,
    };
    let counter = BucketCounter {
        rate,
        level: bounded()?,
        at: Timestamp::from_millis(bounded()?),
        charged: bounded()?,
        born: Timestamp::from_millis(bounded()?),
    };
    (rate.milliseconds > 0).then_some(counter)
}

fn checksum(payload: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(payload);
    std::array::from_fn(|byte| digest[byte])
}

/// Appends a number as LEB128: seven bits a byte, the lowest first, the top bit says that more follow.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Takes a number off the front.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..300, 0..=Cost::MAX.units()]
    }

    fn counter() -> impl Strategy<Value = Counter> {
        let sliding = (
            1_u32..100_000,
            30_u64..1 << 30,
            prop::collection::btree_map(0..LIVE_SLOTS, 1..Cost::MAX.units(), 0..31),
        )
            .prop_map(|(slot_ms, present, held)| {
                Counter::Sliding(SlidingCounter::restored(slot_ms, present, held))
            });
        let period = (number(), 1_u64..1 << 40, number()).prop_map(|(start, length, used)| {
            Counter::Period(PeriodCounter {
                period: Period {
                    start: Timestamp::from_millis(start),
                    end: Timestamp::from_millis(start + length),
                },
                used: Cost::new(used),
            })
        });
        let bucket = (
            number(),
            1..=Cost::MAX.units(),
            number(),
            number(),
            number(),
            number(),
        )
            .prop_map(|(units, milliseconds, level, at, charged, born)| {
                Counter::Bucket(BucketCounter {
                    level,
                    at: Timestamp::from_millis(at),
                    charged,
                    born: Timestamp::from_millis(born),
                    rate: Rate {
                        units,
                        milliseconds,
                    },
                })
            });
        prop_oneof![sliding, period, bucket]
    }

    prop_compose! {
        fn record()(key in any::<[u8; 16]>(), counter in counter()) -> CounterRecord {
            CounterRecord { key: Key::from_bytes(key), counter }
        }
    }

    #[test]
    fn the_format_is_as_documented() {
        let record = CounterRecord {
            key: Key::from_bytes([7; 16]),
            counter: Counter::Sliding(SlidingCounter::restored(2_000, 300, [(2, 60), (0, 40)])),
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let mut payload = vec![1];
        payload.extend([7; 16]);
        payload.extend([b's', 0xd0, 0x0f, 0xac, 0x02, 0b101, 60, 40]);
        assert_eq!(bytes[..2], [25, 0]);
        assert_eq!(bytes[6..], payload);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_record_survives_its_bytes(records in prop::collection::vec(record(), 0..8)) {
            let mut bytes = Vec::new();
            for record in &records {
                let before = bytes.len();
                record.encode(&mut bytes);
                prop_assert!(bytes.len() - before <= 360);
            }
            let mut rest = &bytes[..];
            for record in records {
                prop_assert_eq!(CounterRecord::decode(&mut rest), Ok(Some(record)));
            }
            prop_assert_eq!(CounterRecord::decode(&mut rest), Ok(None));
        }

        #[test]
        fn a_damaged_record_is_refused(record in record(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let at = at.index(bytes.len());
            let mut short = &bytes[..at];
            if at > 0 {
                prop_assert_eq!(CounterRecord::decode(&mut short), Err(InvalidRecord::Truncated));
                prop_assert_eq!(short.len(), at);
            }
            bytes[at] ^= flip;
            prop_assert!(CounterRecord::decode(&mut &bytes[..]).is_err());
        }

        #[test]
        fn no_payload_makes_reading_panic(payload in prop::collection::vec(any::<u8>(), 0..400), kind in 0_usize..3) {
            let mut whole = vec![VERSION];
            whole.extend([0; 16]);
            whole.push(b"spb"[kind]);
            whole.extend(payload);
            if let Some(CounterRecord { mut counter, .. }) = CounterRecord::read(&whole) {
                for moment in [0, 1 << 40, u64::MAX] {
                    counter.not_after(Timestamp::from_millis(moment));
                    counter.advance(Timestamp::from_millis(moment));
                    let mark = counter.charge(Cost::MAX);
                    counter.lacks_room(Cost::MAX, Cost::ONE);
                    counter.refund(mark, Cost::ONE);
                    prop_assert!(counter.used() <= Cost::MAX);
                    counter.is_idle(counter.clears());
                }
            }
        }
    }
}
