//! A bounded map that forgets what is not used.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations of entries: what is used is young. When the young are half of what may be remembered, they become the old, and
/// the old are forgotten. So the last `most / 2` entries that were used are always remembered, each at constant cost.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    most: usize,
}

impl<K: Eq + Hash, V: Default> Generations<K, V> {
    /// A map of at most so many entries.
    pub(super) fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            most,
        }
    }

    /// The entry of a key, which now is one that was used.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        let value = self.old.remove(&key);
        if !self.young.contains_key(&key) && self.young.len() >= self.most / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young
            .entry(key)
            .or_insert_with(|| value.unwrap_or_default())
    }

    /// The entry of a key, if there is one; it now is one that was used.
    pub(super) fn get(&mut self, key: &K) -> Option<&V>
    where
        K: Clone,
    {
        if !self.young.contains_key(key) && !self.old.contains_key(key) {
            return None;
        }
        Some(self.entry(key.clone()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
