//! What was used in the last minute, by who pays and by model.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::Settled;
use super::labels::shown;

/// The seconds that are remembered.
pub const SECONDS: usize = 60;
/// The whole seconds that a rate is taken over.
const RATE_SECONDS: u64 = 5;
/// The most tenants, and the most models, that are told apart: least recently used are forgotten first.
const MOST: u64 = 1_000;

/// What was used in some span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Requests that were decided about.
    pub requests: u64,
    /// Those of them that were refused.
    pub refused: u64,
    /// Tokens, counted when a request is settled.
    pub tokens: u64,
    /// What they cost, in millionths of a dollar.
    pub cost_microdollars: u64,
}

impl Use {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.refused = self.refused.saturating_add(other.refused);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost_microdollars = self
            .cost_microdollars
            .saturating_add(other.cost_microdollars);
    }
}

/// The last minute of somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Minute {
    /// All of it.
    pub total: Use,
    /// The mean of the last five whole seconds.
    pub tokens_per_second: f64,
    /// Tokens of each second, oldest first; the last is under way.
    pub tokens_by_second: [u64; SECONDS],
}

/// A ring of seconds.
#[derive(Debug)]
struct Ring {
    /// The second of the newest cell.
    newest: u64,
    cells: [Use; SECONDS],
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            newest: 0,
            cells: [Use::default(); SECONDS],
        }
    }
}

impl Ring {
    fn cell(second: u64) -> usize {
        usize::try_from(second % SECONDS as u64).expect("a remainder of 60 fits")
    }

    /// Forgets what is older than a minute at `second`.
    fn advance(&mut self, second: u64) {
        if second <= self.newest {
            return;
        }
        let oldest_stale = (self.newest + 1).max(second.saturating_sub(SECONDS as u64 - 1));
        for stale in oldest_stale..=second {
            self.cells[Self::cell(stale)] = Use::default();
        }
        self.newest = second;
    }

    fn add(&mut self, second: u64, amount: Use) {
        self.advance(second);
        self.cells[Self::cell(self.newest)].add(amount);
    }

    fn minute(&mut self, second: u64) -> Minute {
        self.advance(second);
        let mut total = Use::default();
        for cell in self.cells {
            total.add(cell);
        }
        let tokens_ago = |ago: u64| match self.newest.checked_sub(ago) {
            Some(second) => self.cells[Self::cell(second)].tokens,
            None => 0,
        };
        let rated: u64 = (1..=RATE_SECONDS).map(tokens_ago).sum();
        let mut tokens_by_second = [0; SECONDS];
        for (tokens, ago) in tokens_by_second.iter_mut().rev().zip(0..) {
            *tokens = tokens_ago(ago);
        }
        Minute {
            total,
            tokens_per_second: rated as f64 / RATE_SECONDS as f64,
            tokens_by_second,
        }
    }
}

/// The last minute of everybody.
pub struct Recent {
    tenants: Cache<Box<str>, Arc<Mutex<Ring>>>,
    models: Cache<Box<str>, Arc<Mutex<Ring>>>,
    all: Mutex<Ring>,
}

impl Default for Recent {
    fn default() -> Self {
        let rings = || {
            Cache::builder()
                .max_capacity(MOST)
                .eviction_policy(EvictionPolicy::lru())
                .build()
        };
        Self {
            tenants: rings(),
            models: rings(),
            all: Mutex::default(),
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent")
            .field("tenants", &self.tenants.entry_count())
            .field("models", &self.models.entry_count())
            .finish_non_exhaustive()
    }
}

impl Recent {
    pub(super) fn decided(&self, now: Duration, tenant: &str, model: Option<&str>, refused: bool) {
        let amount = Use {
            requests: 1,
            refused: refused.into(),
            ..Use::default()
        };
        self.add(now, tenant, model, amount);
    }

    pub(super) fn settled(&self, now: Duration, settled: &Settled<'_>) {
        let amount = Use {
            tokens: settled.spent_tokens,
            cost_microdollars: settled.cost_microdollars.unwrap_or_default(),
            ..Use::default()
        };
        self.add(now, settled.tenant, settled.model, amount);
    }

    fn add(&self, now: Duration, tenant: &str, model: Option<&str>, amount: Use) {
        let second = now.as_secs();
        self.all.lock().add(second, amount);
        let of = |rings: &Cache<Box<str>, Arc<Mutex<Ring>>>, name: &str| {
            let name = shown(name);
            let ring = rings
                .get(name.as_ref())
                .unwrap_or_else(|| rings.get_with(name.as_ref().into(), Arc::default));
            ring.lock().add(second, amount);
        };
        of(&self.tenants, tenant);
        if let Some(model) = model {
            of(&self.models, model);
        }
    }

    /// Who used anything in the minute before `now`, most tokens first.
    pub fn tenants(&self, now: Duration) -> Vec<(String, Minute)> {
        Self::rows(&self.tenants, now)
    }

    /// The models that were used in the minute before `now`, most tokens first.
    pub fn models(&self, now: Duration) -> Vec<(String, Minute)> {
        Self::rows(&self.models, now)
    }

    /// Everything that was used in the minute before `now`.
    pub fn totals(&self, now: Duration) -> Minute {
        self.all.lock().minute(now.as_secs())
    }

    fn rows(rings: &Cache<Box<str>, Arc<Mutex<Ring>>>, now: Duration) -> Vec<(String, Minute)> {
        let mut rows: Vec<_> = rings
            .iter()
            .map(|(name, ring)| (name.to_string(), ring.lock().minute(now.as_secs())))
            .filter(|(_, minute)| minute.total != Use::default())
            .collect();
        rows.sort_by(|(name, minute), (other_name, other)| {
            let rank = |minute: &Minute| (minute.total.tokens, minute.total.requests);
            rank(other).cmp(&rank(minute)).then(name.cmp(other_name))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: u64) -> Use {
        Use {
            tokens,
            ..Use::default()
        }
    }

    #[test]
    fn a_minute_forgets_each_second_in_its_turn() {
        let mut ring = Ring::default();
        ring.add(100, tokens(10));
        ring.add(130, tokens(5));
        assert_eq!(ring.minute(131).tokens_per_second.to_bits(), 1f64.to_bits());
        assert_eq!(ring.minute(159).total.tokens, 15);
        let minute = ring.minute(160);
        assert_eq!(minute.total.tokens, 5);
        assert_eq!(minute.tokens_by_second[SECONDS - 1 - 30], 5);
        assert_eq!(ring.minute(1_000_000).total, Use::default());
    }

    #[test]
    fn a_late_telling_counts_in_the_newest_second() {
        let mut ring = Ring::default();
        ring.add(100, tokens(1));
        ring.add(99, tokens(2));
        assert_eq!(ring.minute(100).tokens_by_second[SECONDS - 1], 3);
    }
}
