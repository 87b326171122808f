//! What reached the provider, for tests to read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

/// Records kept; the oldest give way.
const CAPACITY: usize = 1024;

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Still being answered.
    #[default]
    Open,
    /// Said to its end.
    Completed,
    /// Whoever listened went away, or a fault cut it.
    Aborted,
}

/// One request as it arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its number, from 1, in order of arrival.
    pub id: u64,
    /// The path that was asked for.
    pub path: String,
    /// Headers, names in lower case; bytes that are not UTF-8 are replaced.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The JSON body.
    pub body: Value,
    /// Completion tokens spoken so far.
    pub spoken: usize,
    /// How the answer ended.
    pub outcome: Outcome,
}

impl Record {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|values| values.first())
            .map(String::as_str)
    }
}

/// A shared, bounded log of requests.
#[derive(Clone, Debug, Default)]
pub struct RequestLog(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    last_id: u64,
    records: VecDeque<Record>,
}

impl RequestLog {
    /// What was noted, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.iter().cloned().collect()
    }

    /// The newest record whose request carried `value` in the header `name`.
    pub fn last_with_header(&self, name: &str, value: &str) -> Option<Record> {
        self.lock()
            .records
            .iter()
            .rev()
            .find(|record| record.header(name) == Some(value))
            .cloned()
    }

    /// Forgets every record; numbers go on.
    pub fn clear(&self) {
        self.lock().records.clear();
    }

    pub(crate) fn open(&self, path: &str, headers: &HeaderMap, body: &Value) -> Entry {
        let mut entries = self.lock();
        entries.last_id += 1;
        let id = entries.last_id;
        let mut named = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            named
                .entry(name.as_str().to_owned())
                .or_default()
                .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
        if entries.records.len() == CAPACITY {
            entries.records.pop_front();
        }
        entries.records.push_back(Record {
            id,
            path: path.to_owned(),
            headers: named,
            body: body.clone(),
            spoken: 0,
            outcome: Outcome::Open,
        });
        Entry {
            log: self.clone(),
            id,
            spoken: 0,
            outcome: Outcome::Aborted,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open record; dropped before [`Entry::complete`], it counts as aborted.
#[derive(Debug)]
pub(crate) struct Entry {
    log: RequestLog,
    id: u64,
    spoken: usize,
    outcome: Outcome,
}

impl Entry {
    /// The record's number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Notes `tokens` more as spoken.
    pub(crate) fn speak(&mut self, tokens: usize) {
        self.spoken += tokens;
        self.note(Outcome::Open);
    }

    /// Closes the record as said to its end.
    pub(crate) fn complete(mut self) {
        self.outcome = Outcome::Completed;
    }

    fn note(&self, outcome: Outcome) {
        if let Some(record) = self
            .log
            .lock()
            .records
            .iter_mut()
            .rev()
            .find(|record| record.id == self.id)
        {
            record.outcome = outcome;
            record.spoken = self.spoken;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.note(self.outcome);
    }
}
