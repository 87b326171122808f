//! A connection that gets any bytes for requests and replies never panics, and its counts stay right.
#![no_main]

use kong_pdk::argument::MaxEntries;
use kong_pdk::call::Call;
use kong_pdk::rpc::{Connection, MAX_IN_FLIGHT};
use kong_pdk::wire::rpc_call;
use kong_pdk::{client, ctx, log, node, request, response, router};
use libfuzzer_sys::fuzz_target;

/// A reply of any bytes is read as a reply to each kind of call.
fn decode(reply: &bytes::Bytes) {
    let _ = ctx::GetShared::decode(reply.clone()).map(|value| value.as_list().map(<[_]>::len));
    let _ = request::GetHeaders::decode(reply.clone()).map(|headers| format!("{headers:?}"));
    let _ = request::GetQuery::decode(reply.clone()).map(|query| query.iter().count());
    let _ = request::GetRawBody::decode(reply.clone());
    let _ = request::GetUriCaptures::decode(reply.clone());
    let _ = request::GetPort::decode(reply.clone());
    let _ = client::GetConsumer::decode(reply.clone());
    let _ = node::GetMemoryStats::decode(reply.clone());
    let _ = router::GetRoute::decode(reply.clone());
    let _ = response::GetSource::decode(reply.clone());
    let _ = log::Serialize::decode(reply.clone());
}

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut connection = Connection::new(4096);
    let mut in_event = false;
    for piece in pieces {
        connection.feed(&piece);
        if !in_event {
            match connection.next_request() {
                Ok(Some(request)) => {
                    if let Some(rpc_call::Call::CmdHandleEvent(_)) = request.call {
                        connection.begin_event(request.sequence);
                        in_event = true;
                    } else {
                        connection.answer(request.sequence, None);
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
        if in_event {
            connection.defer(&request::get_headers(MaxEntries::DEFAULT));
            connection.stage_deferred();
            assert!(connection.owed() <= MAX_IN_FLIGHT);
            while let Ok(Some(reply)) = connection.next_reply() {
                decode(&reply);
            }
            // Every other length ends the event.
            if piece.len() % 2 == 0 {
                connection.finish_event();
                in_event = false;
            }
        }
    }
});
