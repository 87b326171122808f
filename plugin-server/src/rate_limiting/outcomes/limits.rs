//! The limits that Kong's instances have at present.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

/// Where in Kong a plugin is configured: the ids of what it is attached to. All absent: it is global.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Scope {
    /// The service's id.
    pub service: Option<String>,
    /// The route's id.
    pub route: Option<String>,
    /// The consumer's id.
    pub consumer: Option<String>,
}

/// One configured limit.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitDescription {
    /// Its name.
    pub name: String,
    /// What it counts, as in the configuration.
    pub unit: &'static str,
    /// The most that a window may spend, in that unit.
    pub limit: u64,
    /// How its window moves, as in the configuration.
    pub window_type: &'static str,
    /// The window's length; a calendar's nominal one.
    pub window: Duration,
    /// `enforce` or `shadow`.
    pub mode: &'static str,
    /// Whose counters are kept apart, as in the configuration.
    pub limit_by: Vec<String>,
    /// Where in Kong it is configured.
    pub scope: Scope,
    /// `memory` or `redis`.
    pub store: &'static str,
    /// The part of the limit from which on it warns, 0 to 1.
    pub warn_at: Option<f64>,
}

/// The limits of all instances.
#[derive(Debug, Default)]
pub struct Limits(Mutex<Instances>);

#[derive(Debug, Default)]
struct Instances {
    next: u64,
    limits: BTreeMap<u64, Vec<LimitDescription>>,
}

/// Shows the limits of one instance until it is dropped.
#[derive(Debug)]
#[must_use = "the limits are shown only while this lives"]
pub struct Publication {
    limits: Arc<Limits>,
    number: u64,
}

impl Limits {
    pub(super) fn publish(limits: &Arc<Self>, described: Vec<LimitDescription>) -> Publication {
        let mut instances = limits.0.lock();
        let number = instances.next;
        instances.next += 1;
        instances.limits.insert(number, described);
        drop(instances);
        Publication {
            limits: Arc::clone(limits),
            number,
        }
    }

    /// Each limit once, in the order in which they came.
    pub fn all(&self) -> Vec<LimitDescription> {
        let mut all: Vec<LimitDescription> = Vec::new();
        for limit in self.0.lock().limits.values().flatten() {
            if !all.contains(limit) {
                all.push(limit.clone());
            }
        }
        all
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.limits.0.lock().limits.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str) -> LimitDescription {
        LimitDescription {
            name: name.to_owned(),
            unit: "requests",
            limit: 10,
            window_type: "sliding",
            window: Duration::from_mins(1),
            mode: "enforce",
            limit_by: vec!["consumer".to_owned()],
            scope: Scope::default(),
            store: "memory",
            warn_at: None,
        }
    }

    #[test]
    fn equal_limits_show_once_and_as_long_as_one_instance_has_them() {
        let limits = Arc::new(Limits::default());
        let first = Limits::publish(&limits, vec![limit("a"), limit("b")]);
        let second = Limits::publish(&limits, vec![limit("b"), limit("c")]);
        let names =
            || -> Vec<String> { limits.all().into_iter().map(|limit| limit.name).collect() };
        assert_eq!(names(), ["a", "b", "c"]);
        drop(first);
        assert_eq!(names(), ["b", "c"]);
        drop(second);
        assert!(names().is_empty());
    }
}
