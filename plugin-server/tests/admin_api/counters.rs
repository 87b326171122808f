//! Counters and reservations: listed, corrected, audited.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, answer, is_problem};

#[tokio::test]
async fn counters_are_listed_with_whose_they_are_and_where_they_stand() {
    let world = World::open().await;
    for (consumer, tokens) in [("alice", 100), ("bob", 900), ("carol", 10)] {
        world.spend(consumer, tokens).await.unwrap();
    }
    let (status, list) = world.get("/v1/counters").await;
    assert_eq!(
        (status, &list["total"], &list["next"]),
        (StatusCode::OK, &json!(3), &Value::Null)
    );
    let bob = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|counter| counter["values"]["consumer"] == "bob")
        .unwrap();
    let mut expected = json!({
        "key": bob["key"], "limit_name": "per-minute", "unit": "total_tokens", "window_type": "sliding",
        "window_size": 60, "mode": "enforce", "limit": 1000, "capacity": 1000, "used": 900, "remaining": 100,
        "scope": {"service": "chat", "route": null, "consumer": null}, "values": {"consumer": "bob"},
        "store": "memory",
    });
    for moving in ["reset_after_ms", "last_seen_ms_ago"] {
        assert!(bob[moving].is_u64(), "{bob}");
        expected[moving] = bob[moving].clone();
    }
    assert_eq!(*bob, expected);

    let path = format!("/v1/counters/{}", bob["key"].as_str().unwrap());
    assert_eq!(world.get(&path).await.1["used"], 900);
    let consumers = |list: &Value| -> Vec<String> {
        let counters = list["data"].as_array().unwrap().iter();
        counters
            .map(|counter| counter["values"]["consumer"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, fullest) = world.get("/v1/counters?sort=fullest&size=2").await;
    assert_eq!(consumers(&fullest), ["bob", "alice"]);
    assert_eq!(fullest["next"], 2);
    let (_, rest) = world.get("/v1/counters?sort=fullest&size=2&offset=2").await;
    assert_eq!(
        (consumers(&rest), &rest["next"]),
        (vec!["carol".to_owned()], &Value::Null)
    );
    let (_, found) = world.get("/v1/counters?search=ALI&limit=per-minute").await;
    assert_eq!(consumers(&found), ["alice"]);
    assert_eq!(world.get("/v1/counters?limit=other").await.1["total"], 0);
    let far = format!("/v1/counters?offset={}", usize::MAX);
    assert_eq!(world.get(&far).await.1["data"], json!([]));
}

#[tokio::test]
async fn a_counter_is_corrected_over_the_unix_socket_and_each_change_is_audited() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::on_socket(dir.path()).await;
    world.spend("alice", 800).await.unwrap();
    let key = world.get("/v1/counters").await.1["data"][0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let counter = format!("/v1/counters/{key}");
    let mut used = Vec::new();
    for (action, body) in [
        ("adjust", json!({"by": 150})),
        ("adjust", json!({"by": -50})),
        ("grant", json!({"amount": 600})),
        ("grant", json!({"amount": 9_007_199_254_740_991_u64})),
        ("adjust", json!({"by": 7})),
        ("reset", Value::Null),
    ] {
        let (status, counter) = world.post(&format!("{counter}/{action}"), &body).await;
        assert_eq!(status, StatusCode::OK, "{counter}");
        used.push(counter["used"].as_u64().unwrap());
    }
    assert_eq!(used, [950, 900, 300, 0, 7, 0]);
    assert!(
        world.spend("alice", 1_000).await.is_some(),
        "all of it is free"
    );

    let audit: Vec<Value> = log
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["target"] == "audit")
        .collect();
    assert_eq!(audit.len(), used.len());
    let mut before = 800;
    for (line, after) in audit.iter().zip(used) {
        let fields = &line["fields"];
        assert_eq!(
            (&fields["before"], &fields["after"]),
            (&json!(before), &json!(after))
        );
        assert_eq!(fields["key"], key.as_str());
        assert!(fields["peer"].as_str().unwrap().starts_with("uid "));
        before = after;
    }
}

#[tokio::test]
async fn an_open_reservation_is_listed_and_released_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_socket(dir.path()).await;
    let grant = world.spend("alice", 800).await.unwrap();
    let (_, list) = world.get("/v1/reservations").await;
    let open = &list["data"][0];
    assert_eq!(open["id"], grant.reservation.id.to_string());
    assert_eq!(open["charges"][0]["limit_name"], "per-minute");
    assert_eq!(open["charges"][0]["cost"], 800);
    assert!(open["expires_in_ms"].as_u64().unwrap() <= 600_000);
    let release = format!("/v1/reservations/{}/release", grant.reservation.id);
    let (status, released) = world.post(&release, &Value::Null).await;
    assert_eq!((status, &released["id"]), (StatusCode::OK, &open["id"]));
    assert_eq!(world.get("/v1/counters").await.1["data"][0]["used"], 0);
    is_problem(&world.post(&release, &Value::Null).await, 404);
    assert_eq!(world.get("/v1/reservations").await.1["data"], json!([]));
}

#[tokio::test]
async fn what_is_unknown_or_malformed_is_said_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_socket(dir.path()).await;
    world.spend("alice", 5).await.unwrap();
    let unknown = "f".repeat(32);
    is_problem(&world.get(&format!("/v1/counters/{unknown}")).await, 404);
    is_problem(
        &world
            .post(&format!("/v1/counters/{unknown}/reset"), &Value::Null)
            .await,
        404,
    );
    is_problem(
        &world
            .post(&format!("/v1/reservations/{unknown}/release"), &Value::Null)
            .await,
        404,
    );
    is_problem(&world.get("/v1/nothing").await, 404);
    is_problem(&world.post("/v1/counters", &Value::Null).await, 405);
    for path in [
        "/v1/counters/short",
        "/v1/counters/%FF",
        "/v1/counters?size=0",
        "/v1/counters?size=1001",
        "/v1/counters?size=-1",
        "/v1/counters?offset=x",
        "/v1/counters?sort=best",
        "/v1/counters?unknown=1",
        "/v1/reservations?size=0",
        "/v1/refusals?size=99999",
    ] {
        is_problem(&world.get(path).await, 400);
    }
    let key = world.get("/v1/counters").await.1["data"][0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    for (action, body) in [
        ("adjust", ""),
        ("adjust", "{}"),
        ("adjust", "{\"by\": 0}"),
        ("adjust", "{\"by\": 1.5}"),
        ("adjust", "{\"by\": -9007199254740992}"),
        ("adjust", "{\"by\": 99999999999999999999}"),
        ("adjust", "{\"by\": 1, \"also\": 2}"),
        ("grant", "{\"amount\": 0}"),
        ("grant", "{\"amount\": -1}"),
        ("grant", "\u{feff}nonsense"),
        (
            "grant",
            &format!("{{\"amount\": 1, \"{}\": 1}}", "x".repeat(5_000)),
        ),
    ] {
        let path = format!("/v1/counters/{key}/{action}");
        let request = world.request(Method::POST, &path).body(body.to_owned());
        is_problem(&answer(request).await, 400);
    }
    assert_eq!(world.get("/v1/counters").await.1["data"][0]["used"], 5);
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
