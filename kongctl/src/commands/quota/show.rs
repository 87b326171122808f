//! `quota list` and `quota get`.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Value, to_value};

use crate::limiter::client::{Client, Filter};
use crate::limiter::model::{Counter, Key, words};
use crate::output::failure::Refused;
use crate::output::numbers::{grouped, time};
use crate::output::{self, Format, Printer, table, text};

use super::Exit;

/// Counters that are named where a text fits several.
const MOST_NAMED: usize = 10;

pub(super) async fn list(
    client: &Client,
    filter: Filter<'_>,
    most: usize,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let counters = client
        .counters(filter, most)
        .await
        .context("cannot read the counters")?;
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&to_value(&counters.found)?)?,
        Format::Name => {
            let names = counters
                .found
                .iter()
                .map(|counter| format!("counters/{}\n", counter.key));
            printer.result(&names.collect::<String>())?;
        }
        Format::Table => printer.result(&rows(&counters.found))?,
    }
    if counters.found.is_empty() {
        output::note("No counter fits: the server remembers those that were used last.");
    }
    let left_out = counters.total.saturating_sub(counters.found.len());
    if counters.found.len() >= most && left_out > 0 {
        output::note(&format!(
            "{left_out} more are not shown: narrow down with --limit or --search, or raise --most."
        ));
    }
    Ok(Exit::Done)
}

pub(super) async fn get(client: &Client, wanted: &str, printer: Printer) -> anyhow::Result<Exit> {
    let counter = find(client, wanted).await?;
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&to_value(&counter)?)?,
        Format::Name => printer.result(&format!("counters/{}", counter.key))?,
        Format::Table => printer.result(&details(&counter))?,
    }
    Ok(Exit::Done)
}

async fn find(client: &Client, wanted: &str) -> anyhow::Result<Counter> {
    if let Ok(key) = wanted.parse::<Key>() {
        return client
            .counter(&key)
            .await
            .context("cannot read the counter");
    }
    let filter = Filter {
        search: Some(wanted),
        ..Filter::default()
    };
    let mut counters = client
        .counters(filter, MOST_NAMED)
        .await
        .context("cannot look for the counter")?;
    let shown = text::fit(wanted, 64);
    match counters.found.len() {
        0 => Err(Refused {
            message: format!("no counter fits `{shown}`"),
            hint: "`kongctl quota list` shows those that were used last".to_owned(),
        }
        .into()),
        1 => Ok(counters.found.remove(0)),
        named => {
            let mut hint = "give the key of one of them:".to_owned();
            for counter in &counters.found {
                let _ = write!(hint, "\n  {}  {}", counter.key, name(counter));
            }
            let count = counters.total.max(named);
            if count > named {
                let _ = write!(hint, "\n  and {} more", count - named);
            }
            Err(Refused {
                message: format!("{count} counters fit `{shown}`"),
                hint,
            }
            .into())
        }
    }
}

/// A counter in a sentence: `tokens-per-minute of consumer=alice`.
pub(super) fn name(counter: &Counter) -> String {
    text::fit(
        &format!("{} of {}", counter.limit_name, counter.identity()),
        80,
    )
}

fn rows(counters: &[Counter]) -> String {
    let headings = [
        "key",
        "limit",
        "counted by",
        "used",
        "of",
        "left",
        "unit",
        "resets",
        "mode",
    ];
    let rows: Vec<Vec<String>> = counters
        .iter()
        .map(|counter| {
            vec![
                counter.key.to_string(),
                counter.limit_name.clone(),
                counter.identity(),
                grouped(counter.used),
                grouped(counter.limit),
                grouped(counter.remaining),
                counter.unit.clone(),
                time(counter.reset_after_ms),
                counter.mode.clone(),
            ]
        })
        .collect();
    table::render(&headings, &rows)
}

fn details(counter: &Counter) -> String {
    let rest = |field: &str| counter.rest.get(field).filter(|value| !value.is_null());
    let mut window = rest("window_type").map(table::cell).unwrap_or_default();
    match rest("window_size") {
        Some(Value::Number(seconds)) => {
            let _ = write!(window, ", {seconds} s");
        }
        Some(size) => {
            let _ = write!(window, ", {}", table::cell(size));
        }
        None => {}
    }
    let scope = rest("scope")
        .and_then(Value::as_object)
        .map(|scope| words(scope).join(" "))
        .unwrap_or_default();
    let seen = rest("last_seen_ms_ago")
        .and_then(Value::as_u64)
        .map(|ago| format!("{} ago", time(ago)));
    let lines = [
        ("key", counter.key.to_string()),
        ("limit", counter.limit_name.clone()),
        ("counted by", counter.identity()),
        (
            "used",
            format!("{} of {}", grouped(counter.used), grouped(counter.limit)),
        ),
        ("left", grouped(counter.remaining)),
        ("unit", counter.unit.clone()),
        ("resets", format!("in {}", time(counter.reset_after_ms))),
        ("window", window),
        ("mode", counter.mode.clone()),
        ("scope", scope),
        ("store", rest("store").map(table::cell).unwrap_or_default()),
        ("seen", seen.unwrap_or_default()),
    ];
    let mut out = String::new();
    for (label, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{label:<12}{}", text::clean(value));
    }
    out
}
