//! What other plugins and the usage tap leave in `kong.ctx.shared`, in the policy's types.

use kong_pdk::{Kong, Value, ctx, phase, response};

use super::{HANDLE, TAP};
use crate::rate_limiting::usage::Observed;

/// What the usage tap left in the context: see the contract at the head of `kong/usage-tap.lua`.
#[derive(Debug)]
pub(super) struct Tapped {
    /// What it kept of the answer.
    pub(super) observed: Observed,
    /// The handle that `access` set; `None` for a request that was refused or never came that far.
    pub(super) handle: Option<String>,
    /// The answer's status.
    pub(super) status: Option<u16>,
}

impl Tapped {
    /// `None` if no tap ran.
    pub(super) fn read(tap: &Value) -> Option<Self> {
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
        let observed = Observed {
            head: bytes(tap.get("head")),
            tail,
            bytes: whole(tap.get("bytes")?)?,
            ended: tap.get("eof").and_then(Value::as_bool).unwrap_or(false),
        };
        Some(Self {
            observed,
            handle: tap.get("handle").and_then(Value::as_str).map(str::to_owned),
            status: tap
                .get("status")
                .and_then(whole)
                .and_then(|status| status.try_into().ok()),
        })
    }
}

/// An admitted request whose answer is through.
#[derive(Debug)]
pub(super) struct Answered {
    /// The handle that `access` set.
    pub(super) handle: String,
    /// The answer's status.
    pub(super) status: u16,
    /// What the usage tap kept of the answer; `None` if no tap ran.
    pub(super) observed: Option<Observed>,
}

/// Asks Kong for what settling needs: one getter where a tap ran, three where none did. `None` if nothing was admitted.
pub(super) async fn answered(
    kong: &mut Kong<phase::Log>,
) -> Result<Option<Answered>, kong_pdk::Error> {
    let tapped = Tapped::read(&kong.call(ctx::get_shared(TAP)).await?);
    let (handle, status, observed) = match tapped {
        Some(Tapped {
            observed,
            handle,
            status: Some(status),
        }) => (handle, status, Some(observed)),
        tapped => {
            let (handle, status) = kong
                .batch((ctx::get_shared(HANDLE), response::get_status()))
                .await?;
            let handle = handle.as_str().map(str::to_owned);
            (handle, status, tapped.map(|tapped| tapped.observed))
        }
    };
    Ok(handle.map(|handle| Answered {
        handle,
        status,
        observed,
    }))
}

/// A count: Lua's numbers are doubles, which hold it exactly.
fn whole(value: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and a count is far from where a double is no longer exact"
    )]
    value.as_number().map(|number| number as u64)
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
        let read = |table: serde_json::Value| Tapped::read(&table.into());
        let ended = read(json!({
            "tail": "abc", "bytes": 3, "folded": 3, "eof": true, "handle": "1;x", "status": 429,
        }))
        .unwrap();
        assert_eq!(
            (&ended.observed.tail[..], &ended.observed.head[..]),
            (&b"abc"[..], &b""[..])
        );
        assert_eq!((ended.observed.bytes, ended.observed.ended), (3, true));
        assert_eq!(
            (ended.handle.as_deref(), ended.status),
            (Some("1;x"), Some(429))
        );
        let aborted =
            read(json!({"head": "a", "tail": "bc", "recent": ["d", "e"], "bytes": 900})).unwrap();
        assert_eq!(
            (&aborted.observed.tail[..], &aborted.observed.head[..]),
            (&b"bcde"[..], &b"a"[..])
        );
        assert_eq!(
            (aborted.observed.bytes, aborted.observed.ended),
            (900, false)
        );
        assert_eq!((aborted.handle, aborted.status), (None, None));
        let empty = read(json!({"tail": "", "recent": {}, "bytes": 0})).unwrap();
        assert_eq!(empty.observed.bytes, 0);
        for nothing in [json!(null), json!("text"), json!({})] {
            assert!(read(nothing).is_none());
        }
    }

    #[test]
    fn claims_survive_the_context() {
        let claims =
            json!({"tenant": "acme", "org": {"id": 7.0, "roles": ["a", "b"]}, "admin": true});
        assert_eq!(to_json(&claims.clone().into()), claims);
    }
}
