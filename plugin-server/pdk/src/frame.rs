//! Frames: a length of four bytes in the machine's byte order, then that many bytes.
//!
//! Nothing here does I/O. [`Decoder`] takes bytes in whatever pieces they arrive and yields whole frames; [`begin`] and
//! [`Frame`] write one into a buffer without knowing its length beforehand.
//!
//! # Invariants
//!
//! 1. The frames that come out do not depend on how the bytes were cut (test: `frames_do_not_depend_on_chunking`).
//! 2. A length above the cap is refused when its four bytes are there, before room is made for the content.
//! 3. Memory held is at most what has arrived, plus one read.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest frame that is accepted unless a server says otherwise: 32 MiB. Kong itself sets no limit.
pub const DEFAULT_MAX_FRAME: usize = 32 * 1024 * 1024;

/// The bytes of the length.
const HEADER: usize = size_of::<u32>();

/// The least room made before a read.
const MIN_READ: usize = 4 * 1024;

/// The most room made before a read, however long the frame says it is.
const MAX_READ: usize = 256 * 1024;

/// A frame announced itself longer than the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes is longer than the limit of {max} bytes")]
pub struct FrameTooLong {
    /// The announced length in bytes.
    pub length: usize,
    /// The cap in bytes.
    pub max: usize,
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    max: usize,
}

impl Decoder {
    /// A decoder that refuses frames of more than `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max,
        }
    }

    /// Takes bytes in.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer, with room for a read: append to it what arrives.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        let wanted = match self.announced() {
            Some(length) if length <= self.max => {
                (HEADER + length).saturating_sub(self.buffer.len())
            }
            _ => 0,
        };
        if self.buffer.capacity() - self.buffer.len() < MIN_READ {
            self.buffer.reserve(wanted.clamp(MIN_READ, MAX_READ));
        }
        &mut self.buffer
    }

    /// The next whole frame, if it has arrived.
    ///
    /// The frame shares the decoder's buffer: drop it before the next read and the buffer is used again.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(length) = self.announced() else {
            return Ok(None);
        };
        if length > self.max {
            return Err(FrameTooLong {
                length,
                max: self.max,
            });
        }
        if self.buffer.len() - HEADER < length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether no bytes wait: the stream stands between two frames.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The length that the next frame announces.
    fn announced(&self) -> Option<usize> {
        let header = self.buffer.first_chunk::<HEADER>()?;
        Some(u32::from_ne_bytes(*header) as usize)
    }
}

/// A frame being written: remembers where its length belongs.
#[must_use = "a frame is whole only after `end`"]
#[derive(Debug)]
pub struct Frame {
    start: usize,
}

/// Starts a frame at the end of `buffer`; append the content, then call [`Frame::end`].
pub fn begin(buffer: &mut BytesMut) -> Frame {
    let start = buffer.len();
    buffer.put_u32_ne(0);
    Frame { start }
}

impl Frame {
    /// Completes the frame with all that was appended since [`begin`].
    ///
    /// # Panics
    ///
    /// If more than `u32::MAX` bytes were appended.
    pub fn end(self, buffer: &mut BytesMut) {
        let content = self.start + HEADER;
        let length = u32::try_from(buffer.len() - content).expect("a frame is shorter than 4 GiB");
        buffer[self.start..content].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Appends a frame with this content.
pub fn put(buffer: &mut BytesMut, content: &[u8]) {
    let frame = begin(buffer);
    buffer.extend_from_slice(content);
    frame.end(buffer);
}
