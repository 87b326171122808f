//! The denylist of one process.
//!
//! # Failure
//!
//! It ends with the process. A full list refuses what is new and forgets nothing: what has gone makes room by itself.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::revocation::{GRACE, Revocation, RevocationId, Standing};

/// How many revocations it holds: some 40 MB of ordinary names, 150 MB at the very most.
pub const CAPACITY: usize = 100_000;

/// Revocations in memory.
#[derive(Debug)]
pub struct MemoryList {
    capacity: usize,
    entries: RwLock<HashMap<RevocationId, Revocation>>,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no more revocations can be kept")]
pub struct Full;

impl Default for MemoryList {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl MemoryList {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            entries: RwLock::default(),
        }
    }

    /// How many it holds, some of which may have gone.
    pub fn len(&self) -> usize {
        self.entries.read().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.read().is_empty()
    }

    pub(super) fn look_up<const N: usize>(
        &self,
        ids: [Option<RevocationId>; N],
    ) -> [Option<Standing>; N] {
        let entries = self.entries.read();
        ids.map(|id| Some(entries.get(&id?)?.standing()))
    }

    /// Takes a revocation in, or strengthens the one that is there: the later end and the later moment stay.
    pub(super) fn revoke(&self, new: Revocation, now: i64) -> Result<Revocation, Full> {
        let id = new.target.id();
        let mut entries = self.entries.write();
        let known = entries.get(&id).filter(|known| is_kept(known, now));
        let kept = if let Some(known) = known {
            let moment = known.target.issued_before().max(new.target.issued_before());
            Revocation {
                target: new.target.with_issued_before(moment),
                revoked_at: new.revoked_at,
                expires_at: known.expires_at.max(new.expires_at),
            }
        } else {
            if entries.len() >= self.capacity {
                entries.retain(|_, known| is_kept(known, now));
            }
            if entries.len() >= self.capacity {
                return Err(Full);
            }
            new
        };
        entries.insert(id, kept.clone());
        Ok(kept)
    }

    pub(super) fn unrevoke(&self, id: RevocationId, now: i64) -> Option<Revocation> {
        let removed = self.entries.write().remove(&id)?;
        is_kept(&removed, now).then_some(removed)
    }

    /// How many there are, and some of them: those that end last first.
    pub(super) fn page(&self, offset: usize, most: usize, now: i64) -> (usize, Vec<Revocation>) {
        let mut order: Vec<_> = self
            .entries
            .read()
            .iter()
            .filter(|(_, known)| is_kept(known, now))
            .map(|(id, known)| (known.expires_at, *id))
            .collect();
        order.sort_unstable_by(|one, other| other.cmp(one));
        let shown = order.iter().skip(offset).take(most);
        let entries = self.entries.read();
        let page = shown.filter_map(|(_, id)| entries.get(id).cloned());
        (order.len(), page.collect())
    }
}

fn is_kept(revocation: &Revocation, now: i64) -> bool {
    now < revocation
        .expires_at
        .saturating_add_unsigned(GRACE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::revocation::Target;
    use super::*;

    fn jti(name: &str, expires_at: i64) -> Revocation {
        let target = Target::Jti {
            issuer: "i".into(),
            jti: name.into(),
        };
        Revocation {
            target,
            revoked_at: 0,
            expires_at,
        }
    }

    #[test]
    fn a_full_list_forgets_only_what_has_gone() {
        let list = MemoryList::with_capacity(2);
        list.revoke(jti("a", 100), 0).unwrap();
        list.revoke(jti("b", 5_000), 0).unwrap();
        assert_eq!(list.revoke(jti("c", 5_000), 0), Err(Full));
        list.revoke(jti("b", 6_000), 0)
            .expect("what is there takes no room");
        list.revoke(jti("c", 5_000), 460).expect("a has gone");
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn revoking_again_never_weakens() {
        let list = MemoryList::default();
        let subject = |issued_before, expires_at| Revocation {
            target: Target::Subject {
                issuer: "i".into(),
                subject: "s".into(),
                issued_before,
            },
            revoked_at: 0,
            expires_at,
        };
        list.revoke(subject(50, 900), 0).unwrap();
        let kept = list.revoke(subject(40, 1_000), 0).unwrap();
        assert_eq!(kept, subject(50, 1_000));
        let other = list.revoke(subject(60, 100), 1_400).unwrap();
        assert_eq!(other, subject(60, 100), "what has gone counts no more");
    }

    #[test]
    fn a_page_begins_with_what_ends_last() {
        let list = MemoryList::default();
        for (name, ends) in [("a", 1_000), ("b", 3_000), ("c", 2_000), ("d", 10)] {
            list.revoke(jti(name, ends), 0).unwrap();
        }
        let page = |offset| list.page(offset, 2, 500);
        assert_eq!(page(0), (3, vec![jti("b", 3_000), jti("c", 2_000)]));
        assert_eq!(page(2), (3, vec![jti("a", 1_000)]));
        let id = jti("a", 0).target.id();
        assert_eq!(list.unrevoke(id, 500), Some(jti("a", 1_000)));
        assert_eq!(list.unrevoke(id, 500), None);
    }
}
