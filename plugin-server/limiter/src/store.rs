//! The seam between the algorithm and where counters live.

use std::future::Future;
use std::time::Duration;

use crate::{
    Balance, Charge, Correction, Cost, Decision, Meter, OpenReservation, PerCharge, Reservation,
    Settlement,
};

/// Keeps counters and open reservations, and decides.
///
/// An implementor owes what `token_limiter::contract` checks (feature `contract`):
///
/// - the algorithm of the crate's documentation, with integers and with **its own** time: a caller never passes a moment;
/// - [`reserve`](Store::reserve) is atomic: no other decision sees some of its charges and not the others;
/// - [`settle`](Store::settle) is idempotent, and closes exactly the charges of its reservation;
/// - memory bounded by the live counters and the open reservations, without anybody's help.
///
/// A future that is dropped before it is ready has either decided or not; a reservation whose id was lost that way
/// stands until its window passes.
pub trait Store: Send + Sync + 'static {
    /// Why the store could not decide. A refusal is no error.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Charges every limit, or none.
    ///
    /// Each key appears at most once among `charges`, and with a limit of the window that it was made for. The
    /// reservation can be settled until `lease` has passed; after that the charges stand as they are.
    fn reserve(
        &self,
        charges: &[Charge<'_>],
        lease: Duration,
    ) -> impl Future<Output = Result<Decision, Self::Error>> + Send;

    /// Closes a reservation with what was really spent: one cost for each charge, in the order of the charges.
    ///
    /// What was charged too much is taken off the window that was charged, if that has not passed. What was charged
    /// too little is a debt: it is charged to the present, whether it fits the limit or not. A charge without a cost
    /// in `actual` stands.
    fn settle(
        &self,
        reservation: &Reservation,
        actual: &[Cost],
    ) -> impl Future<Output = Result<Settlement, Self::Error>> + Send;

    /// Where counters stand, in the order of `meters`, against the capacities of their limits. Changes nothing.
    fn inspect(
        &self,
        meters: &[Meter<'_>],
    ) -> impl Future<Output = Result<PerCharge<Balance>, Self::Error>> + Send;

    /// Changes what counts as spent, and says where the counter stands then.
    fn correct(
        &self,
        meter: Meter<'_>,
        correction: Correction,
    ) -> impl Future<Output = Result<Balance, Self::Error>> + Send;

    /// Some of the open reservations, at most `most`, in any order.
    fn reservations(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<OpenReservation>, Self::Error>> + Send;

    /// Closes a reservation as if nothing had been spent.
    fn release(
        &self,
        reservation: &Reservation,
    ) -> impl Future<Output = Result<Settlement, Self::Error>> + Send {
        async move {
            let nothing: PerCharge<Cost> = reservation.keys.iter().map(|_| Cost::ZERO).collect();
            self.settle(reservation, &nothing).await
        }
    }
}
