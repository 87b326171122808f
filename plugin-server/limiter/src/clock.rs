//! Where the memory store gets its time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// A source of time for a store that has none of its own.
///
/// An implementor owes milliseconds that advance with real time. It should never step back; the memory store stands
/// still until a clock that did has caught up, so a step back delays callers and never admits too much.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's time, read once at the start and advanced by the monotonic clock: an adjustment of the machine's
/// date while the process runs neither opens nor closes a window.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Timestamp,
    started: Instant,
}

impl SystemClock {
    /// A clock that reads the machine's date now.
    pub fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the clock that the rest of the crate is given"
        )]
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            origin: Timestamp::default().after(since_epoch),
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.origin.after(self.started.elapsed())
    }
}
