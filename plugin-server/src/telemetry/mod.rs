//! Spans over OTLP/gRPC: one for each decision of `llm-jwt` and of `llm-rate-limiting`, one for each settlement.
//!
//! # Model
//!
//! A request's spans join the trace that Kong propagates. In `access` only the client's own `traceparent` can be seen: Kong's tracing
//! plugins run after this one, and write theirs into the request's headers. By `log` it is there. So an admitted request's
//! first span travels through `kong.ctx.shared` as a record ([`KEY`]) and is exported in `log`, under the parent that the header then
//! names; a refused request's is exported at once, under the client's parent. Without any, our first span starts a trace.
//!
//! `llm-jwt` has no phase after `access`. Under a client's parent its span is exported at once: Kong goes on with that trace. Without,
//! a request that passes leaves its span waiting, with a ticket in `kong.ctx.shared` ([`TOKEN_KEY`]): `llm-rate-limiting` takes the span where its own goes.
//! On a route without that plugin nobody can tell the trace: after a few seconds, the span starts one of its own.
//!
//! # Attributes
//!
//! OpenTelemetry's GenAI conventions where they fit: `gen_ai.request.model`, `gen_ai.usage.input_tokens`,
//! `gen_ai.usage.output_tokens`; otherwise `llm.jwt.outcome`, `llm.limit.decision`, `llm.limit.name`, `llm.usage.source` and
//! `http.response.status_code`. Never a body, a header, a claim or a credential.
//!
//! # Failure
//!
//! A finished span is put into a bounded queue that a thread of its own empties; a full queue drops spans. A collector that is
//! away costs one warning and its spans, never a request; when it is back, that is logged too. A stop waits
//! for the queue, but not for long.

pub(crate) mod config;
mod exporter;
mod request;
mod token;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};

use self::config::TracingConfig;
use self::exporter::Announced;
pub use self::request::{AccessSpan, Decision, KEY, Settled, SettlementSpan};
pub use self::token::{TOKEN_KEY, TokenSpan};
use self::waiting::{GRACE, Waiting};

/// Finished spans that wait for the collector; more are dropped.
const QUEUE: usize = 4096;
/// Spans in one export.
const BATCH: usize = 512;
/// The longest that a finished span waits for its batch to fill.
const DELAY: Duration = Duration::from_secs(1);
/// The longest that one export takes, retries included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that a stop waits for the queue.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Where spans go. Cheap to clone; without a collector, everything here does nothing.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Option<Arc<Collector>>);

#[derive(Debug)]
struct Collector {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    waiting: Waiting,
}

/// A span that is over.
struct Finished {
    name: &'static str,
    started: SystemTime,
    ended: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Telemetry {
    /// No spans.
    pub fn off() -> Self {
        Self::default()
    }

    /// Spans for a collector, which need not be there yet. Within a Tokio runtime, which then carries its connection.
    ///
    /// # Errors
    ///
    /// When the address or the system's trust anchors cannot be used.
    pub fn to(config: &TracingConfig) -> anyhow::Result<Self> {
        Self::waiting_for(GRACE, config)
    }

    fn waiting_for(grace: Duration, config: &TracingConfig) -> anyhow::Result<Self> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .context("spans cannot be sent to tracing.endpoint")?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                config.sample_ratio,
            ))))
            .with_span_processor(
                BatchSpanProcessor::builder(Announced::new(exporter))
                    .with_batch_config(batches)
                    .build(),
            )
            .build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        let collector = Arc::new(Collector {
            provider,
            tracer,
            waiting: Waiting::default(),
        });
        collector.watch(grace);
        Ok(Self(Some(collector)))
    }

    /// Whether spans are made. Where they are not, a policy asks Kong for no trace and leaves no record.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Sends what is queued, for a short time, and ends. Spans of later are dropped.
    pub async fn stop(&self) {
        let Some(collector) = self.0.clone() else {
            return;
        };
        collector.export_waiting(u64::MAX);
        // It waits for a thread that needs this runtime to send.
        let stopped = tokio::task::spawn_blocking(move || {
            collector.provider.shutdown_with_timeout(STOP_TIMEOUT)
        });
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(%error, "the last spans were lost");
        }
    }
}

impl Collector {
    /// Queues a span, if its trace is kept, and tells whom later ones may follow.
    fn export(&self, span: Finished, parent: Option<&SpanContext>) -> SpanContext {
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent.clone())
        });
        let mut exported = self
            .tracer
            .span_builder(span.name)
            .with_kind(SpanKind::Internal)
            .with_start_time(span.started)
            .with_attributes(span.attributes)
            .start_with_context(&self.tracer, &context);
        exported.set_status(span.status);
        exported.end_with_timestamp(span.ended);
        exported.span_context().clone()
    }
}

#[cfg(test)]
mod tests;
