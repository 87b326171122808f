//! The admin listener over real sockets: what it shows, what it changes, and for whom.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use llm_plugin_server::admin::listener::{ListenAddress, Listener};
use llm_plugin_server::admin::token::AdminToken;
use llm_plugin_server::admin::{self, Parts, Readiness};
use llm_plugin_server::cli::ProcessArgs;
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::rate_limiting::outcomes::{
    Decided, DecidedOutcome, LimitDescription, Metered, Outcomes, Scope, Settled, Tokens,
};
use llm_plugin_server::server::Plugins;
use llm_plugin_server::stores::Stores;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use token_limiter::{
    Charge, Cost, Decision, Grant, Identity, Key, Limit, MemoryStore, Store as _, Window,
};
use tokio::sync::watch;

const TOKEN: &str = "correct-horse-battery-staple";
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"\\\n# {evil}";

/// A server whose policy is this test.
struct World {
    outcomes: Arc<Outcomes>,
    stores: Arc<Stores>,
    client: Client,
    base: String,
    readiness: watch::Sender<Readiness>,
}

impl World {
    async fn new(listen: &str, token: Option<&str>) -> Self {
        let mut config = ProcessConfig::resolve(ProcessArgs::default()).unwrap();
        config.admin.consumer_label = true;
        let plugins = Plugins::new(&config).unwrap();
        let (readiness, ready) = watch::channel(Readiness::Serving);
        let parts = Parts {
            counters: plugins.server.counters(),
            jwt: plugins.jwt,
            outcomes: Arc::clone(&plugins.outcomes),
            stores: Arc::clone(&plugins.stores),
            readiness: ready,
        };
        let listener = Listener::bind(&listen.parse().unwrap()).await.unwrap();
        let mut client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30));
        let base = match listener.address().unwrap() {
            ListenAddress::Tcp(address) => format!("http://{address}"),
            ListenAddress::Unix(path) => {
                client = client.unix_socket(path);
                "http://anything".to_owned()
            }
        };
        let token = token.map(|token| AdminToken::new(token).unwrap());
        tokio::spawn(admin::serve(listener, parts, token));
        Self {
            outcomes: plugins.outcomes,
            stores: plugins.stores,
            client: client.build().unwrap(),
            base,
            readiness,
        }
    }

    async fn open() -> Self {
        Self::new("127.0.0.1:0", None).await
    }

    async fn on_socket(dir: &Path) -> Self {
        Self::new(&format!("unix:{}/admin.sock", dir.display()), None).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path);
        answer(request.body(body.to_string())).await
    }

    /// A consumer's request for so many tokens, as the policy would handle it.
    async fn spend(&self, consumer: &str, tokens: u64) -> Option<Grant> {
        let limit = limit();
        let key = Key::new(
            &limit,
            "total_tokens",
            &Identity::new([consumer.as_bytes()]),
        );
        let store: &MemoryStore = self.stores.memory();
        let charge = Charge::new(&limit, key, Cost::new(tokens));
        let decision = store
            .reserve(&[charge], Duration::from_mins(10))
            .await
            .unwrap();
        let (outcome, balance) = match &decision {
            Decision::Granted(grant) => (DecidedOutcome::Admitted, Some(grant.balances[0])),
            Decision::Denied(denial) => (
                DecidedOutcome::Denied {
                    limit: denial.index,
                    retry_after: denial.retry_after,
                },
                Some(denial.balances[0]),
            ),
            Decision::NeverPasses { index } => {
                (DecidedOutcome::NeverPasses { limit: *index }, None)
            }
        };
        let meter = Metered {
            unit: "total_tokens",
            mode: "enforce",
            window_type: "sliding",
            window: Duration::from_mins(1),
            limit: &limit,
            key,
            values: &[("consumer".to_owned(), consumer.to_owned())],
            balance,
            exceeded: outcome != DecidedOutcome::Admitted,
            warned: false,
        };
        self.outcomes.decided(&Decided {
            scope: &Scope {
                service: Some("chat".to_owned()),
                ..Scope::default()
            },
            store: "memory",
            tenant: consumer,
            model: Some("gpt-4o"),
            outcome,
            meters: &[meter],
        });
        match decision {
            Decision::Granted(grant) => Some(grant),
            _ => None,
        }
    }
}

fn limit() -> Limit {
    Limit {
        name: "per-minute".to_owned(),
        limit: Cost::new(1_000),
        window: Window::sliding(Duration::from_mins(1)).unwrap(),
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    (status, value)
}

fn is_problem(answer: &(StatusCode, Value), status: u16) {
    assert_eq!(answer.0, status, "{}", answer.1);
    for member in ["message", "hint"] {
        assert!(
            answer.1[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{}",
            answer.1
        );
    }
}

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
