//! The program as a process that Kong's side talks to over the socket: what it keeps when it is killed, whom it tells.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

mod server;
mod state_file;
#[expect(dead_code, reason = "what it tells of an event, other tests ask")]
#[path = "../support/mod.rs"]
mod support;
mod webhook;
