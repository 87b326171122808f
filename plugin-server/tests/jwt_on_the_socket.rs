//! `llm-jwt` as Kong meets it: what is asked, what is set, what is answered.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

#[path = "jwt_on_the_socket/introspection.rs"]
mod introspection;
mod support;
#[path = "jwt_on_the_socket/tracing.rs"]
mod tracing;

use std::path::Path;
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kong_pdk::{Value as Lua, wire};
use llm_plugin_server::cli::ProcessArgs;
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::server;
use prost::Message as _;
use serde_json::{Value, json};
use support::{Event, Kong, Request};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ALICE: &str = "b332379d-3d28-5683-a79c-72139be6e34f";

/// A served directory, an issuer's key, and one connection from Kong.
struct Story {
    kong: Kong,
    key: EcdsaKeyPair,
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Story {
    async fn begin() -> Self {
        Self::begin_with(ProcessArgs::default()).await
    }

    async fn begin_with(arguments: ProcessArgs) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let path = dir.path().to_owned();
        let server = tokio::spawn(async move {
            let mut config = ProcessConfig::resolve(arguments)?;
            config.admin.listen = Some(format!("unix:{}/admin.sock", path.display()).parse()?);
            server::serve(&config, &path, async { drop(stopped.await) }).await
        });
        wait_for_socket(dir.path()).await;
        let kong = Kong::connect(dir.path()).await;
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            kong,
            key,
            dir,
            stop: Some(stop),
            server,
        }
    }

    /// A configuration with one issuer and these further fields.
    fn config(&self, further: &Value) -> Value {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let issuer = json!({"issuer": "https://idp.example", "public_keys": [pem], "audience_required": ["llm"]});
        let mut config = json!({"issuers": [issuer], "__plugin_id": "p", "__seq__": 1});
        config
            .as_object_mut()
            .unwrap()
            .extend(further.as_object().cloned().unwrap_or_default());
        config
    }

    fn token(&self, further: &Value) -> String {
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut claims =
            json!({"iss": "https://idp.example", "aud": "llm", "sub": "alice", "exp": now + 600});
        claims
            .as_object_mut()
            .unwrap()
            .extend(further.as_object().cloned().unwrap_or_default());
        sign(&self.key, &json!({"alg": "ES256"}), &claims)
    }

    async fn access(&mut self, config: Value, request: &Request) -> Event {
        let instance = self.kong.start_instance("llm-jwt", &config).await;
        self.kong.access(instance, request).await
    }

    /// The server must end well.
    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        drop(self.kong);
        self.server.await.unwrap().unwrap();
        assert!(
            self.dir.path().join("plugins.sock").exists(),
            "nobody unlinks the socket"
        );
    }
}

fn sign(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

async fn wait_for_socket(dir: &Path) {
    for _ in 0..1000 {
        if dir.join("plugins.sock").exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the server did not come up");
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

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
            "x-consumer-id",
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
async fn a_revoked_token_is_refused_as_any_other_that_is_not_valid() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"jti": "7f3a"})));
    let request = Request::with_headers(&[("authorization", &token)]);
    let config = story.config(&json!({"denylist": {"policy": "memory"}}));
    let instance = story.kong.start_instance("llm-jwt", &config).await;
    assert!(story.kong.access(instance, &request).await.exit.is_none());

    let admin = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(story.dir.path().join("admin.sock"))
        .build()
        .unwrap();
    let revoked = admin
        .post("http://admin/v1/revocations")
        .body(r#"{"issuer": "https://idp.example", "jti": "7f3a"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 200);
    let event = story.kong.access(instance, &request).await;
    let exit = event.exit.as_ref().unwrap();
    assert_eq!(exit.status, 401);
    assert_eq!(&exit.body[..], br#"{"message":"Unauthorized"}"#);
    let challenge = event.exit_header("WWW-Authenticate").unwrap();
    assert!(
        challenge.contains(
            r#"error="invalid_token", error_description="The access token is not valid""#
        ),
        "{challenge}"
    );
    story.end().await;
}

#[tokio::test]
async fn a_denylist_that_is_away_is_503_without_challenge_or_lets_pass() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"jti": "7f3a"})));
    let request = Request::with_headers(&[("authorization", &token)]);
    // A port that nobody listens on.
    let redis = json!({"host": "127.0.0.1", "port": 1});
    let open = json!({"denylist": {"policy": "redis", "on_error": "open"}, "redis": redis});
    let config = story.config(&open);
    assert!(story.access(config, &request).await.exit.is_none());
    let closed = json!({"denylist": {"policy": "redis"}, "redis": redis, "anonymous": "guest"});
    let config = story.config(&closed);
    let event = story.access(config, &request).await;
    assert_eq!(event.exit.as_ref().unwrap().status, 503);
    assert_eq!(event.exit_header("Retry-After").as_deref(), Some("1"));
    assert_eq!(event.exit_header("WWW-Authenticate"), None);
    story.end().await;
}

#[tokio::test]
async fn a_stalled_denylist_costs_its_timeout_a_few_times_and_nobody_else_anything() {
    // It takes connections, and never says a word.
    let stalled = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stalled.local_addr().unwrap().port();
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"jti": "7f3a"})));
    let request = Request::with_headers(&[("authorization", &token)]);
    let config = story.config(&json!({
        "denylist": {"policy": "redis"},
        "redis": {"host": "127.0.0.1", "port": port, "timeout": 200},
    }));
    let beside = story.config(&json!({"denylist": {"policy": "memory"}}));
    let began = std::time::Instant::now();
    for _ in 0..20 {
        let event = story.access(config.clone(), &request).await;
        assert_eq!(event.exit.unwrap().status, 503);
        // Kong gives up the connection of an exit.
        story.kong = Kong::connect(story.dir.path()).await;
        let event = story.access(beside.clone(), &request).await;
        assert!(event.exit.is_none());
    }
    // Twenty timeouts would be four seconds; three open the breaker.
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
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
async fn a_required_consumer_that_is_absent_is_forbidden() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({})));
    let config = story.config(&json!({"consumer_claims": [["sub"]], "consumer_optional": false}));
    let event = story
        .access(config, &Request::with_headers(&[("authorization", &token)]))
        .await;
    assert_eq!(event.exit.unwrap().status, 403);
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
    assert_eq!(event.cleared_headers(), ["x-consumer-id", "x-tenant"]);

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
async fn a_claim_with_a_forbidden_value_is_403() {
    let mut story = Story::begin().await;
    let token = bearer(&story.token(&json!({"groups": ["dev", "suspended"]})));
    let config =
        story.config(&json!({"claims_forbidden": [{"path": ["groups"], "one_of": ["suspended"]}]}));
    let event = story
        .access(config, &Request::with_headers(&[("authorization", &token)]))
        .await;
    assert_eq!(event.exit.unwrap().status, 403);
    story.end().await;
}

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

/// A proof by `key` for this token and address.
fn proof(key: &EcdsaKeyPair, token: &str, address: &str, id: &str) -> String {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = json!({"jti": id, "htm": "POST", "htu": address, "iat": now, "ath": hash});
    sign(key, &header, &claims)
}

/// The thumbprint of `key` (RFC 7638).
fn thumbprint(key: &EcdsaKeyPair) -> String {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[tokio::test]
async fn a_token_bound_to_a_key_needs_a_proof_for_the_address_that_kong_tells() {
    let mut story = Story::begin().await;
    let holder = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let token = story.token(&json!({"cnf": {"jkt": thumbprint(&holder)}}));
    let config = story.config(&json!({"proof_of_possession": {"dpop": "optional"}}));
    let text = |text: &'static str| wire::String { v: text.into() };
    let request = |authorization: &str, proofs: &[&str]| {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        Request::with_headers(&headers)
            .answering("kong.request.get_method", &text("POST"))
            .answering("kong.request.get_forwarded_scheme", &text("https"))
            .answering("kong.request.get_forwarded_host", &text("gateway.example"))
            .answering("kong.request.get_forwarded_port", &wire::Int { v: 443 })
            .answering("kong.request.get_path_with_query", &text("/mcp?session=1"))
    };
    let scheme = format!("DPoP {token}");
    let here = proof(&holder, &token, "https://gateway.example/mcp", "p1");
    let event = story
        .access(config.clone(), &request(&scheme, &[&here]))
        .await;
    assert!(event.exit.is_none(), "{:?}", event.exit);
    assert_eq!(event.cleared_headers(), ["authorization", "dpop"]);

    let elsewhere = proof(&holder, &token, "https://evil.example/mcp", "p2");
    for (authorization, proofs, challenged) in [
        (&scheme, &[&*here][..], ("DPoP", "invalid_dpop_proof")),
        (&scheme, &[&elsewhere], ("DPoP", "invalid_dpop_proof")),
        (&scheme, &[], ("DPoP", "invalid_dpop_proof")),
        (&scheme, &[&here, &here], ("DPoP", "invalid_dpop_proof")),
        (&bearer(&token), &[], ("Bearer", "invalid_token")),
    ] {
        let event = story
            .access(config.clone(), &request(authorization, proofs))
            .await;
        assert_eq!(event.exit.as_ref().unwrap().status, 401);
        let (scheme, error) = challenged;
        let challenges = event.exit_header_values("WWW-Authenticate");
        assert_eq!(challenges.len(), 2);
        assert!(challenges[1].starts_with("DPoP ") && challenges[1].contains("algs=\"ES256 "));
        let blamed: Vec<&String> = challenges
            .iter()
            .filter(|challenge| challenge.contains("error="))
            .collect();
        assert!(
            matches!(&blamed[..], [one] if one.starts_with(scheme) && one.contains(error)),
            "{challenges:?}"
        );
        story.kong = Kong::connect(story.dir.path()).await;
    }
    story.end().await;
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_needs_the_one_that_kong_saw() {
    let mut story = Story::begin().await;
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, client.cert.der()));
    let token = bearer(&story.token(&json!({"cnf": {"x5t#S256": hash}})));
    let config = story.config(&json!({"proof_of_possession": {"mtls": "required"}}));
    let request = Request::with_headers(&[("authorization", &token)]);
    let pem = wire::String {
        v: client.cert.pem().into(),
    };
    let shown = request.clone().answering("kong.nginx.get_var", &pem);
    let event = story.access(config.clone(), &shown).await;
    assert!(event.exit.is_none(), "{:?}", event.exit);
    let event = story.access(config, &request).await;
    assert_eq!(event.exit.unwrap().status, 401);
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
