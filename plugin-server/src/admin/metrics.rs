//! Counters for Prometheus, in the OpenMetrics text format.

mod jwt;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric as _};
use prometheus_client::registry::Registry;

use super::books::Books;
use super::{Parts, State};
use crate::rate_limiting::outcomes::labels::{Labelled, OTHER, parted};
use crate::stores::failover::{BreakerState, LATENCY_BOUNDS_US, StoreSnapshot};
use crate::stores::state_file::StateFileSnapshot;
use crate::webhook::WebhookStatus;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In a second.
const MICROSECONDS: f64 = 1e6;

/// What is shown at each scrape.
#[derive(Debug)]
pub(super) struct Metrics(Registry);

impl Metrics {
    pub(super) fn new(parts: Parts) -> Self {
        let books = Books::new(std::sync::Arc::clone(&parts.stores));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Everything { parts, books }));
        Self(registry)
    }

    fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0).expect("writing to a String cannot fail");
        page
    }
}

pub(super) async fn show(Shared(state): Shared<State>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        state.metrics.render(),
    )
}

/// Reads every counter when it is asked.
#[derive(Debug)]
struct Everything {
    parts: Parts,
    books: Books,
}

impl Collector for Everything {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.protocol(&mut families)?;
        jwt::requests(self.parts.jwt.outcomes(), &mut families)?;
        jwt::asked(&self.parts.jwt, &mut families)?;
        jwt::keys(&self.parts.jwt.key_health(), &mut families)?;
        self.decisions(&mut families)?;
        self.spending(&mut families)?;
        let population = self.books.population();
        families.gauge(
            "llm_counters",
            "Counters that the memory store holds",
            population.counters as u64,
        )?;
        families.gauge(
            "llm_open_reservations",
            "Reservations in the memory store that are not settled",
            population.reservations as u64,
        )?;
        stores(&self.books.snapshots(), &mut families)?;
        if let Some(file) = &self.parts.state_file {
            state_file(file.snapshot(), &mut families)?;
        }
        if let Some(webhook) = &self.parts.webhook {
            self.webhook(webhook, &mut families)?;
        }
        Ok(())
    }
}

impl Everything {
    fn protocol(&self, families: &mut Families<'_>) -> fmt::Result {
        let events = self.parts.counters.snapshot();
        families.gauge(
            "kong_pdk_connections",
            "Connections from Kong that are open",
            events.open_connections,
        )?;
        families.counter(
            "kong_pdk_events",
            "Events that Kong has sent for known instances",
            events.events,
        )?;
        families.counters(
            "kong_pdk_events_ended",
            "Events that did not simply go on, by how they ended",
            [
                ("exit", events.exits),
                ("failure", events.failures),
                ("panic", events.panics),
                ("deadline", events.deadlines),
                ("rejection", events.rejections),
                ("interrupted", events.interrupted),
                ("unknown_instance", events.unknown_instances),
                ("unusable_configuration", events.unusable),
            ]
            .map(|(how, count)| ([("how", how)], count)),
        )?;
        families.counter(
            "kong_pdk_instances_started",
            "Instances that Kong has started",
            events.started_instances,
        )?;
        families.counter(
            "kong_pdk_protocol_errors",
            "Connections that ended because of bytes that are not Kong's protocol",
            events.protocol_errors,
        )
    }

    fn decisions(&self, families: &mut Families<'_>) -> fmt::Result {
        let outcomes = &self.parts.outcomes;
        families.counters(
            "llm_requests",
            "Requests that llm-rate-limiting has decided about",
            outcomes
                .decisions()
                .map(|(decision, count)| ([("decision", decision)], count)),
        )?;
        let refused = values(outcomes.refused_by_limit());
        families.counters(
            "llm_refusals",
            "Requests that a limit has refused",
            refused.iter().map(|(name, count)| {
                let (limit, unit) = parted(name);
                ([("limit", limit), ("unit", unit)], *count)
            }),
        )?;
        let shadowed = values(outcomes.shadowed_by_limit());
        families.counters(
            "llm_shadow_refusals",
            "Requests that passed and that a limit in shadow mode would have refused",
            by("limit", &shadowed),
        )?;
        let warned = values(outcomes.warned_by_limit());
        families.counters(
            "llm_warnings",
            "Requests that met a limit's warn_at",
            by("limit", &warned),
        )
    }

    fn spending(&self, families: &mut Families<'_>) -> fmt::Result {
        let outcomes = &self.parts.outcomes;
        let mut tokens = families.family(
            "llm_tokens",
            "Tokens that were used; cached ones are part of the prompt, reasoning is part of the completion",
            MetricType::Counter,
        )?;
        for (name, counts) in outcomes.tokens_by_model().all() {
            let (model, consumer) = if name == OTHER {
                (OTHER, OTHER)
            } else {
                parted(&name)
            };
            for (unit, count) in counts.all() {
                let labels = [("unit", unit), ("model", model), ("consumer", consumer)];
                let labels = if outcomes.has_consumer_label() {
                    &labels[..]
                } else {
                    &labels[..2]
                };
                let labels = labels.to_vec();
                ConstCounter::new(count).encode(tokens.encode_family(&labels)?)?;
            }
        }
        let costs = values(outcomes.costs_by_model());
        families.counters(
            "llm_cost_microdollars",
            "What was spent, in millionths of a dollar, for models that have a price",
            by("model", &costs),
        )?;
        let (under, over) = outcomes.estimate_errors();
        families.histograms(
            "llm_estimate_error_tokens",
            "Tokens by which a request was estimated under, or over, what it spent",
            [("under", under), ("over", over)],
        )?;
        let sources = values(outcomes.usage_by_source());
        families.counters(
            "llm_usage_source",
            "Settled requests, by who counted their tokens",
            by("source", &sources),
        )
    }

    /// What became of the events that limits caused.
    fn webhook(&self, webhook: &WebhookStatus, families: &mut Families<'_>) -> fmt::Result {
        let dropped = webhook.dropped() + self.parts.outcomes.notices().missed();
        families.counters(
            "llm_webhook_events",
            "Warnings and first refusals of limits, by what became of them",
            [
                ([("outcome", "delivered")], webhook.delivered()),
                ([("outcome", "failed")], webhook.failed()),
                ([("outcome", "dropped")], dropped),
            ],
        )?;
        families.counter(
            "llm_webhook_retries",
            "Attempts to deliver an event after its first",
            webhook.retries(),
        )
    }
}

/// What each Redis went through.
fn stores(snapshots: &[(String, StoreSnapshot)], families: &mut Families<'_>) -> fmt::Result {
    type Read = fn(&StoreSnapshot) -> u64;
    let counters: [(&str, &str, Read); 6] = [
        (
            "llm_store_operations",
            "Calls to a shared store, failed ones included",
            |of| of.operations,
        ),
        (
            "llm_store_breaker_openings",
            "How often a store was left alone because it did not answer",
            |of| of.openings,
        ),
        (
            "llm_store_cached_denials",
            "Requests that were refused without asking the store again",
            |of| of.cached_denials,
        ),
        (
            "llm_store_deferred_settlements",
            "Settlements that waited for the store to come back",
            |of| of.deferred,
        ),
        (
            "llm_store_written_back_units",
            "Units written to the store after it came back",
            |of| of.written_back,
        ),
        (
            "llm_store_lost",
            "Settlements and write-backs that were given up because too many waited",
            |of| of.lost,
        ),
    ];
    for (name, help, read) in counters {
        let samples = snapshots
            .iter()
            .map(|(store, of)| ([("store", store.as_str())], read(of)));
        families.counters(name, help, samples)?;
    }
    families.counters(
        "llm_store_failures",
        "Calls to a shared store that failed",
        snapshots.iter().flat_map(|(store, of)| {
            [
                ("timeout", of.timeouts),
                ("error", of.failures - of.timeouts.min(of.failures)),
            ]
            .map(|(reason, count)| ([("store", store.as_str()), ("reason", reason)], count))
        }),
    )?;
    families.counters(
        "llm_store_fallbacks",
        "Requests that were decided while the store was away, by how",
        snapshots.iter().flat_map(|(store, of)| {
            [
                ("local_share", of.local_share),
                ("open", of.open),
                ("closed", of.closed),
            ]
            .map(|(how, count)| ([("store", store.as_str()), ("how", how)], count))
        }),
    )?;
    let gauges: [(&str, &str, Read); 2] = [
        (
            "llm_store_up",
            "Whether a shared store is asked: 0 while it is left alone",
            |of| u64::from(of.breaker == BreakerState::Closed),
        ),
        (
            "llm_store_nodes",
            "Plugin servers that share the store, as last known",
            |of| of.nodes,
        ),
    ];
    for (name, help, read) in gauges {
        let samples = snapshots
            .iter()
            .map(|(store, of)| ([("store", store.as_str())], read(of)));
        families.gauges(name, help, samples)?;
    }
    families.durations(
        "llm_store_latency_seconds",
        "How long calls to a shared store took",
        snapshots.iter().map(|(store, of)| {
            let seconds = of.latency_us as f64 / MICROSECONDS;
            let buckets = LATENCY_BOUNDS_US.into_iter().zip(of.latencies);
            let slowest = of.latencies[LATENCY_BOUNDS_US.len()];
            ([("store", store.as_str())], seconds, buckets, slowest)
        }),
    )
}

/// What the memory store's file went through.
fn state_file(file: StateFileSnapshot, families: &mut Families<'_>) -> fmt::Result {
    families.gauge(
        "llm_state_file_up",
        "Whether the state file could be written the last time",
        u64::from(file.is_up),
    )?;
    families.gauge(
        "llm_state_file_age_seconds",
        "For how long the state file may lack what was counted",
        file.age_seconds,
    )?;
    families.gauge(
        "llm_state_file_bytes",
        "The size of the state file",
        file.bytes,
    )?;
    families.counter(
        "llm_state_file_failures",
        "Attempts to write the state file that failed",
        file.failures,
    )?;
    families.counter(
        "llm_state_file_rewrites",
        "How often the state file was written anew, the start included",
        file.rewrites,
    )
}

fn values(counts: &Labelled<AtomicU64>) -> Vec<(String, u64)> {
    counts
        .all()
        .into_iter()
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .collect()
}

fn by<'a>(
    label: &'static str,
    counts: &'a [(String, u64)],
) -> impl Iterator<Item = ([(&'static str, &'a str); 1], u64)> {
    counts
        .iter()
        .map(move |(name, count)| ([(label, name.as_str())], *count))
}

/// Writes one family after another.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.family(name, help, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.family(name, help, MetricType::Counter)?)
    }

    fn counters<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'v str); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        histogram.encode(self.family(name, help, Histogram::TYPE)?)
    }

    /// Histograms of times. Of each: its labels, the sum in seconds, how many fell into each bucket (upper bound in microseconds,
    /// not cumulative), and how many took longer.
    fn durations<'v, const N: usize, B: IntoIterator<Item = (u64, u64)>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'v str); N], f64, B, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        for (labels, seconds, buckets, slowest) in samples {
            let buckets: Vec<_> = buckets
                .into_iter()
                .map(|(bound, count)| (bound as f64 / MICROSECONDS, count))
                .chain([(f64::INFINITY, slowest)])
                .collect();
            // What is counted in the buckets, so that one page never contradicts itself.
            let count = buckets.iter().map(|(_, count)| count).sum();
            family
                .encode_family(&labels)?
                .encode_histogram::<[(&str, &str); 0]>(seconds, count, &buckets, None)?;
        }
        Ok(())
    }

    fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'v str); 1], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        samples: [(&'static str, &Histogram); 2],
    ) -> fmt::Result {
        let mut family = self.family(name, help, Histogram::TYPE)?;
        for (direction, histogram) in samples {
            histogram.encode(family.encode_family(&[("direction", direction)])?)?;
        }
        Ok(())
    }
}
