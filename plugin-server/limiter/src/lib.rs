//! Windows, reservations and decisions for token budgets.
//!
//! The crate decides whether a request may be spent on, before anybody knows what it will really cost, and closes the
//! books afterwards. It knows no gateway, no Redis and no socket.
//!
//! # Layout
//!
//! In the order in which a request meets them: [`Limit`] and [`Window`] say what may be spent; a [`Key`] says whose counter it
//! is; a [`Charge`] joins both with a [`Cost`]; a [`Store`] turns charges into a [`Decision`] and later settles its
//! reservation. [`MemoryStore`] is the store of one process and the reference for every other; it reads its [`Clock`].
//!
//! # Model
//!
//! | term | meaning | unit |
//! |---|---|---|
//! | [`Cost`] | what is charged | the limit's: tokens, requests |
//! | [`Limit`] | the most that one key may spend in any window | [`Cost`] |
//! | [`Window`] | the span | milliseconds |
//! | reservation | the charges of one admitted request, held until it is settled or its lease ends | |
//! | underestimate | how much more a request really cost than was reserved for it | [`Cost`] |
//!
//! # Algorithm
//!
//! 1. **Reserve.** A request names all its charges. If every counter has room, each is charged what was estimated; if any has
//!    not, none is.
//! 2. **Settle.** With the actual costs, once. Less than reserved: the difference is taken off the slot of the window that was
//!    charged. More: the difference is a debt, charged to the present even above the limit.
//! 3. **Lease.** A reservation that nobody settles keeps its charge and is forgotten when its lease ends.
//!
//! How one counter adds up and forgets is told in `sliding.rs`: a window is counted in thirtieths, so a charge counts for
//! its whole window and at most about a thirtieth longer. Integers only; the time is the store's.
//!
//! # Invariants
//!
//! 1. *The law.* Of one key, in any span as long as the window: the actual cost of what was admitted never exceeds the limit by more
//!    than the sum of the underestimates among it. For when a request is admitted at `t`, the counter holds for each admitted one in
//!    `(t − W, t]` at least the smaller of its estimate and its actual cost, and the sum of what it holds is at most the limit.
//!    (contract test: `never_spends_more_than_the_limit_and_the_underestimates`)
//! 2. A refused request charges nothing. (contract test: `a_refused_request_charges_nothing`)
//! 3. A refused caller passes after `retry_after` if nobody else spends meanwhile, and not a millisecond earlier.
//!    (contract test: `never_spends_more_than_the_limit_and_the_underestimates`, which waits for each)
//! 4. Settling twice is settling once. (contract test: `settling_twice_is_settling_once`)
//! 5. However many callers race, a limit of `n` requests admits exactly `n`. (contract test: `a_race_admits_exactly_the_limit`)
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
