//! `reset`: delete everything, or everything with a tag.

use anyhow::Context as _;
use futures_util::future::try_join_all;

use crate::admin::client::Client;
use crate::cli::{Connection, Reset};
use crate::output::Printer;
use crate::output::failure::Refused;
use crate::plan;
use crate::plan::guard::Guard;
use crate::profiles::Profile;
use crate::state::resolve::{Desired, Scope};

use super::carry_out::{Order, carry_out};
use super::planning::{Planned, Read, read_node};
use super::{Exit, connect_all, protected};

pub(super) async fn run(
    arguments: &Reset,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if !arguments.execution.yes && !crate::output::can_ask() {
        return Err(Refused {
            message: "reset deletes, and nobody can be asked".to_owned(),
            hint: "say --yes if that is meant".to_owned(),
        }
        .into());
    }
    let scope = Scope {
        select_tags: arguments.selection.select_tags.clone(),
        ..Scope::default()
    };
    let clients = connect_all(connection)?;
    let planned =
        try_join_all(clients.into_iter().map(|client| plan_reset(client, &scope))).await?;
    let order = Order {
        verb: "reset",
        execution: &arguments.execution,
        guard: Guard {
            protect_tags: protected(&arguments.execution.protect_tags, profile),
            max_deletes: arguments.max_deletes,
        },
    };
    carry_out(planned, &order, printer).await
}

async fn plan_reset(client: Client, scope: &Scope) -> anyhow::Result<Planned> {
    let Read {
        standing,
        current,
        schemas,
    } = read_node(&client, Vec::new(), Vec::new(), true)
        .await
        .context("cannot read the node's configuration")?;
    let plan = plan::diff::diff(&current, Desired::default(), scope, &schemas)
        .context("there is no way to make these changes")?;
    Ok(Planned {
        client,
        standing,
        current,
        schemas,
        plan,
        hashed_passwords: false,
        undoes: None,
    })
}
