//! When a call is tried again, and after how long.
//!
//! # Model
//!
//! Only calls that may be repeated without harm are tried again: reads, `PUT`, `DELETE`, and `POST /config`; any call whose
//! connection was refused, because nothing was sent. Reasons: no connection, 429, 502, 503, 504.

use std::time::Duration;

/// How often and how patiently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// Tries after the first.
    pub(crate) retries: u32,
    /// Pause before the first retry; doubles each time.
    pub(crate) base: Duration,
    /// No pause is longer, whatever `Retry-After` says.
    pub(crate) cap: Duration,
}

impl RetryPolicy {
    /// So many retries, at the usual pace.
    pub(crate) fn new(retries: u32) -> Self {
        Self {
            retries,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(10),
        }
    }

    /// The pause before retry number `retry` (from 0), or `None` when there is none left.
    pub(crate) fn pause(&self, retry: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if retry >= self.retries {
            return None;
        }
        let backoff = self.base.saturating_mul(1 << retry.min(16));
        Some(retry_after.unwrap_or(backoff).max(backoff).min(self.cap))
    }

    /// How long the node wants to be left alone, as far as we follow it.
    pub(crate) fn wish(&self, retry_after: Option<Duration>) -> Option<Duration> {
        retry_after.map(|wish| wish.min(self.cap))
    }
}

/// May the call be tried again after this status?
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 3,
        base: Duration::from_millis(100),
        cap: Duration::from_millis(300),
    };

    #[test]
    fn pauses_double_up_to_the_cap_and_end() {
        let pauses: Vec<_> = (0..4).map(|retry| POLICY.pause(retry, None)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(100), ms(200), ms(300), None]);
    }

    #[test]
    fn a_nodes_own_wish_is_heard_within_the_cap() {
        assert_eq!(
            POLICY.pause(0, Some(Duration::from_millis(250))),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            POLICY.pause(0, Some(Duration::from_mins(1))),
            Some(POLICY.cap)
        );
    }
}
