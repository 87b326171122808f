//! Who may read and who may change.

use llm_plugin_server::admin::Readiness;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{TOKEN, World, answer, is_problem};

#[tokio::test]
async fn without_a_token_a_network_address_only_shows() {
    let world = World::open().await;
    world.spend("alice", 1).await.unwrap();
    let (status, list) = world.get("/v1/counters").await;
    assert_eq!(status, StatusCode::OK);
    let key = list["data"][0]["key"].as_str().unwrap();
    is_problem(
        &world
            .post(&format!("/v1/counters/{key}/reset"), &Value::Null)
            .await,
        401,
    );
    let release = format!("/v1/reservations/{key}/release");
    is_problem(&world.post(&release, &Value::Null).await, 401);
    let revocation = json!({"issuer": "https://idp.example", "jti": "1"});
    is_problem(&world.post("/v1/revocations", &revocation).await, 401);
    is_problem(&world.delete(&format!("/v1/revocations/{key}")).await, 401);
    assert_eq!(world.get("/v1/counters").await.1["data"][0]["used"], 1);
}

#[tokio::test]
async fn with_a_token_only_health_and_the_empty_page_are_free() {
    let world = World::new("127.0.0.1:0", Some(TOKEN)).await;
    world.spend("alice", 5).await.unwrap();
    for path in ["/healthz", "/readyz", "/"] {
        let response = world.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let key = "0".repeat(32);
    for path in [
        "/metrics",
        "/v1/limits",
        "/v1/counters",
        &format!("/v1/counters/{key}"),
        "/v1/reservations",
        "/v1/revocations",
        "/v1/usage",
        "/v1/refusals",
        "/v1/events",
    ] {
        is_problem(&world.get(path).await, 401);
        let near = TOKEN.to_uppercase();
        for wrong in [
            "Bearer",
            "Bearer ",
            "Basic Og==",
            TOKEN,
            &format!("Bearer {near}"),
        ] {
            let request = world.request(Method::GET, path);
            is_problem(&answer(request.header("authorization", wrong)).await, 401);
        }
        let twice = world
            .request(Method::GET, path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("authorization", "Bearer no");
        is_problem(&answer(twice).await, 401);
    }
    let list = answer(
        world
            .request(Method::GET, "/v1/counters")
            .bearer_auth(TOKEN),
    )
    .await;
    assert_eq!(list.0, StatusCode::OK);
    let reset = format!(
        "/v1/counters/{}/reset",
        list.1["data"][0]["key"].as_str().unwrap()
    );
    is_problem(&world.post(&reset, &Value::Null).await, 401);
    let done = answer(world.request(Method::POST, &reset).bearer_auth(TOKEN)).await;
    assert_eq!((done.0, &done.1["used"]), (StatusCode::OK, &json!(0)));
}

#[tokio::test]
async fn a_page_from_elsewhere_cannot_read_by_rebinding_its_name() {
    let world = World::open().await;
    for host in [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
    ] {
        for path in ["/", "/metrics", "/v1/usage", "/v1/events"] {
            let request = world.request(Method::GET, path).header("host", host);
            is_problem(&answer(request).await, 400);
        }
    }
    for host in ["localhost", "localhost:9000", "127.0.0.1", "[::1]:9000"] {
        let request = world.request(Method::GET, "/v1/usage").header("host", host);
        assert_eq!(answer(request).await.0, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn readiness_follows_the_server() {
    let world = World::open().await;
    let ready = || async {
        world
            .request(Method::GET, "/readyz")
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(ready().await, StatusCode::OK);
    world.readiness.send_replace(Readiness::Draining);
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_page_may_run_only_what_it_was_built_with() {
    let world = World::open().await;
    let response = world.request(Method::GET, "/").send().await.unwrap();
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"));
    assert!(!policy.contains("unsafe"));
    assert_eq!(response.headers()["x-frame-options"], "DENY");
}
