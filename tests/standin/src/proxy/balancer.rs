//! Which target of an upstream a request goes to.
//!
//! # Algorithm
//!
//! `round-robin` is smooth weighted round-robin over the healthy targets: each turn every target gains its weight, the
//! richest is taken and pays the sum. `consistent-hashing` takes the healthy target with the highest weighted
//! rendezvous score for the hashed value: like Kong's ring it keeps a value on its target while that is healthy, but
//! not on the same target that Kong would choose. Other algorithms and hashing by cookie are refused with each request.
//!
//! Passive health checks know `tcp_failures`: so many refused connections in a row and a target gets no more requests.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use parking_lot::Mutex;
use serde_json::Value;

use super::router::split_port;
use crate::store::Entity;

/// A chosen target, by its place among the targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) place: usize,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPeer {
    #[error("failure to get a peer from the ring-balancer")]
    Exhausted,
    #[error("the stand-in does not have {0}; a real Kong has it")]
    Unsupported(String),
}

/// The balancer of one upstream.
#[derive(Debug)]
pub(crate) struct Balancer {
    upstream: Entity,
    targets: Vec<Entity>,
    tcp_failures: u64,
    state: Mutex<Vec<Candidate>>,
}

#[derive(Debug)]
struct Candidate {
    host: String,
    port: u16,
    weight: i64,
    credit: i64,
    refused: u64,
}

impl Balancer {
    pub(crate) fn new(upstream: &Entity, targets: Vec<Entity>) -> Self {
        let candidates = targets.iter().filter_map(|target| {
            let (host, port) = split_port(target.get("target")?.as_str()?);
            let weight = target.get("weight").and_then(Value::as_i64).unwrap_or(100);
            Some(Candidate {
                host: host.to_owned(),
                port: port.unwrap_or(8000),
                weight,
                credit: 0,
                refused: 0,
            })
        });
        let state = Mutex::new(
            candidates
                .filter(|candidate| candidate.weight > 0)
                .collect(),
        );
        let tcp_failures = upstream
            .get("healthchecks")
            .and_then(|checks| checks["passive"]["unhealthy"]["tcp_failures"].as_u64())
            .unwrap_or(0);
        Self {
            upstream: upstream.clone(),
            targets,
            tcp_failures,
            state,
        }
    }

    /// Whether it was made from these entities; then its state is worth keeping.
    pub(crate) fn serves(&self, upstream: &Entity, targets: &[Entity]) -> bool {
        self.upstream == *upstream && self.targets == targets
    }

    /// The `Host` that targets see instead of their own name.
    pub(crate) fn host_header(&self) -> Option<&str> {
        self.upstream.get("host_header")?.as_str()
    }

    /// Where the hashed value comes from, in order of preference: `(hash_on, name)`.
    pub(crate) fn hash_sources(&self) -> [(&str, Option<&str>); 2] {
        let text = |field: &str| self.upstream.get(field).and_then(Value::as_str);
        let source = |prefix: &str| {
            let on = text(prefix).unwrap_or("none");
            (on, text(&format!("{prefix}_{on}")))
        };
        [source("hash_on"), source("hash_fallback")]
    }

    /// Chooses a target that was not tried yet, if there is one left.
    pub(crate) fn choose(&self, hashed: Option<&[u8]>, tried: &[usize]) -> Result<Peer, NoPeer> {
        let algorithm = self
            .upstream
            .get("algorithm")
            .and_then(Value::as_str)
            .unwrap_or("round-robin");
        let mut candidates = self.state.lock();
        let healthy =
            |candidate: &Candidate| self.tcp_failures == 0 || candidate.refused < self.tcp_failures;
        let mut open: Vec<usize> = (0..candidates.len())
            .filter(|&place| healthy(&candidates[place]))
            .collect();
        if open.iter().any(|place| !tried.contains(place)) {
            open.retain(|place| !tried.contains(place));
        }
        let place = match (algorithm, hashed) {
            ("round-robin", _) => next_by_weight(&mut candidates, &open),
            // Like Kong: whatever has no value has the same one.
            ("consistent-hashing", value) => {
                highest_score(&candidates, &open, value.unwrap_or_default())
            }
            (other, _) => {
                return Err(NoPeer::Unsupported(format!(
                    "the balancing algorithm `{other}`"
                )));
            }
        };
        let place = place.ok_or(NoPeer::Exhausted)?;
        Ok(Peer {
            place,
            host: candidates[place].host.clone(),
            port: candidates[place].port,
        })
    }

    /// Notes whether a connection to a target was refused.
    pub(crate) fn report(&self, place: usize, refused: bool) {
        if let Some(candidate) = self.state.lock().get_mut(place) {
            candidate.refused = if refused { candidate.refused + 1 } else { 0 };
        }
    }
}

fn next_by_weight(candidates: &mut [Candidate], open: &[usize]) -> Option<usize> {
    let sum: i64 = open.iter().map(|&place| candidates[place].weight).sum();
    for &place in open {
        candidates[place].credit += candidates[place].weight;
    }
    // Of equals the first.
    let richest = open
        .iter()
        .copied()
        .rev()
        .max_by_key(|&place| candidates[place].credit)?;
    candidates[richest].credit -= sum;
    Some(richest)
}

fn highest_score(candidates: &[Candidate], open: &[usize], value: &[u8]) -> Option<usize> {
    let score = |place: usize| {
        let candidate = &candidates[place];
        let mut hasher = DefaultHasher::new();
        (value, &candidate.host, candidate.port).hash(&mut hasher);
        let uniform = (hasher.finish() as f64 + 1.0) / (u64::MAX as f64 + 2.0);
        candidate.weight as f64 / -uniform.ln()
    };
    open.iter()
        .copied()
        .max_by(|&one, &other| score(one).total_cmp(&score(other)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn entity(value: Value) -> Entity {
        let Value::Object(map) = value else {
            panic!("an object")
        };
        Arc::new(map)
    }

    fn balancer(upstream: Value, weights: &[(&str, i64)]) -> Balancer {
        let targets = weights
            .iter()
            .map(|(target, weight)| entity(json!({"target": target, "weight": weight})));
        Balancer::new(&entity(upstream), targets.collect())
    }

    #[test]
    fn round_robin_follows_the_weights() {
        let balancer = balancer(json!({}), &[("a:1", 3), ("b:2", 1), ("c:3", 0)]);
        let hosts: String = (0..8)
            .map(|_| balancer.choose(None, &[]).unwrap().host)
            .collect();
        assert_eq!(
            (hosts.matches('a').count(), hosts.matches('b').count()),
            (6, 2)
        );
    }

    #[test]
    fn a_hashed_value_keeps_its_target_until_that_was_tried() {
        let balancer = balancer(
            json!({"algorithm": "consistent-hashing"}),
            &[("a:1", 100), ("b:2", 100)],
        );
        let first = balancer.choose(Some(b"u1"), &[]).unwrap();
        assert!((0..5).all(|_| balancer.choose(Some(b"u1"), &[]).unwrap() == first));
        assert_ne!(balancer.choose(Some(b"u1"), &[first.place]).unwrap(), first);
    }

    #[test]
    fn a_refusing_target_leaves_the_rotation() {
        let checks = json!({"healthchecks": {"passive": {"unhealthy": {"tcp_failures": 1}}}});
        let balancer = balancer(checks, &[("a:1", 100), ("b:2", 100)]);
        let first = balancer.choose(None, &[]).unwrap();
        balancer.report(first.place, true);
        assert!((0..4).all(|_| balancer.choose(None, &[]).unwrap() != first));
    }

    #[test]
    fn no_targets_are_an_error_and_unknown_algorithms_are_named() {
        assert_eq!(
            balancer(json!({}), &[]).choose(None, &[]),
            Err(NoPeer::Exhausted)
        );
        let latency = balancer(json!({"algorithm": "latency"}), &[("a:1", 1)]);
        assert!(
            latency
                .choose(None, &[])
                .unwrap_err()
                .to_string()
                .contains("`latency`")
        );
    }
}
