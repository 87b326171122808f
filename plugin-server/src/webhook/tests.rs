use std::collections::VecDeque;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use token_limiter::{Balance, Cost, Identity, Key, Limit, Window};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::config::WebhookSecret;
use super::*;
use crate::clock::ManualClock;
use crate::rate_limiting::outcomes::{Decided, DecidedOutcome, Metered, Outcomes, Scope};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HOUR: Duration = Duration::from_hours(1);

/// One request as the receiver got it.
#[derive(Debug, Clone)]
struct Received {
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// What it answers, one request after another, and 204 from then on.
type Answers = VecDeque<(StatusCode, &'static [(&'static str, &'static str)])>;

#[derive(Debug, Default)]
struct Inbox {
    received: Mutex<Vec<Received>>,
    answers: Mutex<Answers>,
    news: Notify,
}

impl Inbox {
    /// A receiver on loopback.
    async fn open(answers: impl Into<Answers>) -> (Arc<Self>, SocketAddr) {
        let inbox = Arc::new(Self {
            answers: Mutex::new(answers.into()),
            ..Self::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/hook", post(take))
            .with_state(Arc::clone(&inbox));
        tokio::spawn(async { axum::serve(listener, routes).await });
        (inbox, address)
    }

    /// All requests, once there are so many.
    async fn received(&self, count: usize) -> Vec<Received> {
        loop {
            let news = self.news.notified();
            let received = self.received.lock().clone();
            if received.len() >= count {
                return received;
            }
            news.await;
        }
    }
}

async fn take(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    inbox.received.lock().push(Received { headers, body });
    inbox.news.notify_waiters();
    let (status, headers) = inbox
        .answers
        .lock()
        .pop_front()
        .unwrap_or((StatusCode::NO_CONTENT, &[]));
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    (status, headers)
}

/// A policy that is played by a test, and the webhook that tells of it.
struct World {
    outcomes: Outcomes,
    webhook: Webhook,
}

impl World {
    fn posting_to(address: SocketAddr) -> Self {
        let clock = ManualClock::new();
        let outcomes = Outcomes::new(clock.clone(), false);
        let notices = outcomes.notices().listen().unwrap();
        let config = WebhookConfig {
            url: format!("http://{address}/hook").parse().unwrap(),
            secret_file: None,
            timeout_ms: 30_000,
            secret: Some(WebhookSecret::new(SECRET).unwrap()),
        };
        // Pauses that a test can wait for.
        let pause = Duration::from_millis(2);
        let webhook = Webhook::with_pauses(pause, &config, notices, clock).unwrap();
        Self { outcomes, webhook }
    }

    /// An admitted request that finds a counter at its threshold.
    fn warn(&self, who: &str) {
        self.request(who, false);
    }

    fn request(&self, who: &str, refused: bool) {
        let limit = Limit {
            name: "hourly".to_owned(),
            limit: Cost::new(1_000),
            window: Window::fixed(HOUR).unwrap(),
        };
        let balance = Balance {
            used: Cost::new(850),
            remaining: Cost::new(50),
            reset_after: Duration::from_millis(90_500),
        };
        let meter = Metered {
            unit: "total_tokens",
            mode: "enforce",
            window_type: "fixed",
            window: HOUR,
            limit: &limit,
            key: Key::new(&limit, "total_tokens", &Identity::new([who.as_bytes()])),
            values: &[("consumer".to_owned(), who.to_owned())],
            balance: Some(balance),
            exceeded: refused,
            warned: true,
        };
        self.outcomes.decided(&Decided {
            scope: &Scope {
                route: Some("chat".to_owned()),
                ..Scope::default()
            },
            store: "memory",
            tenant: who,
            model: None,
            outcome: if refused {
                DecidedOutcome::Denied {
                    limit: 0,
                    retry_after: HOUR,
                }
            } else {
                DecidedOutcome::Admitted
            },
            meters: &[meter],
        });
    }

    async fn until(&self, done: impl Fn(&WebhookStatus) -> bool) {
        while !done(&self.webhook.status) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn an_event_says_all_of_its_counter_and_is_signed() {
    let (inbox, address) = Inbox::open([]).await;
    let world = World::posting_to(address);
    for _ in 0..10 {
        world.request("alice\u{1b}[2J", true);
    }
    let received = inbox.received(2).await;
    let first = &received[0];
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    let key = body["data"]["key"].as_str().unwrap();
    assert_eq!(key.len(), 32);
    let expected = json!({
        "type": "limit.warning",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {
            "key": key,
            "limit_name": "hourly",
            "unit": "total_tokens",
            "window_type": "fixed",
            "window_size": 3600,
            "mode": "enforce",
            "limit": 1000,
            "capacity": 1000,
            "used": 850,
            "remaining": 150,
            "reset_after_ms": 90_500,
            "scope": {"service": null, "route": "chat", "consumer": null},
            "values": {"consumer": "alice\u{FFFD}[2J"},
            "store": "memory",
        },
    });
    assert_eq!(body, expected);
    assert_eq!(first.header("content-type"), "application/json");
    let timestamp = ManualClock::START;
    assert_eq!(first.header("webhook-timestamp"), timestamp.to_string());
    let secret = WebhookSecret::new(SECRET).unwrap();
    let signature = secret.sign(first.header("webhook-id"), timestamp, &first.body);
    assert_eq!(first.header("webhook-signature"), signature);
    let second: Value = serde_json::from_slice(&received[1].body).unwrap();
    assert_eq!(second["type"], "limit.refusal");
    assert_ne!(first.header("webhook-id"), received[1].header("webhook-id"));

    world.until(|status| status.delivered() == 2).await;
    world.webhook.stop().await;
    assert_eq!(inbox.received.lock().len(), 2, "each once");
}

#[tokio::test]
async fn an_event_is_sent_again_under_its_id_until_it_is_taken() {
    let answers = [
        (StatusCode::INTERNAL_SERVER_ERROR, &[][..]),
        (StatusCode::FOUND, &[("location", "/hook")]),
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "0")]),
    ];
    let (inbox, address) = Inbox::open(answers).await;
    let world = World::posting_to(address);
    world.warn("alice");
    world.until(|status| status.delivered() == 1).await;
    let received = inbox.received(4).await;
    assert_eq!(received.len(), 4, "a redirect is not followed");
    for again in &received[1..] {
        assert_eq!(again.body, received[0].body);
        assert_eq!(again.header("webhook-id"), received[0].header("webhook-id"));
    }
    let status = &world.webhook.status;
    assert_eq!((status.retries(), status.failed()), (3, 0));
}

#[tokio::test]
async fn a_receiver_that_refuses_costs_its_event_and_no_other() {
    let (inbox, address) = Inbox::open([(StatusCode::FORBIDDEN, &[][..]); 4]).await;
    let world = World::posting_to(address);
    world.warn("alice");
    world.warn("bob");
    world.until(|status| status.delivered() == 1).await;
    assert_eq!(world.webhook.status.failed(), 1);
    let last: Value = serde_json::from_slice(&inbox.received(5).await[4].body).unwrap();
    assert_eq!(last["data"]["values"]["consumer"], "bob");
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_left_alone() {
    let (inbox, address) = Inbox::open([(StatusCode::GONE, &[][..])]).await;
    let world = World::posting_to(address);
    for who in ["alice", "bob", "carol"] {
        world.warn(who);
    }
    world.until(|status| status.dropped() == 2).await;
    assert_eq!(world.webhook.status.failed(), 1);
    assert_eq!(inbox.received.lock().len(), 1);
}

#[tokio::test]
async fn a_dead_receiver_costs_events_and_nothing_else() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::posting_to(nobody);
    world.warn("alice");
    world.warn("bob");
    world.until(|status| status.failed() == 2).await;
    assert_eq!(world.webhook.status.retries(), 6);
    assert_eq!(world.outcomes.notices().missed(), 0);
}

#[tokio::test]
async fn a_receiver_that_hangs_lets_a_bounded_number_wait() {
    // It takes connections, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::posting_to(mute.local_addr().unwrap());
    world.warn("first");
    let _connection = mute.accept().await.unwrap();
    // Nothing here waits: the receiver's task cannot even run meanwhile.
    for who in 0..1_100 {
        world.warn(&who.to_string());
    }
    assert_eq!(world.outcomes.notices().missed(), 1_100 - 1_024);
    let status = &world.webhook.status;
    assert_eq!((status.delivered(), status.failed()), (0, 0));
    assert_eq!(world.outcomes.decisions().next(), Some(("admitted", 1_101)));
}

#[tokio::test]
async fn a_stop_delivers_what_waits() {
    let (inbox, address) = Inbox::open([]).await;
    let world = World::posting_to(address);
    for who in 0..50 {
        world.warn(&who.to_string());
    }
    world.webhook.stop().await;
    assert_eq!(inbox.received.lock().len(), 50);
}
