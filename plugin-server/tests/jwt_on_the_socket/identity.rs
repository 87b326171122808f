//! Who is calling, as Kong and the upstream learn it, and what is removed on the way.

use kong_pdk::{Value as Lua, wire};
use prost::Message as _;
use serde_json::json;

use super::story::{Story, bearer};
use super::support::{self, Request};

const ALICE: &str = "b332379d-3d28-5683-a79c-72139be6e34f";

#[tokio::test]
async fn a_valid_token_costs_one_question_and_sets_headers_credential_and_claims() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"org": {"id": "acme"}, "tier": "gold"})));
    let config = story.config(&json!({
        "upstream_headers": [{"header": "X-Tenant", "path": ["org", "id"]}],
        "limiter_claims": {"tenant": ["org", "id"], "tier": ["tier"], "absent": ["nothing"]},
    }));
    let request = Request::with_headers(&[
        ("authorization", &token),
        ("x-tenant", "forged"),
        ("x_tenant", "forged"),
        ("x-consumer-id", "forged"),
        ("x_consumer_username", "forged"),
        ("x-anonymous-consumer", "true"),
        ("x-consumer-groups", "admins"),
        ("x_authenticated_groups", "admins"),
        ("accept", "*/*"),
    ]);
    let event = story.access(config, &request).await;
    assert!(event.exit.is_none());
    assert_eq!(event.methods()[0], "kong.request.get_headers");
    assert_eq!(
        event
            .methods()
            .iter()
            .filter(|method| method.contains(".get_") || method.contains(".load_"))
            .count(),
        1
    );
    let set = event.set_headers();
    assert_eq!(set["x-tenant"], "acme");
    assert_eq!(set["X-Credential-Identifier"], "alice");
    assert_eq!(set.len(), 2);
    assert_eq!(
        event.cleared_headers(),
        [
            "authorization",
            "x-anonymous-consumer",
            "x-consumer-groups",
            "x-consumer-id",
            "x_authenticated_groups",
            "x_consumer_username",
            "x_tenant"
        ]
    );
    let who = event.authenticated().unwrap();
    assert!(who.consumer.is_none());
    let credential = who.credential.unwrap();
    assert_eq!(credential.id, "alice");
    // Kong's acl looks up whatever stands here, and fails at what is no UUID.
    assert_eq!(
        credential.consumer_id,
        "00000000-0000-0000-0000-000000000000"
    );
    let claims = Lua::from(
        json!({"iss": "https://idp.example", "sub": "alice", "claims": {"tenant": "acme", "tier": "gold"}}),
    );
    assert_eq!(event.shared("llm_jwt"), Some(claims));
    story.end().await;
}

#[tokio::test]
async fn a_consumer_is_asked_for_once_and_described_as_kong_does() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({})));
    let config =
        story.config(&json!({"consumer_claims": [["email"], ["sub"]], "hide_credentials": false}));
    let alice = wire::Consumer {
        id: ALICE.into(),
        username: "alice".into(),
        custom_id: "tenant-1".into(),
        ..wire::Consumer::default()
    };
    let request = Request::with_headers(&[("authorization", &token)])
        .answering("kong.client.load_consumer", &alice);
    let instance = story.kong.start_instance("llm-jwt", &config).await;
    for asked in [1, 0] {
        let event = story.kong.access(instance, &request).await;
        let lookups = event
            .methods()
            .iter()
            .filter(|method| **method == "kong.client.load_consumer")
            .count();
        assert_eq!(lookups, asked);
        let set = event.set_headers();
        assert_eq!(set["X-Consumer-ID"], ALICE);
        assert_eq!(set["X-Consumer-Username"], "alice");
        assert_eq!(set["X-Consumer-Custom-ID"], "tenant-1");
        let who = event.authenticated().unwrap();
        assert_eq!(who.consumer.unwrap().id, ALICE);
        assert_eq!(who.credential.unwrap().consumer_id, ALICE);
        assert!(event.cleared_headers().is_empty());
    }
    story.end().await;
}

#[tokio::test]
async fn without_a_token_the_anonymous_consumer_passes_unless_another_plugin_knows_the_caller() {
    let mut story = Story::begin().await;
    let config = story.config(&json!({"anonymous": "guest", "upstream_headers": [{"header": "X-Tenant", "path": ["org"]}]}));
    let guest = wire::Consumer {
        id: ALICE.into(),
        username: "guest".into(),
        ..wire::Consumer::default()
    };
    let request =
        Request::with_headers(&[("x-tenant", "forged"), ("x-consumer-custom-id", "forged")])
            .answering("kong.client.load_consumer", &guest);
    let event = story.access(config.clone(), &request).await;
    assert!(event.exit.is_none());
    assert_eq!(event.set_headers()["X-Anonymous-Consumer"], "true");
    assert_eq!(event.set_headers()["X-Consumer-Username"], "guest");
    assert_eq!(
        event.cleared_headers(),
        ["x-consumer-custom-id", "x-tenant"]
    );
    assert_eq!(
        event.authenticated().unwrap().consumer.unwrap().username,
        "guest"
    );
    assert_eq!(event.shared("llm_jwt"), None);

    let known = wire::AuthenticatedCredential {
        id: "key".into(),
        ..wire::AuthenticatedCredential::default()
    };
    let event = story
        .access(
            config,
            &request.answering("kong.client.get_credential", &known),
        )
        .await;
    assert_eq!(
        event.cleared_headers(),
        ["x-tenant"],
        "what the other plugin set stays"
    );
    assert!(event.authenticated().is_none());
    story.end().await;
}

#[tokio::test]
async fn a_preflight_passes_without_a_token_and_without_forged_headers() {
    let mut story = Story::begin().await;
    let config =
        story.config(&json!({"upstream_headers": [{"header": "X-Tenant", "path": ["org"]}]}));
    let preflight = Request::with_headers(&[
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("x-tenant", "forged"),
        ("x-consumer-id", "forged"),
        ("x-consumer-groups", "admins"),
    ]);
    let options = wire::String {
        v: "OPTIONS".into(),
    };
    let event = story
        .access(
            config.clone(),
            &preflight
                .clone()
                .answering("kong.request.get_method", &options),
        )
        .await;
    assert!(event.exit.is_none());
    assert_eq!(
        event.cleared_headers(),
        ["x-consumer-groups", "x-consumer-id", "x-tenant"]
    );

    let post = wire::String { v: "POST".into() };
    let event = story
        .access(
            config,
            &preflight.answering("kong.request.get_method", &post),
        )
        .await;
    assert_eq!(
        event.exit.unwrap().status,
        401,
        "the headers alone make no preflight"
    );
    story.end().await;
}

#[tokio::test]
async fn credentials_in_cookie_and_query_are_hidden_and_the_rest_left() {
    let mut story = Story::begin().await;
    let token = story.token(&json!({}));
    let config = story.config(&json!({"cookie_names": ["session"], "uri_param_names": ["jwt"]}));
    let cookie = format!("theme=dark; session={token}");
    let query = |text: String| wire::String { v: text.into() };
    let request = Request::with_headers(&[("cookie", &cookie)]).answering(
        "kong.request.get_raw_query",
        &query(format!("a=1&jwt={token}&b")),
    );
    let event = story.access(config.clone(), &request).await;
    let argument = |method: &str| {
        event
            .calls
            .iter()
            .find(|call| call.method == method)
            .unwrap()
            .arguments
            .clone()
    };
    assert_eq!(
        wire::String::decode(&argument("kong.service.request.set_raw_query")[..])
            .unwrap()
            .v,
        "a=1&b"
    );
    let cookie = wire::Kv::decode(&argument("kong.service.request.set_header")[..]).unwrap();
    assert_eq!(
        (cookie.k, cookie.v),
        ("cookie".into(), Some(support::string("theme=dark")))
    );

    let only = Request::with_headers(&[])
        .answering("kong.request.get_raw_query", &query(format!("jwt={token}")));
    let event = story.access(config, &only).await;
    assert!(
        event.methods().contains(&"kong.service.request.set_query"),
        "{:?}",
        event.methods()
    );
    story.end().await;
}
