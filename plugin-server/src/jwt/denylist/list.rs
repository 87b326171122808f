//! Where revocations are kept, whatever kind of place that is.

use std::sync::Arc;

use super::memory::{Full, MemoryList};
use super::revocation::{GRACE, Revocation, RevocationId, Standing, Target};
use crate::stores::failover::{FailoverStore, Unavailable};
use crate::stores::redis::denied::{Entry, Keeping};

/// How many revocations a Redis holds: some 400 MB of ordinary names.
pub const REDIS_CAPACITY: u64 = 1_000_000;

/// A denylist. Cheap to clone.
#[derive(Debug, Clone)]
pub enum List {
    /// Of this process alone: never fails, never waits.
    Memory(Arc<MemoryList>),
    /// Of all processes that use this Redis.
    Redis(Arc<FailoverStore>),
}

/// Why something was not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRevoked {
    /// No room is left.
    #[error(transparent)]
    Full(#[from] Full),
    /// The list cannot be asked.
    #[error(transparent)]
    Away(#[from] Unavailable),
}

impl List {
    /// What tells it from the other lists of the process, for people: `memory`, or where the Redis is. Holds no secret.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Memory(_) => "memory".into(),
            Self::Redis(store) => Arc::clone(store.name()),
        }
    }

    /// Whether both are the same list.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(one), Self::Memory(other)) => Arc::ptr_eq(one, other),
            (Self::Redis(one), Self::Redis(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    pub(super) async fn look_up<const N: usize>(
        &self,
        ids: [Option<RevocationId>; N],
    ) -> Result<[Option<Standing>; N], Unavailable> {
        let store = match self {
            Self::Memory(list) => return Ok(list.look_up(ids)),
            Self::Redis(store) => store,
        };
        let keys: Vec<u128> = ids.iter().flatten().map(|id| id.0).collect();
        let found = store.ask_beside(store.remote().denied(&keys)).await?;
        let mut found = found.into_iter();
        Ok(ids.map(|id| {
            let entry = id.and_then(|_| found.next().flatten())?;
            Some(Standing {
                expires_at: entry.ends,
                issued_before: entry.mark,
            })
        }))
    }

    /// Takes a revocation in, or strengthens the one that is there; what is there then. `now` in Unix seconds.
    ///
    /// # Errors
    ///
    /// When it is full or cannot be asked. In the latter case it may have happened; it can be repeated.
    pub async fn revoke(&self, new: Revocation, now: i64) -> Result<Revocation, NotRevoked> {
        match self {
            Self::Memory(list) => Ok(list.revoke(new, now)?),
            Self::Redis(store) => {
                let keeping = Keeping {
                    grace: GRACE,
                    most: REDIS_CAPACITY,
                };
                let entry = written(&new);
                let kept = store
                    .ask_beside(store.remote().deny(&entry, keeping))
                    .await?;
                Ok(kept.as_ref().and_then(read).ok_or(Full)?)
            }
        }
    }

    /// Removes a revocation; what it was.
    ///
    /// # Errors
    ///
    /// When the list cannot be asked.
    pub async fn unrevoke(
        &self,
        id: RevocationId,
        now: i64,
    ) -> Result<Option<Revocation>, Unavailable> {
        match self {
            Self::Memory(list) => Ok(list.unrevoke(id, now)),
            Self::Redis(store) => {
                let removed = store.ask_beside(store.remote().undeny(id.0)).await?;
                Ok(removed
                    .as_ref()
                    .and_then(read)
                    .filter(|known| known.standing().holds(now)))
            }
        }
    }

    /// How many there are, and some of them: those that end last first.
    ///
    /// # Errors
    ///
    /// When the list cannot be asked.
    pub async fn page(
        &self,
        offset: usize,
        most: usize,
        now: i64,
    ) -> Result<(usize, Vec<Revocation>), Unavailable> {
        match self {
            Self::Memory(list) => Ok(list.page(offset, most, now)),
            Self::Redis(store) => {
                let page = store
                    .ask_beside(store.remote().all_denied(offset, most))
                    .await?;
                let entries = page.entries.iter().filter_map(read);
                Ok((page.total, entries.collect()))
            }
        }
    }
}

fn written(revocation: &Revocation) -> Entry {
    let Revocation {
        target,
        revoked_at,
        expires_at,
    } = revocation;
    Entry {
        key: target.id().0,
        ends: *expires_at,
        mark: target.issued_before(),
        made: *revoked_at,
        text: serde_json::to_string(target).expect("a target has only string keys"),
    }
}

/// Nothing if another version has written what this one cannot read: it still denies.
fn read(entry: &Entry) -> Option<Revocation> {
    let target: Target = serde_json::from_str(&entry.text).ok()?;
    Some(Revocation {
        target: target.with_issued_before(entry.mark),
        revoked_at: entry.made,
        expires_at: entry.ends,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_with_the_moment_that_redis_kept() {
        let revocation = Revocation {
            target: Target::Subject {
                issuer: "https://i".into(),
                subject: "a \"b\"\n".into(),
                issued_before: 5,
            },
            revoked_at: 7,
            expires_at: 9,
        };
        let mut entry = written(&revocation);
        assert_eq!(read(&entry), Some(revocation));
        entry.mark = 6;
        assert_eq!(read(&entry).unwrap().target.issued_before(), 6);
        entry.text = r#"{"kind":"tomorrow"}"#.into();
        assert_eq!(read(&entry), None);
    }
}
