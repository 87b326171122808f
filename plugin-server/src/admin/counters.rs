//! Counters: to list, to look at, and to correct.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State as Shared};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use token_limiter::{Balance, Correction, Cost, InvalidKey, Key};

use super::State;
use super::answer::Problem;
use super::books::Standing;
use super::listener::Peer;
use crate::rate_limiting::outcomes::Outcomes;
use crate::rate_limiting::outcomes::directory::Known;

/// The most entries of one page of a list.
pub(super) const LARGEST_PAGE: usize = 1_000;
/// The entries of a page, unless asked.
pub(super) const PAGE: usize = 100;
/// Of so many counters, the most recently used, the fullest are found.
const MOST_COMPARED: usize = 1_000;
/// The longest text that is searched for, in bytes.
const LONGEST_SEARCH: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<String>,
    search: Option<String>,
    size: Option<usize>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    sort: Sort,
}

/// The order of a list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    /// Most recently used first.
    #[default]
    Recent,
    /// Fullest first, of the thousand most recently used.
    Fullest,
}

pub(super) async fn list(
    Shared(state): Shared<State>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let size = page_size(query.size)?;
    let search = query.search.unwrap_or_default();
    if search.len() > LONGEST_SEARCH {
        return Err(Problem::BadRequest(format!(
            "search: at most {LONGEST_SEARCH} bytes"
        )));
    }
    let search = search.to_lowercase();
    let mut known = state.outcomes.directory().all();
    known.retain(|known| {
        query
            .limit
            .as_ref()
            .is_none_or(|limit| *limit == known.limit.name)
            && matches(known, &search)
    });
    let total = known.len();
    let page = |known: Vec<Arc<Known>>| known.into_iter().skip(query.offset).take(size).collect();
    let shown = match query.sort {
        Sort::Recent => state.books.standings(page(known)).await?,
        Sort::Fullest => {
            known.truncate(MOST_COMPARED);
            let mut standings = state.books.standings(known).await?;
            standings.sort_by(|one, other| fullness(other).total_cmp(&fullness(one)));
            standings
                .into_iter()
                .skip(query.offset)
                .take(size)
                .collect()
        }
    };
    let reachable = match query.sort {
        Sort::Recent => total,
        Sort::Fullest => total.min(MOST_COMPARED),
    };
    let end = query.offset.saturating_add(size);
    let data: Vec<_> = shown
        .iter()
        .map(|standing| described(&state.outcomes, standing))
        .collect();
    Ok(Json(json!({
        "data": data,
        "total": total,
        "next": (end < reachable).then_some(end),
    })))
}

/// A list's `size`, if it is one.
pub(super) fn page_size(size: Option<usize>) -> Result<usize, Problem> {
    match size.unwrap_or(PAGE) {
        size @ 1..=LARGEST_PAGE => Ok(size),
        _ => Err(Problem::BadRequest(format!("size: 1 to {LARGEST_PAGE}"))),
    }
}

fn matches(known: &Known, search: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(search);
    search.is_empty()
        || contains(&known.limit.name)
        || known.key.to_string().starts_with(search)
        || known.values.iter().any(|(_, value)| contains(value))
}

fn fullness(standing: &Standing) -> f64 {
    standing.balance.used.units() as f64 / standing.known.limit.capacity().units().max(1) as f64
}

pub(super) async fn show(
    Shared(state): Shared<State>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let known = find(&state, &key?)?;
    let standings = state.books.standings(vec![known]).await?;
    Ok(Json(described(&state.outcomes, &standings[0])))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Adjustment {
    by: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    amount: u64,
}

pub(super) async fn reset(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    change(&state, &peer, &key?, "reset", Correction::Reset).await
}

pub(super) async fn adjust(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    key: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Adjustment { by } = read(&body?, r#"{"by": -500}"#)?;
    let amount = cost("by", by.unsigned_abs())?;
    let correction = if by < 0 {
        Correction::Remove(amount)
    } else {
        Correction::Add(amount)
    };
    change(&state, &peer, &key?, "adjust", correction).await
}

pub(super) async fn grant(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    key: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Grant { amount } = read(&body?, r#"{"amount": 500}"#)?;
    let correction = Correction::Remove(cost("amount", amount)?);
    change(&state, &peer, &key?, "grant", correction).await
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::BadRequest(format!("the body is not such as {example}: {error}")))
}

fn cost(field: &str, units: u64) -> Result<Cost, Problem> {
    if (1..=Cost::MAX.units()).contains(&units) {
        Ok(Cost::new(units))
    } else {
        Err(Problem::BadRequest(format!(
            "{field}: not zero, and at most {}",
            Cost::MAX.units()
        )))
    }
}

async fn change(
    state: &State,
    peer: &Peer,
    key: &str,
    action: &'static str,
    correction: Correction,
) -> Result<Json<Value>, Problem> {
    let known = find(state, key)?;
    let (before, standing) = state.books.correct(&known, correction).await?;
    tracing::info!(
        target: super::AUDIT,
        %peer,
        action,
        key = %known.key,
        limit_name = known.limit.name,
        amount = match correction {
            Correction::Reset => None,
            Correction::Add(cost) | Correction::Remove(cost) => Some(cost.units()),
        },
        before = before.used.units(),
        after = standing.balance.used.units(),
        "a counter was changed"
    );
    Ok(Json(described(&state.outcomes, &standing)))
}

fn find(state: &State, key: &str) -> Result<Arc<Known>, Problem> {
    let key: Key = key
        .parse()
        .map_err(|error: InvalidKey| Problem::BadRequest(error.to_string()))?;
    state
        .outcomes
        .directory()
        .get(key)
        .ok_or(Problem::NoSuchCounter)
}

/// A counter as the API shows it.
fn described(outcomes: &Outcomes, standing: &Standing) -> Value {
    let Standing { known, balance } = standing;
    let Balance {
        used,
        remaining,
        reset_after,
    } = balance;
    let values: Map<String, Value> = known
        .values
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    json!({
        "key": known.key.to_string(),
        "limit_name": known.limit.name,
        "unit": known.unit,
        "window_type": known.window_type,
        "window_size": known.window.as_secs(),
        "mode": known.mode,
        "limit": known.limit.limit.units(),
        "capacity": known.limit.capacity().units(),
        "used": used.units(),
        "remaining": remaining.units(),
        "reset_after_ms": super::milliseconds(*reset_after),
        "scope": known.scope,
        "values": values,
        "store": super::kind(&known.store),
        "last_seen_ms_ago": super::milliseconds(outcomes.now().saturating_sub(known.last_seen())),
    })
}
