//! `quota reset`, `grant` and `adjust`: what was used, the change, what is used then.

use std::collections::HashSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::Consent;
use crate::limiter::client::Client;
use crate::limiter::errors::LimiterError;
use crate::limiter::model::{Correction, Counter, Key};
use crate::output::numbers::grouped;
use crate::output::{Format, Printer, failure};

use super::show::name;
use super::{CHANGES, Exit, agree, can_agree};

/// What became of one counter.
struct Outcome {
    before: Counter,
    after: Result<Counter, LimiterError>,
}

/// Changes counters. All are read first, so that a wrong key changes nothing.
pub(super) async fn run(
    client: &Client,
    mut keys: Vec<Key>,
    correction: Correction,
    consent: Consent,
    printer: Printer,
) -> anyhow::Result<Exit> {
    can_agree(consent, CHANGES)?;
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    let mut counters = Vec::with_capacity(keys.len());
    for key in &keys {
        let counter = client
            .counter(key)
            .await
            .with_context(|| format!("cannot read the counter {key}; nothing was changed"))?;
        counters.push(counter);
    }
    let plan: Vec<String> = counters
        .iter()
        .map(|counter| intention(counter, correction))
        .collect();
    agree(consent, &plan.join("\n"))?;
    let mut outcomes = Vec::with_capacity(counters.len());
    for before in counters {
        let after = client.correct(&before.key, correction).await;
        outcomes.push(Outcome { before, after });
    }
    let failed = outcomes.iter().any(|outcome| outcome.after.is_err());
    match printer.format {
        Format::Json | Format::Yaml => {
            let values: Vec<Value> = outcomes
                .iter()
                .map(|done| value(done, correction))
                .collect();
            printer.value(&Value::Array(values))?;
        }
        Format::Name => {
            let done = outcomes
                .iter()
                .filter_map(|outcome| outcome.after.as_ref().ok());
            let names: Vec<String> = done
                .map(|counter| format!("counters/{}\n", counter.key))
                .collect();
            printer.result(&names.concat())?;
        }
        Format::Table => {
            let lines: Vec<String> = outcomes
                .iter()
                .filter_map(|outcome| {
                    let after = outcome.after.as_ref().ok()?;
                    Some(line(&outcome.before, after, correction))
                })
                .collect();
            printer.result(&lines.concat())?;
        }
    }
    for Outcome { before, after } in outcomes {
        if let Err(error) = after {
            let error =
                anyhow::Error::new(error).context(format!("cannot change {}", name(&before)));
            crate::output::note(&failure::text(&error));
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What would be done, as it looks now.
fn intention(counter: &Counter, correction: Correction) -> String {
    let used = counter.used;
    let then = match correction {
        Correction::Reset => 0,
        Correction::Grant(amount) => used.saturating_sub(amount),
        Correction::Adjust(by) => used.saturating_add_signed(by),
    };
    format!(
        "{} {}: used {} → {} of {} {}",
        verb(correction),
        name(counter),
        grouped(used),
        grouped(then),
        grouped(counter.limit),
        crate::output::text::clean(&counter.unit),
    )
}

fn line(before: &Counter, after: &Counter, correction: Correction) -> String {
    format!(
        "{} {}: used {} → {}, left {} → {} {}\n",
        verb(correction),
        name(before),
        grouped(before.used),
        grouped(after.used),
        grouped(before.remaining),
        grouped(after.remaining),
        crate::output::text::clean(&after.unit),
    )
}

fn value(outcome: &Outcome, correction: Correction) -> Value {
    let mut value = json!({
        "action": verb(correction),
        "key": outcome.before.key,
        "before": outcome.before,
    });
    match &outcome.after {
        Ok(after) => value["after"] = json!(after),
        Err(error) => {
            value["error"] = json!({ "message": error.to_string(), "hint": error.hint() });
        }
    }
    value
}

fn verb(correction: Correction) -> &'static str {
    match correction {
        Correction::Reset => "reset",
        Correction::Adjust(_) => "adjust",
        Correction::Grant(_) => "grant",
    }
}
