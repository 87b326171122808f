//! The verbs that rewrite files: no node is asked.
//!
//! `format`, `add-tags`, `remove-tags`, `add-plugins`, `patch-files`, `namespace`, `merge` and `convert --to 3.x` change what is written and keep the rest, comments too;
//! `render` and the other conversions write down what the files mean, `openapi2kong` what a description means to Kong.

mod additions;
mod convert;
mod edit;
mod layout;
mod merge;
mod namespace;
mod openapi;
mod patch;
mod patch_file;
mod write;

use std::path::PathBuf;

use crate::cli::{Connection, Rewrite, Rewritten};
use crate::output::failure::UsageError;
use crate::output::{self, Format, Printer};
use crate::state::diagnostics::Diagnostics;
use crate::state::files::{self, Input};
use crate::state::json_schema;
use crate::syntax::{self, File};

use super::{Exit, learn_remembered_kinds};
use write::Changed;

/// Runs one of the verbs.
pub(super) fn run(
    command: &Rewrite,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    match command {
        Rewrite::Format(arguments) => layout::run(arguments, printer),
        Rewrite::AddTags(arguments) => edit::add_tags(arguments, printer),
        Rewrite::RemoveTags(arguments) => edit::remove_tags(arguments, printer),
        Rewrite::ListTags(arguments) => edit::list_tags(arguments, printer),
        Rewrite::AddPlugins(arguments) => edit::add_plugins(arguments, printer),
        Rewrite::PatchFiles(arguments) => patch::run(arguments, printer),
        Rewrite::Namespace(arguments) => namespace::run(arguments, printer),
        Rewrite::Merge(arguments) => merge::run(arguments, printer),
        Rewrite::Render(arguments) => convert::render(arguments, connection, printer),
        Rewrite::Convert(arguments) => convert::run(arguments, connection, printer),
        Rewrite::OpenApi2Kong(arguments) => openapi::run(arguments, printer),
        Rewrite::Schema => {
            // Editors then know the kinds that the node told last, too.
            learn_remembered_kinds(connection);
            printer.result(&(output::json(&json_schema::schema()) + "\n"))?;
            Ok(Exit::Done)
        }
    }
}

/// Reads files to be changed. Every mistake in their YAML is told, nothing is evaluated.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<(Input, File)>> {
    let mut diagnostics = Diagnostics::default();
    let mut read = Vec::new();
    for text in files::texts(paths, &mut diagnostics)? {
        if let Some(file) = syntax::read(&text.name, &text.text, &mut diagnostics) {
            read.push((text, file));
        }
    }
    diagnostics.into_result()?;
    Ok(read)
}

/// Changes files as they are written: prints the one, or puts each in its place.
fn rewrite(
    rewritten: &Rewritten,
    printer: Printer,
    mut change: impl FnMut(&mut File, &mut Diagnostics),
) -> anyhow::Result<Done> {
    let mut diagnostics = Diagnostics::default();
    let mut files = Vec::new();
    let mut changed = false;
    for (text, mut file) in read(&rewritten.files.files)? {
        let before = write::new_text(&text, &file)?;
        change(&mut file, &mut diagnostics);
        let new = write::new_text(&text, &file)?;
        changed |= new != before;
        files.push(Changed { text, new });
    }
    diagnostics.into_result()?;
    let exit = write::finish(&files, rewritten, printer)?;
    Ok(Done { exit, changed })
}

/// How a change of files ended.
struct Done {
    exit: Exit,
    /// A file says something else now.
    changed: bool,
}

/// JSON or YAML, by `-o`; anything else is no form for a file.
fn is_json(printer: Printer) -> Result<bool, UsageError> {
    match printer.format {
        Format::Json => Ok(true),
        Format::Yaml | Format::Table => Ok(false),
        Format::Name => Err(UsageError {
            message: "this verb writes yaml or json: use -o yaml or -o json".to_owned(),
        }),
    }
}
