//! Calls to Kong, and their replies.

use kong_pdk::wire;
use prost::Message;
use serde_json::json;

use super::fake_kong::Ended;
use super::running::Running;
use super::script::BIG;

fn string(text: &str) -> Vec<u8> {
    wire::String {
        v: text.to_owned().into(),
    }
    .encode_to_vec()
}

#[tokio::test]
async fn a_batch_of_64_calls_goes_out_before_the_first_reply() {
    let running = Running::start();
    let (mut kong, id) = running.script("batch").await;
    for _ in 0..3 {
        kong.begin(id, "access").await;
        kong.withhold(64).await;
        let mut number = 0;
        let (calls, ended) = kong
            .serve(|_, arguments| {
                assert_eq!(arguments[2..], *number.to_string().as_bytes());
                number += 1;
                arguments.to_vec()
            })
            .await;
        assert_eq!((calls.len(), ended), (64, Ended::Continued));
    }
}

#[tokio::test]
async fn replies_of_a_dropped_batch_are_not_taken_for_others() {
    let running = Running::start();
    let (mut kong, id) = running.script("abandon").await;
    for _ in 0..2 {
        kong.begin(id, "access").await;
        kong.withhold(3).await;
        let (calls, ended) = kong.serve(|method, _| string(method)).await;
        assert_eq!((calls.len(), ended), (4, Ended::Continued));
    }
    assert_eq!(running.counters().panics, 0);
}

#[tokio::test]
async fn deferred_calls_ride_with_the_end_and_keep_their_order() {
    let running = Running::start();
    let (mut kong, id) = running.script("order").await;
    kong.begin(id, "access").await;
    // Both come in one flight, the deferred one first.
    kong.withhold(2).await;
    let (calls, ended) = kong.serve(|_, _| vec![]).await;
    assert_eq!(
        calls,
        [
            "kong.ctx.shared.set",
            "kong.ctx.shared.get",
            "kong.log.notice"
        ]
    );
    assert_eq!(ended, Ended::Continued);
    // More than may be in flight.
    let id = kong
        .start("script", &json!({ "act": "many-deferred" }))
        .await;
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!((calls.len(), ended), (200, Ended::Continued));
    // The replies that were left behind are not taken for a request.
    assert_eq!(kong.event(id, "log").await.1, Ended::Continued);
}

#[tokio::test]
async fn calls_and_replies_larger_than_the_sockets_buffers_do_not_lock_up() {
    let running = Running::start();
    let (mut kong, id) = running.script("big-exchange").await;
    kong.begin(id, "access").await;
    let reply = wire::Value {
        kind: Some(wire::value::Kind::StringValue("k".repeat(BIG).into())),
    }
    .encode_to_vec();
    // Kong answers each call before it reads the next, and waits while nobody reads the answer.
    let (calls, ended) = kong.serve(|_, _| reply.clone()).await;
    assert_eq!((calls.len(), ended), (100, Ended::Continued));
}

#[tokio::test]
async fn header_bytes_that_are_not_text_are_kept() {
    let running = Running::start();
    let (mut kong, id) = running.script("headers").await;
    kong.begin(id, "access").await;
    let string = |bytes: &'static [u8]| wire::Value {
        kind: Some(wire::value::Kind::StringValue(bytes.into())),
    };
    let entry = |key: &'static str, value| wire::FieldsEntry {
        key: key.into(),
        value: Some(value),
    };
    let two = wire::value::Kind::ListValue(wire::ListValue {
        values: vec![string(b"a"), string(b"b")],
    });
    let headers = wire::Struct {
        fields: vec![
            entry("x-raw", string(b"\xff\xfe")),
            entry("x-two", wire::Value { kind: Some(two) }),
            entry("x-empty", string(b"")),
        ],
    };
    let mut sent = Vec::new();
    let (_, ended) = kong
        .serve(|method, arguments| {
            if method == "kong.request.get_headers" {
                return headers.encode_to_vec();
            }
            sent = arguments.to_vec();
            Vec::new()
        })
        .await;
    assert_eq!(ended, Ended::Continued);
    assert_eq!(sent, b"\x0a\x05x-raw\x12\x04\x1a\x02\xff\xfe");
}
