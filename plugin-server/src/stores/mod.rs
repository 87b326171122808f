//! Where counters live.
//!
//! A process has one set of stores for all its plugins and instances: Kong starts an instance for every worker and on every
//! push of configuration, so none of them may own a counter.

use token_limiter::MemoryStore;

/// The stores of this process.
#[derive(Debug, Default)]
pub struct Stores {
    memory: MemoryStore,
}

impl Stores {
    /// The store of `policy: memory`: exact for one process, which serves all Kong workers of its node.
    pub fn memory(&self) -> &MemoryStore {
        &self.memory
    }
}
