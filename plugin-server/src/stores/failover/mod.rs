//! A shared store that may be away, and what is done meanwhile.
//!
//! # Layout
//!
//! In the order a request meets them: `denials` know refusals that need no asking; the `breaker` knows whether the store
//! answers; `local` decides while it does not; `upkeep` runs beside, tries the store again and pays what is owed.
//! `counters` tell the metrics.
//!
//! # Model
//!
//! A configuration says of each limit what becomes of it while the store is away: [`OnStoreFailure`]. What is **owed** to the store
//! is paid when it is back, before it decides again: what was spent by local shares, the settlements of earlier reservations, and the
//! release of reservations that may or may not have been made.
//!
//! # Invariants
//!
//! 1. No call takes longer than the store's timeout, and while the breaker is open none waits for it at all.
//! 2. What is owed is paid once, even if a payment is repeated.
//!
//! # Failure
//!
//! What is owed is kept in memory, up to 100,000 entries: a process that dies while the store is away takes it along. A local share
//! begins with nothing spent, so around an outage a window may hold up to twice its limit.

mod breaker;
mod counters;
mod denials;
mod local;
mod upkeep;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use thiserror::Error;
use token_limiter::{
    Balance, Charge, Correction, Cost, Decision, Key, Limit, MemoryStore, Meter, OpenReservation,
    PerCharge, Reservation, ReservationId, Settlement, Store,
};

pub use self::breaker::BreakerState;
pub use self::counters::{LATENCY_BOUNDS_US, StoreCounters, StoreSnapshot};

use self::breaker::Breaker;
use self::denials::Denials;
use self::local::{Local, Mode};
use self::upkeep::Nodes;
use super::redis::{RedisStore, RedisStoreError};
use crate::clock::Clock;

/// The most payments that wait for the store; beyond it the oldest is given up.
const OWED: usize = 100_000;

/// Payments under way at a time.
const PAYMENTS: usize = 64;

/// When somebody refused for want of the store should come back: the breaker has tried it by then.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// What becomes of a limit while its store is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStoreFailure {
    /// Each process enforces limit ÷ live processes by itself. What is spent so is written back.
    #[default]
    LocalShare,
    /// Requests pass, uncounted: nothing of them is written back.
    Open,
    /// Requests are refused with [`Unavailable`].
    Closed,
}

/// The store cannot be reached, and a limit must not be decided without it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the store of a limit cannot be reached")]
pub struct Unavailable;

/// What the store is to be told when it is back.
#[derive(Clone, Debug)]
enum Owed {
    Settlement {
        reservation: Reservation,
        actual: PerCharge<Cost>,
    },
    Correction {
        /// Under which it happens once.
        id: ReservationId,
        limit: Limit,
        key: Key,
        correction: Correction,
    },
}

impl Owed {
    fn correction(limit: Limit, key: Key, correction: Correction) -> Self {
        Self::Correction {
            id: RedisStore::draw_id(),
            limit,
            key,
            correction,
        }
    }
}

/// Redis, with everything that makes its absence bearable.
pub struct FailoverStore {
    name: Arc<str>,
    remote: RedisStore,
    local: Local,
    breaker: Breaker,
    denials: Denials,
    owed: Mutex<VecDeque<Owed>>,
    counters: StoreCounters,
    nodes: Nodes,
    clock: Arc<dyn Clock>,
    kept: AtomicBool,
}

impl FailoverStore {
    /// A store on `remote`, under a name for people. Its upkeep begins with its first request, on the runtime that serves it.
    pub fn new(name: String, remote: RedisStore, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            remote,
            local: Local::new(MemoryStore::new()),
            breaker: Breaker::default(),
            denials: Denials::new(),
            owed: Mutex::default(),
            counters: StoreCounters::default(),
            nodes: Nodes::new(),
            clock,
            kept: AtomicBool::new(false),
        })
    }

    /// What tells it from others, for people.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Which Redis this is.
    pub fn remote(&self) -> &RedisStore {
        &self.remote
    }

    /// What it went through.
    pub fn snapshot(&self) -> StoreSnapshot {
        self.counters
            .snapshot(self.breaker.state(), self.nodes.alive())
    }

    /// Charges every limit, or none; see [`Store::reserve`]. `on_failure` goes with `charges`.
    pub async fn reserve(
        self: &Arc<Self>,
        charges: &[Charge<'_>],
        on_failure: &[OnStoreFailure],
        lease: Duration,
    ) -> Result<Decision, Unavailable> {
        self.keep_up();
        self.nodes.this_one_counts();
        if let Some(denial) = self.denials.repeat(charges, self.clock.monotonic()) {
            self.counters.denied_again();
            return Ok(Decision::Denied(denial));
        }
        if self.breaker.allows() {
            let id = RedisStore::draw_id();
            if let Ok(decision) = self.ask(self.remote.reserve_as(id, charges, lease)).await {
                if let Decision::Denied(denial) = &decision {
                    self.denials
                        .remember(charges, denial, self.clock.monotonic());
                }
                return Ok(decision);
            }
            // It may have been made all the same.
            let keys: PerCharge<Key> = charges.iter().map(|charge| charge.key).collect();
            self.owe(Owed::Settlement {
                actual: keys.iter().map(|_| Cost::ZERO).collect(),
                reservation: Reservation { id, keys },
            });
        }
        let decided = self
            .local
            .reserve(charges, on_failure, self.nodes.alive(), lease);
        match &decided {
            Ok((_, Mode::Shared)) => self.counters.decided_locally(),
            Ok((_, Mode::Uncounted)) => self.counters.admitted_uncounted(),
            Err(Unavailable) => self.counters.undecided(),
        }
        decided.map(|(decision, _)| decision)
    }

    /// Closes a reservation with what was really spent; see [`Store::settle`]. While the store is away that is kept for
    /// later, and counts as settled.
    pub async fn settle(&self, reservation: &Reservation, actual: &[Cost]) -> Settlement {
        if let Some(owed) = self.local.settle(reservation.id, actual) {
            self.owe_all(owed);
            return Settlement::Settled;
        }
        let settled = if self.breaker.allows() {
            self.ask(self.remote.settle(reservation, actual)).await.ok()
        } else {
            None
        };
        self.denials.forget(&reservation.keys);
        settled.unwrap_or_else(|| {
            self.counters.deferred();
            self.owe(Owed::Settlement {
                reservation: reservation.clone(),
                actual: actual.into(),
            });
            Settlement::Settled
        })
    }

    /// Where counters stand; see [`Store::inspect`].
    pub async fn inspect(&self, meters: &[Meter<'_>]) -> Result<PerCharge<Balance>, Unavailable> {
        self.ask_now(self.remote.inspect(meters)).await
    }

    /// Changes what counts as spent; see [`Store::correct`].
    pub async fn correct(
        &self,
        meter: Meter<'_>,
        correction: Correction,
    ) -> Result<Balance, Unavailable> {
        let balance = self.ask_now(self.remote.correct(meter, correction)).await;
        self.denials.forget(&[meter.key]);
        balance
    }

    /// Some of the open reservations; see [`Store::reservations`].
    pub async fn reservations(&self, most: usize) -> Result<Vec<OpenReservation>, Unavailable> {
        self.ask_now(self.remote.reservations(most)).await
    }

    /// Closes a reservation as if nothing had been spent; see [`Store::release`].
    pub async fn release(&self, reservation: &Reservation) -> Result<Settlement, Unavailable> {
        let released = self.ask_now(self.remote.release(reservation)).await;
        self.denials.forget(&reservation.keys);
        released
    }

    /// Asks something else of the same Redis than its limits, under the same breaker.
    pub async fn ask_beside<T>(
        self: &Arc<Self>,
        call: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, Unavailable> {
        self.keep_up();
        self.ask_now(call).await
    }

    /// Pays what is owed, if the store answers; for a process that is about to stop.
    pub async fn flush(&self) -> Result<(), Unavailable> {
        self.pay().await.map_err(|_| Unavailable)
    }

    /// Asks the store, unless it is known to be away.
    async fn ask_now<T>(
        &self,
        call: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, Unavailable> {
        if !self.breaker.allows() {
            return Err(Unavailable);
        }
        self.ask(call).await.map_err(|_| Unavailable)
    }

    /// Asks the store, and notes how that went.
    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, RedisStoreError> {
        let asked = self.clock.monotonic();
        let answer = call.await;
        self.counters
            .called(self.clock.monotonic().saturating_sub(asked));
        match &answer {
            Ok(_) => self.breaker.answered(),
            Err(error) => {
                self.counters
                    .failed(matches!(error, RedisStoreError::Timeout(_)));
                if self.breaker.failed() {
                    self.counters.breaker_opened();
                    self.remote.disconnect();
                    tracing::warn!(store = %self.remote.config(), %error, "the store is away: what needs it is decided without it");
                }
            }
        }
        answer
    }

    fn owe(&self, one: Owed) {
        let mut owed = self.owed.lock();
        if owed.len() >= OWED {
            owed.pop_front();
            self.counters.lost();
        }
        owed.push_back(one);
    }

    fn owe_all(&self, all: Vec<Owed>) {
        for one in all {
            self.owe(one);
        }
    }

    fn owes(&self) -> bool {
        self.local.has_spent() || !self.owed.lock().is_empty()
    }

    /// Pays what is owed now, some at a time; what fails stays owed.
    async fn pay(&self) -> Result<(), RedisStoreError> {
        self.owe_all(self.local.collect());
        loop {
            let batch: Vec<Owed> = {
                let mut owed = self.owed.lock();
                let some = owed.len().min(PAYMENTS);
                owed.drain(..some).collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            let paid = join_all(batch.iter().map(|one| self.pay_one(one))).await;
            let mut failure = None;
            for (one, outcome) in batch.into_iter().zip(paid) {
                if let Err(error) = outcome {
                    self.owe(one);
                    failure = Some(error);
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
    }

    async fn pay_one(&self, one: &Owed) -> Result<(), RedisStoreError> {
        match one {
            Owed::Settlement {
                reservation,
                actual,
            } => {
                self.ask(self.remote.settle(reservation, actual)).await?;
            }
            Owed::Correction {
                id,
                limit,
                key,
                correction,
            } => {
                let meter = Meter { limit, key: *key };
                let call = self.remote.correct_once(meter, *correction, Some(*id));
                self.ask(call).await?;
                if let Correction::Add(cost) = correction {
                    self.counters.wrote_back(cost.units());
                }
            }
        }
        Ok(())
    }

    fn keep_up(self: &Arc<Self>) {
        if !self.kept.load(Ordering::Relaxed) && !self.kept.swap(true, Ordering::Relaxed) {
            tokio::spawn(upkeep::run(Arc::downgrade(self)));
        }
    }
}

impl fmt::Debug for FailoverStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverStore")
            .field("remote", &self.remote)
            .field("breaker", &self.breaker.state())
            .finish_non_exhaustive()
    }
}
