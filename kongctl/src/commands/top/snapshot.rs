//! What the plugin server says at one moment.

use serde::Serialize;

use crate::limiter::client::{Client, Filter};
use crate::limiter::errors::LimiterError;
use crate::limiter::model::{Counter, Refusal, Usage};

/// More of the fullest counters than a screen has lines.
const COUNTERS: usize = 100;
/// More refusals than a screen has lines.
const REFUSALS: usize = 50;

/// All that is shown.
#[derive(Debug, Default, Serialize)]
pub(super) struct Snapshot {
    pub(super) usage: Usage,
    /// The fullest first.
    pub(super) counters: Vec<Counter>,
    /// The newest first.
    pub(super) refusals: Vec<Refusal>,
}

impl Snapshot {
    /// Reads all at once.
    pub(super) async fn read(client: &Client) -> Result<Self, LimiterError> {
        let fullest = Filter {
            fullest: true,
            ..Filter::default()
        };
        let (usage, counters, refusals) = tokio::try_join!(
            client.usage(),
            client.counters(fullest, COUNTERS),
            client.refusals(REFUSALS)
        )?;
        Ok(Self::of(usage, counters.found, refusals))
    }

    pub(super) fn of(usage: Usage, mut counters: Vec<Counter>, refusals: Vec<Refusal>) -> Self {
        counters.sort_by(|one, other| one.left().total_cmp(&other.left()));
        Self {
            usage,
            counters,
            refusals,
        }
    }
}
