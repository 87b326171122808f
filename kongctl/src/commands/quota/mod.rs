//! `quota`: what the plugin server's limits count, and an operator's corrections.

mod change;
mod reservations;
mod show;

use anyhow::Context as _;

use crate::cli::{Connection, Consent, Quota, QuotaCommand};
use crate::limiter::client::Filter;
use crate::limiter::model::Correction;
use crate::output::failure::Refused;
use crate::output::{self, Printer};

use super::{Exit, connect_limiter};

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

/// Refuses before anything is read where nobody can agree.
fn can_agree(consent: Consent) -> Result<(), Refused> {
    if consent.yes || output::can_ask() {
        return Ok(());
    }
    Err(Refused {
        message: "this changes what counts, and nobody can be asked".to_owned(),
        hint: "say --yes if that is meant".to_owned(),
    })
}

/// Shows what would be done to a person who can say no.
fn agree(consent: Consent, plan: &str) -> anyhow::Result<()> {
    if consent.yes {
        return Ok(());
    }
    output::note(plan);
    if output::confirm("Carry this out?").context("cannot ask")? {
        return Ok(());
    }
    Err(Refused {
        message: "nothing was changed".to_owned(),
        hint: "the answer was no".to_owned(),
    }
    .into())
}
