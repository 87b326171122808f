//! The binary event stream of AWS (`application/vnd.amazon.eventstream`), read from a fragment.
//!
//! ```text
//! frame = length u32 · headers' length u32 · CRC-32 of these 8 bytes · headers · payload · CRC-32 of all before
//! ```
//!
//! All numbers are big-endian. A fragment may begin inside a frame: then the first place whose prelude has the right checksum,
//! and whose frame has it too, is where frames go on. No text can imitate one: lengths below 16 MiB begin with a zero byte, which JSON escapes.
//!
//! Source: Amazon Transcribe's and S3 Select's documentation of the event stream encoding; Bedrock uses the same.

/// Prelude and checksum of a frame, in bytes.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// Frames with a right prelude and a wrong checksum that are looked through, so that a hostile stream costs no more than a few passes.
const MOST_BROKEN: usize = 16;

/// Whether a stream of frames begins here.
pub(super) fn begins(start: &[u8]) -> bool {
    prelude(start).is_some()
}

/// The payloads of the whole frames of a fragment, in their order.
pub(super) fn payloads(fragment: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    let (mut at, mut broken) = (0, 0);
    while let Some(rest) = fragment.get(at..).filter(|rest| rest.len() >= PRELUDE) {
        // A frame that is cut off has no more to give, but the place may have been no frame's.
        let whole = prelude(rest)
            .and_then(|(length, headers)| Some((rest.get(..length)?, PRELUDE + headers)));
        if let Some((frame, payload)) = whole {
            let (content, checksum) = frame.split_at(frame.len() - CHECKSUM);
            if number(checksum, 0) == Some(crc32fast::hash(content)) {
                payloads.push(&content[payload..]);
                at += frame.len();
                continue;
            }
            broken += 1;
            if broken == MOST_BROKEN {
                break;
            }
        }
        at += 1;
    }
    payloads
}

/// The lengths of the frame that begins here and of its headers.
fn prelude(bytes: &[u8]) -> Option<(usize, usize)> {
    if bytes.first() != Some(&0) {
        return None;
    }
    let length = number(bytes, 0)? as usize;
    let headers = number(bytes, 4)? as usize;
    let is_frame = headers <= length.checked_sub(PRELUDE + CHECKSUM)?
        && number(bytes, 8)? == crc32fast::hash(&bytes[..8]);
    is_frame.then_some((length, headers))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame with a string header, as Bedrock sends it.
    pub(in super::super) fn frame(event_type: &str, payload: &str) -> Vec<u8> {
        let mut headers = Vec::new();
        for (name, value) in [
            (":event-type", event_type),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ] {
            headers.push(u8::try_from(name.len()).unwrap());
            headers.extend(name.as_bytes());
            headers.push(7);
            headers.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            headers.extend(value.as_bytes());
        }
        let length = PRELUDE + headers.len() + payload.len() + CHECKSUM;
        let mut frame = Vec::new();
        frame.extend(u32::try_from(length).unwrap().to_be_bytes());
        frame.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
        frame.extend(crc32fast::hash(&frame).to_be_bytes());
        frame.extend(headers);
        frame.extend(payload.as_bytes());
        frame.extend(crc32fast::hash(&frame).to_be_bytes());
        frame
    }

    #[test]
    fn a_published_frame_is_read() {
        // The empty message and the one with a payload of 0x7b… in AWS's test vectors: lengths 16 and 29, no headers.
        let empty = [
            0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff,
        ];
        assert_eq!(payloads(&empty), [b""]);
        let payload = [
            0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a, 0x7b, 0x27, 0x66, 0x6f, 0x6f, 0x27,
            0x3a, 0x27, 0x62, 0x61, 0x72, 0x27, 0x7d, 0xc3, 0x65, 0x39, 0x36,
        ];
        assert_eq!(payloads(&payload), [b"{'foo':'bar'}"]);
    }

    #[test]
    fn whole_frames_are_found_wherever_a_fragment_begins_and_ends() {
        let frames = [
            frame("contentBlockDelta", r#"{"delta":{"text":"a"}}"#),
            frame("messageStop", "{}"),
            frame("metadata", r#"{"usage":{}}"#),
        ];
        let all = frames.concat();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        for cut in 0..=all.len() {
            let after = ends
                .iter()
                .zip(&frames)
                .filter(|(end, frame)| **end - frame.len() >= cut);
            assert_eq!(payloads(&all[cut..]).len(), after.count(), "from {cut}");
            let before = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(payloads(&all[..cut]).len(), before, "to {cut}");
        }
    }

    #[test]
    fn a_damaged_frame_is_left_out_and_the_next_one_found() {
        let (first, second) = (frame("a", r#"{"a":1}"#), frame("b", r#"{"b":2}"#));
        for at in 0..first.len() {
            let mut damaged = first.clone();
            damaged[at] ^= 0x41;
            let stream = [damaged, second.clone()].concat();
            assert_eq!(payloads(&stream), [br#"{"b":2}"#], "damaged at {at}");
        }
    }

    #[test]
    fn preludes_that_lie_cost_few_passes() {
        let mut hostile = Vec::new();
        while hostile.len() < 200_000 {
            let mut prelude = 100_000_u32.to_be_bytes().to_vec();
            prelude.extend(0_u32.to_be_bytes());
            prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
            hostile.extend(prelude);
        }
        let started = std::time::Instant::now();
        assert!(payloads(&hostile).is_empty());
        assert!(
            started.elapsed() < std::time::Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
}
