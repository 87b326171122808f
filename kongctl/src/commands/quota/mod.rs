//! `quota`: what the plugin server's limits count, and an operator's corrections.

mod change;
mod reservations;
mod show;

use crate::cli::{Connection, Quota, QuotaCommand};
use crate::limiter::client::Filter;
use crate::limiter::model::Correction;
use crate::output::Printer;

use super::consent::{agree, can_agree};
use super::{Exit, connect_limiter};

/// What a correction does, for whom nobody can ask.
const CHANGES: &str = "this changes what counts";

pub(super) async fn run(
    arguments: Quota,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let client = connect_limiter(&arguments.limiter, connection, connection.retries)?;
    match arguments.command {
        QuotaCommand::List {
            limit,
            search,
            most,
        } => {
            let filter = Filter {
                limit: limit.as_deref(),
                search: search.as_deref(),
                ..Filter::default()
            };
            show::list(&client, filter, usize::from(most), printer).await
        }
        QuotaCommand::Get { counter } => show::get(&client, &counter, printer).await,
        QuotaCommand::Reset { keys, consent } => {
            change::run(&client, keys, Correction::Reset, consent, printer).await
        }
        QuotaCommand::Grant {
            key,
            amount,
            consent,
        } => {
            change::run(
                &client,
                vec![key],
                Correction::Grant(amount),
                consent,
                printer,
            )
            .await
        }
        QuotaCommand::Adjust { key, by, consent } => {
            change::run(&client, vec![key], Correction::Adjust(by), consent, printer).await
        }
        QuotaCommand::Reservations { most } => {
            reservations::list(&client, usize::from(most), printer).await
        }
        QuotaCommand::Release { id, consent } => {
            reservations::release(&client, &id, consent, printer).await
        }
    }
}
