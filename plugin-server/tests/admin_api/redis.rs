//! Counters in a real Redis, through the same API. Skipped, loudly, where there is none.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use llm_plugin_server::stores::redis::config::RedisConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, is_problem};

/// A Redis that ends with its test.
pub(crate) struct Redis {
    process: Child,
    pub(crate) port: u16,
}

impl Redis {
    pub(crate) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let started = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--port",
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!("SKIPPED counters in a real Redis: redis-server is not installed");
            return None;
        };
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { process, port });
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("redis-server does not listen");
    }

    fn config(&self) -> RedisConfig {
        RedisConfig {
            port: self.port,
            // The machine that runs tests may be busy.
            timeout: Duration::from_secs(2),
            ..RedisConfig::default()
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test]
async fn counters_in_redis_are_shown_corrected_and_said_to_be_away() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::on_socket(dir.path()).await;
    world.spend("in-memory", 5).await.unwrap();
    world.store = world.stores.in_redis(&redis.config()).unwrap();
    world.spend("shared", 800).await.unwrap();
    let grant = world.spend("shared", 150).await.unwrap();
    assert!(world.spend("shared", 100).await.is_none());

    let (status, list) = world.get("/v1/counters?sort=fullest").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let of = |index: usize, field: &str| &list["data"][index][field];
    assert_eq!(
        (of(0, "used"), of(0, "store")),
        (&json!(950), &json!("redis"))
    );
    assert_eq!(
        (of(1, "used"), of(1, "store")),
        (&json!(5), &json!("memory"))
    );
    let counter = format!("/v1/counters/{}", of(0, "key").as_str().unwrap());

    // The same Redis, reached in another way, and one that is away where nothing is counted.
    let slower = RedisConfig {
        timeout: Duration::from_secs(3),
        ..redis.config()
    };
    world.stores.in_redis(&slower).unwrap();
    let denylist = RedisConfig {
        port: 1,
        ..RedisConfig::default()
    };
    world.stores.shared(&denylist).unwrap();
    let (status, open) = world.get("/v1/reservations").await;
    assert_eq!(status, StatusCode::OK, "{open}");
    assert_eq!(open["data"].as_array().unwrap().len(), 3, "{open}");
    let release = format!("/v1/reservations/{}/release", grant.reservation.id);
    assert_eq!(world.post(&release, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(world.get(&counter).await.1["used"], 800);
    let (_, granted) = world
        .post(&format!("{counter}/grant"), &json!({"amount": 300}))
        .await;
    assert_eq!(granted["used"], 500);
    assert!(
        world.spend("shared", 500).await.is_some(),
        "what was granted can be spent"
    );
    assert_eq!(
        world
            .post(&format!("{counter}/reset"), &Value::Null)
            .await
            .1["used"],
        0
    );

    redis.stop();
    is_problem(&world.get(&counter).await, 503);
    is_problem(
        &world.post(&format!("{counter}/reset"), &Value::Null).await,
        503,
    );
    let metrics = world.request(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let value = |sample: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
        line.unwrap_or_else(|| panic!("{sample} is not in:\n{metrics}"))
            .trim()
            .parse()
            .unwrap()
    };
    let store = format!("store=\"redis://127.0.0.1:{}/0\"", redis.port);
    let operations = value(&format!("llm_store_operations_total{{{store}}}"));
    assert!(operations >= 8.0);
    let failures = ["timeout", "error"].map(|reason| {
        value(&format!(
            "llm_store_failures_total{{{store},reason=\"{reason}\"}}"
        ))
    });
    assert!(failures.iter().sum::<f64>() >= 1.0);
    for sample in [
        format!("llm_store_latency_seconds_bucket{{le=\"+Inf\",{store}}}"),
        format!("llm_store_latency_seconds_count{{{store}}}"),
    ] {
        assert!((value(&sample) - operations).abs() < 0.5, "{sample}");
    }
}
