//! The last refusals, and those that are happening.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;

use super::labels::shown;
use super::{Decided, Metered};

/// The refusals that are remembered.
const REMEMBERED: usize = 200;
/// The refusals that a slow watcher may be behind before it misses some.
const UNREAD: usize = 256;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A limit has no room now.
    Denied,
    /// It is larger than a whole limit.
    NeverPasses,
    /// A limit on trial has no room: the request passed.
    Shadow,
    /// Its model is not permitted.
    ModelNotAllowed,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When, on the clock of [`super::Outcomes`].
    pub at: Duration,
    /// Why.
    pub kind: Kind,
    /// The limit's name.
    pub limit_name: Option<String>,
    /// What it counts.
    pub unit: Option<&'static str>,
    /// Who was refused.
    pub tenant: String,
    /// The model that was asked for.
    pub model: Option<String>,
    /// How long until it would have passed.
    pub retry_after: Option<Duration>,
}

/// The last refusals.
#[derive(Debug)]
pub struct Refusals {
    last: Mutex<VecDeque<Arc<Refusal>>>,
    live: broadcast::Sender<Arc<Refusal>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            live: broadcast::Sender::new(UNREAD),
        }
    }
}

impl Refusals {
    pub(super) fn push(
        &self,
        now: Duration,
        decided: &Decided<'_>,
        kind: Kind,
        meter: Option<&Metered<'_>>,
        retry_after: Option<Duration>,
    ) {
        let refusal = Arc::new(Refusal {
            at: now,
            kind,
            limit_name: meter.map(|meter| meter.limit.name.clone()),
            unit: meter.map(|meter| meter.unit),
            tenant: shown(decided.tenant).into_owned(),
            model: decided.model.map(|model| shown(model).into_owned()),
            retry_after,
        });
        let mut last = self.last.lock();
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(Arc::clone(&refusal));
        drop(last);
        // Nobody watches: nobody misses it.
        drop(self.live.send(refusal));
    }

    /// At most `most` of them, the latest first.
    pub fn last(&self, most: usize) -> Vec<Arc<Refusal>> {
        self.last.lock().iter().rev().take(most).cloned().collect()
    }

    /// Those from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Refusal>> {
        self.live.subscribe()
    }
}
