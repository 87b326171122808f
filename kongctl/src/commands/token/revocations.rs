//! `token revocations` and `token unrevoke`.

use anyhow::Context as _;
use serde_json::{Value, json, to_value};

use crate::cli::Unrevoke;
use crate::clock;
use crate::limiter::client::Client;
use crate::limiter::errors::LimiterError;
use crate::limiter::model::Revocation;
use crate::output::numbers::moment;
use crate::output::{self, Format, Printer, failure, table, text};

use super::super::consent::{agree, can_agree};
use super::Exit;

/// Revocations among which one to remove is looked for, to say what it is.
const LOOKED_THROUGH: usize = 1000;

pub(super) async fn list(client: &Client, most: usize, printer: Printer) -> anyhow::Result<Exit> {
    let found = client
        .revocations(most)
        .await
        .context("cannot read the revocations")?;
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&to_value(&found.found)?)?,
        Format::Name => {
            let mut names: Vec<String> = found.found.iter().map(Revocation::name).collect();
            // One that several denylists have is one to whoever removes it.
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
            printer.result(&names.concat())?;
        }
        Format::Table => printer.result(&rows(&found.found))?,
    }
    if found.found.is_empty() {
        output::note("Nothing is revoked.");
    }
    let left_out = found.total.saturating_sub(found.found.len());
    if found.found.len() >= most && left_out > 0 {
        output::note(&format!("{left_out} more are not shown: raise --most."));
    }
    Ok(Exit::Done)
}

pub(super) async fn unrevoke(
    client: &Client,
    arguments: &Unrevoke,
    printer: Printer,
) -> anyhow::Result<Exit> {
    can_agree(arguments.consent, "this lets tokens pass again")?;
    let known = client
        .revocations(LOOKED_THROUGH)
        .await
        .context("cannot read the revocations; nothing was changed")?
        .found;
    let ids = arguments
        .ids
        .iter()
        .map(|id| id.strip_prefix("revocations/").unwrap_or(id));
    // One that is not among those listed may be there all the same: the server knows.
    let wanted: Vec<(&str, String)> = ids
        .map(|id| {
            let one = known.iter().find(|one| one.id == id);
            let words = one.map_or("not listed".to_owned(), Revocation::words);
            (
                id,
                format!("{}: {}", text::fit(id, 64), text::fit(&words, 160)),
            )
        })
        .collect();
    let plan = wanted.iter().map(|(_, words)| format!("unrevoke {words}"));
    agree(arguments.consent, &plan.collect::<Vec<_>>().join("\n"))?;

    let mut done: Vec<Outcome<'_>> = Vec::with_capacity(wanted.len());
    for (id, words) in &wanted {
        let removed = client.unrevoke(id).await;
        done.push(Outcome { id, words, removed });
    }
    match printer.format {
        Format::Json | Format::Yaml => {
            printer.value(&done.iter().map(Outcome::value).collect::<Value>())?;
        }
        Format::Name | Format::Table => {
            let removed = done.iter().filter(|outcome| outcome.removed.is_ok());
            let lines = removed.map(|outcome| match printer.format {
                Format::Name => format!("revocations/{}\n", text::fit(outcome.id, 64)),
                _ => format!("unrevoke {}\n", outcome.words),
            });
            printer.result(&lines.collect::<String>())?;
        }
    }
    let mut exit = Exit::Done;
    for Outcome { words, removed, .. } in done {
        if let Err(error) = removed {
            exit = Exit::Failed;
            let error = anyhow::Error::new(error).context(format!("cannot unrevoke {words}"));
            output::note(&failure::text(&error));
        }
    }
    Ok(exit)
}

/// What became of one revocation.
struct Outcome<'a> {
    id: &'a str,
    words: &'a str,
    removed: Result<Vec<Revocation>, LimiterError>,
}

impl Outcome<'_> {
    fn value(&self) -> Value {
        let mut value = json!({ "action": "unrevoke", "id": self.id });
        match &self.removed {
            Ok(removed) => value["before"] = json!(removed),
            Err(error) => {
                value["error"] = json!({ "message": error.to_string(), "hint": error.hint() });
            }
        }
        value
    }
}

fn rows(revocations: &[Revocation]) -> String {
    let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
    let rows: Vec<Vec<String>> = revocations
        .iter()
        .map(|one| {
            vec![
                one.id.clone(),
                one.words(),
                moment(one.revoked_at, now),
                moment(one.expires_at, now),
                one.store.clone(),
            ]
        })
        .collect();
    table::render(&["id", "what", "revoked", "until", "store"], &rows)
}
