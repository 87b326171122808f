//! The metrics page of a server on which everything that it counts has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kong_pdk::PluginConfig as _;
use llm_plugin_server::admin::listener::{ListenAddress, Listener};
use llm_plugin_server::admin::{self, Parts, Readiness};
use llm_plugin_server::cli::ProcessArgs;
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::jwt::algorithm::Algorithm;
use llm_plugin_server::jwt::config::Settings;
use llm_plugin_server::kong::jwt::Config;
use llm_plugin_server::rate_limiting::outcomes::{
    Decided, DecidedOutcome, Metered, Scope, Settled, Tokens,
};
use llm_plugin_server::server::Plugins;
use llm_plugin_server::stores::redis::config::RedisConfig;
use token_limiter::{Cost, Identity, Key, Limit, Window};
use tokio::sync::watch;

/// Sample names, and the values that each of their labels has.
#[derive(Debug, Default)]
pub(crate) struct Page(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Page {
    pub(crate) async fn of_a_server_in_use() -> Self {
        let plugins =
            Plugins::new(&ProcessConfig::resolve(ProcessArgs::default()).unwrap()).unwrap();
        use_up(&plugins);
        let authenticator = plugins.jwt.authenticator(tokens()).unwrap();
        // Nobody needs to answer there for the page to have it.
        plugins.stores.in_redis(&RedisConfig::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let state_file = plugins.stores.keep_in(&dir.path().join("state")).unwrap();
        let (_readiness, ready) = watch::channel(Readiness::Serving);
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let ListenAddress::Tcp(address) = listener.address().unwrap() else {
            panic!("it was told a TCP address");
        };
        let parts = Parts {
            counters: plugins.server.counters(),
            jwt: plugins.jwt,
            outcomes: Arc::clone(&plugins.outcomes),
            stores: Arc::clone(&plugins.stores),
            state_file: Some(Arc::clone(state_file.status())),
            webhook: Some(Arc::default()),
            readiness: ready,
        };
        let serving = tokio::spawn(admin::serve(listener, parts, None));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let text = client
            .get(format!("http://{address}/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        serving.abort();
        drop(authenticator);
        state_file.stop().await;
        Self::read(&text)
    }

    /// Reads the samples; labels have no commas or quotes in this test.
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let (name, labels) = match sample.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                None => (sample, ""),
            };
            let known = page.0.entry(name.to_owned()).or_default();
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (label, value) = label.split_once('=').unwrap();
                known
                    .entry(label.to_owned())
                    .or_default()
                    .insert(value.trim_matches('"').to_owned());
            }
        }
        page
    }

    pub(crate) fn has(&self, metric: &str) -> bool {
        self.0.contains_key(metric)
    }

    pub(crate) fn has_label(&self, metric: &str, label: &str) -> bool {
        self.0
            .get(metric)
            .is_some_and(|labels| labels.contains_key(label))
    }

    pub(crate) fn has_value(&self, metric: &str, label: &str, value: &str) -> bool {
        self.0
            .get(metric)
            .and_then(|labels| labels.get(label))
            .is_some_and(|values| values.contains(value))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// An issuer that publishes its keys. Nobody needs to answer there for the page to have it.
fn tokens() -> Settings {
    let config = serde_json::json!({"issuers": [{
        "issuer": "https://idp.example",
        "jwks_endpoint": "https://idp.example/jwks",
        "audience_required": ["llm"],
    }]});
    Config::from_json(config).unwrap().into_settings().unwrap()
}

/// A refusal, a pass that a shadow limit would have refused, a threshold met, and settlements with and without a figure.
fn use_up(plugins: &Plugins) {
    let limit = Limit {
        name: "per-minute".to_owned(),
        limit: Cost::new(1_000),
        window: Window::sliding(Duration::from_mins(1)).unwrap(),
    };
    let key = Key::new(&limit, "total_tokens", &Identity::new([&b"alice"[..]]));
    let denied = DecidedOutcome::Denied {
        limit: 0,
        retry_after: Duration::from_secs(1),
    };
    for (outcome, mode) in [(denied, "enforce"), (DecidedOutcome::Admitted, "shadow")] {
        plugins.outcomes.decided(&Decided {
            scope: &Scope::default(),
            store: "memory",
            tenant: "alice",
            model: Some("gpt-4o"),
            outcome,
            meters: &[Metered {
                unit: "total_tokens",
                mode,
                window_type: "sliding",
                window: Duration::from_mins(1),
                limit: &limit,
                key,
                values: &[],
                balance: None,
                exceeded: true,
                warned: true,
            }],
        });
    }
    let verified = plugins.jwt.outcomes();
    verified.verified(Algorithm::Es256, Duration::from_micros(57));
    for (source, usage) in [("provider", Some(Tokens::default())), ("reserved", None)] {
        plugins.outcomes.settled(&Settled {
            tenant: "alice",
            model: Some("gpt-4o"),
            usage,
            source,
            reserved_tokens: 100,
            spent_tokens: 70,
            cost_microdollars: Some(42),
        });
    }
}
