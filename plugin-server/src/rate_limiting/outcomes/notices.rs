//! Limits that operators asked to be told about: those that have reached their `warn_at`, and those that refuse.
//!
//! # Model
//!
//! A counter is news once in a period, for each [`Occasion`]: in a fixed or calendar window until the period's end, in a sliding window or
//! a token bucket, which have none, for the window's length. The last counters that were told are remembered, a bounded number;
//! one that was forgotten may be told twice.
//!
//! # Failure
//!
//! A listener that is slow misses notices, which are counted. Nobody waits for it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use token_limiter::{Balance, Key, Window};
use tokio::sync::mpsc;

use super::Metered;
use super::directory::Known;

/// The most counters that are remembered as told.
const MOST_TOLD: u64 = 20_000;
/// The notices that a slow listener may be behind before it misses some.
const UNHEARD: usize = 1_024;

/// What happened to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// Its use has reached its `warn_at`.
    Warning,
    /// It refused a request.
    Refusal,
}

/// News of a limit.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What happened.
    pub occasion: Occasion,
    /// When: seconds since the Unix epoch.
    pub unix_seconds: i64,
    /// To which counter.
    pub counter: Arc<Known>,
    /// Where the counter stood then.
    pub balance: Balance,
}

/// News for at most one listener.
pub struct Notices {
    /// Until when a counter is no news, on the clock of [`super::Outcomes`].
    told: Cache<(Key, Occasion), Duration>,
    listener: OnceLock<mpsc::Sender<Notice>>,
    missed: AtomicU64,
}

impl Default for Notices {
    fn default() -> Self {
        Self::new(MOST_TOLD)
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices")
            .field("told", &self.told.entry_count())
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl Notices {
    fn new(most_told: u64) -> Self {
        let told = Cache::builder()
            .max_capacity(most_told)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            told: told.build(),
            listener: OnceLock::new(),
            missed: AtomicU64::new(0),
        }
    }

    /// Notices from now on: for whoever is the first to ask.
    pub fn listen(&self) -> Option<mpsc::Receiver<Notice>> {
        let (listener, notices) = mpsc::channel(UNHEARD);
        self.listener.set(listener).ok().map(|()| notices)
    }

    /// Notices that the listener was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Where a counter stands, if somebody listens and it was not told yet.
    pub(super) fn news(
        &self,
        occasion: Occasion,
        now: Duration,
        meter: &Metered<'_>,
    ) -> Option<Balance> {
        self.listener.get()?;
        let balance = meter.balance?;
        let key = (meter.key, occasion);
        if self.told.get(&key).is_some_and(|until| now < until) {
            return None;
        }
        let until = now.saturating_add(match meter.limit.window {
            Window::Fixed(_) | Window::Calendar(_) => balance.reset_after,
            Window::Sliding(_) | Window::TokenBucket(_) => meter.window,
        });
        // Of several requests at once, one tells it.
        let told = self.told.entry(key).and_compute_with(|told| match told {
            Some(told) if now < *told.value() => Op::Nop,
            _ => Op::Put(until),
        });
        matches!(told, CompResult::Inserted(_) | CompResult::ReplacedWith(_)).then_some(balance)
    }

    pub(super) fn tell(&self, notice: Notice) {
        let Some(listener) = self.listener.get() else {
            return;
        };
        if listener.try_send(notice).is_err() {
            let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
            // Each time that there are twice as many.
            if missed.is_power_of_two() {
                tracing::warn!(
                    missed,
                    "notices of limits are dropped: who is told of them is too slow"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use token_limiter::{Calendar, Cost, Identity, Limit, TimeZone};

    use super::super::{Decided, DecidedOutcome, Outcomes, Scope};
    use super::*;
    use crate::clock::ManualClock;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Outcomes with a listener, and the limit that they are told about.
    struct Ear {
        clock: Arc<ManualClock>,
        outcomes: Outcomes,
        notices: mpsc::Receiver<Notice>,
        limit: Limit,
    }

    impl Ear {
        fn new(window: Window) -> Self {
            let clock = ManualClock::new();
            let outcomes = Outcomes::new(clock.clone(), false);
            Self {
                notices: outcomes.notices().listen().unwrap(),
                outcomes,
                clock,
                limit: Limit {
                    name: "per-minute".to_owned(),
                    limit: Cost::new(100),
                    window,
                },
            }
        }

        /// A request that finds the counter so, and the notices that come of it.
        fn request(
            &mut self,
            who: &str,
            used: u64,
            reset_after: Duration,
            refused: bool,
        ) -> Vec<(Occasion, u64)> {
            let meter = Metered {
                unit: "total_tokens",
                mode: "enforce",
                window_type: "sliding",
                window: MINUTE,
                limit: &self.limit,
                key: Key::new(
                    &self.limit,
                    "total_tokens",
                    &Identity::new([who.as_bytes()]),
                ),
                values: &[("consumer".to_owned(), who.to_owned())],
                balance: Some(Balance {
                    used: Cost::new(used),
                    remaining: Cost::new(100 - used),
                    reset_after,
                }),
                exceeded: refused,
                warned: used >= 80,
            };
            self.outcomes.decided(&Decided {
                scope: &Scope::default(),
                store: "memory",
                tenant: who,
                model: None,
                outcome: if refused {
                    DecidedOutcome::Denied {
                        limit: 0,
                        retry_after: reset_after,
                    }
                } else {
                    DecidedOutcome::Admitted
                },
                meters: &[meter],
            });
            std::iter::from_fn(|| self.notices.try_recv().ok())
                .map(|notice| {
                    assert_eq!(
                        notice.counter.values,
                        [("consumer".to_owned(), who.to_owned())]
                    );
                    (notice.occasion, notice.balance.used.units())
                })
                .collect()
        }
    }

    #[test]
    fn a_counter_is_news_once_in_a_moving_window() {
        for window in [
            Window::sliding(MINUTE).unwrap(),
            Window::token_bucket(MINUTE, Cost::new(100)).unwrap(),
        ] {
            let mut ear = Ear::new(window);
            // Nothing of the window's use is old: it would clear soon.
            let soon = Duration::from_secs(1);
            assert_eq!(ear.request("alice", 79, soon, false), []);
            assert_eq!(
                ear.request("alice", 85, soon, false),
                [(Occasion::Warning, 85)]
            );
            assert_eq!(ear.request("alice", 95, soon, false), []);
            assert_eq!(
                ear.request("alice", 96, soon, true),
                [(Occasion::Refusal, 96)]
            );
            assert_eq!(ear.request("alice", 96, soon, true), []);
            assert_eq!(
                ear.request("bob", 100, soon, true),
                [(Occasion::Warning, 100), (Occasion::Refusal, 100)]
            );
            ear.clock.advance(59);
            assert_eq!(ear.request("alice", 90, soon, false), []);
            ear.clock.advance(1);
            assert_eq!(
                ear.request("alice", 90, soon, false),
                [(Occasion::Warning, 90)]
            );
        }
    }

    #[test]
    fn a_counter_is_news_once_in_a_period() {
        for window in [
            Window::fixed(MINUTE).unwrap(),
            Window::calendar(Calendar::Day, TimeZone::UTC),
        ] {
            let mut ear = Ear::new(window);
            let (warned, refused) = ((Occasion::Warning, 90), (Occasion::Refusal, 90));
            assert_eq!(
                ear.request("alice", 90, Duration::from_secs(7), true),
                [warned, refused]
            );
            ear.clock.advance(6);
            assert_eq!(ear.request("alice", 90, Duration::from_secs(1), true), []);
            ear.clock.advance(1);
            assert_eq!(ear.request("alice", 90, MINUTE, false), [warned]);
        }
    }

    #[test]
    fn a_listener_that_is_too_slow_misses_what_is_counted() {
        let mut ear = Ear::new(Window::sliding(MINUTE).unwrap());
        let (listener, mut slow) = mpsc::channel(2);
        ear.outcomes.notices.listener = OnceLock::from(listener);
        for who in ["a", "b", "c", "d"] {
            ear.request(who, 90, MINUTE, false);
        }
        assert_eq!(ear.outcomes.notices().missed(), 2);
        assert!(slow.try_recv().is_ok() && slow.try_recv().is_ok() && slow.try_recv().is_err());
    }

    #[test]
    fn a_bounded_number_of_counters_is_remembered() {
        let mut ear = Ear::new(Window::sliding(MINUTE).unwrap());
        ear.outcomes.notices.told = Notices::new(10).told;
        for who in 0..1_000 {
            ear.request(&who.to_string(), 90, MINUTE, false);
        }
        let told = &ear.outcomes.notices.told;
        told.run_pending_tasks();
        assert!(told.entry_count() <= 10);
        assert_eq!(
            ear.request("0", 90, MINUTE, false),
            [(Occasion::Warning, 90)]
        );
    }

    #[test]
    fn without_a_listener_nothing_is_kept() {
        let clock = ManualClock::new();
        let outcomes = Outcomes::new(clock.clone(), false);
        let mut ear = Ear {
            outcomes,
            ..Ear::new(Window::sliding(MINUTE).unwrap())
        };
        assert_eq!(ear.request("alice", 90, MINUTE, true), []);
        ear.outcomes.notices.told.run_pending_tasks();
        assert_eq!(ear.outcomes.notices.told.entry_count(), 0);
        assert!(ear.outcomes.notices().listen().is_some());
        assert!(
            ear.outcomes.notices().listen().is_none(),
            "there is one listener"
        );
    }
}
