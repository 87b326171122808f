//! `reset`: delete everything, or everything with a tag.

use anyhow::Context as _;

use crate::admin::schema::Schemas;
use crate::cli::{Connection, Reset};
use crate::output::Printer;
use crate::output::failure::Refused;
use crate::plan;
use crate::state::current;
use crate::state::resolve::{Desired, Scope};

use super::{Exit, Planned, connect, execute, may_execute};

pub(super) async fn run(
    arguments: &Reset,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let refused = |message: &str, hint: &str| Refused {
        message: message.to_owned(),
        hint: hint.to_owned(),
    };
    if !arguments.execution.yes && !crate::output::can_ask() {
        return Err(refused(
            "reset deletes, and nobody can be asked",
            "say --yes if that is meant",
        )
        .into());
    }
    let client = connect(connection)?;
    let current = current::read(&client)
        .await
        .context("cannot read the node's configuration")?;
    let scope = Scope {
        select_tags: arguments.selection.select_tags.clone(),
        keeps_unnamed: false,
    };
    let schemas = Schemas::default();
    let plan = plan::diff::diff(&current, &Desired::default(), &scope, &schemas)
        .context("there is no way to make these changes")?;
    if !may_execute(&plan, &schemas, arguments.execution.yes)? {
        return Err(refused("nothing was changed", "the answer was no").into());
    }
    let planned = Planned {
        client,
        current,
        schemas,
        plan,
        hashed_passwords: false,
    };
    execute(
        &planned,
        arguments.execution.dbless,
        arguments.execution.parallelism,
        printer,
    )
    .await
}
