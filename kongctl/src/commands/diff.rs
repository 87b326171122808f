//! `diff`: what would a sync change?

use crate::cli::{Connection, Diff};
use crate::output::{Printer, changes};

use super::Exit;
use super::carry_out::shown_plans;
use super::planning::{Wish, plan_files};

pub(super) async fn run(
    arguments: Diff,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let wish = Wish {
        files: &arguments.files.files,
        select_tags: arguments.selection.select_tags,
        keeps_unnamed: arguments.no_delete,
        standing: false,
    };
    let (nodes, _) = plan_files(wish, connection).await?;
    printer.result(&changes::plans(
        &shown_plans(&nodes),
        printer.format,
        printer.paint(),
    ))?;
    let differs = nodes.iter().any(|node| !node.plan.is_empty());
    Ok(if arguments.exit_code && differs {
        Exit::Different
    } else {
        Exit::Done
    })
}
