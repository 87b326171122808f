//! The two spans of a request, from where they begin to where they are known whole.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde::{Deserialize, Serialize};

use super::token::TokenRecord;
use super::{Collector, Finished, Telemetry};
use crate::clock::wall_clock;

/// The key in `kong.ctx.shared` under which an admitted request's first span waits for `log`.
pub const KEY: &str = "llm_trace";

/// The longest name of a model in a span, in bytes: clients choose it.
const MODEL_MAX: usize = 128;

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It passes.
    Granted,
    /// It does not pass now.
    Denied,
    /// It can never pass.
    NeverPasses,
    /// Its model is on no list.
    ModelNotAllowed,
    /// No store can decide.
    StoreUnavailable,
}

impl Decision {
    fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::NeverPasses => "never_passes",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}

/// What a request really cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Tokens of the prompt and of the answer, if anyone knows.
    pub tokens: Option<(u64, u64)>,
    /// Who says so.
    pub source: &'static str,
    /// The status of the answer.
    pub status: u16,
}

/// The decision about a request. When it is dropped, it ends and is exported, unless it was sent on with [`AccessSpan::carry`].
#[derive(Debug)]
pub struct AccessSpan(Option<Access>);

#[derive(Debug)]
struct Access {
    collector: Arc<Collector>,
    parent: Option<SpanContext>,
    record: Record,
}

/// What travels from `access` to `log`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    started_ns: u64,
    ended_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Of the token that came with the request, if its span is not exported yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenRecord>,
}

/// The settlement of a request. When it is dropped, the span that [`AccessSpan::carry`] sent on is exported, and after it this
/// one, if it was settled.
#[derive(Debug)]
pub struct SettlementSpan(Option<Settlement>);

#[derive(Debug)]
struct Settlement {
    collector: Arc<Collector>,
    started: SystemTime,
    parent: Option<SpanContext>,
    record: Option<Record>,
    settled: Option<Settled>,
}

impl Telemetry {
    /// Begins a decision.
    pub fn access(&self) -> AccessSpan {
        AccessSpan(self.0.clone().map(|collector| Access {
            collector,
            parent: None,
            record: Record {
                started_ns: nanoseconds(wall_clock()),
                ended_ns: 0,
                decision: None,
                limit: None,
                model: None,
                token: None,
            },
        }))
    }

    /// Begins a settlement.
    pub fn settlement(&self) -> SettlementSpan {
        SettlementSpan(self.0.clone().map(|collector| Settlement {
            collector,
            started: wall_clock(),
            parent: None,
            record: None,
            settled: None,
        }))
    }
}

impl AccessSpan {
    /// The `traceparent` that the client sent. One that is malformed counts as absent, as the W3C demands.
    pub fn joins(&mut self, traceparent: Option<&str>) {
        if let Some(access) = &mut self.0 {
            access.parent = traceparent.and_then(parse);
        }
    }

    /// What [`TokenSpan::carry`](super::TokenSpan::carry) left in the context: that span no longer waits, and is exported before this one.
    pub fn follows(&mut self, carried: Option<&str>) {
        if let Some(access) = &mut self.0 {
            let ticket = carried.and_then(|ticket| ticket.parse().ok());
            access.record.token = ticket.and_then(|ticket| access.collector.waiting.take(ticket));
        }
    }

    /// The model that the request asks for.
    pub fn model(&mut self, model: &str) {
        if let Some(access) = &mut self.0 {
            access.record.model = Some(model[..model.floor_char_boundary(MODEL_MAX)].to_owned());
        }
    }

    /// What was decided, and the limit that decided it.
    pub fn decided(&mut self, decision: Decision, limit: Option<&str>) {
        if let Some(access) = &mut self.0 {
            access.record.decision = Some(decision);
            access.record.limit = limit.map(str::to_owned);
        }
    }

    /// Ends the span and gives what `log` needs to export it, for [`KEY`] in `kong.ctx.shared`; `None` if nothing is traced.
    pub fn carry(mut self) -> Option<String> {
        let mut record = self.0.take()?.record;
        record.ended_ns = nanoseconds(wall_clock());
        Some(serde_json::to_string(&record).expect("a record is JSON"))
    }
}

impl Drop for AccessSpan {
    fn drop(&mut self) {
        let Some(mut access) = self.0.take() else {
            return;
        };
        access.record.ended_ns = nanoseconds(wall_clock());
        access.record.export(&access.collector, access.parent);
    }
}

impl SettlementSpan {
    /// What [`AccessSpan::carry`] left in the context, and the `traceparent` of the request, which is Kong's by now.
    pub fn joins(&mut self, carried: Option<&str>, traceparent: Option<&str>) {
        if let Some(settlement) = &mut self.0 {
            settlement.record = carried.and_then(|record| serde_json::from_str(record).ok());
            settlement.parent = traceparent.and_then(parse);
        }
    }

    /// What the request really cost.
    pub fn settled(&mut self, settled: Settled) {
        if let Some(settlement) = &mut self.0 {
            settlement.settled = Some(settled);
        }
    }
}

impl Drop for SettlementSpan {
    fn drop(&mut self) {
        let Some(settlement) = self.0.take() else {
            return;
        };
        let collector = &settlement.collector;
        let mut parent = settlement.parent;
        let mut attributes = Vec::new();
        if let Some(record) = settlement.record {
            if let Some(model) = &record.model {
                attributes.push(KeyValue::new("gen_ai.request.model", model.clone()));
            }
            parent = Some(record.export(collector, parent));
        }
        if let Some(settled) = settlement.settled {
            attributes.extend(settled.attributes());
            let span = Finished {
                name: "llm-rate-limiting log",
                started: settlement.started,
                ended: wall_clock(),
                attributes,
                status: Status::Unset,
            };
            collector.export(span, parent.as_ref());
        }
    }
}

impl Record {
    /// Exports it, after the token's if that is with it, and tells whom later spans may follow: `parent`, or the first of these.
    fn export(mut self, collector: &Collector, parent: Option<SpanContext>) -> SpanContext {
        let token = self.token.take().map(TokenRecord::finish);
        let parent = match token {
            Some(span) => {
                let token = collector.export(span, parent.as_ref());
                Some(parent.unwrap_or(token))
            }
            None => parent,
        };
        let access = collector.export(self.finish(), parent.as_ref());
        parent.unwrap_or(access)
    }

    fn finish(self) -> Finished {
        let text =
            |name, value: Option<Cow<'static, str>>| value.map(|value| KeyValue::new(name, value));
        let decision = self.decision.map(|decision| decision.label().into());
        Finished {
            name: "llm-rate-limiting access",
            started: moment(self.started_ns),
            ended: moment(self.ended_ns),
            attributes: [
                text("gen_ai.request.model", self.model.map(Into::into)),
                text("llm.limit.decision", decision),
                text("llm.limit.name", self.limit.map(Into::into)),
            ]
            .into_iter()
            .flatten()
            .collect(),
            // A refusal is the policy at work; no decision is not.
            status: match self.decision {
                Some(_) => Status::Unset,
                None => Status::error("nothing was decided"),
            },
        }
    }
}

impl Settled {
    fn attributes(self) -> Vec<KeyValue> {
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let mut attributes = vec![
            KeyValue::new("llm.usage.source", self.source),
            KeyValue::new("http.response.status_code", i64::from(self.status)),
        ];
        if let Some((input, output)) = self.tokens {
            attributes.push(KeyValue::new("gen_ai.usage.input_tokens", count(input)));
            attributes.push(KeyValue::new("gen_ai.usage.output_tokens", count(output)));
        }
        attributes
    }
}

/// The span that a `traceparent` names (W3C Trace Context, section 3.2).
pub(super) fn parse(traceparent: &str) -> Option<SpanContext> {
    let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let parent = context.span().span_context().clone();
    parent.is_valid().then_some(parent)
}

/// Nanoseconds since the Unix epoch, up to the year 2554.
pub(super) fn nanoseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn moment(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}
