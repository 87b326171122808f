//! Amazon's event stream encoding (`application/vnd.amazon.eventstream`).
//!
//! # Model
//!
//! A message is, with big-endian numbers: its whole length (4 bytes), its headers' length (4), the CRC-32 of these eight bytes (4),
//! the headers, the payload, and the CRC-32 of all before it (4). A header is the length of its name (1), the name, its type (1; 7 is
//! a string), and for a string its length (2) and bytes. Source: Amazon Transcribe's developer guide, "Event stream encoding".

use serde_json::Value;

/// The media type.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The type of a header whose value is a string.
const STRING: u8 = 7;
/// The bytes of a message that are neither headers nor payload.
const FRAME: usize = 16;

/// The message of one event.
pub(crate) fn event(kind: &str, payload: &Value) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(u8::try_from(name.len()).expect("a short name"));
        headers.extend_from_slice(name.as_bytes());
        headers.push(STRING);
        let length = u16::try_from(value.len()).expect("a short value");
        headers.extend_from_slice(&length.to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let payload = payload.to_string();
    let mut message = Vec::with_capacity(FRAME + headers.len() + payload.len());
    for length in [FRAME + headers.len() + payload.len(), headers.len()] {
        let length = u32::try_from(length).expect("an event is small");
        message.extend_from_slice(&length.to_be_bytes());
    }
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload.as_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_its_lengths_its_headers_its_payload_and_two_checksums() {
        let message = event("messageStop", &json!({"a": 1}));
        assert_eq!(message.len(), 104);
        assert_eq!(message[..8], [0, 0, 0, 104, 0, 0, 0, 81]);
        assert_eq!(message[12..30], *b"\x0b:event-type\x07\x00\x0bmes");
        assert_eq!(message[93..100], *br#"{"a":1}"#);
        // Both CRC-32s, as Python's zlib computes them.
        assert_eq!(message[8..12], 0xd00c_8287_u32.to_be_bytes());
        assert_eq!(message[100..], 0x0741_ca68_u32.to_be_bytes());
    }
}
