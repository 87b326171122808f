//! Over which span a limit holds.

use std::time::Duration;

use thiserror::Error;

use crate::sliding::SLOTS_PER_WINDOW;

/// The span over which a limit holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any span of its length, wherever it begins.
    Sliding(SlidingWindow),
}

/// Any span of a length, counted in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlidingWindow {
    length_ms: u64,
    slot_ms: u32,
}

/// A span that no window can have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a window lasts from 1 ms to {} days, not {} ms", Window::LONGEST.as_secs() / 86_400, .0.as_millis())]
pub struct InvalidWindow(Duration);

impl Window {
    /// The longest window: about four years, so that a slot's width fits 32 bits.
    pub const LONGEST: Duration = Duration::from_millis(SLOTS_PER_WINDOW * u32::MAX as u64);

    /// A sliding window of `length`, rounded up to whole milliseconds.
    pub fn sliding(length: Duration) -> Result<Self, InvalidWindow> {
        let length_ms = u64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        if length_ms == 0 {
            return Err(InvalidWindow(length));
        }
        let slot_ms = u32::try_from(length_ms.div_ceil(SLOTS_PER_WINDOW))
            .map_err(|_| InvalidWindow(length))?;
        Ok(Self::Sliding(SlidingWindow { length_ms, slot_ms }))
    }

    /// How long the window lasts.
    pub const fn length(&self) -> Duration {
        match self {
            Self::Sliding(window) => Duration::from_millis(window.length_ms),
        }
    }

    /// What makes two windows different counters, part by part.
    pub(crate) fn name_parts(&self, mut part: impl FnMut(&[u8])) {
        match self {
            Self::Sliding(window) => {
                part(b"sliding");
                part(&window.length_ms.to_le_bytes());
            }
        }
    }
}

impl SlidingWindow {
    /// The width of the slots that the window is counted in, in milliseconds: a thirtieth of it, rounded up.
    pub const fn slot_ms(&self) -> u32 {
        self.slot_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_rounded_up_to_milliseconds_and_to_slots() {
        let slot = |window: &Window| match window {
            Window::Sliding(window) => window.slot_ms(),
        };
        let window = Window::sliding(Duration::from_micros(1)).unwrap();
        assert_eq!(
            (window.length(), slot(&window)),
            (Duration::from_millis(1), 1)
        );
        let minute = Window::sliding(Duration::from_mins(1)).unwrap();
        assert_eq!(slot(&minute), 2_000);
    }

    #[test]
    fn an_empty_or_endless_window_is_refused() {
        assert!(Window::sliding(Duration::ZERO).is_err());
        assert!(Window::sliding(Window::LONGEST).is_ok());
        let error = Window::sliding(Duration::MAX).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a window lasts from 1 ms to 1491 days"),
            "{error}"
        );
    }
}
