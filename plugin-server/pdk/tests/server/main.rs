//! The server on a real socket, against Kong's side of the protocol: the conformance scenarios that concern it.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod building;
mod calls;
mod connections;
#[path = "../fake_kong/mod.rs"]
mod fake_kong;
mod handlers;
mod instances;
mod running;
mod script;
