//! `kong.node`: this node of Kong.

use crate::byte_string::ByteString;
use crate::call::calls;
use crate::reply::text;
pub use crate::wire::MemoryStats;
pub use crate::wire::memory_stats;

calls! {
    /// The node's id, a UUID.
    "kong.node.get_id" in [Certificate Rewrite Access Response Log Preread]
    fn get_id() -> GetId(()) {} => ByteString, text;

    /// What memory the node's workers and its two main shared dictionaries use, in bytes.
    "kong.node.get_memory_stats" in [Certificate Rewrite Access Response Log Preread]
    fn get_memory_stats() -> GetMemoryStats(()) {} => MemoryStats, |stats| stats;
}
