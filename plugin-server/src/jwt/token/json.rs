//! JSON as a security boundary needs it: one meaning or none.
//!
//! RFC 8259 leaves repeated member names undefined, so two parsers may read two tokens in one. Here a repeated
//! name is refused at every depth, nesting is bounded, and nothing may follow the value.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest. Real claims need four or five levels.
pub(super) const MAX_DEPTH: usize = 32;

/// Reads exactly one JSON object from `bytes`.
///
/// # Errors
///
/// When the bytes are not UTF-8, not JSON, not an object, repeat a member name, nest deeper than [`MAX_DEPTH`], or
/// go on after the object. The error's text holds no content of the input.
pub(in crate::jwt) fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotStrictJson> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = StrictValue {
        depth_left: MAX_DEPTH,
    }
    .deserialize(&mut deserializer)
    .map_err(NotStrictJson::of)?;
    deserializer.end().map_err(NotStrictJson::of)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(NotStrictJson("not a JSON object")),
    }
}

/// Why a text is not acceptable JSON: a fixed phrase, never the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotStrictJson(&'static str);

const REPEATED: &str = "a member name is repeated";
const TOO_DEEP: &str = "the nesting is too deep";

impl NotStrictJson {
    /// serde_json's messages may quote the input, so only the two that are ours are told apart.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the shape that `map_err` wants"
    )]
    fn of(error: serde_json::Error) -> Self {
        let message = error.to_string();
        if message.starts_with(REPEATED) {
            Self(REPEATED)
        } else if message.starts_with(TOO_DEEP) {
            Self(TOO_DEEP)
        } else {
            Self("not JSON")
        }
    }
}

#[derive(Clone, Copy)]
struct StrictValue {
    depth_left: usize,
}

impl StrictValue {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom(REPEATED));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &[u8]) -> &'static str {
        object(text).expect_err("refused").0
    }

    #[test]
    fn an_object_keeps_its_members() {
        let parsed = object(br#" {"a":[1,-2,1.5,true,null,"x"],"b":{"c":{}}} "#).unwrap();
        assert_eq!(
            Value::Object(parsed),
            serde_json::json!({"a":[1,-2,1.5,true,null,"x"],"b":{"c":{}}})
        );
    }

    #[test]
    fn a_repeated_name_is_refused_at_every_depth() {
        assert_eq!(reason(br#"{"sub":"a","sub":"b"}"#), REPEATED);
        assert_eq!(
            reason(br#"{"sub":"a","\u0073ub":"b"}"#),
            REPEATED,
            "escaped spelling of the same name"
        );
        assert_eq!(reason(br#"{"a":[{"b":1,"b":2}]}"#), REPEATED);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(reason(nested(MAX_DEPTH).as_bytes()), TOO_DEEP);
        assert_eq!(reason(nested(200).as_bytes()), TOO_DEEP);
        assert_eq!(reason("[".repeat(100_000).as_bytes()), TOO_DEEP);
    }

    #[test]
    fn anything_but_one_whole_object_is_refused() {
        for text in [
            &b""[..],
            b"null",
            b"[]",
            b"\"x\"",
            b"{} {}",
            b"{}x",
            b"\xEF\xBB\xBF{}",
            b"{\"a\":\"\xFF\"}",
            b"{\"a\":NaN}",
            b"{\"a\":1e999}",
            b"{\"a\":\"\\ud800\"}",
            b"{'a':1}",
            b"{\"a\":1,}",
        ] {
            assert!(object(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
