//! The two quantities every decision is made of.

use std::fmt;
use std::time::Duration;

/// Units charged against a limit: tokens, requests, whatever the limit counts. Never money by itself.
///
/// Arithmetic saturates: a cost that does not fit counts as [`Cost::MAX`], it never wraps to a small one. The largest is
/// 2^53 − 1 because a store may count in Lua, whose numbers are doubles: every store counts alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(u64);

impl Cost {
    /// Nothing charged.
    pub const ZERO: Self = Self(0);
    /// One unit: what a request costs a limit on requests.
    pub const ONE: Self = Self(1);
    /// The largest cost.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// A cost of `units`, at most [`Cost::MAX`].
    pub const fn new(units: u64) -> Self {
        if units < Self::MAX.0 {
            Self(units)
        } else {
            Self::MAX
        }
    }

    /// The number of units.
    pub const fn units(self) -> u64 {
        self.0
    }

    /// `self + other`, at most [`Cost::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }

    /// `self - other`, at least [`Cost::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment of the store's clock, in milliseconds since that clock's origin.
///
/// Only differences matter to a decision, so the origin is free: the Unix epoch, or a test's zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `milliseconds` after the clock's origin.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the clock's origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `span` later, in whole milliseconds.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
