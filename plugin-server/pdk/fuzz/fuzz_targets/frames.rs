//! Any bytes, cut in any way, give the same frames, and never more memory than was fed and one read.
#![no_main]

use kong_pdk::frame::Decoder;
use libfuzzer_sys::fuzz_target;

const MAX: usize = 512;

/// The frames of these bytes, fed in pieces of this length, until the first one that is too long.
fn frames(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::new(MAX);
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        let buffer = decoder.read_buffer();
        assert!(buffer.capacity() <= 2 * (bytes.len() + 256 * 1024));
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= MAX);
                    frames.push(frame.to_vec());
                }
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    assert_eq!(frames(bytes, piece.into()), frames(bytes, bytes.len()));
});
