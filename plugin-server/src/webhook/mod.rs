//! Limits' warnings and first refusals, posted to an operator's URL.
//!
//! # Layout
//!
//! [`config`] says where to; the policy's [`notices`](crate::rate_limiting::outcomes::notices) say what, and that once a window;
//! `event` makes a body and signs it, `delivery` brings it there.
//!
//! # Model
//!
//! Events are those of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
//! 1.0.0: a JSON object `{type, timestamp, data}`, the headers `webhook-id`, `webhook-timestamp` and, with a secret, `webhook-signature`.
//! They are delivered one after another. An attempt succeeds with a 2xx; after any other answer, or none, there are a few more, under the
//! same id, with growing pauses. 410 ends it: nothing more is sent until the next start.
//!
//! # Failure
//!
//! No request ever waits. A receiver that is slow or away costs events: those that used up their attempts, and those that found 1,024
//! others waiting. They are counted, and logged when it begins and when it ends. What waits is in memory alone: a stop gives it two
//! seconds.

pub mod config;
mod delivery;
mod event;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use reqwest::redirect;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::config::WebhookConfig;
use self::delivery::{Delivery, FIRST_PAUSE};
use crate::clock::Clock;
use crate::rate_limiting::outcomes::notices::Notice;

/// The longest that a stop waits for events.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The task that delivers events.
#[derive(Debug)]
pub struct Webhook {
    status: Arc<WebhookStatus>,
    stopping: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What became of events.
#[derive(Debug, Default)]
pub struct WebhookStatus {
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    retries: AtomicU64,
}

impl WebhookStatus {
    /// Events that the receiver has taken.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Events that it did not take, however often they were sent.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Events that were not sent because the receiver wants none.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Attempts after an event's first.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }
}

impl Webhook {
    /// Delivers `notices` from now on. Within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the system's trust anchors cannot be used.
    pub fn start(
        config: &WebhookConfig,
        notices: mpsc::Receiver<Notice>,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        Self::with_pauses(FIRST_PAUSE, config, notices, clock)
    }

    fn with_pauses(
        first_pause: Duration,
        config: &WebhookConfig,
        notices: mpsc::Receiver<Notice>,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        let (stopping, stop) = watch::channel(false);
        let status = Arc::<WebhookStatus>::default();
        let delivery = Delivery {
            client: reqwest::Client::builder()
                .user_agent(concat!("llm-plugin-server/", env!("CARGO_PKG_VERSION")))
                .timeout(config.timeout())
                .redirect(redirect::Policy::none())
                .referer(false)
                // A proxy would be told in plain text what is meant for loopback.
                .no_proxy()
                .build()?,
            url: config.url.clone(),
            secret: config.secret.clone(),
            first_pause,
            status: status.clone(),
            clock,
            stop,
            is_failing: false,
            is_unwanted: false,
        };
        Ok(Self {
            status,
            stopping,
            task: tokio::spawn(delivery.run(notices)),
        })
    }

    /// What became of events.
    pub fn status(&self) -> &Arc<WebhookStatus> {
        &self.status
    }

    /// Tries once more to deliver what waits, for a short time, and ends.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        let task = self.task.abort_handle();
        if tokio::time::timeout(STOP_TIMEOUT, self.task).await.is_err() {
            task.abort();
            tracing::warn!("the last events of limits were not delivered to webhook.url");
        }
    }
}
