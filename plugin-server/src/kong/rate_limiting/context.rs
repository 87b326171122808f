//! What other plugins and the usage tap leave in `kong.ctx.shared`, in the policy's types.

use kong_pdk::Value;

use crate::rate_limiting::usage::Observed;

/// What the usage tap left in the context: see the contract at the head of `kong/usage-tap.lua`.
pub(super) fn observed(tap: &Value) -> Option<Observed> {
    let bytes =
        |value: Option<&Value>| value.and_then(Value::as_bytes).unwrap_or_default().to_vec();
    let mut tail = bytes(tap.get("tail"));
    for piece in tap
        .get("recent")
        .and_then(Value::as_list)
        .unwrap_or_default()
    {
        tail.extend_from_slice(piece.as_bytes().unwrap_or_default());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of bytes is a whole number that a double holds exactly"
    )]
    let count = tap.get("bytes")?.as_number()? as u64;
    Some(Observed {
        head: bytes(tap.get("head")),
        tail,
        bytes: count,
        ended: tap.get("eof").and_then(Value::as_bool).unwrap_or(false),
    })
}

/// A value of the context as JSON: how claims are told apart. Kong's numbers are doubles; whole ones are written as integers.
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(value) => (*value).into(),
        Value::String(value) => String::from_utf8_lossy(value).into(),
        Value::List(values) => values.iter().map(to_json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), to_json(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_taps_table_is_read_before_and_after_its_end() {
        let ended = Value::from(json!({"tail": "abc", "bytes": 3, "folded": 3, "eof": true}));
        let observed = observed(&ended).unwrap();
        assert_eq!(
            (observed.tail, observed.head, observed.bytes),
            (b"abc".to_vec(), Vec::new(), 3)
        );
        let aborted =
            Value::from(json!({"head": "a", "tail": "bc", "recent": ["d", "e"], "bytes": 900}));
        let observed = super::observed(&aborted).unwrap();
        assert_eq!(
            (observed.tail, observed.head, observed.bytes),
            (b"bcde".to_vec(), b"a".to_vec(), 900)
        );
        let empty = Value::from(json!({"tail": "", "recent": {}, "bytes": 0}));
        assert_eq!(super::observed(&empty).unwrap().bytes, 0);
        for nothing in [json!(null), json!("text"), json!({})] {
            assert!(super::observed(&nothing.into()).is_none());
        }
    }

    #[test]
    fn claims_survive_the_context() {
        let claims =
            json!({"tenant": "acme", "org": {"id": 7.0, "roles": ["a", "b"]}, "admin": true});
        assert_eq!(to_json(&claims.clone().into()), claims);
    }
}
