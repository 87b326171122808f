//! `status`: how each node stands, or a wait until all can serve.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::admin::client::{Client, Mode, Standing};
use crate::admin::errors::AdminError;
use crate::cli::{Connection, Status};
use crate::output::failure::admin_error_value;
use crate::output::{Format, Printer, table};

use super::{Exit, connect_all};

/// Between two looks while waiting.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(
    arguments: &Status,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let clients = connect_all(connection)?;
    let patience = arguments.wait.unwrap_or_default();
    let started = Instant::now();
    let standings = loop {
        let standings: Vec<_> = join_all(clients.iter().map(Client::standing)).await;
        let waited = started.elapsed();
        if is_ready(&standings) || waited >= patience {
            break standings;
        }
        tokio::time::sleep(PAUSE.min(patience.saturating_sub(waited))).await;
    };
    tell(&clients, &standings, printer)?;
    Ok(if is_ready(&standings) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// True if every node can serve, and those without a database serve the same.
fn is_ready(standings: &[Result<Standing, AdminError>]) -> bool {
    let ready =
        |standing: &Result<Standing, AdminError>| standing.as_ref().is_ok_and(Standing::is_ready);
    standings.iter().all(ready) && agree(standings)
}

fn agree(standings: &[Result<Standing, AdminError>]) -> bool {
    let mut hashes = standings
        .iter()
        .filter_map(|standing| standing.as_ref().ok()?.configuration_hash.as_deref());
    let first = hashes.next();
    hashes.all(|hash| Some(hash) == first)
}

fn tell(
    clients: &[Client],
    standings: &[Result<Standing, AdminError>],
    printer: Printer,
) -> std::io::Result<()> {
    match printer.format {
        Format::Json | Format::Yaml => {
            let nodes: Vec<Value> = clients
                .iter()
                .zip(standings)
                .map(|(client, standing)| match standing {
                    Ok(standing) => json!({
                        "url": client.url(),
                        "mode": standing.mode.name(),
                        "database_reachable": standing.database_reachable,
                        "configuration_hash": standing.configuration_hash,
                        "ready": standing.is_ready(),
                    }),
                    Err(error) => json!({
                        "url": client.url(),
                        "ready": false,
                        "error": admin_error_value(error),
                    }),
                })
                .collect();
            printer.value(&json!({
                "nodes": nodes,
                "same_configuration": agree(standings),
                "ready": is_ready(standings),
            }))
        }
        Format::Name => {
            let urls: Vec<String> = clients
                .iter()
                .map(|client| format!("{}\n", client.url()))
                .collect();
            printer.result(&urls.concat())
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = clients
                .iter()
                .zip(standings)
                .map(|(client, standing)| row(client, standing))
                .collect();
            let mut text = table::render(&["node", "mode", "ready", "detail"], &rows);
            if !agree(standings) {
                text.push_str("\nThe nodes have not loaded the same.\n");
            }
            printer.result(&text)
        }
    }
}

fn row(client: &Client, standing: &Result<Standing, AdminError>) -> Vec<String> {
    let url = client.url().to_owned();
    match standing {
        Ok(standing) => {
            let ready = if standing.is_ready() { "yes" } else { "NO" };
            let detail = match (standing.mode, &standing.configuration_hash) {
                (Mode::Database, _) if standing.is_ready() => {
                    "its database is reachable".to_owned()
                }
                (Mode::Database, _) => "its database is NOT reachable".to_owned(),
                (Mode::Dbless, Some(hash)) if standing.is_ready() => {
                    format!("configuration {hash}")
                }
                (Mode::Dbless, _) => "nothing is loaded yet".to_owned(),
            };
            vec![
                url,
                standing.mode.name().to_owned(),
                ready.to_owned(),
                detail,
            ]
        }
        Err(error) => {
            let reason = match error {
                AdminError::Unreachable { reason, .. } => format!("no answer: {reason}"),
                other => other.to_string(),
            };
            vec![url, "-".to_owned(), "NO".to_owned(), reason]
        }
    }
}
