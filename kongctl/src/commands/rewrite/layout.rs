//! `format`: files in one layout.

use serde_json::json;

use crate::cli::FormatFiles;
use crate::output::{self, Printer};
use crate::state::diagnostics::Diagnostics;
use crate::state::files;
use crate::syntax;

use super::super::Exit;
use super::write::{self, Changed};

pub(super) fn run(arguments: &FormatFiles, printer: Printer) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let mut changed = Vec::new();
    for text in files::texts(&arguments.rewritten.files.files, &mut diagnostics)? {
        if let Some(new) = syntax::format(&text.name, &text.text, &mut diagnostics) {
            changed.push(Changed { text, new });
        }
    }
    diagnostics.into_result()?;
    if !arguments.check {
        return write::finish(&changed, &arguments.rewritten, printer);
    }
    let mut differs = false;
    let mut told = Vec::new();
    for Changed { text, new } in &changed {
        let other = text.text != *new;
        differs |= other;
        if other && !printer.is_structured() {
            output::note(&format!("{} would change.", text.name));
        }
        told.push(json!({ "file": text.name, "changed": other }));
    }
    if printer.is_structured() {
        printer.value(&json!({ "files": told }))?;
    }
    Ok(if differs { Exit::Different } else { Exit::Done })
}
