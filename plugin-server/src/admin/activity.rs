//! What is going on: the limits, the last minute of use, the last refusals, and both as they happen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::State;
use super::answer::Problem;
use super::counters::page_size;
use crate::rate_limiting::outcomes::Outcomes;
use crate::rate_limiting::outcomes::recent::{Minute, SECONDS};
use crate::rate_limiting::outcomes::refusals::Refusal;

/// The most tenants and the most models that are listed.
const MOST_ROWS: usize = 100;
/// Of so many, the first, every second is told.
const ROWS_BY_SECOND: usize = 8;
/// The refusals that are listed, unless asked.
const REFUSALS: usize = 50;

pub(super) async fn limits(Shared(state): Shared<State>) -> Json<Value> {
    let data: Vec<_> = state
        .outcomes
        .limits()
        .into_iter()
        .map(|limit| {
            json!({
                "name": limit.name,
                "unit": limit.unit,
                "limit": limit.limit,
                "window_type": limit.window_type,
                "window_size": limit.window.as_secs(),
                "mode": limit.mode,
                "limit_by": limit.limit_by,
                "scope": limit.scope,
                "store": limit.store,
                "warn_at": limit.warn_at,
            })
        })
        .collect();
    Json(json!({ "data": data }))
}

pub(super) async fn usage(Shared(state): Shared<State>) -> Json<Value> {
    Json(described_usage(&state.outcomes))
}

fn described_usage(outcomes: &Outcomes) -> Value {
    let now = outcomes.now();
    let rows = |kind: &str, rows: Vec<(String, Minute)>| -> Vec<Value> {
        let rows = rows.into_iter().take(MOST_ROWS).enumerate();
        rows.map(|(rank, (name, minute))| {
            let mut row = described_minute(&minute, rank < ROWS_BY_SECOND);
            row[kind] = name.into();
            row
        })
        .collect()
    };
    let recent = outcomes.recent();
    json!({
        "window_seconds": SECONDS,
        "tenants": rows("tenant", recent.tenants(now)),
        "models": rows("model", recent.models(now)),
        "totals": described_minute(&recent.totals(now), true),
    })
}

fn described_minute(minute: &Minute, by_second: bool) -> Value {
    let mut row = json!({
        "requests": minute.total.requests,
        "refused": minute.total.refused,
        "tokens": minute.total.tokens,
        "cost_microdollars": minute.total.cost_microdollars,
        "tokens_per_second": minute.tokens_per_second,
    });
    if by_second {
        row["tokens_by_second"] = minute.tokens_by_second.to_vec().into();
    }
    row
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusalsQuery {
    size: Option<usize>,
}

pub(super) async fn refusals(
    Shared(state): Shared<State>,
    query: Result<Query<RefusalsQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let size = page_size(query.size.or(Some(REFUSALS)))?;
    let now = state.outcomes.now();
    let last = state.outcomes.refusals().last(size);
    let data: Vec<_> = last
        .iter()
        .map(|refusal| described_refusal(refusal, now))
        .collect();
    Ok(Json(json!({ "data": data })))
}

fn described_refusal(refusal: &Refusal, now: Duration) -> Value {
    json!({
        "at_ms_ago": super::milliseconds(now.saturating_sub(refusal.at)),
        "limit_name": refusal.limit_name,
        "unit": refusal.unit,
        "tenant": refusal.tenant,
        "model": refusal.model,
        "kind": refusal.kind,
        "retry_after_ms": refusal.retry_after.map(super::milliseconds),
    })
}

/// Refusals as they happen, and the use of the last minute: at once, then each second.
pub(super) async fn events(
    Shared(state): Shared<State>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = Arc::clone(&state.watchers)
        .try_acquire_owned()
        .map_err(|_| Problem::TooManyWatchers)?;
    let refusals = state.outcomes.refusals().watch();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = (state.outcomes, refusals, ticks, place);
    let events = stream::unfold(watch, |(outcomes, mut refusals, mut ticks, place)| async {
        let (name, data) = loop {
            tokio::select! {
                _ = ticks.tick() => break ("usage", described_usage(&outcomes)),
                refusal = refusals.recv() => match refusal {
                    Ok(refusal) => break ("refusal", described_refusal(&refusal, outcomes.now())),
                    // A slow watcher misses some and goes on with the next.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        };
        let event = Event::default().event(name).data(data.to_string());
        Some((Ok(event), (outcomes, refusals, ticks, place)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
