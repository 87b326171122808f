//! Whom a counter belongs to.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::Limit;

/// The name of one counter: a limit together with the values that it is counted by.
///
/// Half of a SHA-256 over the limit's name, its window and each value, every one preceded by its length. So the values
/// `"a:b", "c"` and `"a", "b:c"` never meet, a value of any size costs 16 bytes, and nobody can choose a value (a
/// header, say) that lands on another's counter. A changed window is a new counter; a changed limit is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u64; 2]);

impl Key {
    /// The counter of `limit` for whoever has these `values`, in this order.
    pub fn new<'a>(limit: &Limit, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(limit.name.as_bytes());
        part(&limit.window.length().as_millis().to_le_bytes());
        for value in values {
            part(value);
        }
        let digest = hash.finalize();
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| digest[at + byte]));
        Self([word(0), word(8)])
    }

    /// 64 well-mixed bits for a table.
    pub(crate) const fn table_hash(self) -> u64 {
        self.0[0]
    }

    /// Other bits, for choosing among `1 << bits` shards.
    #[expect(clippy::cast_possible_truncation, reason = "a few bits fit any usize")]
    pub(crate) const fn shard(self, bits: u32) -> usize {
        (self.0[1] >> (u64::BITS - bits)) as usize
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

    fn key(limit: &Limit, values: &[&str]) -> Key {
        Key::new(limit, values.iter().map(|value| value.as_bytes()))
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
    }
}
