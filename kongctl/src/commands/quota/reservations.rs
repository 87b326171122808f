//! `quota reservations` and `quota release`.

use anyhow::Context as _;
use serde_json::{json, to_value};

use crate::cli::Consent;
use crate::limiter::client::Client;
use crate::limiter::model::Reservation;
use crate::output::numbers::time;
use crate::output::{self, Format, Printer, table, text};

use super::{CHANGES, Exit, agree, can_agree};

/// Reservations among which one to release is looked for, to say what it holds.
const LOOKED_THROUGH: usize = 1000;

pub(super) async fn list(client: &Client, most: usize, printer: Printer) -> anyhow::Result<Exit> {
    let found = client
        .reservations(most)
        .await
        .context("cannot read the reservations")?;
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&to_value(&found)?)?,
        Format::Name => {
            let names = found
                .iter()
                .map(|reservation| format!("reservations/{}\n", text::clean(&reservation.id)));
            printer.result(&names.collect::<String>())?;
        }
        Format::Table => printer.result(&rows(&found))?,
    }
    if found.is_empty() {
        output::note("No request holds anything.");
    }
    Ok(Exit::Done)
}

pub(super) async fn release(
    client: &Client,
    id: &str,
    consent: Consent,
    printer: Printer,
) -> anyhow::Result<Exit> {
    can_agree(consent, CHANGES)?;
    let id = id.strip_prefix("reservations/").unwrap_or(id);
    let shown = text::fit(id, 64);
    let open = client
        .reservations(LOOKED_THROUGH)
        .await
        .context("cannot read the reservations; nothing was changed")?;
    let before = open.into_iter().find(|reservation| reservation.id == id);
    // One that is not among those listed may be there all the same: the server knows.
    let held = before.as_ref().map_or_else(
        || "not listed".to_owned(),
        |before| text::clean(&before.held()),
    );
    agree(consent, &format!("release {shown}: holds {held} → nothing"))?;
    client
        .release(id)
        .await
        .with_context(|| format!("cannot release {shown}"))?;
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&json!({
            "action": "release",
            "id": id,
            "before": before,
        }))?,
        Format::Name => printer.result(&format!("reservations/{shown}"))?,
        Format::Table => printer.result(&format!("release {shown}: held {held} → nothing"))?,
    }
    Ok(Exit::Done)
}

fn rows(reservations: &[Reservation]) -> String {
    let rows: Vec<Vec<String>> = reservations
        .iter()
        .map(|reservation| {
            vec![
                reservation.id.clone(),
                time(reservation.expires_in_ms),
                reservation.held(),
            ]
        })
        .collect();
    table::render(&["id", "expires in", "holds"], &rows)
}
