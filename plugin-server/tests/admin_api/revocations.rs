//! Revoking tokens through the API.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use kong_pdk::PluginConfig as _;
use llm_plugin_server::jwt::Authenticator;
use llm_plugin_server::kong::jwt::Config;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::redis::Redis;
use crate::world::{World, is_problem};

const ISSUER: &str = "https://idp.example";

fn now() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

/// A configuration at work: as long as it is held.
fn at_work(world: &World, further: &Value) -> Arc<Authenticator> {
    let mut config = json!({"issuers": [{
        "issuer": ISSUER, "secrets": ["a secret of 32 characters or more"], "algorithms": ["HS256"],
        "audience_required": ["llm"],
    }]});
    let further = further.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(further);
    let settings = Config::from_json(config).unwrap().into_settings().unwrap();
    world.jwt.authenticator(settings).unwrap()
}

#[tokio::test]
async fn what_is_revoked_is_listed_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_socket(dir.path()).await;
    let _at_work = at_work(&world, &json!({"denylist": {"policy": "memory"}}));
    let asked = now();
    let jti = json!({"issuer": ISSUER, "jti": "7f3a", "expires_at": asked + 100});
    let (status, answer) = world.post("/v1/revocations", &jti).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let one = &answer["data"][0];
    assert_eq!(one["kind"], "jti");
    assert_eq!(one["jti"], "7f3a");
    assert_eq!(one["expires_at"], asked + 100);
    assert_eq!(one["store"], "memory");
    assert_eq!(answer["issuer_is_known"], true);

    let hash = json!({"token_sha256": "0aff".repeat(16)});
    let (_, answer) = world.post("/v1/revocations", &hash).await;
    assert_eq!(answer["issuer_is_known"], Value::Null);
    let ends = answer["data"][0]["expires_at"].as_i64().unwrap() - asked;
    assert!(
        (86_400..86_500).contains(&ends),
        "maximum_expiration from now: {ends}"
    );

    let subject = json!({"issuer": "https://typo.example", "subject": "alice"});
    let (_, answer) = world.post("/v1/revocations", &subject).await;
    assert_eq!(answer["issuer_is_known"], false);
    let before = answer["data"][0]["issued_before"].as_i64().unwrap() - asked;
    assert!(
        (1..100).contains(&before),
        "this second's are among them: {before}"
    );

    let (_, first) = world.get("/v1/revocations?size=2").await;
    assert_eq!((&first["total"], &first["next"]), (&json!(3), &json!(2)));
    let (_, rest) = world.get("/v1/revocations?size=2&offset=2").await;
    assert_eq!(rest["next"], Value::Null);
    assert_eq!(rest["data"][0]["jti"], "7f3a", "what ends first is last");

    let path = format!("/v1/revocations/{}", one["id"].as_str().unwrap());
    let (status, removed) = world.delete(&path).await;
    assert_eq!((status, &removed["data"][0]), (StatusCode::OK, one));
    is_problem(&world.delete(&path).await, 404);
    assert_eq!(world.get("/v1/revocations").await.1["total"], 2);
}

#[tokio::test]
async fn where_nothing_looks_for_revoked_tokens_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_socket(dir.path()).await;
    let jti = json!({"issuer": ISSUER, "jti": "1"});
    let _without = at_work(&world, &json!({}));
    is_problem(&world.get("/v1/revocations").await, 409);
    is_problem(&world.post("/v1/revocations", &jti).await, 409);
    let id = format!("/v1/revocations/{}", "0".repeat(32));
    is_problem(&world.delete(&id).await, 409);
    let with = at_work(&world, &json!({"denylist": {"policy": "memory"}}));
    assert_eq!(world.post("/v1/revocations", &jti).await.0, StatusCode::OK);
    drop(with);
    is_problem(&world.get("/v1/revocations").await, 409);
}

#[tokio::test]
async fn what_is_no_revocation_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_socket(dir.path()).await;
    let _bounded = at_work(&world, &json!({"denylist": {"policy": "memory"}}));
    let hash = "0aff".repeat(16);
    for (body, reason) in [
        (json!({}), "one of token_sha256"),
        (json!({"issuer": ISSUER}), "one of token_sha256"),
        (json!({"jti": "1"}), "one of token_sha256"),
        (
            json!({"issuer": ISSUER, "jti": "1", "subject": "alice"}),
            "one of token_sha256",
        ),
        (
            json!({"token_sha256": hash, "issuer": ISSUER}),
            "one of token_sha256",
        ),
        (
            json!({"token_sha256": hash, "issued_before": 5}),
            "issued_before belongs",
        ),
        (json!({"token_sha256": "0aff"}), "64 hexadecimal digits"),
        (json!({"token": "eyJ"}), "unknown field"),
        (json!({"issuer": "", "jti": "1"}), "issuer: 1 to 512 bytes"),
        (
            json!({"issuer": ISSUER, "jti": "j".repeat(513)}),
            "jti: 1 to 512 bytes",
        ),
        (
            json!({"issuer": ISSUER, "subject": "a", "issued_before": -1}),
            "issued_before: Unix",
        ),
        (
            json!({"issuer": ISSUER, "jti": "1", "expires_at": 5}),
            "expires_at: has passed",
        ),
        (
            json!({"issuer": ISSUER, "jti": "1", "expires_at": i64::MAX}),
            "expires_at: Unix",
        ),
    ] {
        let answer = world.post("/v1/revocations", &body).await;
        is_problem(&answer, 400);
        let message = answer.1["message"].as_str().unwrap();
        assert!(message.contains(reason), "{body}: {message}");
    }
    for path in ["/v1/revocations/alice", "/v1/revocations/a%2Fb"] {
        is_problem(&world.delete(path).await, 400);
    }
    for query in ["size=0", "size=1001", "offset=-1", "sort=x"] {
        is_problem(&world.get(&format!("/v1/revocations?{query}")).await, 400);
    }
    assert_eq!(world.get("/v1/revocations").await.1["total"], 0);

    let unbounded = json!({"denylist": {"policy": "memory"}, "maximum_expiration": 0});
    let _unbounded = at_work(&world, &unbounded);
    let jti = json!({"issuer": ISSUER, "jti": "1"});
    let answer = world.post("/v1/revocations", &jti).await;
    is_problem(&answer, 400);
    let message = answer.1["message"].as_str().unwrap();
    assert!(message.starts_with("expires_at: needed"), "{message}");
}

#[tokio::test]
async fn each_list_at_work_gets_it_and_one_that_is_away_is_named() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_socket(dir.path()).await;
    let _memory = at_work(&world, &json!({"denylist": {"policy": "memory"}}));
    let _shared = at_work(
        &world,
        &json!({
            "denylist": {"policy": "redis"},
            "redis": {"host": "127.0.0.1", "port": redis.port, "timeout": 2000},
        }),
    );
    let subject = json!({"issuer": ISSUER, "subject": "alice", "issued_before": 1000});
    let (status, answer) = world.post("/v1/revocations", &subject).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let stores = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().unwrap().iter();
        data.map(|one| one["store"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(stores(&answer), ["memory", "redis"]);
    let (_, list) = world.get("/v1/revocations").await;
    assert_eq!(
        (stores(&list), &list["total"]),
        (stores(&answer), &json!(2))
    );
    assert_eq!(list["data"][1]["issued_before"], 1000);
    assert_eq!(list["data"][0]["id"], list["data"][1]["id"]);
    let (_, second) = world.get("/v1/revocations?offset=1").await;
    assert_eq!(stores(&second), ["redis"]);
    let path = format!(
        "/v1/revocations/{}",
        list["data"][0]["id"].as_str().unwrap()
    );
    assert_eq!(stores(&world.delete(&path).await.1).len(), 2);

    redis.stop();
    let refused = world.post("/v1/revocations", &subject).await;
    is_problem(&refused, 503);
    let message = refused.1["message"].as_str().unwrap();
    assert!(message.contains("redis://127.0.0.1"), "{message}");
    is_problem(&world.get("/v1/revocations").await, 503);
    is_problem(&world.delete(&path).await, 503);
}
