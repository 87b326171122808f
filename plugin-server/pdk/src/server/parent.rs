//! Watching the parent: a server that Kong spawned is orphaned when Kong's worker 0 dies, and nobody would ever stop it.

use std::os::unix::process::parent_id;
use std::time::Duration;

/// How often the parent is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Remembers the parent process. Use it only for a server that Kong spawned.
#[derive(Debug, Clone, Copy)]
pub struct ParentWatch {
    parent: u32,
}

impl ParentWatch {
    /// Remembers who is the parent now: make it early.
    pub fn new() -> Self {
        Self {
            parent: parent_id(),
        }
    }

    /// Completes when the process has another parent, which means that the first one is dead.
    pub async fn gone(self) {
        while parent_id() == self.parent {
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Default for ParentWatch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_another_parent_counts_as_gone() {
        let other = ParentWatch {
            parent: parent_id().wrapping_add(1),
        };
        other.gone().await;
        let same = tokio::time::timeout(EVERY * 10, ParentWatch::new().gone());
        assert!(same.await.is_err());
    }
}
