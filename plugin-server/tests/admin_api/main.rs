//! The admin listener over real sockets: what it shows, what it changes, and for whom.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

mod access;
mod activity;
mod browser;
mod counters;
mod page;
mod redis;
mod revocations;
mod world;
