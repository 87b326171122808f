//! Laws of the frames, of the pipeline and of values, for any input.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use kong_pdk::call::Call;
use kong_pdk::frame::{self, DEFAULT_MAX_FRAME, Decoder, FrameTooLong};
use kong_pdk::rpc::Connection;
use kong_pdk::wire::{self, CmdHandleEvent, RpcCall, RpcReturn, rpc_call};
use kong_pdk::{ByteString, Value, request};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;

/// Cuts bytes into pieces of these lengths; the rest is the last piece.
fn pieces<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut lengths = lengths.iter();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = lengths
            .next()
            .copied()
            .unwrap_or(rest.len())
            .clamp(1, rest.len());
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece)
    })
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = || vec(any::<u8>(), 0..12).prop_map(ByteString::from);
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        proptest::num::f64::NORMAL.prop_map(Value::Number),
        Just(Value::Number(0.0)),
        bytes().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            btree_map(bytes(), inner, 0..6).prop_map(Value::Map),
        ]
    })
}

/// What a scripted event does between its beginning and its end.
#[derive(Debug, Clone)]
enum Step {
    /// A batch of so many calls, all of whose replies are read.
    Batch(usize),
    /// A call with the next write.
    Defer,
    /// A batch that is dropped before its replies are read.
    Abandon(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..20_usize).prop_map(Step::Batch),
        Just(Step::Defer),
        (1..5_usize).prop_map(Step::Abandon)
    ];
    vec(step, 0..8)
}

/// Kong's side of the pipe, as far as order matters: answers each call with its own argument.
#[derive(Default)]
struct Echo {
    decoder: Option<Decoder>,
    method: Option<Bytes>,
    returned: Vec<RpcReturn>,
    ended: bool,
}

impl Echo {
    fn receive(&mut self, bytes: &[u8]) -> BytesMut {
        let decoder = self
            .decoder
            .get_or_insert_with(|| Decoder::new(DEFAULT_MAX_FRAME));
        decoder.feed(bytes);
        let mut answers = BytesMut::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            if std::mem::take(&mut self.ended) {
                self.returned.push(RpcReturn::decode(frame).unwrap());
            } else if self.method.take().is_some() {
                frame::put(&mut answers, &frame);
            } else if frame.is_empty() {
                self.ended = true;
            } else {
                self.method = Some(frame);
            }
        }
        answers
    }
}

proptest! {
    #[test]
    fn frames_do_not_depend_on_chunking(
        frames in vec(vec(any::<u8>(), 0..200), 0..20),
        lengths in vec(1..50_usize, 0..200),
    ) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            frame::put(&mut bytes, frame);
        }
        let mut decoder = Decoder::new(200);
        let mut decoded = Vec::new();
        for piece in pieces(&bytes, &lengths) {
            // Half of the pieces come as a read would bring them.
            if piece.len() % 2 == 0 {
                decoder.feed(piece);
            } else {
                decoder.read_buffer().extend_from_slice(piece);
            }
            while let Some(frame) = decoder.next_frame().unwrap() {
                decoded.push(frame.to_vec());
            }
        }
        prop_assert_eq!(decoded, frames);
        prop_assert!(decoder.is_empty());
    }

    #[test]
    fn a_frame_above_the_cap_is_refused_by_its_length(length in 101..u32::MAX) {
        let mut decoder = Decoder::new(100);
        decoder.feed(&length.to_ne_bytes());
        let room = decoder.read_buffer().capacity();
        prop_assert!(room < 64 * 1024, "room for {room} bytes was made");
        prop_assert_eq!(decoder.next_frame(), Err(FrameTooLong { length: length as usize, max: 100 }));
    }

    #[test]
    fn values_survive_the_wire(value in value()) {
        let bytes = wire::Value::from(value.clone()).encode_to_vec();
        let decoded = Value::from(wire::Value::decode(&bytes[..]).unwrap());
        prop_assert_eq!(decoded, value);
    }

    /// Whatever mixture of batches, deferred and abandoned calls the events make, and however the bytes are cut: each batch gets
    /// the replies to its own calls, and each event its return.
    #[test]
    fn replies_meet_their_calls(events in vec(steps(), 1..5), lengths in vec(1..40_usize, 0..300)) {
        let mut connection = Connection::new(DEFAULT_MAX_FRAME);
        let mut kong = Echo::default();
        let mut number = 0_usize;
        let mut call = |connection: &mut Connection, deferred: bool| {
            number += 1;
            let call = request::get_header(number.to_string());
            if deferred { connection.defer(&call) } else { connection.call(&call) }
            number.to_string()
        };
        let exchange = |connection: &mut Connection, kong: &mut Echo| {
            let output = connection.output().split();
            for piece in pieces(&output, &lengths) {
                let answers = kong.receive(piece);
                for piece in pieces(&answers, &lengths) {
                    connection.feed(piece);
                }
            }
        };
        for (sequence, steps) in (0..).zip(&events) {
            let mut request = BytesMut::new();
            frame::put(&mut request, &RpcCall {
                sequence,
                call: Some(rpc_call::Call::CmdHandleEvent(CmdHandleEvent::default())),
            }.encode_to_vec());
            for piece in pieces(&request, &lengths) {
                connection.feed(piece);
            }
            prop_assert_eq!(connection.next_request().unwrap().unwrap().sequence, sequence);
            connection.begin_event(sequence);
            for step in steps {
                match step {
                    Step::Defer => {
                        call(&mut connection, true);
                    }
                    Step::Abandon(count) => {
                        prop_assert!(!connection.stage_deferred());
                        for _ in 0..*count {
                            call(&mut connection, false);
                        }
                    }
                    Step::Batch(count) => {
                        prop_assert!(!connection.stage_deferred());
                        let unwanted = connection.owed();
                        let mut expected: VecDeque<_> = (0..*count).map(|_| call(&mut connection, false)).collect();
                        exchange(&mut connection, &mut kong);
                        for _ in 0..unwanted {
                            prop_assert!(connection.next_reply().unwrap().is_some());
                        }
                        while let Some(expected) = expected.pop_front() {
                            let reply = connection.next_reply().unwrap().unwrap();
                            let text = request::GetHeader::decode(reply).unwrap().unwrap();
                            prop_assert_eq!(text.to_str(), Some(expected.as_str()));
                        }
                        prop_assert_eq!(connection.owed(), 0);
                    }
                }
            }
            prop_assert!(!connection.stage_deferred());
            connection.finish_event();
            exchange(&mut connection, &mut kong);
        }
        prop_assert!(connection.next_request().unwrap().is_none());
        prop_assert!(connection.is_quiet());
        let sequences: Vec<_> = kong.returned.iter().map(|returned| returned.sequence).collect();
        prop_assert_eq!(sequences, (0..).take(events.len()).collect::<Vec<i64>>());
    }
}
