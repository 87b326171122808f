//! `ping`: is the node there, and of which kind is it?

use serde_json::{Value, json};

use crate::cli::Connection;
use crate::output::{Format, Printer};

use super::{Exit, connect};

pub(super) async fn run(connection: &Connection, printer: Printer) -> anyhow::Result<Exit> {
    let client = connect(connection)?;
    let mode = client.mode().await?;
    let status = client.status().await?;
    let reachable = status
        .pointer("/database/reachable")
        .and_then(Value::as_bool);
    let hash = status.get("configuration_hash").and_then(Value::as_str);
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&json!({
            "url": client.url(),
            "mode": mode.name(),
            "database_reachable": reachable,
            "configuration_hash": hash,
        }))?,
        Format::Name => printer.result(client.url())?,
        Format::Table => {
            let detail = match (reachable, hash) {
                (Some(true), _) => "its database is reachable".to_owned(),
                (Some(false), _) => "its database is NOT reachable".to_owned(),
                (None, Some(hash)) if hash.bytes().all(|byte| byte == b'0') => {
                    "nothing is loaded yet".to_owned()
                }
                (None, Some(hash)) => format!("configuration {hash}"),
                (None, None) => "ready".to_owned(),
            };
            printer.result(&format!(
                "Kong at {} answers: {} mode, {detail}.",
                client.url(),
                mode.name()
            ))?;
        }
    }
    Ok(if reachable == Some(false) {
        Exit::Failed
    } else {
        Exit::Done
    })
}
