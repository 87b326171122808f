//! Values that are expected to be no table.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value that is expected to be no table; one that is, is skipped.
#[derive(Debug, PartialEq)]
pub(in crate::rate_limiting) enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number, rounded up.
    Number(Number),
    /// A string.
    Text(String),
    /// Anything else.
    Other,
}

/// A number as far as counts are concerned: fractions are rounded up, absurd magnitudes saturate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limiting) struct Number {
    pub(super) is_negative: bool,
    pub(super) magnitude: u64,
}

impl From<u64> for Number {
    fn from(magnitude: u64) -> Self {
        Self {
            is_negative: false,
            magnitude,
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self {
            is_negative: value < 0,
            magnitude: value.unsigned_abs(),
        }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, which is what an absurd number deserves"
        )]
        let magnitude = value.abs().ceil() as u64;
        Self {
            is_negative: value < 0.0,
            magnitude,
        }
    }
}

impl Scalar {
    /// Reads the text of one JSON value; what is none is [`Scalar::Other`].
    pub(in crate::rate_limiting) fn of_json(json: &[u8]) -> Self {
        ReadScalar
            .deserialize(&mut serde_json::Deserializer::from_slice(json))
            .unwrap_or(Self::Other)
    }

    /// A number, also in the spellings that lenient servers accept.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => {
                let text = text.trim();
                let whole = text.parse::<u64>().ok().map(Number::from);
                let real = || text.parse::<f64>().ok().filter(|real| !real.is_nan());
                whole.or_else(|| real().map(Number::from))
            }
            Self::Bool(_) | Self::Other => None,
        }
    }

    /// A number of things.
    pub(super) fn count(&self) -> Option<u64> {
        self.number()
            .filter(|number| !number.is_negative)
            .map(|number| number.magnitude)
    }
}

pub(super) struct ReadScalar;

impl<'de> DeserializeSeed<'de> for ReadScalar {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Scalar, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_seq(seq)?;
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_map(map)?;
        Ok(Scalar::Other)
    }
}

/// Tells a function of every member of a map; what is no map has none.
pub(super) struct ReadMembers<F>(pub(super) F);

impl<'de, F: FnMut(&str, &Scalar)> DeserializeSeed<'de> for ReadMembers<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str, &Scalar)> Visitor<'de> for ReadMembers<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            (self.0)(&name, &map.next_value_seed(ReadScalar)?);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        IgnoredAny.visit_seq(seq).map(drop)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
