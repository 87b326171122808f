//! What does not pass, and how that is answered.

use kong_pdk::wire;
use serde_json::{Value, json};

use super::story::{Story, bearer};
use super::support::{Kong, Request};

#[tokio::test]
async fn a_refusal_is_one_exit_and_nothing_else() {
    let mut story = Story::begin().await;
    let config = story.config(&json!({"error_format": "openai"}));
    let event = story
        .access(
            config.clone(),
            &Request::with_headers(&[("x-consumer-id", "forged")]),
        )
        .await;
    let exit = event.exit.as_ref().unwrap();
    assert_eq!(exit.status, 401);
    assert_eq!(
        event.exit_header("WWW-Authenticate").as_deref(),
        Some("Bearer realm=\"kong\"")
    );
    let body: Value = serde_json::from_slice(&exit.body).unwrap();
    assert_eq!(body["error"]["code"], "missing_token");
    assert_eq!(event.methods(), ["kong.request.get_headers"]);

    // Kong gives up the connection of an exit.
    story.kong = Kong::connect(story.dir.path()).await;
    let two = Request::with_headers(&[("authorization", "Bearer a.b.c"), ("x-token", "d.e.f")]);
    let config = story.config(&json!({"header_names": ["Authorization", "X-Token"]}));
    assert_eq!(story.access(config, &two).await.exit.unwrap().status, 400);
    story.end().await;
}

#[tokio::test]
async fn more_headers_than_kong_shows_are_refused() {
    let mut story = Story::begin().await;
    let config = story.config(&json!({}));
    let names: Vec<String> = (0..1000).map(|at| format!("x-{at}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(
        story
            .access(config, &Request::with_headers(&headers))
            .await
            .exit
            .unwrap()
            .status,
        400
    );
    story.end().await;
}

/// What answers a token with these claims under a configuration with these fields.
async fn answer(claims: &Value, config: &Value) -> i32 {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(claims));
    let config = story.config(config);
    let request = Request::with_headers(&[("authorization", &token)]);
    let exit = story.access(config, &request).await.exit.unwrap();
    story.end().await;
    exit.status
}

#[tokio::test]
async fn a_required_consumer_that_is_absent_is_forbidden() {
    let config = json!({"consumer_claims": [["sub"]], "consumer_optional": false});
    assert_eq!(answer(&json!({}), &config).await, 403);
}

#[tokio::test]
async fn a_claim_with_a_forbidden_value_is_403() {
    let claims = json!({"groups": ["dev", "suspended"]});
    let config = json!({"claims_forbidden": [{"path": ["groups"], "one_of": ["suspended"]}]});
    assert_eq!(answer(&claims, &config).await, 403);
}

#[tokio::test]
async fn an_expression_reads_method_and_path_in_the_same_question_and_only_if_it_needs_them() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"tier": "silver"})));
    let request = |method: &'static str| {
        Request::with_headers(&[("authorization", &token)])
            .answering(
                "kong.request.get_method",
                &wire::String { v: method.into() },
            )
            .answering(
                "kong.request.get_path",
                &wire::String {
                    v: "/v1/files/7".into(),
                },
            )
    };
    let config =
        story.config(&json!({"expression": "method != 'DELETE' || claims.tier == 'gold'"}));
    let event = story.access(config.clone(), &request("GET")).await;
    assert!(event.exit.is_none());
    assert_eq!(
        event.methods()[..2],
        ["kong.request.get_headers", "kong.request.get_method"]
    );
    assert!(!event.methods().contains(&"kong.request.get_path"));

    let event = story.access(config, &request("DELETE")).await;
    assert_eq!(event.exit.as_ref().unwrap().status, 403);
    let challenge = event.exit_header("WWW-Authenticate").unwrap();
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );

    story.kong = Kong::connect(story.dir.path()).await;
    let config = story.config(&json!({"expression": "path.startsWith('/v1/')"}));
    assert!(story.access(config, &request("GET")).await.exit.is_none());
    story.end().await;
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_a_500_that_names_the_plugin() {
    let mut story = Story::begin().await;
    let broken = json!({"issuers": [{"issuer": "https://idp.example", "public_keys": ["nonsense"], "audience_required": ["llm"]}]});
    let event = story.access(broken, &Request::with_headers(&[])).await;
    let exit = event.exit.unwrap();
    assert_eq!(exit.status, 500);
    assert!(
        String::from_utf8_lossy(&exit.body).contains("llm-jwt"),
        "{:?}",
        exit.body
    );
    story.end().await;
}

#[tokio::test]
async fn an_anonymous_consumer_that_does_not_exist_is_a_500() {
    let mut story = Story::begin().await;
    let config = story.config(&json!({"anonymous": "nobody"}));
    let event = story.access(config, &Request::with_headers(&[])).await;
    let exit = event.exit.as_ref().unwrap();
    assert_eq!(exit.status, 500);
    assert!(
        String::from_utf8_lossy(&exit.body).contains("llm-jwt"),
        "{:?}",
        exit.body
    );
    assert_eq!(event.exit_header("WWW-Authenticate"), None);
    story.end().await;
}
