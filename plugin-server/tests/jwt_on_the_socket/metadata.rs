//! What the resource says about itself (RFC 9728).

use kong_pdk::wire;
use serde_json::{Value, json};

use super::story::Story;
use super::support::{Kong, Request};

#[tokio::test]
async fn the_metadata_of_the_resource_are_answered_without_a_token_and_named_in_challenges() {
    const ENDPOINT: &str = "/.well-known/oauth-protected-resource/mcp";
    let mut story = Story::begin().await;
    let config = story.config(&json!({
        "resource": "https://gateway.example/mcp",
        "authorization_servers": ["https://idp.example"],
        "scopes_supported": ["tools:call"],
        "scopes_required": ["tools:call"],
        "metadata_endpoint": ENDPOINT,
    }));
    let request = |method: &'static str, path: &'static str| {
        Request::with_headers(&[])
            .answering(
                "kong.request.get_method",
                &wire::String { v: method.into() },
            )
            .answering("kong.request.get_path", &wire::String { v: path.into() })
    };
    let event = story
        .access(config.clone(), &request("GET", ENDPOINT))
        .await;
    let exit = event.exit.as_ref().unwrap();
    assert_eq!(exit.status, 200);
    assert_eq!(
        serde_json::from_slice::<Value>(&exit.body).unwrap(),
        json!({
            "resource": "https://gateway.example/mcp",
            "authorization_servers": ["https://idp.example"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["tools:call"],
        })
    );

    story.kong = Kong::connect(story.dir.path()).await;
    let event = story
        .access(config.clone(), &request("POST", ENDPOINT))
        .await;
    assert_eq!(event.exit.unwrap().status, 405);

    story.kong = Kong::connect(story.dir.path()).await;
    let event = story.access(config, &request("POST", "/mcp")).await;
    assert_eq!(event.exit.as_ref().unwrap().status, 401);
    assert_eq!(
        event.exit_header("WWW-Authenticate").as_deref(),
        Some(
            r#"Bearer realm="kong", resource_metadata="https://gateway.example/.well-known/oauth-protected-resource/mcp", scope="tools:call""#
        )
    );

    for incomplete in [
        json!({"resource": "https://gateway.example/mcp"}),
        json!({"metadata_endpoint": ENDPOINT}),
        json!({"authorization_servers": ["https://idp.example"]}),
        json!({"scopes_supported": ["a"]}),
        json!({"resource": "https://gateway.example/mcp", "metadata_endpoint": ENDPOINT}),
    ] {
        story.kong = Kong::connect(story.dir.path()).await;
        let config = story.config(&incomplete);
        let event = story.access(config, &request("GET", "/mcp")).await;
        assert_eq!(event.exit.unwrap().status, 500, "{incomplete}");
    }
    story.end().await;
}
