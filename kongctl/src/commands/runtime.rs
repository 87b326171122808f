//! What a node does at work: the health of upstreams, the level of its log.

use serde_json::{Value, json};

use crate::admin::client::{Client, encode_segment};
use crate::cli::{Connection, Health, Level, LogLevelCommand, TargetCommand, UpstreamCommand};
use crate::output::failure::Refused;
use crate::output::{Format, Printer, table};

use super::{Exit, connect};

pub(super) async fn upstream(
    command: &UpstreamCommand,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let UpstreamCommand::Health { upstream } = command;
    let client = connect(connection)?;
    let path = format!("upstreams/{}/health?size=1000", encode_segment(upstream));
    let Some(answer) = client.find(&path).await? else {
        return Err(no_upstream(upstream).into());
    };
    let targets = answer.get("data").and_then(Value::as_array);
    let targets = targets.map(Vec::as_slice).unwrap_or_default();
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&Value::Array(targets.to_vec()))?,
        Format::Name => {
            let names = targets
                .iter()
                .filter_map(|target| target.get("target")?.as_str());
            let lines: Vec<String> = names.map(|name| format!("targets/{name}\n")).collect();
            printer.result(&lines.concat())?;
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = targets.iter().flat_map(rows).collect();
            let headings = ["target", "address", "weight", "health"];
            printer.result(&table::render(&headings, &rows))?;
        }
    }
    Ok(Exit::Done)
}

/// A target's addresses, a row each; the target alone where it has none.
fn rows(target: &Value) -> Vec<Vec<String>> {
    let cell = |value: Option<&Value>| table::cell(value.unwrap_or(&Value::Null));
    let own = |address: String, weight: Option<&Value>, health: Option<&Value>| {
        vec![
            cell(target.get("target")),
            address,
            cell(weight),
            cell(health),
        ]
    };
    let addresses = target.pointer("/data/addresses").and_then(Value::as_array);
    let addresses = addresses.map(Vec::as_slice).unwrap_or_default();
    if addresses.is_empty() {
        return vec![own(
            "-".to_owned(),
            target.get("weight"),
            target.get("health"),
        )];
    }
    addresses
        .iter()
        .map(|address| {
            let port = address
                .get("port")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            let ip = cell(address.get("ip"));
            own(
                format!("{ip}:{port}"),
                address.get("weight"),
                address.get("health"),
            )
        })
        .collect()
}

pub(super) async fn target(
    command: &TargetCommand,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let TargetCommand::SetHealth {
        upstream,
        target,
        health,
        address,
    } = command;
    let client = connect(connection)?;
    let word = match health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    };
    let upstream_path = format!("upstreams/{}", encode_segment(upstream));
    if client.find(&upstream_path).await?.is_none() {
        return Err(no_upstream(upstream).into());
    }
    let mut path = format!("{upstream_path}/targets/{}", encode_segment(target));
    if let Some(address) = address {
        path.push('/');
        path.push_str(&encode_segment(address));
    }
    path.push('/');
    path.push_str(word);
    match client.put(&path, &json!({})).await {
        Ok(_) => {}
        Err(error)
            if error
                .rejection()
                .is_some_and(|rejection| rejection.status == 404) =>
        {
            return Err(Refused {
                message: format!("upstream {upstream} has no target {target}"),
                hint: format!("`kongctl upstream health {upstream}` lists them"),
            }
            .into());
        }
        Err(error) => return Err(error.into()),
    }
    let value =
        json!({ "upstream": upstream, "target": target, "address": address, "health": word });
    done(
        &value,
        &format!("{target} of {upstream} counts as {word}, until a health check finds otherwise."),
        printer,
    )
}

fn no_upstream(name: &str) -> Refused {
    Refused {
        message: format!("there is no upstream `{name}`"),
        hint: "`kongctl get upstreams` lists them".to_owned(),
    }
}

pub(super) async fn log_level(
    command: &LogLevelCommand,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let client = connect(connection)?;
    match command {
        LogLevelCommand::Get => {
            let level = level(&client).await?;
            done(&json!({ "level": level }), &level, printer)
        }
        LogLevelCommand::Set {
            level,
            period,
            cluster,
        } => {
            let word = name(*level);
            let scope = if *cluster { "cluster" } else { "node" };
            let seconds = period.as_secs();
            let path = format!("debug/{scope}/log-level/{word}?timeout={seconds}");
            match client.put(&path, &json!({})).await {
                Ok(_) => {}
                Err(error)
                    if error
                        .rejection()
                        .is_some_and(|rejection| rejection.status == 405) =>
                {
                    return Err(Refused {
                        message: "a node without a database cannot change its level while it runs"
                            .to_owned(),
                        hint: "set log_level in kong.conf (KONG_LOG_LEVEL) and `kong reload`"
                            .to_owned(),
                    }
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
            let value = json!({ "level": word, "seconds": seconds, "scope": scope });
            done(
                &value,
                &format!("The {scope} logs from {word} on, for {seconds} s."),
                printer,
            )
        }
    }
}

/// The node's level. Kong says it in a sentence.
async fn level(client: &Client) -> anyhow::Result<String> {
    let answer = client.get("debug/node/log-level").await?;
    let sentence = answer.get("message").and_then(Value::as_str);
    let sentence = sentence.unwrap_or_default();
    let level = sentence.rsplit(' ').next().unwrap_or_default();
    Ok(level.to_owned())
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Notice => "notice",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Crit => "crit",
        Level::Alert => "alert",
        Level::Emerg => "emerg",
    }
}

fn done(value: &Value, text: &str, printer: Printer) -> anyhow::Result<Exit> {
    if printer.is_structured() {
        printer.value(value)?;
    } else {
        printer.result(text)?;
    }
    Ok(Exit::Done)
}
