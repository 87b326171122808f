//! Where rewritten files go: to standard output, to a new file, or in place of the old one.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use crate::cli::Rewritten;
use crate::output::failure::UsageError;
use crate::output::{self, Printer};
use crate::state::files::Input;
use crate::syntax::{self, File};

use super::super::Exit;

/// A file and its new text.
pub(super) struct Changed {
    pub(super) text: Input,
    pub(super) new: String,
}

/// The text of a changed file: JSON where it was JSON.
pub(super) fn new_text(old: &Input, file: &File) -> anyhow::Result<String> {
    let yaml = syntax::write(file);
    if syntax::as_json(&old.text).is_none() {
        return Ok(yaml);
    }
    let mut diagnostics = crate::state::diagnostics::Diagnostics::default();
    let values = syntax::values(&old.name, &yaml, &mut diagnostics).unwrap_or_default();
    diagnostics.into_result()?;
    Ok(output::json(values.first().unwrap_or(&serde_json::Value::Null)) + "\n")
}

/// Prints the one file, or replaces all of them.
pub(super) fn finish(
    changed: &[Changed],
    rewritten: &Rewritten,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if !rewritten.in_place {
        let [one] = changed else {
            return Err(UsageError {
                message: format!(
                    "{} files are given: rewrite them with --in-place, or name one to print it",
                    changed.len()
                ),
            }
            .into());
        };
        printer.result(&one.new)?;
        return Ok(Exit::Done);
    }
    let mut told = Vec::new();
    for Changed { text, new } in changed {
        let Some(path) = &text.path else {
            return Err(UsageError {
                message: "standard input has no place to rewrite: leave out --in-place".to_owned(),
            }
            .into());
        };
        let differs = *new != text.text;
        if differs {
            replace(path, new).with_context(|| format!("cannot write {}", path.display()))?;
            if !printer.is_structured() {
                output::note(&format!("Rewrote {}.", path.display()));
            }
        }
        told.push(json!({ "file": text.name, "changed": differs }));
    }
    if printer.is_structured() {
        printer.value(&json!({ "files": told }))?;
    }
    Ok(Exit::Done)
}

/// Puts a new text in the place of a file at once, so that nobody reads half of it. Its permissions stay.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // A link stays a link.
    let path = path.canonicalize()?;
    let mode = std::fs::metadata(&path)?.permissions().mode();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, &path));
    if written.is_err() {
        // What went wrong is told; a leftover would only add to it.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Writes a new text to standard output, or to a file that nobody else may read.
pub(super) fn output(text: &str, to: Option<&PathBuf>, printer: Printer) -> anyhow::Result<Exit> {
    match to {
        None => printer.result(text)?,
        Some(path) => {
            std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", path.display()))?;
            output::note(&format!("Wrote {}.", path.display()));
        }
    }
    Ok(Exit::Done)
}
