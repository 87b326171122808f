//! One connection from Kong, as a state machine without I/O.
//!
//! Feed it the bytes that arrive, take the bytes to send from it. It knows three states:
//!
//! | state | what Kong does | what may be done |
//! |---|---|---|
//! | idle | sends the next [`RpcCall`] | [`next_request`](Connection::next_request), [`answer`](Connection::answer) |
//! | event | answers PDK calls, one reply each, in order | [`call`](Connection::call), [`defer`](Connection::defer), [`next_reply`](Connection::next_reply), [`finish_event`](Connection::finish_event), [`exit`](Connection::exit) |
//! | exited | ends the connection when the request ends | nothing |
//!
//! Kong answers in order and does not look at what is still unread on its side, so calls are pipelined freely: the machine
//! counts the replies that Kong owes. Whatever ends an event early (a panic, a deadline, a future that was dropped), the owed
//! replies are still known, and are dropped before the next request is read.
//!
//! # Invariants
//!
//! 1. Each call written gets exactly one reply, taken in order or dropped (test: `replies_meet_their_calls`).
//! 2. An event ends with exactly one empty frame and one [`RpcReturn`] that echoes the sequence, or with an exit.
//! 3. At most [`MAX_IN_FLIGHT`] calls are unanswered, so that neither side's socket buffer fills while both write.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::call::Call;
use crate::frame::{self, Decoder, FrameTooLong};
use crate::phase::PhaseName;
use crate::response::Exit;
use crate::wire::{RpcCall, RpcReturn, rpc_return};

/// The most calls that may wait for their replies.
pub const MAX_IN_FLIGHT: usize = 64;

/// Bytes that are not Kong's protocol. The connection is of no further use.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame is too long.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// A request does not decode.
    #[error("a request from Kong does not decode")]
    Request(#[from] prost::DecodeError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Event { sequence: i64 },
    Exited,
}

/// The state machine of one connection.
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    output: BytesMut,
    /// Calls that wait for the next write, encoded, and the length of each.
    deferred: BytesMut,
    deferred_lengths: VecDeque<usize>,
    /// Replies that Kong owes for calls in `output` or already sent.
    owed: usize,
    state: State,
}

impl Connection {
    /// A new connection that refuses frames longer than `max_frame` bytes.
    pub fn new(max_frame: usize) -> Self {
        Self {
            decoder: Decoder::new(max_frame),
            output: BytesMut::new(),
            deferred: BytesMut::new(),
            deferred_lengths: VecDeque::new(),
            owed: 0,
            state: State::Idle,
        }
    }

    /// Takes bytes in from Kong.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// The input buffer with room for a read: append to it what arrives.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.decoder.read_buffer()
    }

    /// What is to be sent: take off the front what has been.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// How many replies Kong owes.
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// Whether nothing is under way: no request has begun to arrive, no reply is owed, nothing waits to be sent.
    pub fn is_quiet(&self) -> bool {
        self.state == State::Idle
            && self.owed == 0
            && self.decoder.is_empty()
            && self.output.is_empty()
    }

    /// Whether an exit was sent: only the end of the connection can follow.
    pub fn has_exited(&self) -> bool {
        self.state == State::Exited
    }

    /// The next request, if it has arrived. Replies that a former event left behind are dropped first.
    ///
    /// # Panics
    ///
    /// During an event.
    pub fn next_request(&mut self) -> Result<Option<RpcCall>, ProtocolError> {
        assert_eq!(self.state, State::Idle, "requests come between events");
        while self.owed > 0 {
            if self.next_reply()?.is_none() {
                return Ok(None);
            }
        }
        match self.decoder.next_frame()? {
            Some(frame) => Ok(Some(RpcCall::decode(frame)?)),
            None => Ok(None),
        }
    }

    /// Answers a request that is not an event.
    pub fn answer(&mut self, sequence: i64, answer: Option<rpc_return::Return>) {
        let frame = frame::begin(&mut self.output);
        RpcReturn {
            sequence,
            r#return: answer,
        }
        .encode(&mut self.output)
        .expect("a BytesMut grows as needed");
        frame.end(&mut self.output);
    }

    /// Begins an event: calls may be made until [`finish_event`](Self::finish_event) or [`exit`](Self::exit).
    pub fn begin_event(&mut self, sequence: i64) {
        self.state = State::Event { sequence };
    }

    /// Queues a call for sending.
    pub fn call<C: Call>(&mut self, call: &C) {
        put_call(&mut self.output, call);
        self.owed += 1;
    }

    /// Keeps a call for the next write. Nobody waits for its reply.
    pub fn defer<C: Call>(&mut self, call: &C) {
        let before = self.deferred.len();
        put_call(&mut self.deferred, call);
        self.deferred_lengths
            .push_back(self.deferred.len() - before);
    }

    /// Queues as many deferred calls for sending as may be in flight. Returns whether some had to stay.
    pub fn stage_deferred(&mut self) -> bool {
        let room = MAX_IN_FLIGHT
            .saturating_sub(self.owed)
            .min(self.deferred_lengths.len());
        let length = self.deferred_lengths.drain(..room).sum();
        self.output
            .extend_from_slice(&self.deferred.split_to(length));
        self.owed += room;
        !self.deferred_lengths.is_empty()
    }

    /// Forgets the deferred calls that were not yet queued: their event has failed.
    pub fn drop_deferred(&mut self) {
        self.deferred.clear();
        self.deferred_lengths.clear();
    }

    /// The next reply, if it has arrived.
    pub fn next_reply(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        if self.owed == 0 {
            return Ok(None);
        }
        let reply = self.decoder.next_frame()?;
        if reply.is_some() {
            self.owed -= 1;
        }
        Ok(reply)
    }

    /// Ends the event: Kong goes on with the request.
    ///
    /// # Panics
    ///
    /// Outside an event.
    pub fn finish_event(&mut self) {
        let State::Event { sequence } = self.state else {
            panic!("an event ends once, after it has begun");
        };
        frame::put(&mut self.output, b"");
        self.answer(sequence, None);
        self.state = State::Idle;
    }

    /// Ends the event with an answer in Kong's place. Kong never replies to it; it ends the connection with the request.
    pub fn exit(&mut self, phase: PhaseName, exit: &Exit) {
        frame::put(&mut self.output, Exit::METHOD.as_bytes());
        let frame = frame::begin(&mut self.output);
        exit.encode(phase, &mut self.output);
        frame.end(&mut self.output);
        self.state = State::Exited;
    }
}

/// A call is two frames: the method's name and the arguments.
fn put_call<C: Call>(buffer: &mut BytesMut, call: &C) {
    frame::put(buffer, C::METHOD.as_bytes());
    let frame = frame::begin(buffer);
    call.encode(buffer);
    frame.end(buffer);
}
