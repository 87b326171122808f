//! What all parts of one gateway share.

use std::sync::Arc;

use uuid::Uuid;

use crate::config::Config;
use crate::filters::Filters;
use crate::plugins::PluginDump;
use crate::schema::Registry;
use crate::store::Store;

/// A handle on one running gateway; clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// `kong.node.get_id()`, and the node id of the Admin API.
    pub(crate) id: Uuid,
    /// What it was started with.
    pub(crate) config: Arc<Config>,
    /// What its plugin servers declared at start.
    pub(crate) external_plugins: Arc<[PluginDump]>,
    /// The WebAssembly filters that it found at start.
    pub(crate) filters: Arc<Filters>,
    /// What entities and plugin configurations may hold.
    pub(crate) registry: Arc<Registry>,
    /// The configuration in force.
    pub(crate) store: Store,
}
