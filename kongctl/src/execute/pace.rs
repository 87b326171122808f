//! How fast a run may go: a window that adapts to the node, the pauses that the node asks for, and the end of all patience.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::window::Window;

/// Calls in a row that fail for no fault of theirs before the node is taken to be gone.
const PATIENCE: u32 = 3;

/// What all calls of a run share. One task polls them all, so cells do.
pub(super) struct Pace {
    window: RefCell<Window>,
    /// Nothing is sent before: a node said so.
    resume_at: Cell<Instant>,
    troubles: Cell<u32>,
    stopped: watch::Sender<bool>,
}

impl Pace {
    pub(super) fn new(max_parallel: usize) -> Self {
        Self {
            window: RefCell::new(Window::new(max_parallel)),
            resume_at: Cell::new(Instant::now()),
            troubles: Cell::new(0),
            stopped: watch::Sender::new(false),
        }
    }

    /// Calls that may be in flight now.
    pub(super) fn size(&self) -> usize {
        self.window.borrow().size()
    }

    /// Nothing more is begun, and no call waits for another try.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits while the node wants to be left alone; false if the run stops first.
    pub(super) async fn admits(&self) -> bool {
        loop {
            let until = self.resume_at.get();
            if Instant::now() >= until {
                return !self.is_stopped();
            }
            if !self.sleep_until(until).await {
                return false;
            }
        }
    }

    /// Waits before another try; false if the run stops first.
    pub(super) async fn pause(&self, pause: Duration) -> bool {
        self.sleep_until(Instant::now() + pause).await
    }

    async fn sleep_until(&self, until: Instant) -> bool {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            () = tokio::time::sleep_until(until) => true,
            // The sender lives as long as we do.
            _ = stopped.wait_for(|stopped| *stopped) => false,
        }
    }

    pub(super) fn succeeded(&self, latency: Duration) {
        self.troubles.set(0);
        self.window.borrow_mut().succeeded(latency);
    }

    /// A call that began at `began` met a node with too much to do, which may have asked for a pause.
    pub(super) fn overloaded(&self, began: Instant, pause: Option<Duration>) {
        self.window.borrow_mut().overloaded(began, Instant::now());
        if let Some(pause) = pause {
            let until = Instant::now() + pause;
            self.resume_at.set(self.resume_at.get().max(until));
        }
    }

    /// A call failed for good, and not for what it asked: true if the run should give the node up.
    pub(super) fn is_hopeless(&self) -> bool {
        self.troubles.set(self.troubles.get() + 1);
        self.troubles.get() >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_call_that_was_told_to_wait_holds_the_others_back() {
        let pace = Pace::new(8);
        let began = Instant::now();
        pace.overloaded(began, Some(Duration::from_secs(5)));
        assert!(pace.admits().await);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_run_that_stops() {
        let pace = Pace::new(8);
        let began = Instant::now();
        let (waited, ()) = tokio::join!(pace.pause(Duration::from_mins(1)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.stop();
        });
        assert!(!waited && !pace.admits().await);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_between_failures_keeps_hope_alive() {
        let pace = Pace::new(8);
        assert!(!pace.is_hopeless() && !pace.is_hopeless());
        pace.succeeded(Duration::from_millis(1));
        assert!(!pace.is_hopeless() && !pace.is_hopeless());
        assert!(pace.is_hopeless());
    }
}
