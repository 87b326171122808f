//! The way to the stores: by the name that a counter was seen with, whatever kind of store that is.

use std::collections::HashSet;
use std::sync::Arc;

use token_limiter::{
    Balance, Correction, Meter, OpenReservation, PerCharge, Population, Reservation, Settlement,
};

use super::answer::Problem;
use crate::rate_limiting::outcomes::directory::Known;
use crate::stores::failover::{StoreSnapshot, Unavailable};
use crate::stores::{LimitStore, Stores};

/// What is held where.
#[derive(Debug, Clone)]
pub(super) struct Books {
    stores: Arc<Stores>,
}

/// A counter with where it stands.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) known: Arc<Known>,
    pub(super) balance: Balance,
}

impl Known {
    fn meter(&self) -> Meter<'_> {
        Meter {
            limit: &self.limit,
            key: self.key,
        }
    }
}

impl Books {
    pub(super) fn new(stores: Arc<Stores>) -> Self {
        Self { stores }
    }

    fn store(&self, name: &str) -> Result<LimitStore, Problem> {
        self.stores
            .named(name)
            .ok_or_else(|| Problem::StoreAway(name.to_owned()))
    }

    /// Where counters stand, in the same order.
    pub(super) async fn standings(&self, known: Vec<Arc<Known>>) -> Result<Vec<Standing>, Problem> {
        let mut standings = Vec::with_capacity(known.len());
        // One question for each run of counters of one store.
        for run in known.chunk_by(|one, other| one.store == other.store) {
            let meters: Vec<_> = run.iter().map(|known| known.meter()).collect();
            let store = &run[0].store;
            let balances: PerCharge<Balance> = self
                .store(store)?
                .inspect(&meters)
                .await
                .map_err(|error| away(store, error))?;
            let standing = run.iter().zip(balances).map(|(known, balance)| Standing {
                known: Arc::clone(known),
                balance,
            });
            standings.extend(standing);
        }
        Ok(standings)
    }

    /// Changes a counter: where it stood, and where it stands.
    pub(super) async fn correct(
        &self,
        known: &Arc<Known>,
        correction: Correction,
    ) -> Result<(Balance, Standing), Problem> {
        let store = self.store(&known.store)?;
        let failed = |error| away(&known.store, error);
        let before = store.inspect(&[known.meter()]).await.map_err(failed)?[0];
        let balance = store
            .correct(known.meter(), correction)
            .await
            .map_err(failed)?;
        let standing = Standing {
            known: Arc::clone(known),
            balance,
        };
        Ok((before, standing))
    }

    /// Open reservations, at most `most` in all, each once and with a store that holds it: two may be at the same place.
    pub(super) async fn reservations(
        &self,
        most: usize,
    ) -> Result<Vec<(LimitStore, OpenReservation)>, Problem> {
        let mut all: Vec<(LimitStore, OpenReservation)> = Vec::new();
        let mut seen = HashSet::new();
        for store in self.stores.all() {
            let open = store
                .reservations(most - all.len())
                .await
                .map_err(|error| away(store.name(), error))?;
            let new = open
                .into_iter()
                .filter(|open| seen.insert(open.reservation.id));
            all.extend(new.map(|open| (store.clone(), open)));
            if all.len() >= most {
                break;
            }
        }
        Ok(all)
    }

    /// Closes a reservation as if nothing had been spent; false if it is closed already.
    pub(super) async fn release(
        store: &LimitStore,
        reservation: &Reservation,
    ) -> Result<bool, Problem> {
        let settlement = store
            .release(reservation)
            .await
            .map_err(|error| away(store.name(), error))?;
        Ok(settlement == Settlement::Settled)
    }

    /// How much the memory store holds.
    pub(super) fn population(&self) -> Population {
        self.stores.memory().population()
    }

    /// What each Redis went through, sorted by where it is.
    pub(super) fn snapshots(&self) -> Vec<(String, StoreSnapshot)> {
        let mut snapshots = self.stores.snapshots();
        snapshots.sort_by(|(one, _), (other, _)| one.cmp(other));
        snapshots
    }
}

fn away(store: &str, error: Unavailable) -> Problem {
    tracing::warn!(store, %error, "the admin listener cannot ask a store");
    Problem::StoreAway(store.to_owned())
}
