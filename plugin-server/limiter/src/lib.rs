//! Windows, reservations and decisions for token budgets.
//!
//! The crate decides whether a request may be spent on, before anybody knows what it will really cost, and closes the
//! books afterwards. It knows no gateway, no Redis and no socket.
//!
//! # Layout
//!
//! In the order in which a request meets them: [`Limit`] and [`Window`] say what may be spent; a [`Key`] says whose counter it
//! is; a [`Charge`] joins both with a [`Cost`]; a [`Store`] turns charges into a [`Decision`] and later settles its
//! [`Reservation`]. [`MemoryStore`] is the store of one process and the reference for every other; it reads its [`Clock`].
//! How one counter adds up and forgets is told in `counter/`: `sliding.rs`, `period.rs` (fixed windows and calendars) and `bucket.rs`.
//!
//! # Model
//!
//! | term | meaning | unit |
//! |---|---|---|
//! | [`Cost`] | what is charged | the limit's: tokens, requests |
//! | [`Limit`] | the most that one key may spend in any window | [`Cost`] |
//! | [`Window`] | the span | milliseconds |
//! | ceiling | up to where one request may fill a counter: the capacity of the limit, or a share of it | [`Cost`] |
//! | shadow | a charge that is not enforced: counted like any other, but it never refuses | |
//! | reservation | the charges of one admitted request, held until it is settled or its lease ends | |
//! | underestimate | how much more a request really cost than was reserved for it | [`Cost`] |
//!
//! # Algorithm
//!
//! 1. **Reserve.** A request names all its charges. If every enforced one has room below its ceiling, each is charged what was
//!    estimated, shadows too; if any has not, none is.
//! 2. **Settle.** With the actual costs, once. Less than reserved: the difference is taken off what was charged (the slot, the period,
//!    the bucket's level), as far as that still counts. More: the difference is a debt, charged to the present even above the limit.
//! 3. **Lease.** A reservation that nobody settles keeps its charge and is forgotten when its lease ends.
//!
//! Integers only, up to 2^53 − 1; the time is the store's. Requests at once are counted by a sliding window as long as the lease,
//! whose charges are settled for nothing.
//!
//! # Invariants
//!
//! 1. *The law.* Of one key: the actual cost of what was admitted never exceeds the limit by more than the sum of the underestimates
//!    among it, in any span as long as a sliding window, and in each period of a fixed window or calendar; for a bucket, the burst
//!    and what flows in during the span, in any span. For when a request is admitted, the counter holds for each admitted
//!    one at least the smaller of its estimate and its actual cost, and the sum of what it holds is at most the capacity.
//!    (contract test: `never_spends_more_than_the_limit_and_the_underestimates`)
//! 2. A refused request charges nothing. (contract test: `a_refused_request_charges_nothing`)
//! 3. A refused caller passes after `retry_after` if nobody else spends meanwhile, and not a millisecond earlier.
//!    (contract test: `never_spends_more_than_the_limit_and_the_underestimates`, which waits for each)
//! 4. Settling twice is settling once. (contract test: `settling_twice_is_settling_once`)
//! 5. However many callers race, a limit of `n` requests admits exactly `n`. (contract test: `a_race_admits_exactly_the_limit`)
//! 6. A shadow refuses nobody. (contract test: `a_shadow_never_refuses_and_is_always_charged`)
//!
//! # Failure
//!
//! A store that cannot decide says so by its error type, apart from a refusal; what then happens is the caller's policy. [`MemoryStore`]
//! never fails.

mod calendar;
mod clock;
#[cfg(feature = "contract")]
pub mod contract;
mod counter;
mod decision;
mod key;
mod limit;
mod memory;
mod reservation;
mod store;
mod units;
mod window;

pub use calendar::{Calendar, CalendarWindow, Period, TimeZone, UnknownTimeZone};
pub use clock::{Clock, SystemClock};
pub use counter::{CounterRecord, InvalidRecord};
pub use decision::{
    Balance, Charge, Correction, Decision, Denial, Grant, Meter, PerCharge, Settlement,
};
pub use key::{Identity, InvalidKey, Key};
pub use limit::Limit;
pub use memory::{MemoryStore, Population};
pub use reservation::{
    InvalidReservation, InvalidReservationId, OpenReservation, Reservation, ReservationId,
};
pub use store::Store;
pub use units::{Cost, Timestamp};
pub use window::{FixedWindow, InvalidWindow, Rate, SlidingWindow, TokenBucket, Window};
