//! Reservations that nobody has settled yet: to list and to release.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State as Shared};
use serde::Deserialize;
use serde_json::{Value, json};
use token_limiter::{InvalidReservationId, OpenReservation, ReservationId};

use super::State;
use super::answer::Problem;
use super::books::Books;
use super::counters::page_size;
use super::listener::Peer;
use crate::rate_limiting::outcomes::Outcomes;

/// Among so many open reservations one is looked for.
const MOST_SEARCHED: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    size: Option<usize>,
}

pub(super) async fn list(
    Shared(state): Shared<State>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let open = state.books.reservations(page_size(query.size)?).await?;
    let data: Vec<_> = open
        .iter()
        .map(|(_, open)| described(&state.outcomes, open))
        .collect();
    Ok(Json(json!({ "data": data })))
}

pub(super) async fn release(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id?;
    let id: ReservationId = id
        .parse()
        .map_err(|error: InvalidReservationId| Problem::BadRequest(error.to_string()))?;
    let (store, open) = state
        .books
        .reservations(MOST_SEARCHED)
        .await?
        .into_iter()
        .find(|(_, open)| open.reservation.id == id)
        .ok_or(Problem::NoSuchReservation)?;
    if !Books::release(&store, &open.reservation).await? {
        return Err(Problem::NoSuchReservation);
    }
    for (key, cost) in open.reservation.keys.iter().zip(&open.costs) {
        tracing::info!(
            target: super::AUDIT,
            %peer,
            action = "release",
            reservation = %id,
            %key,
            before = cost.units(),
            after = 0,
            "a reservation was released"
        );
    }
    Ok(Json(described(&state.outcomes, &open)))
}

/// A reservation as the API shows it. The counter of a charge has a name if a request has met it lately.
fn described(outcomes: &Outcomes, open: &OpenReservation) -> Value {
    let charges: Vec<_> = open
        .reservation
        .keys
        .iter()
        .zip(&open.costs)
        .map(|(&key, cost)| {
            let known = outcomes.directory().get(key);
            json!({
                "key": key.to_string(),
                "limit_name": known.map(|known| known.limit.name.clone()),
                "cost": cost.units(),
            })
        })
        .collect();
    json!({
        "id": open.reservation.id.to_string(),
        "expires_in_ms": super::milliseconds(open.expires_in),
        "charges": charges,
    })
}
