//! Counters of what became of requests, signatures and fetches: never by whom, so that their number stays small.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;
use super::introspection::IntrospectionOutcomes;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// How one fetch of keys ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// With usable keys, new ones or the same.
    Success,
    /// Not within `jwks_timeout`.
    Timeout,
    /// Without an answer: no address that may be spoken to, no connection, no trusted certificate.
    Unreachable,
    /// With another status than 200, a redirect among them.
    Status,
    /// With more than `jwks_max_size`.
    TooLarge,
    /// With metadata that lead to no keys.
    Metadata,
    /// With a set that has no usable key, or with no set.
    NoKeys,
    /// In a fault of ours.
    Fault,
}

impl Fetched {
    const ALL: [Self; 8] = [
        Self::Success,
        Self::Timeout,
        Self::Unreachable,
        Self::Status,
        Self::TooLarge,
        Self::Metadata,
        Self::NoKeys,
        Self::Fault,
    ];

    /// The end as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::Metadata => "metadata",
            Self::NoKeys => "no_keys",
            Self::Fault => "fault",
        }
    }
}

/// Upper bounds of the buckets of verifications, in microseconds; one more holds what took longer.
pub const VERIFICATION_BOUNDS_US: [u64; 8] = [10, 25, 50, 100, 250, 500, 1_000, 5_000];

/// How long signatures of one algorithm took to check.
#[derive(Debug, Default)]
struct Verifications {
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; VERIFICATION_BOUNDS_US.len() + 1],
}

/// The signatures of one algorithm that were checked, at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerificationTimes {
    /// Of what.
    pub algorithm: Algorithm,
    /// All of them together, in seconds.
    pub seconds: f64,
    /// One for each of [`VERIFICATION_BOUNDS_US`], not cumulative, and the rest.
    pub buckets: [u64; VERIFICATION_BOUNDS_US.len() + 1],
}

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct Outcomes {
    requests: [AtomicU64; Outcome::ALL.len()],
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    fetches: [AtomicU64; Fetched::ALL.len()],
    verifications: [Verifications; Algorithm::ALL.len()],
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

    /// Counts one fetch of keys.
    pub fn fetched(&self, how: Fetched) {
        self.fetches[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one signature that was checked, good or not, on all the keys that were tried.
    pub fn verified(&self, algorithm: Algorithm, took: Duration) {
        let of = &self.verifications[algorithm as usize];
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = VERIFICATION_BOUNDS_US
            .partition_point(|&bound| bound.saturating_mul(1_000) < nanoseconds);
        of.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        of.buckets[bucket].fetch_add(1, Ordering::Relaxed);
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

    /// Fetches of keys so far, by how they ended.
    pub fn fetches(&self) -> impl Iterator<Item = (Fetched, u64)> {
        Fetched::ALL
            .into_iter()
            .map(|how| (how, self.fetches[how as usize].load(Ordering::Relaxed)))
    }

    /// Signatures checked so far, by algorithm; algorithms that no token has used are left out.
    pub fn verifications(&self) -> impl Iterator<Item = VerificationTimes> {
        Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let of = &self.verifications[algorithm as usize];
            let buckets = of
                .buckets
                .each_ref()
                .map(|bucket| bucket.load(Ordering::Relaxed));
            let seconds =
                Duration::from_nanos(of.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
            buckets
                .iter()
                .any(|count| *count > 0)
                .then_some(VerificationTimes {
                    algorithm,
                    seconds,
                    buckets,
                })
        })
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
        for (times, how) in Fetched::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| outcomes.fetched(how));
        }
        let counted: Vec<_> = outcomes.requests().collect();
        assert_eq!(
            counted,
            Outcome::ALL.into_iter().zip(0..).collect::<Vec<_>>()
        );
        let fetched: Vec<_> = outcomes.fetches().collect();
        assert_eq!(
            fetched,
            Fetched::ALL.into_iter().zip(0..).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_record_of_an_outcome_has_the_word_of_the_metric() {
        for outcome in Outcome::ALL {
            let text = serde_json::to_value(outcome).unwrap();
            assert_eq!(text, outcome.label());
        }
    }

    #[test]
    fn a_verification_falls_into_the_first_bucket_that_holds_it() {
        let outcomes = Outcomes::default();
        for microseconds in [0, 10, 11, 5_000, 5_001] {
            outcomes.verified(Algorithm::Es256, Duration::from_micros(microseconds));
        }
        let seen: Vec<_> = outcomes.verifications().collect();
        let [of] = seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(of.algorithm, Algorithm::Es256);
        assert_eq!(of.buckets, [2, 1, 0, 0, 0, 0, 0, 1, 1]);
        assert!((of.seconds - 0.010_022).abs() < 1e-9, "{}", of.seconds);
    }
}
