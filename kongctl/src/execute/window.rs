//! How many calls may be in flight: more while the node keeps up, half as many when it does not.
//!
//! # Algorithm
//!
//! Additive increase, multiplicative decrease, as TCP does it: each success whose latency is below [`SLOW`] times the best average
//! adds `1/size`; a refusal for load (429, 5xx, no connection) halves the window, a slow success takes a tenth away. Calls that were
//! in flight together and fail together halve it once.

use std::time::Duration;

use tokio::time::Instant;

/// A call is slow beyond this many times the quickest running average.
const SLOW: f64 = 4.0;
/// Weight of a new sample in the running average.
const WEIGHT: f64 = 0.1;
/// Latencies below this tell nothing about load, in seconds.
const NOISE: f64 = 0.010;
const START: f64 = 8.0;

/// The window; sizes are in calls.
#[derive(Debug)]
pub(crate) struct Window {
    size: f64,
    max: f64,
    average: Option<f64>,
    best: f64,
    /// When it was halved last.
    halved: Option<Instant>,
}

impl Window {
    /// Starts small; never grows beyond `max`, never shrinks below 1.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self {
            size: START.min(max),
            max,
            average: None,
            best: f64::INFINITY,
            halved: None,
        }
    }

    /// Calls that may be in flight now.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the size is at least 1 and at most a usize"
    )]
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    /// A call was answered well after `latency`.
    pub(crate) fn succeeded(&mut self, latency: Duration) {
        let sample = latency.as_secs_f64().max(NOISE);
        let average = self
            .average
            .map_or(sample, |average| average + WEIGHT * (sample - average));
        self.average = Some(average);
        self.best = self.best.min(average);
        let change = if average > SLOW * self.best {
            -self.size / 10.0
        } else {
            1.0 / self.size
        };
        self.size = (self.size + change).clamp(1.0, self.max);
    }

    /// The node had too much to do for a call that began at `began`.
    pub(crate) fn overloaded(&mut self, began: Instant, now: Instant) {
        if self.halved.is_none_or(|halved| began >= halved) {
            self.size = (self.size / 2.0).max(1.0);
            self.halved = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_answers_open_the_window_up_to_its_limit() {
        let mut window = Window::new(16);
        assert_eq!(window.size(), 8);
        (0..1000).for_each(|_| window.succeeded(Duration::from_millis(5)));
        assert_eq!(window.size(), 16);
    }

    #[test]
    fn refusals_halve_it_down_to_one() {
        let mut window = Window::new(16);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        window.overloaded(start, later(1));
        assert_eq!(window.size(), 4);
        window.overloaded(start, later(1));
        assert_eq!(window.size(), 4, "it was in flight with the first");
        (2..10).for_each(|second| window.overloaded(later(second), later(second)));
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn answers_that_get_slow_close_it() {
        let mut window = Window::new(64);
        (0..100).for_each(|_| window.succeeded(Duration::from_millis(10)));
        let before = window.size();
        (0..100).for_each(|_| window.succeeded(Duration::from_millis(500)));
        assert!(window.size() < before);
    }
}
