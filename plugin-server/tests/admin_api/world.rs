//! A running admin listener, and a policy that is played by a test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llm_plugin_server::admin::listener::{ListenAddress, Listener};
use llm_plugin_server::admin::token::AdminToken;
use llm_plugin_server::admin::{self, Parts, Readiness};
use llm_plugin_server::cli::ProcessArgs;
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::jwt::process::Process;
use llm_plugin_server::rate_limiting::outcomes::{
    Decided, DecidedOutcome, Metered, Outcomes, Scope,
};
use llm_plugin_server::server::Plugins;
use llm_plugin_server::stores::failover::OnStoreFailure;
use llm_plugin_server::stores::{LimitStore, Stores};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use token_limiter::{Charge, Cost, Decision, Grant, Identity, Key, Limit, Window};
use tokio::sync::watch;

pub(crate) const TOKEN: &str = "correct-horse-battery-staple";
/// A name that must stay a name.
pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)>\"\\\n# {evil}";

/// A server whose policy is this test.
pub(crate) struct World {
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) jwt: Arc<Process>,
    /// Where it counts.
    pub(crate) store: LimitStore,
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) readiness: watch::Sender<Readiness>,
}

impl World {
    pub(crate) async fn new(listen: &str, token: Option<&str>) -> Self {
        let mut config = ProcessConfig::resolve(ProcessArgs::default()).unwrap();
        config.admin.consumer_label = true;
        let plugins = Plugins::new(&config).unwrap();
        let (readiness, ready) = watch::channel(Readiness::Serving);
        let parts = Parts {
            counters: plugins.server.counters(),
            jwt: Arc::clone(&plugins.jwt),
            outcomes: Arc::clone(&plugins.outcomes),
            stores: Arc::clone(&plugins.stores),
            state_file: None,
            webhook: None,
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
            store: plugins.stores.in_memory(),
            stores: plugins.stores,
            jwt: plugins.jwt,
            client: client.build().unwrap(),
            base,
            readiness,
        }
    }

    pub(crate) async fn open() -> Self {
        Self::new("127.0.0.1:0", None).await
    }

    pub(crate) async fn on_socket(dir: &Path) -> Self {
        Self::new(&format!("unix:{}/admin.sock", dir.display()), None).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path);
        answer(request.body(body.to_string())).await
    }

    /// A consumer's request for so many tokens, as the policy would handle it.
    pub(crate) async fn spend(&self, consumer: &str, tokens: u64) -> Option<Grant> {
        let limit = limit();
        let key = Key::new(
            &limit,
            "total_tokens",
            &Identity::new([consumer.as_bytes()]),
        );
        let charge = Charge::new(&limit, key, Cost::new(tokens));
        let decision = self
            .store
            .reserve(
                &[charge],
                &[OnStoreFailure::Closed],
                Duration::from_mins(10),
            )
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
            store: self.store.name(),
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

pub(crate) fn limit() -> Limit {
    Limit {
        name: "per-minute".to_owned(),
        limit: Cost::new(1_000),
        window: Window::sliding(Duration::from_mins(1)).unwrap(),
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    (status, value)
}

pub(crate) fn is_problem(answer: &(StatusCode, Value), status: u16) {
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
