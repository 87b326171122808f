//! Limits, use, refusals, events and metrics.

use std::time::Duration;

use futures_util::StreamExt as _;
use llm_plugin_server::rate_limiting::outcomes::{LimitDescription, Scope, Settled, Tokens};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{HOSTILE, World};

#[tokio::test]
async fn the_last_minute_and_the_refusals_are_told_by_tenant_and_model() {
    let world = World::open().await;
    world.spend("alice", 600).await.unwrap();
    assert!(world.spend("alice", 600).await.is_none());
    assert!(world.spend(HOSTILE, 5_000).await.is_none());
    world.outcomes.settled(&Settled {
        tenant: "alice",
        model: Some("gpt-4o"),
        usage: Some(Tokens {
            prompt: 100,
            completion: 250,
            ..Tokens::default()
        }),
        source: "provider",
        reserved_tokens: 600,
        spent_tokens: 350,
        cost_microdollars: Some(1_200),
    });
    let (_, usage) = world.get("/v1/usage").await;
    assert_eq!(usage["window_seconds"], 60);
    let alice = &usage["tenants"][0];
    for (row, requests, refused) in [
        (alice, 2, 1),
        (&usage["models"][0], 3, 2),
        (&usage["totals"], 3, 2),
    ] {
        assert_eq!(
            (&row["requests"], &row["refused"]),
            (&json!(requests), &json!(refused))
        );
        assert_eq!(
            (&row["tokens"], &row["cost_microdollars"]),
            (&json!(350), &json!(1200))
        );
        assert_eq!(row["tokens_by_second"].as_array().unwrap().len(), 60);
    }
    assert_eq!(
        (&alice["tenant"], &usage["models"][0]["model"]),
        (&json!("alice"), &json!("gpt-4o"))
    );

    let (_, refusals) = world.get("/v1/refusals").await;
    let [never, denied] = refusals["data"].as_array().unwrap().as_slice() else {
        panic!("{refusals}");
    };
    assert_eq!(
        (&never["kind"], &never["retry_after_ms"]),
        (&json!("never_passes"), &Value::Null)
    );
    assert_eq!(never["tenant"], HOSTILE.replace('\n', "\u{fffd}"));
    assert_eq!(
        (&denied["kind"], &denied["limit_name"]),
        (&json!("denied"), &json!("per-minute"))
    );
    assert!(denied["retry_after_ms"].as_u64().unwrap() > 0);
    assert_eq!(
        world.get("/v1/refusals?size=1").await.1["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn limits_are_shown_as_long_as_an_instance_has_them() {
    let world = World::open().await;
    let shown = world.outcomes.publish(vec![LimitDescription {
        name: "monthly".to_owned(),
        unit: "cost",
        limit: 50_000_000,
        window_type: "calendar",
        window: Duration::from_hours(720),
        mode: "shadow",
        limit_by: vec!["claim:org.id".to_owned()],
        scope: Scope::default(),
        store: "memory",
        warn_at: Some(0.8),
    }]);
    assert_eq!(
        world.get("/v1/limits").await.1["data"],
        json!([{
            "name": "monthly", "unit": "cost", "limit": 50_000_000, "window_type": "calendar", "window_size": 2_592_000,
            "mode": "shadow", "limit_by": ["claim:org.id"], "scope": {"service": null, "route": null, "consumer": null},
            "store": "memory", "warn_at": 0.8,
        }])
    );
    drop(shown);
    assert_eq!(world.get("/v1/limits").await.1["data"], json!([]));
}

#[tokio::test]
async fn a_watcher_sees_use_at_once_and_refusals_as_they_happen() {
    let world = World::open().await;
    let response = world
        .request(Method::GET, "/v1/events")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut seen = String::new();
    while !seen.contains("event: usage\n") {
        seen.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(world.spend(HOSTILE, 5_000).await.is_none());
    while !seen.contains("event: refusal\n") || !seen.ends_with("\n\n") {
        seen.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    let event = seen
        .split("\n\n")
        .find(|event| event.contains("event: refusal\n"));
    let data = event
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("data: "));
    let refusal: Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(refusal["kind"], "never_passes");
}

#[tokio::test]
async fn every_line_of_the_metrics_is_of_the_family_before_it() {
    let world = World::open().await;
    world.spend("alice", 600).await.unwrap();
    world.spend("alice", 600).await;
    for (tenant, model, spent) in [
        ("alice", "gpt-4o", 700),
        (HOSTILE, HOSTILE, 300),
        ("x", "made-up", 0),
    ] {
        world.outcomes.settled(&Settled {
            tenant,
            model: Some(model),
            usage: (spent == 700).then_some(Tokens {
                prompt: 200,
                completion: 500,
                cached_read: 50,
                ..Tokens::default()
            }),
            source: "provider",
            reserved_tokens: 600,
            spent_tokens: spent,
            cost_microdollars: (spent == 700).then_some(42),
        });
    }
    let response = world.request(Method::GET, "/metrics").send().await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = response.text().await.unwrap();
    let (lines, end) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(end, "# EOF");
    let mut family = String::new();
    let mut samples = std::collections::HashSet::new();
    for line in lines.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next(), Some(family.as_str()), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(name), "twice: {line}");
        }
    }
    for line in [
        "llm_requests_total{decision=\"admitted\"} 1",
        "llm_requests_total{decision=\"denied\"} 1",
        "llm_refusals_total{limit=\"per-minute\",unit=\"total_tokens\"} 1",
        "llm_tokens_total{unit=\"prompt_tokens\",model=\"gpt-4o\",consumer=\"alice\"} 200",
        "llm_tokens_total{unit=\"cached_read_tokens\",model=\"gpt-4o\",consumer=\"alice\"} 50",
        "llm_cost_microdollars_total{model=\"gpt-4o\"} 42",
        "llm_estimate_error_tokens_count{direction=\"under\"} 1",
        "llm_estimate_error_tokens_count{direction=\"over\"} 2",
        "llm_usage_source_total{source=\"provider\"} 3",
        "llm_counters 1",
        "llm_open_reservations 1",
        "llm_jwt_requests_total{outcome=\"granted\"} 0",
        "kong_pdk_events_total 0",
        "kong_pdk_connections 0",
    ] {
        assert!(
            lines.lines().any(|known| known == line),
            "{line} is not in:\n{lines}"
        );
    }
    assert!(
        !text.contains("made-up"),
        "a model that nobody serves takes no label"
    );
    assert!(
        text.contains("unit=\"unreported_tokens\",model=\"<img src=x onerror=alert(1)>\\\"\\\\"),
        "{text}"
    );
}
