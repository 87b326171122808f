//! Brings events to their receiver, one after another.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use url::Url;

use super::WebhookStatus;
use super::config::WebhookSecret;
use super::event::Event;
use crate::clock::Clock;
use crate::rate_limiting::outcomes::notices::Notice;

/// Attempts for one event.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; each later one is four times as long: half a second, two, eight.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a receiver may ask for: others wait behind it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The receiver, and how it behaves.
pub(super) struct Delivery {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) secret: Option<WebhookSecret>,
    pub(super) first_pause: Duration,
    pub(super) status: Arc<WebhookStatus>,
    pub(super) clock: Arc<dyn Clock>,
    /// True when it is to end.
    pub(super) stop: watch::Receiver<bool>,
    /// Whether the last event was not taken.
    pub(super) is_failing: bool,
    /// Whether the receiver wants no more.
    pub(super) is_unwanted: bool,
}

/// Why an attempt failed.
struct Failure {
    reason: String,
    /// What the receiver says about the next one.
    retry_after: Option<Duration>,
    /// It wants no more events at all.
    is_gone: bool,
}

impl Delivery {
    /// Delivers until it is stopped, and then, without a pause, what still waits.
    pub(super) async fn run(mut self, mut notices: mpsc::Receiver<Notice>) {
        let mut stop = self.stop.clone();
        loop {
            let notice = tokio::select! {
                biased;
                () = told(&mut stop) => break,
                notice = notices.recv() => notice,
            };
            let Some(notice) = notice else { return };
            self.deliver(&notice).await;
        }
        notices.close();
        while let Some(notice) = notices.recv().await {
            self.deliver(&notice).await;
        }
    }

    async fn deliver(&mut self, notice: &Notice) {
        if self.is_unwanted {
            self.status.dropped.fetch_add(1, Relaxed);
            return;
        }
        let event = Event::new(notice);
        let mut attempt = 1;
        let failure = loop {
            let Err(failure) = self.post(&event).await else {
                return self.delivered();
            };
            let pause = self
                .pause(attempt)
                .max(failure.retry_after.unwrap_or_default());
            let is_last = attempt == ATTEMPTS || failure.is_gone;
            if is_last || self.stops_within(pause).await {
                break failure;
            }
            attempt += 1;
            self.status.retries.fetch_add(1, Relaxed);
        };
        self.failed(&failure);
    }

    fn delivered(&mut self) {
        self.status.delivered.fetch_add(1, Relaxed);
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(receiver = %self.receiver(), "the receiver of webhook.url takes events again");
        }
    }

    fn failed(&mut self, failure: &Failure) {
        self.status.failed.fetch_add(1, Relaxed);
        let (receiver, reason) = (self.receiver(), &failure.reason);
        if failure.is_gone {
            self.is_unwanted = true;
            tracing::warn!(%receiver, reason, "the receiver of webhook.url wants no more events: none is sent until the next start");
        } else if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%receiver, reason, "events of limits are lost: the receiver of webhook.url does not take them");
        }
    }

    /// Sends the event once.
    async fn post(&self, event: &Event) -> Result<(), Failure> {
        let unix_seconds = self.clock.unix_seconds();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", unix_seconds)
            .body(event.body.clone());
        if let Some(secret) = &self.secret {
            let signature = secret.sign(&event.id, unix_seconds, &event.body);
            request = request.header("webhook-signature", signature);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Failure {
                reason: format!("it answered {}", answer.status()),
                retry_after: retry_after(&answer),
                is_gone: answer.status() == StatusCode::GONE,
            }),
            Err(error) => Err(Failure {
                reason: chain(&error.without_url()),
                retry_after: None,
                is_gone: false,
            }),
        }
    }

    /// How long to wait after this attempt: half of its span at least, so that senders who failed together do not return together.
    fn pause(&self, attempt: u32) -> Duration {
        let span = self.first_pause * 4_u32.pow(attempt - 1);
        let half = u64::try_from(span.as_millis() / 2).unwrap_or(u64::MAX);
        // The standard hasher's keys differ from call to call; nobody has to be kept from guessing them.
        let jitter = RandomState::new().hash_one(()) % (half + 1);
        Duration::from_millis(half.saturating_add(jitter))
    }

    /// Waits; true if it is stopped before that is over.
    async fn stops_within(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = told(&mut stop) => true,
            () = sleep(pause) => false,
        }
    }

    /// Where events go, for people: a path may be a secret.
    fn receiver(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// Completes when it is told to stop. If nobody can tell it any more, it is.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let pause = Duration::from_secs(seconds.parse().ok()?);
    Some(pause.min(LONGEST_PAUSE))
}

/// The whole of what went wrong.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
