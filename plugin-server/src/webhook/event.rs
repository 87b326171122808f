//! An event: its body, its name, its signature.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::config::WebhookSecret;
use crate::rate_limiting::outcomes::notices::{Notice, Occasion};

/// An event that is ready to be sent, as often as it takes.
#[derive(Debug)]
pub(super) struct Event {
    /// The same at every attempt, so that a receiver can tell a repetition.
    pub(super) id: String,
    pub(super) body: Bytes,
}

impl Event {
    pub(super) fn new(notice: &Notice) -> Self {
        Self {
            id: draw_id(),
            body: body(notice).to_string().into(),
        }
    }
}

fn body(notice: &Notice) -> Value {
    let Notice {
        occasion,
        unix_seconds,
        counter,
        balance,
    } = notice;
    let values: Map<String, Value> = counter
        .values
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let capacity = counter.limit.capacity();
    json!({
        "type": match occasion {
            Occasion::Warning => "limit.warning",
            Occasion::Refusal => "limit.refusal",
        },
        "timestamp": Timestamp::from_second(*unix_seconds).unwrap_or_default().to_string(),
        "data": {
            "key": counter.key.to_string(),
            "limit_name": counter.limit.name,
            "unit": counter.unit,
            "window_type": counter.window_type,
            "window_size": counter.window.as_secs(),
            "mode": counter.mode,
            "limit": counter.limit.limit.units(),
            "capacity": capacity.units(),
            "used": balance.used.units(),
            // Of the whole limit, whatever share the request's priority class may use.
            "remaining": capacity.saturating_sub(balance.used).units(),
            "reset_after_ms": u64::try_from(balance.reset_after.as_millis()).unwrap_or(u64::MAX),
            "scope": counter.scope,
            "values": values,
            "store": counter.store,
        },
    })
}

/// A name that no other event has.
fn draw_id() -> String {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).expect("the system's random generator never fails");
    format!("msg_{:032x}", u128::from_le_bytes(random))
}

impl WebhookSecret {
    /// The value of `webhook-signature`: HMAC-SHA256 of `id.timestamp.body`.
    pub(super) fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{unix_seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        // The reference libraries' own example.
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn ids_differ_and_hold_no_full_stop() {
        let ids = [draw_id(), draw_id()];
        assert_ne!(ids[0], ids[1]);
        assert!(
            ids.iter()
                .all(|id| id.starts_with("msg_") && !id.contains('.'))
        );
    }
}
