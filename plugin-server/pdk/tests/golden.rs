//! Every call and every reply of the recordings of Kong 3.9.1, against the typed calls.
//!
//! `fixtures/plugin-socket.jsonl` has, for the phases access, response and log, the arguments and the reply of each PDK method
//! as hex; `reply: null` is a call that Kong threw on.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fmt::{Debug, Write as _};

use bytes::{Bytes, BytesMut};
use kong_pdk::argument::{EntityId, MaxEntries, Method, QueryValue, Scheme, Status, UpstreamPath};
use kong_pdk::call::Call;
use kong_pdk::client::{Authenticated, Consumer, ConsumerKey, Credential};
use kong_pdk::frame::{DEFAULT_MAX_FRAME, Decoder};
use kong_pdk::phase::PhaseName;
use kong_pdk::rpc::Connection;
use kong_pdk::wire::{InstanceStatus, RpcCall, RpcReturn, rpc_call, rpc_return};
use kong_pdk::{
    Exit, Value, client, ctx, ip, log, methods, nginx, node, request, response, router, service,
};
use prost::Message;
use serde_json::Value as Json;

const RECORDING: &str = include_str!("fixtures/plugin-socket.jsonl");

/// What the recording calls in each phase, as typed calls, in its order.
fn calls() -> Vec<Cell> {
    let hundred = MaxEntries::DEFAULT;
    let consumer = Consumer {
        id: "b32379d9-3d28-5683-a79c-72139be6e34f".into(),
        username: "alice".into(),
        ..Consumer::default()
    };
    let credential = Credential {
        id: "cred-1".into(),
        consumer_id: consumer.id.clone(),
    };
    vec![
        cell(&client::get_ip()),
        cell(&client::get_forwarded_ip()),
        cell(&client::get_port()),
        cell(&client::get_forwarded_port()),
        cell(&client::get_credential()),
        cell(&client::load_consumer(ConsumerKey::username("alice"))),
        cell(&client::load_consumer(ConsumerKey::username("nobody"))),
        cell(&client::get_consumer()),
        cell(&client::authenticate(Authenticated::Both(
            consumer, credential,
        ))),
        cell(&client::get_protocol(true)),
        cell(&ctx::set_shared("k", "v")),
        cell(&ctx::set_shared("k", 3.5)),
        cell(&ctx::get_shared("llm_usage")),
        cell(&ctx::get_shared("none")),
        cell(&ctx::get_shared("t_true")),
        cell(&ctx::get_shared("t_false")),
        cell(&ctx::get_shared("t_num")),
        cell(&ctx::get_shared("t_list")),
        cell(&ctx::get_shared("t_map")),
        cell(&ip::is_trusted("127.0.0.1")),
        cell(&log::alert(["hello ", "alert"])),
        cell(&log::crit(["hello ", "crit"])),
        cell(&log::err(["hello ", "err"])),
        cell(&log::warn(["hello ", "warn"])),
        cell(&log::notice(["hello ", "notice"])),
        cell(&log::info(["hello ", "info"])),
        cell(&log::debug(["hello ", "debug"])),
        cell(&log::set_serialize_value("llm.cost", 5)),
        cell(&log::serialize()),
        cell(&nginx::get_var("request_id")),
        cell(&nginx::get_var("bytes_sent")),
        cell(&nginx::get_var("none_such")),
        cell(&nginx::get_tls1_version_str()),
        cell(&nginx::set_ctx("a", "b")),
        cell(&nginx::get_ctx("authenticated_consumer")),
        cell(&nginx::get_ctx("none")),
        cell(&nginx::req_start_time()),
        cell(&nginx::get_subsystem()),
        cell(&node::get_id()),
        cell(&node::get_memory_stats()),
        cell(&request::get_scheme()),
        cell(&request::get_host()),
        cell(&request::get_port()),
        cell(&request::get_forwarded_scheme()),
        cell(&request::get_forwarded_host()),
        cell(&request::get_forwarded_port()),
        cell(&request::get_http_version()),
        cell(&request::get_method()),
        cell(&request::get_path()),
        cell(&request::get_path_with_query()),
        cell(&request::get_raw_query()),
        cell(&request::get_query_arg("q")),
        cell(&request::get_query_arg("none")),
        cell(&request::get_query(hundred)),
        cell(&request::get_header("x-one")),
        cell(&request::get_header("x-two")),
        cell(&request::get_header("none")),
        cell(&request::get_headers(hundred)),
        cell(&request::get_raw_body()),
        cell(&request::get_uri_captures()),
        cell(&response::get_status()),
        cell(&response::get_header("content-type")),
        cell(&response::get_header("none")),
        cell(&response::get_headers(hundred)),
        cell(&response::get_source()),
        cell(&response::set_status(Status::new(201).unwrap())),
        cell(&response::set_header("x-set", "1")),
        cell(&response::add_header("x-add", "1")),
        cell(&response::clear_header("x-up")),
        cell(&response::set_headers([
            ("x-a", kong_pdk::argument::HeaderValue::from("1")),
            ("x-b", vec!["1", "2"].into()),
        ])),
        exit(
            &Exit::new(Status::TOO_MANY_REQUESTS)
                .header("Retry-After", "7")
                .body(r#"{"message":"limited"}"#),
        ),
        cell(&router::get_route()),
        cell(&router::get_service()),
        cell(&service::set_upstream("pool")),
        cell(&service::set_upstream("none")),
        cell(&service::set_target("127.0.0.1", 47091)),
        cell(&service::request::set_scheme(Scheme::Http)),
        cell(&service::request::set_path(
            UpstreamPath::new("/v2").unwrap(),
        )),
        cell(&service::request::set_raw_query("z=1")),
        cell(&service::request::set_method(Method::Post)),
        cell(&service::request::set_query([("a", "1")])),
        cell(&service::request::set_header("x-u", "1")),
        cell(&service::request::add_header("x-u", "1")),
        cell(&service::request::clear_header("x-one")),
        cell(&service::request::set_headers([("x-u", "1")])),
        cell(&service::request::set_raw_body(r#"{"a":1}"#)),
        cell(&service::response::get_status()),
        cell(&service::response::get_header("content-type")),
        cell(&service::response::get_headers(hundred)),
        cell(&service::response::get_raw_body()),
    ]
}

/// A typed call, encoded, with the way to read its reply.
struct Cell {
    method: Bytes,
    arguments: Bytes,
    decode: fn(Bytes) -> String,
}

fn cell<C: Call<Reply: Debug>>(call: &C) -> Cell {
    let mut connection = Connection::new(DEFAULT_MAX_FRAME);
    connection.call(call);
    let (method, arguments) = two_frames(connection.output());
    assert_eq!(method, C::METHOD);
    Cell {
        method,
        arguments,
        decode: |reply| format!("{:?}", C::decode(reply).expect("a recorded reply decodes")),
    }
}

fn exit(exit: &Exit) -> Cell {
    let mut connection = Connection::new(DEFAULT_MAX_FRAME);
    connection.begin_event(1);
    connection.exit(PhaseName::Access, exit);
    let (method, arguments) = two_frames(connection.output());
    Cell {
        method,
        arguments,
        decode: |_| unreachable!("Kong never replies to an exit"),
    }
}

fn two_frames(bytes: &BytesMut) -> (Bytes, Bytes) {
    let mut decoder = Decoder::new(DEFAULT_MAX_FRAME);
    decoder.feed(bytes);
    let mut frame = || decoder.next_frame().unwrap().expect("a call is two frames");
    let frames = (frame(), frame());
    assert!(decoder.is_empty(), "a call is no more than two frames");
    frames
}

fn rows(kind: &str) -> Vec<Json> {
    RECORDING
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .filter(|row| row["kind"] == kind)
        .collect()
}

fn unhex(text: &Json) -> Option<Bytes> {
    let text = text.as_str()?;
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    Some((0..text.len()).step_by(2).map(digit).collect())
}

#[test]
fn all_270_recorded_calls_agree() {
    let rows = rows("pdk");
    assert_eq!(rows.len(), 270);
    let mut checked = 0;
    for phase in [PhaseName::Access, PhaseName::Response, PhaseName::Log] {
        let rows: Vec<_> = rows
            .iter()
            .filter(|row| row["phase"] == phase.as_str())
            .collect();
        let cells = calls();
        assert_eq!(rows.len(), cells.len());
        let mut replies = String::new();
        for (row, cell) in rows.iter().zip(&cells) {
            let method = row["method"].as_str().unwrap();
            assert_eq!(cell.method, method, "{phase}");
            assert_eq!(
                Some(&cell.arguments),
                unhex(&row["args"]).as_ref(),
                "{phase} {method}"
            );

            let reply = unhex(&row["reply"]);
            let listed = methods()
                .find(|listed| listed.name == method)
                .expect(method);
            let permitted = listed.phases.contains(&phase);
            // An exit that is permitted has no reply either: the client got what it says.
            let answered = if method == Exit::METHOD {
                row["client_status"] == 429
            } else {
                reply.is_some()
            };
            assert_eq!(permitted, answered, "{phase} {method}");

            let reply = match reply {
                Some(reply) => (cell.decode)(reply),
                None if permitted => "exit".to_owned(),
                None => "throws".to_owned(),
            };
            writeln!(replies, "{method}: {reply}").unwrap();
            checked += 1;
        }
        insta::assert_snapshot!(format!("replies_in_{phase}"), replies);
    }
    assert_eq!(checked, 270);
}

#[test]
fn the_method_table_has_each_recorded_method_once() {
    let mut listed: Vec<_> = methods().map(|method| method.name).collect();
    listed.sort_unstable();
    let mut recorded: Vec<_> = rows("pdk")
        .iter()
        .map(|row| row["method"].as_str().unwrap().to_owned())
        .collect();
    recorded.sort_unstable();
    recorded.dedup();
    assert_eq!(listed, recorded);
    assert_eq!(listed.len(), 74);
}

#[test]
fn recorded_starts_of_instances_agree() {
    let rows = rows("start_instance");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let bytes = unhex(&row["call"]).unwrap();
        let call = RpcCall::decode(bytes.clone()).unwrap();
        assert_eq!(call.encode_to_vec(), bytes);
        let sequence = call.sequence;
        let Some(rpc_call::Call::CmdStartInstance(start)) = call.call else {
            panic!("the call starts an instance");
        };
        let config: Json = serde_json::from_slice(&start.config).unwrap();
        assert_eq!(config, row["config"]);

        let recorded = unhex(&row["return"]).unwrap();
        let Some(rpc_return::Return::InstanceStatus(status)) =
            RpcReturn::decode(recorded.clone()).unwrap().r#return
        else {
            panic!("the answer is a status");
        };
        let mut connection = Connection::new(DEFAULT_MAX_FRAME);
        connection.answer(
            sequence,
            Some(rpc_return::Return::InstanceStatus(InstanceStatus {
                name: start.name,
                instance_id: status.instance_id,
                config: None,
                started_at: 0,
            })),
        );
        assert_eq!(connection.output()[4..], recorded[..]);
    }
}

/// The snapshots say what the replies decode to; these are the ones with a trap, by hand.
#[test]
fn replies_with_a_trap_are_read_as_kong_means_them() {
    let bytes = |hex: &str| unhex(&Json::from(hex)).unwrap();
    assert_eq!(ctx::GetShared::decode(bytes("0801")).unwrap(), Value::Nil);
    assert_eq!(ctx::GetShared::decode(bytes("")).unwrap(), Value::Nil);
    assert_eq!(
        ctx::GetShared::decode(bytes("2000")).unwrap(),
        Value::Bool(false)
    );
    assert_eq!(
        ctx::GetShared::decode(bytes("110000000000000440")).unwrap(),
        Value::Number(2.5)
    );
    assert_eq!(
        ctx::GetShared::decode(bytes("320a0a031a01610a031a0162")).unwrap(),
        Value::list(["a", "b"]),
    );
    let query = request::GetQuery::decode(bytes(
        "0a110a0171120c320a0a031a01310a031a01320a0a0a04666c616712022001",
    ))
    .unwrap();
    assert_eq!(query.get("flag"), Some(request::QueryArgument::Flag));
    let both: Vec<_> = query.get_all("q").collect();
    assert_eq!(
        both,
        [
            request::QueryArgument::Text(b"1"),
            request::QueryArgument::Text(b"2")
        ]
    );
    assert_eq!(client::LoadConsumer::decode(bytes("")).unwrap(), None);
    assert_eq!(
        request::GetRawBody::decode(bytes("")).unwrap(),
        request::RawBody::Content(Bytes::new()),
    );
    assert_eq!(
        request::GetRawBody::decode(bytes("12042f746d70")).unwrap(),
        request::RawBody::File("/tmp".into()),
    );
    assert_eq!(
        request::GetHeader::decode(bytes("0a02fffe"))
            .unwrap()
            .unwrap()
            .to_str(),
        None
    );
}

#[test]
fn a_nil_is_sent_as_an_empty_value() {
    let cell = cell(&ctx::set_shared("k", Value::Nil));
    assert_eq!(cell.arguments[..], [0x0a, 1, b'k', 0x12, 0]);
}

#[test]
fn arguments_that_kong_throws_on_cannot_be_made() {
    assert_eq!(MaxEntries::new(0), None);
    assert_eq!(MaxEntries::new(1001), None);
    assert_eq!(Status::new(99), None);
    assert_eq!(Status::new(600), None);
    UpstreamPath::new("v2").unwrap_err();
    UpstreamPath::new("").unwrap_err();
    EntityId::new("alice").unwrap_err();
    EntityId::new("b32379d9-3d28-5683-a79c-72139be6e34f").unwrap();
    let flag = cell(&service::request::set_query([("flag", QueryValue::Flag)]));
    assert_eq!(
        flag.arguments[..],
        [&[0x0a, 0x0a, 0x0a, 4][..], b"flag", &[0x12, 2, 0x20, 1]].concat()
    );
}
