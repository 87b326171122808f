//! What the policy remembers of an admitted request until it is settled, as one short text.
//!
//! It travels in the gateway's context, which clients cannot reach. It names everything that settling needs, so that a
//! configuration that changes meanwhile does no harm.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use token_limiter::Reservation;

use super::config::{Share, Unit};
use super::estimate::Estimate;
use super::price::Price;

/// An admitted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The reservation to settle.
    pub reservation: Reservation,
    /// The [name](crate::stores::LimitStore::name) of the store that holds it.
    pub store: String,
    /// What else settling needs.
    pub request: Admitted,
}

/// What is known of an admitted request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// What the request was thought to cost.
    #[serde(rename = "e")]
    pub estimate: Estimate,
    /// Whose answers are like this request's.
    #[serde(rename = "k")]
    pub learner: u64,
    /// The model that it names.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who pays, for people.
    #[serde(rename = "t")]
    pub tenant: String,
    /// What tokens of the model cost, if the price table says.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What was charged, in the order of the reservation's keys.
    #[serde(rename = "c")]
    pub charges: Vec<Charged>,
}

/// One charge of an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charged {
    /// What the limit counts.
    #[serde(rename = "u")]
    pub unit: Unit,
    /// How much was charged.
    #[serde(rename = "r")]
    pub reserved: u64,
    /// What a token that the provider read from its cache counts for.
    #[serde(
        rename = "w",
        default = "Share::whole",
        skip_serializing_if = "Share::is_whole"
    )]
    pub cached_weight: Share,
}

/// A text that is no handle of this version.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a handle of an admitted request")]
pub struct InvalidHandle;

#[derive(Serialize, Deserialize)]
struct Text<S, A> {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "s")]
    store: S,
    #[serde(rename = "id")]
    reservation: String,
    #[serde(flatten)]
    request: A,
}

const VERSION: u8 = 3;

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Text {
            version: VERSION,
            store: &self.store,
            reservation: self.reservation.to_string(),
            request: &self.request,
        };
        f.write_str(&serde_json::to_string(&text).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: Text<String, Admitted> = serde_json::from_str(text).map_err(|_| InvalidHandle)?;
        if text.version != VERSION {
            return Err(InvalidHandle);
        }
        Ok(Self {
            reservation: text.reservation.parse().map_err(|_| InvalidHandle)?,
            store: text.store,
            request: text.request,
        })
    }
}

#[cfg(test)]
mod tests {
    use token_limiter::ReservationId;

    use super::*;

    #[test]
    fn a_handle_survives_its_text_and_half_of_it_is_none() {
        let reservation = Reservation {
            id: ReservationId {
                epoch: 1,
                serial: 2,
            },
            keys: std::iter::repeat_n("00000000000000010000000000000002".parse().unwrap(), 2)
                .collect(),
        };
        let handle = Handle {
            reservation,
            store: "redis://[::1]:6379/0".to_owned(),
            request: Admitted {
                estimate: Estimate::default(),
                learner: u64::MAX,
                model: Some("gpt-\"4\"".to_owned()),
                tenant: "ä;,".to_owned(),
                price: Some(Price::default()),
                charges: vec![
                    Charged {
                        unit: Unit::Requests,
                        reserved: 1,
                        cached_weight: Share::WHOLE,
                    },
                    Charged {
                        unit: Unit::TotalTokens,
                        reserved: u64::MAX,
                        cached_weight: Share::new(0.1).unwrap(),
                    },
                ],
            },
        };
        let text = handle.to_string();
        assert_eq!(text.parse(), Ok(handle));
        for (cut, _) in text.char_indices() {
            assert_eq!(text[..cut].parse::<Handle>(), Err(InvalidHandle), "{cut}");
        }
        let other_version = text.replacen("\"v\":3", "\"v\":2", 1);
        assert_ne!(other_version, text);
        assert_eq!(other_version.parse::<Handle>(), Err(InvalidHandle));
    }
}
