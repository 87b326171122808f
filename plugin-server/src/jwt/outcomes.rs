//! Counters of what became of requests: never by whom, so that their number stays small.

use std::sync::atomic::{AtomicU64, Ordering};

use super::introspection::IntrospectionOutcomes;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A valid token.
    Granted,
    /// No acceptable token, passed as the anonymous consumer.
    Anonymous,
    /// A CORS preflight, or a request that another plugin has authenticated.
    Passed,
    /// A question for the resource's metadata.
    Metadata,
    /// No token: 401.
    Missing,
    /// Two different tokens or more headers than can be seen: 400.
    Ambiguous,
    /// A token that is not acceptable: 401.
    Invalid,
    /// A valid token that may not do this: 403.
    Forbidden,
    /// Nothing to judge it with, neither keys nor an answer nor the denylist: 503.
    Unavailable,
    /// The configuration cannot work: 500.
    Misconfigured,
}

impl Outcome {
    const ALL: [Self; 10] = [
        Self::Granted,
        Self::Anonymous,
        Self::Passed,
        Self::Metadata,
        Self::Missing,
        Self::Ambiguous,
        Self::Invalid,
        Self::Forbidden,
        Self::Unavailable,
        Self::Misconfigured,
    ];

    /// The outcome as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Anonymous => "anonymous",
            Self::Passed => "passed",
            Self::Metadata => "metadata",
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// What looking for a token in a denylist came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It is not there.
    NotRevoked,
    /// It is: 401.
    Revoked,
    /// The list could not be asked, and the request passed.
    Unchecked,
    /// The list could not be asked: 503.
    Refused,
}

impl Denial {
    const ALL: [Self; 4] = [
        Self::NotRevoked,
        Self::Revoked,
        Self::Unchecked,
        Self::Refused,
    ];

    /// The result as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotRevoked => "not_revoked",
            Self::Revoked => "revoked",
            Self::Unchecked => "unchecked",
            Self::Refused => "refused",
        }
    }
}

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct Outcomes {
    requests: [AtomicU64; Outcome::ALL.len()],
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    fetches: AtomicU64,
    failed_fetches: AtomicU64,
    denials: [AtomicU64; Denial::ALL.len()],
    /// Questions about opaque tokens.
    pub introspection: IntrospectionOutcomes,
}

impl Outcomes {
    /// Counts one request.
    pub fn count(&self, outcome: Outcome) {
        self.requests[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one look into a token cache.
    pub fn looked_up(&self, hit: bool) {
        let counter = if hit {
            &self.cache_hits
        } else {
            &self.cache_misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one fetch of a JWK set.
    pub fn fetched(&self, success: bool) {
        let counter = if success {
            &self.fetches
        } else {
            &self.failed_fetches
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one look into a denylist.
    pub fn looked_for_denial(&self, denial: Denial) {
        self.denials[denial as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Looks into denylists so far, by what they came to.
    pub fn denials(&self) -> impl Iterator<Item = (Denial, u64)> {
        Denial::ALL.into_iter().map(|denial| {
            let count = self.denials[denial as usize].load(Ordering::Relaxed);
            (denial, count)
        })
    }

    /// Requests so far, by outcome.
    pub fn requests(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().map(|outcome| {
            (
                outcome,
                self.requests[outcome as usize].load(Ordering::Relaxed),
            )
        })
    }

    /// Looks into the token caches so far: (hits, misses).
    pub fn lookups(&self) -> (u64, u64) {
        (
            self.cache_hits.load(Ordering::Relaxed),
            self.cache_misses.load(Ordering::Relaxed),
        )
    }

    /// Fetches of JWK sets so far: (successes, failures).
    pub fn fetches(&self) -> (u64, u64) {
        (
            self.fetches.load(Ordering::Relaxed),
            self.failed_fetches.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_counter() {
        let outcomes = Outcomes::default();
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| outcomes.count(outcome));
        }
        let counted: Vec<_> = outcomes.requests().collect();
        assert_eq!(
            counted,
            Outcome::ALL.into_iter().zip(0..).collect::<Vec<_>>()
        );
    }
}
