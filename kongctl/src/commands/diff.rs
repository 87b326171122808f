//! `diff`: what would a sync change?

use crate::cli::{Connection, Diff};
use crate::output::{Printer, changes};

use super::{Exit, plan_files};

pub(super) async fn run(
    arguments: &Diff,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let tags = arguments.selection.select_tags.clone();
    let planned = plan_files(
        &arguments.files.files,
        tags,
        arguments.no_delete,
        connection,
    )
    .await?;
    printer.result(&changes::plan(
        &planned.plan,
        printer.format,
        printer.paint(),
        &planned.schemas,
    ))?;
    Ok(if arguments.exit_code && !planned.plan.is_empty() {
        Exit::Different
    } else {
        Exit::Done
    })
}
