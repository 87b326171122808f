//! What llm-jwt has decided, and how the keys that it decides by stand.

use std::collections::BTreeMap;
use std::fmt;

use super::Families;
use crate::jwt::keys::KeyHealth;
use crate::jwt::outcomes::{Outcomes, VERIFICATION_BOUNDS_US};
use crate::jwt::process::Process;
use crate::rate_limiting::outcomes::labels::{OTHER, shown};

/// How many issuers are told apart. Operators name them, but there may be one for each tenant.
const MOST_ISSUERS: usize = 100;

/// Decisions, and what they took.
pub(super) fn requests(jwt: &Outcomes, families: &mut Families<'_>) -> fmt::Result {
    let (hits, misses) = jwt.lookups();
    families.counters(
        "llm_jwt_requests",
        "Requests that llm-jwt has decided about, by outcome",
        jwt.requests()
            .map(|(outcome, count)| ([("outcome", outcome.label())], count)),
    )?;
    families.counters(
        "llm_jwt_token_cache_lookups",
        "Looks into the cache of verified tokens",
        [([("result", "hit")], hits), ([("result", "miss")], misses)],
    )?;
    families.durations(
        "llm_jwt_verification_seconds",
        "How long it took to check a signature, good or not, by the algorithms that tokens have used",
        jwt.verifications().map(|of| {
            let labels = [("algorithm", of.algorithm.name())];
            let buckets = VERIFICATION_BOUNDS_US.into_iter().zip(of.buckets);
            let slowest = of.buckets[VERIFICATION_BOUNDS_US.len()];
            (labels, of.seconds, buckets, slowest)
        }),
    )?;
    families.counters(
        "llm_jwt_key_fetches",
        "Fetches of issuers' keys, by how they ended",
        jwt.fetches()
            .map(|(how, count)| ([("result", how.label())], count)),
    )
}

/// Tokens that were revoked, and those that only their server can judge.
pub(super) fn asked(process: &Process, families: &mut Families<'_>) -> fmt::Result {
    let jwt = process.outcomes();
    families.counters(
        "llm_jwt_denylist_lookups",
        "Looks for revoked tokens in a denylist",
        jwt.denials()
            .map(|(denial, count)| ([("result", denial.label())], count)),
    )?;
    families.gauge(
        "llm_jwt_denylist_entries",
        "Revocations that the denylist in memory holds",
        process.revoked().len() as u64,
    )?;
    families.counters(
        "llm_jwt_introspections",
        "Questions to introspection endpoints, by what came of them",
        jwt.introspection
            .counts()
            .map(|(result, count)| ([("result", result)], count)),
    )?;
    families.histogram(
        "llm_jwt_introspection_seconds",
        "How long questions to introspection endpoints took",
        jwt.introspection.seconds(),
    )
}

/// The keys of issuers that publish them.
pub(super) fn keys(
    health: &BTreeMap<String, KeyHealth>,
    families: &mut Families<'_>,
) -> fmt::Result {
    type Read = fn(&KeyHealth) -> u64;
    let known = bounded(health);
    let gauges: [(&str, &str, Read); 3] = [
        (
            "llm_jwt_keys_age_seconds",
            "Time since an issuer's keys were last fetched, or since they were first wanted",
            |of| of.age.as_secs(),
        ),
        (
            "llm_jwt_keys_serve_for_seconds",
            "How long an issuer's keys serve yet if it stays away: 0 if there are none",
            |of| of.serve_for.as_secs(),
        ),
        (
            "llm_jwt_keys_stale",
            "Whether tokens are judged by keys past jwks_cache_ttl, or by none, because fetches fail",
            |of| u64::from(of.stale),
        ),
    ];
    for (name, help, read) in gauges {
        let samples = known
            .iter()
            .map(|(issuer, of)| ([("issuer", issuer.as_str())], read(of)));
        families.gauges(name, help, samples)?;
    }
    Ok(())
}

/// The first issuers by name, and the worst of the others as [`OTHER`].
fn bounded(health: &BTreeMap<String, KeyHealth>) -> BTreeMap<String, KeyHealth> {
    let mut known: BTreeMap<String, KeyHealth> = BTreeMap::new();
    for (issuer, of) in health {
        let name = shown(issuer);
        let name = if known.len() < MOST_ISSUERS || known.contains_key(&*name) {
            name.into_owned()
        } else {
            OTHER.to_owned()
        };
        known
            .entry(name)
            .and_modify(|other| *other = other.worse(*of))
            .or_insert(*of);
    }
    known
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn issuers_beyond_the_bound_are_one_as_bad_as_the_worst() {
        let health = |age| KeyHealth {
            age: Duration::from_secs(age),
            serve_for: Duration::from_secs(1_000 - age),
            stale: age > 140,
        };
        let many: BTreeMap<_, _> = (0..150)
            .map(|number| (format!("https://idp.example/{number:03}"), health(number)))
            .collect();
        let known = bounded(&many);
        assert_eq!(known.len(), MOST_ISSUERS + 1);
        assert_eq!(known["https://idp.example/099"], health(99));
        assert_eq!(known[OTHER], health(149));
        let long = BTreeMap::from([("i".repeat(10_000), health(1))]);
        assert!(bounded(&long).keys().all(|name| name.len() <= 128));
    }
}
