//! The file that the memory store's counters survive in.
//!
//! # Layout
//!
//! [`StateFile`] is the file and what it goes through, `log` its bytes, [`Keeper`] the thread that writes it,
//! [`StateFileStatus`] what the metrics tell.
//!
//! # Model
//!
//! The file is a log: a header line, then counters as they stood when they were written, the last record of a key counting
//! ([`CounterRecord`]). Twice a second, what changed is appended and the disk is told to keep it. When the log has grown to some times what a
//! whole state takes, a file with the state alone is written beside it and takes its place in one step.
//!
//! A lock on a file beside it (`.lock`, empty, never removed) keeps a second process away: the state file itself is replaced, and a lock
//! would stay with the old one.
//!
//! # Invariants
//!
//! 1. At every moment the path names a file that can be read whole, its last record excepted (test: `a_torn_tail_is_cut_wherever_it_is_torn`).
//! 2. A file that this program did not write is never written to (test: `what_is_not_ours_is_left_alone`).
//!
//! # Failure
//!
//! A killed process loses what it counted since the last append: half a second, and the time that an append takes. A machine that loses power
//! loses the same if its disk keeps what it has acknowledged; a tail that was half written is cut at the next start. Open reservations are not
//! kept: their charges stand as reserved.
//!
//! A file that cannot be written harms no request. It keeps what it had, and is written anew as soon as that succeeds.

mod keeper;
mod log;
mod status;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use token_limiter::{CounterRecord, MemoryStore};

pub use self::keeper::Keeper;
use self::log::{Header, Log, Records};
pub use self::status::{StateFileSnapshot, StateFileStatus};
use crate::clock::Clock;

/// Between two appends.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a file that could not be written anew is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// How many times a whole state the log may become before it is written anew.
const GROWTH: u64 = 4;
/// A log of so many bytes is never worth it.
const LEAST: u64 = 1024 * 1024;
/// Nobody but the process' own user reads it: it tells who spends how much.
const MODE: u32 = 0o600;

/// Why a process cannot keep its counters in a file.
#[derive(Debug, Error)]
pub enum StateFileError {
    /// The file, or one beside it, cannot be read, written or made.
    #[error("cannot keep counters in {path} (store.state_file)")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process keeps its counters there.
    #[error(
        "{path} (store.state_file) is in use by another process: stop that one, or name another file"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "{path} (store.state_file) is not a state file of this program: name another file, or move that one away"
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file's format is another.
    #[error(
        "{path} (store.state_file) was written by another version of this program: run that version, or move the file away and \
         begin with empty counters"
    )]
    AnotherVersion {
        /// The file.
        path: PathBuf,
    },
}

/// The counters of a [`MemoryStore`] on disk. One process has it at a time.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    store: Arc<MemoryStore>,
    /// The file that `path` names; none if it lacks changes that are in no other file either.
    log: Option<Log>,
    /// The size at which it is written anew.
    most: u64,
    /// When it may be tried to write it anew.
    rewritable_at: Duration,
    status: Arc<StateFileStatus>,
    clock: Arc<dyn Clock>,
    _lock: File,
}

impl StateFile {
    /// Gives `store` the counters of the file at `path`, if there is one, and writes it anew.
    ///
    /// # Errors
    ///
    /// When another process has it, when it is not this program's, or when it cannot be read or written. The file is as it was then.
    pub fn open(
        path: &Path,
        store: Arc<MemoryStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StateFileError> {
        // Where a link leads: the link itself would be replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let failed = |source| StateFileError::Io {
            path: path.clone(),
            source,
        };
        let lock = lock(&path)?;
        match File::open(&path) {
            Ok(file) => restore(&path, file, &store)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(path = %path.display(), "there is no state file: counters begin empty");
            }
            Err(error) => return Err(failed(error)),
        }
        store.track_changes();
        let mut file = Self {
            store,
            log: None,
            most: LEAST,
            rewritable_at: Duration::ZERO,
            status: Arc::new(StateFileStatus::new(clock.clone())),
            clock,
            _lock: lock,
            path: path.clone(),
        };
        file.rewrite().map_err(failed)?;
        file.report(Ok(()));
        Ok(file)
    }

    /// What it goes through.
    pub fn status(&self) -> &Arc<StateFileStatus> {
        &self.status
    }

    /// Brings the file up to date, as far as it can be written.
    pub fn write(&mut self) {
        let result = self.try_write();
        self.report(result);
    }

    /// The same, for the last time.
    pub fn close(mut self) {
        self.rewritable_at = Duration::ZERO;
        self.write();
        if self.log.is_none() {
            tracing::warn!(path = %self.path.display(), "the state file lacks what was counted last");
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let appended = self.append();
        let now = self.clock.monotonic();
        if !self.is_due() || now < self.rewritable_at {
            return appended;
        }
        self.rewrite().inspect_err(|_| {
            self.rewritable_at = now + PAUSE;
        })
    }

    /// Appends what changed to the file, which is given up if that fails.
    fn append(&mut self) -> io::Result<()> {
        let Some(mut log) = self.log.take() else {
            return Ok(());
        };
        if !log.is_at(&self.path) {
            tracing::warn!(path = %self.path.display(), "somebody removed or changed the state file: it is written anew");
            return Ok(());
        }
        for record in self.store.changes() {
            log.put(&record)?;
        }
        log.sync()?;
        self.log = Some(log);
        Ok(())
    }

    /// Writes the whole state beside the file and puts it in its place. What changes meanwhile goes to both, so that a kill
    /// loses no more during this than at other times.
    fn rewrite(&mut self) -> io::Result<()> {
        let temporary = beside(&self.path, ".tmp");
        let written = self.write_anew(&temporary);
        if written.is_err() {
            // Whatever fills the disk, it is not this. If it cannot be removed, the next attempt says so.
            drop(std::fs::remove_file(&temporary));
        }
        let log = written?;
        self.most = (log.len() * GROWTH).max(LEAST);
        self.log = Some(log);
        self.status.rewrote();
        Ok(())
    }

    fn write_anew(&mut self, temporary: &Path) -> io::Result<Log> {
        let store = self.store.clone();
        let mut fresh = Log::create(temporary)?;
        let mut late = Vec::new();
        let mut appended_at = self.clock.monotonic();
        for record in store.snapshot() {
            if fresh.put(&record)? && self.clock.monotonic() >= appended_at + INTERVAL {
                self.append_meanwhile(&mut late);
                fresh.sync()?;
                appended_at = self.clock.monotonic();
            }
        }
        self.append_meanwhile(&mut late);
        // The snapshot may have been taken of a counter before it changed: the change must follow it.
        for record in &late {
            fresh.put(record)?;
        }
        fresh.publish(temporary, &self.path)?;
        Ok(fresh)
    }

    /// Appends what changed to the file, and leaves it in `late` too.
    fn append_meanwhile(&mut self, late: &mut Vec<CounterRecord>) {
        let mut old = self.log.take();
        for record in self.store.changes() {
            // A file that fails is given up: what it lacks is in the fresh one, or nowhere if that fails too.
            old = old.and_then(|mut log| log.put(&record).is_ok().then_some(log));
            late.push(record);
        }
        self.log = old.and_then(|mut log| log.sync().is_ok().then_some(log));
    }

    fn report(&self, result: io::Result<()>) {
        let path = self.path.display();
        if let Some(log) = &self.log {
            self.status.holds_everything(log.len());
        }
        match result {
            Err(error) => {
                if self.status.failed() {
                    tracing::warn!(
                        %path,
                        %error,
                        "the state file cannot be written as it should: requests go on, and it is tried again"
                    );
                }
            }
            // A pause after a failure is no success.
            Ok(()) if self.is_due() => {}
            Ok(()) => {
                if self.status.succeeded() {
                    tracing::info!(%path, "the state file is written again");
                }
            }
        }
    }

    /// Whether it has to be written anew.
    fn is_due(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.len() > self.most)
    }
}

/// Takes the lock that keeps other processes away from the file.
fn lock(path: &Path) -> Result<File, StateFileError> {
    let failed = |source| StateFileError::Io {
        path: path.to_owned(),
        source,
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(beside(path, ".lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StateFileError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Gives `store` what the file holds; a tail that is damaged is left out.
fn restore(path: &Path, mut file: File, store: &MemoryStore) -> Result<(), StateFileError> {
    let path = path.to_owned();
    match Header::read(&mut file) {
        Ok(Header::Ours) => {}
        // Somebody made it for us: there is nothing to lose.
        Ok(Header::Absent) => return Ok(()),
        Ok(Header::AnotherVersion) => return Err(StateFileError::AnotherVersion { path }),
        Ok(Header::NotOurs) => return Err(StateFileError::NotOurs { path }),
        Err(source) => return Err(StateFileError::Io { path, source }),
    }
    let length = file.metadata().map_or(0, |file| file.len());
    let mut records = Records::new(file);
    store.restore(&mut records);
    let (kept, bytes) = (records.kept(), records.bytes());
    match records.end() {
        Ok(None) => {
            tracing::info!(path = %path.display(), records = kept, "counters are restored");
        }
        Ok(Some(damage)) => tracing::warn!(
            path = %path.display(),
            records_kept = kept,
            bytes_cut = length.saturating_sub(bytes),
            %damage,
            "the end of the state file is damaged and was left out; counters are restored from what is before it"
        ),
        Err(source) => return Err(StateFileError::Io { path, source }),
    }
    Ok(())
}

/// The file beside `path` whose name goes on with `suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}
