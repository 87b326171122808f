//! What may be spent.

use crate::{Cost, InvalidWindow, Window};

/// The most that one key may spend in any window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name by which people and headers speak of it; unique among the limits of one configuration.
    pub name: String,
    /// The most that any window may spend; what flows into a token bucket in one refill.
    pub limit: Cost,
    /// The span.
    pub window: Window,
}

impl Limit {
    /// The most that its counter can hold without refusing: a bucket's burst, otherwise the limit.
    pub fn capacity(&self) -> Cost {
        match &self.window {
            Window::TokenBucket(bucket) => {
                bucket.burst().min(bucket.rate(self.limit).largest_burst())
            }
            Window::Sliding(_) | Window::Fixed(_) | Window::Calendar(_) => self.limit,
        }
    }

    /// Rules out a limit and a window that are possible, but not together. One that fails here never admits more than it
    /// should, but a bucket would hold less than its burst, or never refill.
    pub fn check(&self) -> Result<(), InvalidWindow> {
        let Window::TokenBucket(bucket) = &self.window else {
            return Ok(());
        };
        if self.limit == Cost::ZERO {
            return Err(InvalidWindow::NoRefill);
        }
        let (burst, most) = (bucket.burst(), bucket.rate(self.limit).largest_burst());
        if burst > most {
            return Err(InvalidWindow::Burst { burst, most });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bucket(limit: u64, refill: Duration, burst: u64) -> Limit {
        Limit {
            name: "bucket".to_owned(),
            limit: Cost::new(limit),
            window: Window::token_bucket(refill, Cost::new(burst)).unwrap(),
        }
    }

    #[test]
    fn a_burst_that_cannot_be_counted_says_so() {
        let month = Duration::from_hours(30 * 24);
        assert_eq!(bucket(50_000_000, month, 50_000_000).check(), Ok(()));
        // 2,592,000,000 ms and 50,000,001 units share the divisor 3: a level would be counted in 864,000,000ths.
        let odd = bucket(50_000_001, month, 50_000_001);
        let error = odd.check().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a burst of 50000001 is too large"),
            "{error}"
        );
        assert_eq!(odd.capacity(), Cost::new(((1 << 53) - 1) / 864_000_000));
        assert_eq!(bucket(0, month, 1).check(), Err(InvalidWindow::NoRefill));
    }
}
