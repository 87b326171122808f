//! The LLM provider behind the gateway, and what reached it.

use std::time::Duration;

use anyhow::{Context, Result};
use sample_llm::{Config, Pace};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::http;

/// A sample LLM: in this process, or one that something else runs.
#[derive(Debug)]
pub struct Provider {
    /// The host under which the gateway reaches it.
    pub host: String,
    /// The port under which the gateway reaches it.
    pub port: u16,
    url: String,
    // Dropping it lets the server end.
    _stop: Option<oneshot::Sender<()>>,
}

impl Provider {
    /// Starts one here, on a free port; it takes its time between tokens, so that a stream can be watched and left.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel::<()>();
        let pace = Pace {
            token_delay: Duration::from_millis(2),
            ..Pace::default()
        };
        tokio::spawn(sample_llm::serve(
            listener,
            Config {
                pace,
                ..Config::default()
            },
            async {
                let _ = stopped.await;
            },
        ));
        let host = "127.0.0.1".to_owned();
        Ok(Self {
            url: format!("http://{host}:{port}"),
            host,
            port,
            _stop: Some(stop),
        })
    }

    /// One that runs elsewhere: `url` for us, `host` and `port` for the gateway.
    pub fn remote(url: String, host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            url,
            _stop: None,
        }
    }

    /// The same one, for another gateway: it lives as long as this value.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::remote(self.url.clone(), &self.host, self.port)
    }

    /// What reached it, oldest first: see `sample_llm::Record`.
    pub async fn records(&self) -> Result<Vec<Value>> {
        let client = http::client().build()?;
        let mut answer: Value = client
            .get(format!("{}/requests", self.url))
            .send()
            .await?
            .json()
            .await?;
        Ok(serde_json::from_value(answer["data"].take())?)
    }

    /// The newest request whose header `name` (lower case) was `value`.
    pub async fn record_with_header(&self, name: &str, value: &str) -> Result<Value> {
        let records = self.records().await?;
        let found = records
            .into_iter()
            .rev()
            .find(|record| record["headers"][name][0] == value);
        found.with_context(|| format!("no request with {name}: {value} reached the provider"))
    }
}
