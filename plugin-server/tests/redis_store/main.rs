//! Counters in a real Redis, started by each test for itself.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

mod contract;
mod denied;
mod failover;
mod race;
mod reach;
mod server;

use std::time::Duration;

use token_limiter::{Cost, Decision, Grant, Identity, Key, Limit, Window};

const LEASE: Duration = Duration::from_mins(10);

/// A limit of `most` in a window that no test outlives.
fn limit(name: &str, most: u64) -> Limit {
    Limit {
        name: name.to_owned(),
        limit: Cost::new(most),
        window: Window::sliding(Duration::from_hours(1)).unwrap(),
    }
}

fn key(limit: &Limit, who: &str) -> Key {
    Key::new(limit, "tokens", &Identity::new([who.as_bytes()]))
}

#[track_caller]
fn granted(decision: Decision) -> Grant {
    match decision {
        Decision::Granted(grant) => grant,
        other => panic!("expected a grant, got {other:?}"),
    }
}
