//! What the policy remembers of an admitted request until it is settled, as one short text.
//!
//! It travels in the gateway's context, which clients cannot reach. It names everything that settling needs, so that a
//! configuration that changes meanwhile does no harm.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use token_limiter::Reservation;

use super::config::Unit;
use super::estimate::{Estimate, Vocabulary};

/// An admitted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The reservation to settle.
    pub reservation: Reservation,
    /// What the request was thought to cost.
    pub estimate: Estimate,
    /// For each charge what it counts, and how much was charged.
    pub charges: Vec<(Unit, u64)>,
}

/// A text that is no handle of this version.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a handle of an admitted request")]
pub struct InvalidHandle;

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate {
            prompt_tokens,
            counted_tokens,
            output_tokens,
            vocabulary,
        } = self.estimate;
        let vocabulary = match vocabulary {
            Vocabulary::Cl100k => 'c',
            Vocabulary::O200k => 'o',
        };
        write!(
            f,
            "2;{};{prompt_tokens};{counted_tokens};{output_tokens};{vocabulary}",
            self.reservation
        )?;
        for (unit, cost) in &self.charges {
            let unit = match unit {
                Unit::Requests => 'r',
                Unit::TotalTokens => 't',
            };
            write!(f, ";{unit}{cost}")?;
        }
        Ok(())
    }
}

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split(';');
        let mut next = || fields.next().ok_or(InvalidHandle);
        let number = |text: &str| text.parse().map_err(|_| InvalidHandle);
        if next()? != "2" {
            return Err(InvalidHandle);
        }
        let reservation = next()?.parse().map_err(|_| InvalidHandle)?;
        let estimate = Estimate {
            prompt_tokens: number(next()?)?,
            counted_tokens: number(next()?)?,
            output_tokens: number(next()?)?,
            vocabulary: match next()? {
                "c" => Vocabulary::Cl100k,
                "o" => Vocabulary::O200k,
                _ => return Err(InvalidHandle),
            },
        };
        let charge = |text: &str| {
            if let Some(cost) = text.strip_prefix('r') {
                Ok((Unit::Requests, number(cost)?))
            } else if let Some(cost) = text.strip_prefix('t') {
                Ok((Unit::TotalTokens, number(cost)?))
            } else {
                Err(InvalidHandle)
            }
        };
        let charges = fields.map(charge).collect::<Result<_, _>>()?;
        Ok(Self {
            reservation,
            estimate,
            charges,
        })
    }
}

#[cfg(test)]
mod tests {
    use token_limiter::ReservationId;

    use super::*;

    #[test]
    fn a_handle_survives_its_text() {
        let handle = Handle {
            reservation: Reservation {
                id: ReservationId {
                    epoch: 1,
                    serial: 2,
                },
                keys: ["3", "4"]
                    .map(|digit| digit.repeat(32).parse().unwrap())
                    .into_iter()
                    .collect(),
            },
            estimate: Estimate {
                prompt_tokens: 300,
                counted_tokens: 240,
                output_tokens: u64::MAX,
                vocabulary: Vocabulary::Cl100k,
            },
            charges: vec![(Unit::Requests, 1), (Unit::TotalTokens, 812)],
        };
        let text = handle.to_string();
        assert_eq!(
            text,
            "2;00000000000000010000000000000002:33333333333333333333333333333333,44444444444444444444444444444444;300;240;18446744073709551615;c;r1;t812"
        );
        assert_eq!(text.parse(), Ok(handle));
        for cut in 0..text.find(";r1").unwrap() {
            assert_eq!(text[..cut].parse::<Handle>(), Err(InvalidHandle), "{cut}");
        }
        assert_eq!(
            text.replacen('2', "1", 1).parse::<Handle>(),
            Err(InvalidHandle)
        );
    }
}
