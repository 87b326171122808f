//! `merge`: several files as one.

use crate::cli::Merge;
use crate::output::{self, Printer};
use crate::state::diagnostics::Diagnostics;
use crate::syntax;

use super::super::Exit;
use super::write;

pub(super) fn run(arguments: &Merge, printer: Printer) -> anyhow::Result<Exit> {
    let json = super::is_json(printer)?;
    let mut diagnostics = Diagnostics::default();
    let files = super::read(&arguments.written.files.files)?;
    let files = files.into_iter().map(|(_, file)| file).collect();
    let mut text = syntax::write(&syntax::merge(files, &mut diagnostics));
    if json {
        let values = syntax::values("the merged file", &text, &mut diagnostics);
        if let Some(value) = values.unwrap_or_default().first() {
            super::convert::refuse_references(value)?;
            text = output::json(value) + "\n";
        }
    }
    diagnostics.into_result()?;
    write::output(&text, arguments.written.output_file.as_ref(), printer)
}
