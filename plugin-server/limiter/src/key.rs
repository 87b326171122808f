//! Whom a counter belongs to.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::Limit;
use crate::reservation::words;

/// Whom one or more limits are counted by: a scope and the values of `limit_by`, with their kinds.
///
/// A SHA-256 over the values, every one preceded by its length. So the values `"a:b", "c"` and `"a", "b:c"` never meet, a
/// value of any size costs the same, and nobody can choose a value (a header, say) that lands on another's counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// Whoever has these `values`, in this order.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut parts = Parts::default();
        for value in values {
            parts.add(value);
        }
        Self(parts.digest())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:016x}…)", word(&self.0, 0))
    }
}

/// The name of one counter: a limit, for one identity. Its text is 32 hexadecimal digits.
///
/// The first of two words comes from the [`Identity`] alone, so that a store that is spread over machines can keep
/// the counters of one identity together. The second is a part of a SHA-256 over the identity, the limit's name, its unit and
/// its window. Both together are as hard to hit by choice as any 128 bits. A changed window is a new
/// counter; a changed limit, or burst, is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u64; 2]);

impl Key {
    /// The counter of `limit`, which counts `unit`, for `identity`.
    pub fn new(limit: &Limit, unit: &str, identity: &Identity) -> Self {
        let mut parts = Parts::default();
        parts.add(&identity.0);
        parts.add(limit.name.as_bytes());
        parts.add(unit.as_bytes());
        limit.window.name_parts(|part| parts.add(part));
        Self([word(&identity.0, 0), word(&parts.digest(), 0)])
    }

    /// The word that all counters of one identity share.
    pub const fn group(self) -> u64 {
        self.0[0]
    }

    /// The key as bytes.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let words = self.0.map(u64::to_le_bytes);
        std::array::from_fn(|byte| words[byte / 8][byte % 8])
    }

    /// The key of these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self([word(&bytes, 0), word(&bytes, 8)])
    }

    /// 64 well-mixed bits for a table.
    pub(crate) const fn table_hash(self) -> u64 {
        self.0[1]
    }

    /// Other bits, for choosing among `1 << bits` shards: the same for all counters of one identity, so that a decision
    /// mostly needs one lock.
    #[expect(clippy::cast_possible_truncation, reason = "a few bits fit any usize")]
    pub(crate) const fn shard(self, bits: u32) -> usize {
        (self.0[0] >> (u64::BITS - bits)) as usize
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

/// A text that is not a key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a counter's key is 32 hexadecimal digits")]
pub struct InvalidKey;

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        words(text).map(Self).ok_or(InvalidKey)
    }
}

/// A hash over values, each preceded by its length.
#[derive(Default)]
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, value: &[u8]) {
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

fn word(digest: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| digest[at + byte]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Cost, Window};

    fn limit(name: &str, seconds: u64) -> Limit {
        Limit {
            name: name.to_owned(),
            limit: Cost::new(10),
            window: Window::sliding(Duration::from_secs(seconds)).unwrap(),
        }
    }

    fn identity(values: &[&str]) -> Identity {
        Identity::new(values.iter().map(|value| value.as_bytes()))
    }

    fn key(limit: &Limit, values: &[&str]) -> Key {
        Key::new(limit, "total_tokens", &identity(values))
    }

    #[test]
    fn values_that_read_alike_when_joined_never_meet() {
        let minute = limit("minute", 60);
        assert_ne!(key(&minute, &["a:b", "c"]), key(&minute, &["a", "b:c"]));
        assert_ne!(key(&minute, &["ab"]), key(&minute, &["a", "b"]));
        assert_ne!(key(&minute, &[]), key(&minute, &[""]));
        assert_eq!(key(&minute, &["a", "b"]), key(&minute, &["a", "b"]));
    }

    #[test]
    fn a_counter_survives_a_new_limit_but_not_a_new_window() {
        let minute = limit("minute", 60);
        let raised = Limit {
            limit: Cost::new(20),
            ..minute.clone()
        };
        assert_eq!(key(&minute, &["a"]), key(&raised, &["a"]));
        assert_ne!(key(&minute, &["a"]), key(&limit("minute", 61), &["a"]));
        assert_ne!(key(&minute, &["a"]), key(&limit("other", 60), &["a"]));
        assert_ne!(
            key(&minute, &["a"]),
            Key::new(&minute, "requests", &identity(&["a"]))
        );
    }

    #[test]
    fn the_counters_of_one_identity_share_a_group_and_no_others_do() {
        let (minute, hour) = (limit("minute", 60), limit("hour", 3_600));
        assert_eq!(key(&minute, &["a"]).group(), key(&hour, &["a"]).group());
        assert_ne!(key(&minute, &["a"]).group(), key(&minute, &["b"]).group());
    }

    #[test]
    fn a_key_survives_its_text() {
        let key = key(&limit("minute", 60), &["a"]);
        assert_eq!(key.to_string().len(), 32);
        assert_eq!(key.to_string().parse(), Ok(key));
        for text in ["", "0", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(text.parse::<Key>(), Err(InvalidKey), "{text}");
        }
    }
}
