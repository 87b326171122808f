//! What may be spent.

use crate::{Cost, Window};

/// The most that one key may spend in any window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name by which people and headers speak of it; unique among the limits of one configuration.
    pub name: String,
    /// The most that any window may spend.
    pub limit: Cost,
    /// The span.
    pub window: Window,
}

impl Limit {
    /// The most that its counter can hold without refusing.
    pub const fn capacity(&self) -> Cost {
        match self.window {
            Window::Sliding(_) => self.limit,
        }
    }
}
