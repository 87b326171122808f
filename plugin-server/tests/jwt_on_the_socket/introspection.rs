//! Opaque tokens: each row of the table of answers, with an endpoint that says what it is told to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use axum::extract::Form;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::story::{Story, bearer};
use super::support::{Event, Kong, Request};

/// An endpoint where the token says what becomes of the question; its URL and how often it was asked.
async fn endpoint() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    let questions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&questions);
    let answer = async move |headers: HeaderMap, Form(form): Form<HashMap<String, String>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        // base64 of gateway:hush
        if headers["authorization"] != "Basic Z2F0ZXdheTpodXNo" {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        say(&form["token"])
    };
    let app = Router::new().route("/introspect", post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, questions)
}

fn say(token: &str) -> Response {
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut document = json!({
        "active": true, "sub": "alice", "aud": "llm", "exp": now + 600, "scope": "chat", "org": {"id": "acme"},
    });
    match token {
        "active" => {}
        "chatless" => document["scope"] = json!("files"),
        "elsewhere" => document["aud"] = json!("billing"),
        "expired" => document["exp"] = json!(now - 600),
        "lie" => document["active"] = json!("true"),
        "broken" => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => document = json!({"active": false}),
    }
    Json(document).into_response()
}

fn config(url: &str, further: &Value) -> Value {
    let mut config = json!({
        "introspection_endpoint": url,
        "introspection_issuer": "https://idp.example",
        "introspection_client_id": "gateway",
        "introspection_client_secret": "hush",
        "introspection_audience_required": ["llm"],
        "allow_http_introspection": true,
        "allow_private_introspection": true,
        "__plugin_id": "p",
        "__seq__": 1,
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(further.as_object().cloned().unwrap_or_default());
    config
}

async fn presenting(story: &mut Story, config: &Value, token: &str) -> Event {
    // Kong gives up the connection of an exit.
    story.kong = Kong::connect(story.dir.path()).await;
    let authorization = bearer(token);
    let request = Request::with_headers(&[("authorization", &authorization)]);
    story.access(config.clone(), &request).await
}

#[tokio::test]
async fn an_active_token_passes_as_a_jwt_does() {
    let mut story = Story::begin().await;
    let (url, questions) = endpoint().await;
    let config = config(
        &url,
        &json!({
            "upstream_headers": [{"header": "X-Tenant", "path": ["org", "id"]}],
            "limiter_claims": {"tenant": ["org", "id"]},
        }),
    );
    for _ in 0..3 {
        let event = presenting(&mut story, &config, "active").await;
        assert!(event.exit.is_none(), "{:?}", event.exit);
        assert_eq!(event.set_headers()["x-tenant"], "acme");
        assert_eq!(event.set_headers()["X-Credential-Identifier"], "alice");
        assert_eq!(event.cleared_headers(), ["authorization"]);
        let shared =
            json!({"iss": "https://idp.example", "sub": "alice", "claims": {"tenant": "acme"}});
        assert_eq!(event.shared("llm_jwt"), Some(shared.into()));
    }
    assert_eq!(questions.load(Ordering::SeqCst), 1);
    story.end().await;
}

#[tokio::test]
async fn every_other_answer_of_the_endpoint_has_its_row() {
    const INVALID: &str = r#"error="invalid_token""#;
    let mut story = Story::begin().await;
    let (url, questions) = endpoint().await;
    let config = config(&url, &json!({"scopes_required": ["chat"]}));
    let jwt = story.token(&json!({}));
    for (token, status, challenge) in [
        ("unknown", 401, Some(INVALID)),
        ("elsewhere", 401, Some(INVALID)),
        ("expired", 401, Some(INVALID)),
        ("chatless", 403, Some(r#"error="insufficient_scope""#)),
        ("lie", 503, None),
        ("broken", 503, None),
        (&jwt, 401, Some(INVALID)),
    ] {
        let event = presenting(&mut story, &config, token).await;
        let exit = event.exit.as_ref().unwrap();
        assert_eq!(exit.status, status, "{token}");
        let found = event.exit_header("WWW-Authenticate");
        assert_eq!(found.is_some(), challenge.is_some(), "{token}: {found:?}");
        if let (Some(found), Some(expected)) = (found, challenge) {
            assert!(found.contains(expected), "{token}: {found}");
        }
        let retry = event.exit_header("Retry-After");
        assert_eq!(retry.as_deref(), (status == 503).then_some("1"), "{token}");
    }
    assert_eq!(questions.load(Ordering::SeqCst), 6, "no JWT is sent");
    story.end().await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_let_us_in_is_503_for_the_anonymous_too() {
    let mut story = Story::begin().await;
    let (url, _) = endpoint().await;
    let wrong = json!({"introspection_client_secret": "wrong", "anonymous": "guest"});
    let event = presenting(&mut story, &config(&url, &wrong), "active").await;
    assert_eq!(event.exit.as_ref().unwrap().status, 503);
    assert_eq!(event.exit_header("WWW-Authenticate"), None);
    story.end().await;
}

#[tokio::test]
async fn half_a_configuration_is_a_500() {
    let mut story = Story::begin().await;
    let url = "https://idp.example/introspect";
    let without = |name: &str| {
        let mut config = config(url, &json!({}));
        config.as_object_mut().unwrap().shift_remove(name);
        config
    };
    for broken in [
        without("introspection_endpoint"),
        without("introspection_issuer"),
        without("introspection_client_id"),
        without("introspection_client_secret"),
        without("introspection_audience_required"),
        config(
            "http://127.0.0.1/",
            &json!({"allow_http_introspection": false}),
        ),
        config(
            "http://127.0.0.1/",
            &json!({"allow_private_introspection": false}),
        ),
        config(url, &json!({"introspection_insecure_skip_audience": true})),
        story.config(&json!({"introspect_jwt_tokens": true})),
        story.config(&json!({"introspection_audience_required": ["llm"]})),
        json!({"__plugin_id": "p", "__seq__": 1}),
    ] {
        let event = presenting(&mut story, &broken, "active").await;
        assert_eq!(event.exit.unwrap().status, 500, "{broken}");
    }
    story.end().await;
}
