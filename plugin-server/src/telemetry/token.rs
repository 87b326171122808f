//! The span of a token's judgement: one that its own plugin may not be able to place.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, Status};
use serde::{Deserialize, Serialize};

use super::request::{moment, nanoseconds, parse};
use super::{Collector, Finished, Telemetry};
use crate::clock::wall_clock;
use crate::jwt::outcomes::Outcome;

/// The key in `kong.ctx.shared` of the ticket with which `llm-rate-limiting` takes a passed request's span along.
pub const TOKEN_KEY: &str = "llm_jwt_trace";

/// The judgement of a request's token. When it is dropped, it ends and is exported, unless it was sent on with [`TokenSpan::carry`].
#[derive(Debug)]
pub struct TokenSpan(Option<Judgement>);

#[derive(Debug)]
struct Judgement {
    collector: Arc<Collector>,
    parent: Option<SpanContext>,
    record: TokenRecord,
}

/// What waits for a plugin that can place it, and travels on with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    pub(super) started_ns: u64,
    pub(super) ended_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
}

impl Telemetry {
    /// Begins a judgement.
    pub fn token(&self) -> TokenSpan {
        TokenSpan(self.0.clone().map(|collector| Judgement {
            collector,
            parent: None,
            record: TokenRecord {
                started_ns: nanoseconds(wall_clock()),
                ended_ns: 0,
                outcome: None,
            },
        }))
    }
}

impl TokenSpan {
    /// The `traceparent` that the client sent. One that is malformed counts as absent, as the W3C demands.
    pub fn joins(&mut self, traceparent: Option<&[u8]>) {
        if let Some(judgement) = &mut self.0 {
            let text = traceparent.and_then(|bytes| str::from_utf8(bytes).ok());
            judgement.parent = text.and_then(parse);
        }
    }

    /// What became of the request.
    pub fn decided(&mut self, outcome: Outcome) {
        if let Some(judgement) = &mut self.0 {
            judgement.record.outcome = Some(outcome);
        }
    }

    /// Ends the span of a request that passes. If its trace is known, it is exported; if not, it waits, and this is its ticket
    /// for [`TOKEN_KEY`] in `kong.ctx.shared`.
    pub fn carry(mut self) -> Option<String> {
        let mut judgement = self.0.take_if(|judgement| judgement.parent.is_none())?;
        judgement.record.ended_ns = nanoseconds(wall_clock());
        Some(judgement.collector.wait(judgement.record).to_string())
    }
}

impl Drop for TokenSpan {
    fn drop(&mut self) {
        if let Some(mut judgement) = self.0.take() {
            judgement.record.ended_ns = nanoseconds(wall_clock());
            let span = judgement.record.finish();
            judgement.collector.export(span, judgement.parent.as_ref());
        }
    }
}

impl TokenRecord {
    pub(super) fn finish(self) -> Finished {
        let outcome = self.outcome.map(Outcome::label);
        Finished {
            name: "llm-jwt access",
            started: moment(self.started_ns),
            ended: moment(self.ended_ns),
            attributes: outcome
                .map(|label| KeyValue::new("llm.jwt.outcome", label))
                .into_iter()
                .collect(),
            // A refusal is the policy at work; no decision is not.
            status: match outcome {
                Some(_) => Status::Unset,
                None => Status::error("nothing was decided"),
            },
        }
    }
}
