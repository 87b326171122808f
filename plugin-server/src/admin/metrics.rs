//! Counters for Prometheus, in the OpenMetrics text format.

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

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
        self.jwt(&mut families)?;
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
        )
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

    fn jwt(&self, families: &mut Families<'_>) -> fmt::Result {
        let jwt = &self.parts.jwt;
        let (hits, misses) = jwt.lookups();
        let (fetched, failed) = jwt.fetches();
        families.counters(
            "llm_jwt_requests",
            "Requests that llm-jwt has decided about, by outcome",
            jwt.requests()
                .map(|(outcome, count)| ([("outcome", outcome.label())], count)),
        )?;
        families.counters(
            "llm_jwt_token_cache_lookups",
            "Looks into the cache of verified tokens",
            [([("result", "hit")], hits), ([("result", "miss")], misses)],
        )?;
        families.counters(
            "llm_jwt_key_fetches",
            "Fetches of JWK sets",
            [
                ([("result", "success")], fetched),
                ([("result", "failure")], failed),
            ],
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
