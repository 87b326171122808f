//! `jwks show`: the keys of a set, and what they are good for.

use serde_json::Value;

use crate::cli::{Connection, JwksCommand};
use crate::output::{self, Format, Printer, table, text};
use crate::tokens::given;
use crate::tokens::keys::{self, Key};

use super::{Exit, settings};

pub(super) async fn run(
    command: &JwksCommand,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let JwksCommand::Show { source } = command;
    let document = given::document("URL", source, settings(connection)).await?;
    let keys = keys::read(&document)?;
    match printer.format {
        Format::Json | Format::Yaml => {
            printer.value(&keys.iter().map(Key::value).collect::<Value>())?;
        }
        Format::Name => {
            let names = keys
                .iter()
                .map(|key| format!("keys/{}\n", text::clean(key.name())));
            printer.result(&names.collect::<String>())?;
        }
        Format::Table => printer.result(&(rows(&keys) + &left_out(&keys)))?,
    }
    if keys.iter().any(|key| key.judged.is_ok()) {
        return Ok(Exit::Done);
    }
    output::note("No key here can verify a token.");
    Ok(Exit::Failed)
}

fn rows(keys: &[Key]) -> String {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let verdict = match &key.judged {
                Ok(_) => key.algorithms().join(" "),
                Err(_) => "nothing".to_owned(),
            };
            vec![
                or_dash(&key.kid),
                or_dash(&key.kty),
                or_dash(&key.alg),
                or_dash(&key.purpose),
                or_dash(&key.size),
                or_dash(&key.thumbprint),
                verdict,
            ]
        })
        .collect();
    table::render(
        &["kid", "kty", "alg", "use", "size", "thumbprint", "verifies"],
        &rows,
    )
}

/// The keys that `llm-jwt` does not use, each with the reason.
fn left_out(keys: &[Key]) -> String {
    let reasons = keys.iter().filter_map(|key| {
        let reason = key.judged.as_ref().err()?;
        Some(format!("  {}: {reason}\n", text::fit(key.name(), 60)))
    });
    let reasons: String = reasons.collect();
    if reasons.is_empty() {
        return reasons;
    }
    format!("llm-jwt leaves out\n{reasons}")
}
