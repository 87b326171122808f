//! The plugin server's own API: what its limits count, who holds what, and an operator's corrections. Knows nothing of Kong.
//!
//! # Layout
//!
//! - `client` reaches the server's admin listener: calls, their retries, lists page by page.
//! - `model` has what the server says; fields that this program does not know are kept.
//! - `errors` tells what went wrong, in words that say what to do.

pub(crate) mod client;
pub(crate) mod errors;
pub(crate) mod model;
