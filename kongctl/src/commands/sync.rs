//! `sync` and `apply`: make the node as the files say, with and without deleting.

use crate::cli::{Apply, Connection, Execution, Sync};
use crate::output::Printer;
use crate::output::failure::Refused;

use super::{Exit, Planned, execute, may_execute, plan_files};

pub(super) async fn sync(
    arguments: Sync,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let planned = plan_files(
        &arguments.files.files,
        arguments.selection.select_tags,
        false,
        connection,
    )
    .await?;
    let deletes = planned.plan.summary().delete;
    if let Some(limit) = arguments.max_deletes
        && deletes > limit
    {
        return Err(Refused {
            message: format!("the plan deletes {deletes} entities, --max-deletes allows {limit}"),
            hint: "look at it with `kongctl diff`; if it is right, raise --max-deletes".to_owned(),
        }
        .into());
    }
    carry_out(&planned, &arguments.execution, printer).await
}

pub(super) async fn apply(
    arguments: Apply,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let planned = plan_files(
        &arguments.files.files,
        arguments.selection.select_tags,
        true,
        connection,
    )
    .await?;
    carry_out(&planned, &arguments.execution, printer).await
}

async fn carry_out(
    planned: &Planned,
    execution: &Execution,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if !may_execute(&planned.plan, &planned.schemas, execution.yes)? {
        return Err(Refused {
            message: "nothing was changed".to_owned(),
            hint: "the answer was no".to_owned(),
        }
        .into());
    }
    execute(planned, execution.dbless, execution.parallelism, printer).await
}
