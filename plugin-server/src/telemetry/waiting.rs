//! Spans of tokens that passed, until another plugin takes them along or it turns out that none does.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Collector;
use super::request::nanoseconds;
use super::token::TokenRecord;
use crate::clock::wall_clock;

/// How long a span waits. Between two plugins of one request there are only other plugins.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// As many wait at most; beyond that, the oldest waits no longer.
const MOST: usize = 4096;

/// The name of a span that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    /// First, so that the oldest is the least.
    ended_ns: u64,
    number: u64,
}

impl fmt::Display for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ended_ns, self.number)
    }
}

impl FromStr for Ticket {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ended, number) = text.split_once('-').ok_or(())?;
        Ok(Self {
            ended_ns: ended.parse().map_err(drop)?,
            number: number.parse().map_err(drop)?,
        })
    }
}

/// The spans that wait. Each leaves once: with whoever shows its ticket, or because its time is over.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    numbers: AtomicU64,
    records: Mutex<BTreeMap<Ticket, TokenRecord>>,
}

impl Waiting {
    /// Lets one wait; with it comes the one that has to leave for it.
    fn put(&self, record: TokenRecord) -> (Ticket, Option<TokenRecord>) {
        let ticket = Ticket {
            ended_ns: record.ended_ns,
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
        };
        let mut records = self.records.lock();
        records.insert(ticket, record);
        let too_many = records.len() > MOST;
        let oldest = too_many.then(|| records.pop_first()).flatten();
        (ticket, oldest.map(|(_, record)| record))
    }

    /// The one with this ticket, if it still waits.
    pub(super) fn take(&self, ticket: Ticket) -> Option<TokenRecord> {
        self.records.lock().remove(&ticket)
    }

    /// Those that had ended by then.
    fn ended_by(&self, moment_ns: u64) -> BTreeMap<Ticket, TokenRecord> {
        let mut records = self.records.lock();
        let later = records.split_off(&Ticket {
            ended_ns: moment_ns.saturating_add(1),
            number: 0,
        });
        std::mem::replace(&mut *records, later)
    }
}

impl Collector {
    /// Lets a span wait for whoever shows this ticket.
    pub(super) fn wait(&self, record: TokenRecord) -> Ticket {
        let (ticket, oldest) = self.waiting.put(record);
        if let Some(record) = oldest {
            self.export(record.finish(), None);
        }
        ticket
    }

    /// Exports the spans that had ended by then and still wait: each starts a trace.
    pub(super) fn export_waiting(&self, moment_ns: u64) {
        for record in self.waiting.ended_by(moment_ns).into_values() {
            self.export(record.finish(), None);
        }
    }

    /// Exports what has waited for `grace`, as long as the collector lives. Within a Tokio runtime.
    pub(super) fn watch(self: &Arc<Self>, grace: Duration) {
        let collector: Weak<Self> = Arc::downgrade(self);
        let mut ticks = tokio::time::interval(grace / 2);
        tokio::spawn(async move {
            loop {
                ticks.tick().await;
                let Some(collector) = collector.upgrade() else {
                    return;
                };
                let now = wall_clock();
                collector.export_waiting(nanoseconds(now.checked_sub(grace).unwrap_or(now)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ended_ns: u64) -> TokenRecord {
        TokenRecord {
            started_ns: 0,
            ended_ns,
            outcome: None,
        }
    }

    #[test]
    fn each_leaves_once_and_the_oldest_first() {
        let waiting = Waiting::default();
        let [early, late, later] = [10, 20, 20].map(|ended| waiting.put(record(ended)).0);
        assert!(early < late && late < later);
        assert_eq!(waiting.ended_by(9).len(), 0);
        assert_eq!(waiting.ended_by(19).keys().collect::<Vec<_>>(), [&early]);
        assert!(waiting.take(early).is_none());
        assert!(waiting.take(late.to_string().parse().unwrap()).is_some());
        assert!(waiting.take(late).is_none());
        assert_eq!(
            waiting.ended_by(u64::MAX).keys().collect::<Vec<_>>(),
            [&later]
        );
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let waiting = Waiting::default();
        for at in 0..MOST {
            assert!(waiting.put(record(at as u64)).1.is_none());
        }
        let (_, oldest) = waiting.put(record(MOST as u64));
        assert_eq!(oldest.unwrap().ended_ns, 0);
        assert_eq!(waiting.records.lock().len(), MOST);
    }

    #[test]
    fn what_is_no_ticket_names_nothing() {
        for text in ["", "-", "7", "7-", "-7", "7-x", "7-7-7", "{}"] {
            assert_eq!(text.parse::<Ticket>(), Err(()), "{text}");
        }
    }
}
