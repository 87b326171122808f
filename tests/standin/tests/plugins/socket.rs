//! Events on the socket of a plugin server, and what becomes of them when it misbehaves.

use std::os::unix::fs::PermissionsExt as _;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use serde_json::{Value, json};

use super::server::{Seen, Step};
use super::{World, text};

fn is_event(phase: &'static str) -> impl Fn(&Seen) -> bool + Copy {
    move |seen| matches!(seen, Seen::Event(of) if of == phase)
}

fn is_start(seen: &Seen) -> bool {
    matches!(seen, Seen::Started(_))
}

#[tokio::test]
async fn an_event_reaches_a_started_instance_and_log_follows_in_the_background() {
    let world = World::with_probe().await;
    world
        .server
        .script("access", [Step::Call("kong.request.get_path", vec![])]);
    world
        .server
        .script("log", [Step::Call("kong.response.get_status", vec![])]);
    assert_eq!(world.get().await.0, 200);
    world
        .seen(1, |seen| {
            matches!(seen, Seen::Reply("kong.response.get_status", _))
        })
        .await;
    assert_eq!(
        world.server.reply("kong.request.get_path"),
        Some(text("/x"))
    );
    assert_eq!(
        world.server.reply("kong.response.get_status"),
        Some(vec![0x08, 0xc8, 0x01])
    );
    let Some(Seen::Started(config)) = world.server.seen().into_iter().find(is_start) else {
        panic!("no start")
    };
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["greeting"], "hi");
    assert!(
        config["__plugin_id"].is_string()
            && config["route_id"].is_string()
            && config.get("service_id").is_none()
    );
}

#[tokio::test]
async fn sockets_are_kept_and_each_worker_has_its_own_instance() {
    let world = World::new(json!([{"name": "probe"}]), json!({}), 2).await;
    for events in 1..=4 {
        assert_eq!(world.get().await.0, 200);
        world.seen(events, is_event("log")).await;
    }
    assert_eq!(world.server.count(is_start), 2);
    // The log event of a request may overlap the next request's access event, on a socket of its own.
    assert!(world.server.count(|seen| *seen == Seen::Connected) <= 4);
}

#[tokio::test]
async fn an_exit_answers_the_client_and_ends_the_socket_without_a_reply() {
    let world = World::with_probe().await;
    let exit = [vec![0x08, 0xad, 0x03, 0x12, 0x07], b"limited".to_vec()].concat();
    world
        .server
        .script("access", [Step::Call("kong.response.exit", exit)]);
    assert_eq!(world.get().await.0, 429);
    world.seen(1, |seen| *seen == Seen::EndOfFile).await;
    world.seen(1, is_event("log")).await;
}

#[tokio::test]
async fn a_close_in_an_event_starts_a_new_instance_and_sends_the_event_again() {
    let world = World::with_probe().await;
    for _ in 0..3 {
        world.server.script("access", [Step::Close]);
    }
    assert_eq!(world.get().await.0, 200);
    assert_eq!(world.server.count(is_event("access")), 4);
    assert_eq!(world.server.count(is_start), 4);
}

#[tokio::test]
async fn a_dropped_event_is_sent_again_without_a_limit_even_when_the_client_left() {
    let world = World::with_probe().await;
    for _ in 0..1000 {
        world.server.script("access", [Step::Close]);
    }
    tokio::select! {
        _ = world.answer() => panic!("the client was to leave before the answer"),
        () = world.seen(1, is_event("access")) => {}
    }
    world.seen(1001, is_event("access")).await;
    world.seen(1, is_event("log")).await;
}

#[tokio::test]
async fn a_response_phase_sees_the_whole_answer_and_may_change_it() {
    let phases = ["response", "log"];
    let world = World::with_phases(json!([{"name": "probe"}]), json!({}), 1, &phases).await;
    world.server.script(
        "response",
        [
            Step::Call("kong.service.response.get_raw_body", vec![]),
            Step::Call("kong.response.set_status", vec![0x08, 0xc9, 0x01]),
        ],
    );
    let pieces = world.stream();
    pieces.send("{\"a\":").unwrap();
    pieces.send("1}").unwrap();
    drop(pieces);
    assert_eq!(world.get().await, (201, json!({"a": 1})));
    let body = world.server.reply("kong.service.response.get_raw_body");
    assert_eq!(body, Some(text("{\"a\":1}")));
}

#[tokio::test]
async fn a_close_on_start_is_one_500_and_no_loop() {
    let world = World::with_probe().await;
    world.server.refuse_starts(1);
    let (status, body) = world.get().await;
    assert_eq!(
        (status, &body["message"]),
        (500, &json!("An unexpected error occurred"))
    );
    assert_eq!(world.server.count(is_event("access")), 0);
    assert_eq!(world.get().await.0, 200);
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_500() {
    let world = World::with_probe().await;
    world.server.vanish();
    assert_eq!(world.get().await.0, 500);
}

#[tokio::test]
async fn wrong_calls_are_a_500_and_end_the_socket() {
    for wrong in ["kong.request.get_everything", "kong.response.get_status"] {
        let world = World::with_probe().await;
        world.server.script("access", [Step::Call(wrong, vec![])]);
        assert_eq!(world.get().await.0, 500, "{wrong}");
        world.seen(1, |seen| *seen == Seen::EndOfFile).await;
        assert_eq!(world.server.count(is_event("access")), 1);
    }
}

#[tokio::test]
async fn a_wrong_sequence_is_a_500() {
    let world = World::with_probe().await;
    world.server.script("access", [Step::WrongSequence]);
    assert_eq!(world.get().await.0, 500);
    assert_eq!(world.server.count(is_event("access")), 1);
}

#[tokio::test]
async fn calls_in_one_write_are_answered_in_order() {
    let world = World::with_probe().await;
    let calls = (0..64)
        .map(|_| ("kong.request.get_method", vec![]))
        .collect();
    world.server.script("access", [Step::Batch(calls)]);
    assert_eq!(world.get().await.0, 200);
    assert_eq!(
        world
            .server
            .count(|seen| *seen == Seen::Reply("kong.request.get_method", text("GET"))),
        64
    );
}

#[tokio::test]
async fn a_long_body_reaches_plugins_as_a_private_file() {
    let world = World::with_probe().await;
    for length in [8192, 8193] {
        world
            .server
            .script("access", [Step::Call("kong.request.get_raw_body", vec![])]);
        let body = Full::from("x".repeat(length));
        let request = Request::post("/")
            .header("host", "gw")
            .header("content-length", length)
            .body(body)
            .unwrap();
        assert_eq!(world.request(request).await.status(), 200);
    }
    let replies: Vec<_> = world.server.seen();
    let replies: Vec<_> = replies
        .iter()
        .filter_map(|seen| {
            if let Seen::Reply(_, reply) = seen {
                Some(reply)
            } else {
                None
            }
        })
        .collect();
    assert_eq!((replies[0][0], replies[0].len()), (0x0a, 8195));
    assert_eq!(replies[1][0], 0x12);
}

#[tokio::test]
async fn the_file_of_a_body_is_readable_for_its_owner_alone() {
    let world = World::with_probe().await;
    world
        .server
        .script("access", [Step::Call("kong.request.get_raw_body", vec![])]);
    let pieces = world.stream();
    let request = Request::post("/")
        .header("host", "gw")
        .header("content-length", 20_000);
    let response = world
        .request(request.body(Full::from("x".repeat(20_000))).unwrap())
        .await;
    // The request is not over while its answer streams.
    let reply = world.server.reply("kong.request.get_raw_body").unwrap();
    let path = String::from_utf8(reply[2..].to_vec()).unwrap();
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (file.permissions().mode() & 0o777, file.len()),
        (0o600, 20_000)
    );
    drop(pieces);
    response.into_body().collect().await.unwrap();
}
