//! `lint`, and the warnings of `validate --lint`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::{Connection, FailOn, Judgement, Lint};
use crate::lint::{self, Warning};
use crate::output::{Format, Printer, changes};
use crate::state::declared;
use crate::state::diagnostics::Diagnostics;
use crate::state::resolve::Desired;

use super::{Exit, read_files, validate};

pub(super) fn run(
    arguments: &Lint,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let configuration = read_files(&arguments.files.files, true, connection, &mut diagnostics)?;
    declared::check_our_plugins(&configuration, &mut diagnostics);
    let count = configuration.entities.len();
    let desired = validate::resolve_offline(configuration, &mut diagnostics);
    diagnostics.into_result()?;
    let warnings = warnings(&desired, &arguments.judgement);
    tell(count, Some(&warnings), printer)?;
    Ok(judge(&warnings, &arguments.judgement))
}

/// What the rules say that are not allowed to be broken.
pub(super) fn warnings(desired: &Desired, judgement: &Judgement) -> Vec<Warning> {
    let mut warnings = lint::lint(desired);
    warnings.retain(|warning| !judgement.allowed.contains(&warning.rule));
    warnings
}

pub(super) fn judge(warnings: &[Warning], judgement: &Judgement) -> Exit {
    if judgement.fail_on == FailOn::Warning && !warnings.is_empty() {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// Tells that the files have no mistakes, and what they have instead where that was asked for.
pub(super) fn tell(
    entities: usize,
    warnings: Option<&[Warning]>,
    printer: Printer,
) -> anyhow::Result<()> {
    match printer.format {
        Format::Json | Format::Yaml => {
            let mut value = json!({ "valid": true, "entities": entities });
            if let Some(warnings) = warnings {
                value["warnings"] = warnings.iter().map(warning_value).collect();
            }
            printer.value(&value)?;
        }
        Format::Name => {}
        Format::Table => {
            let mut text = String::new();
            for warning in warnings.unwrap_or_default() {
                let paint = printer.paint();
                let _ = writeln!(
                    text,
                    "{}: {} {}\n    {}",
                    warning.place,
                    paint.yellow(&format!("{}:", warning.rule.code())),
                    warning.message,
                    warning.help
                );
            }
            let counted = changes::entities(entities);
            let _ = match warnings.map(<[Warning]>::len) {
                None => write!(text, "{counted}, no mistakes."),
                Some(0) => write!(text, "{counted}, no mistakes, no warnings."),
                Some(1) => write!(text, "{counted}, no mistakes, 1 warning."),
                Some(count) => write!(text, "{counted}, no mistakes, {count} warnings."),
            };
            printer.result(&text)?;
        }
    }
    Ok(())
}

fn warning_value(warning: &Warning) -> Value {
    json!({
        "file": &*warning.place.file,
        "line": warning.place.line,
        "column": warning.place.column,
        "rule": warning.rule.code(),
        "message": warning.message,
        "help": warning.help,
    })
}
