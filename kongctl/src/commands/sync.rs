//! `sync` and `apply`: make the node as the files, or a saved plan, say; with and without deleting.

use crate::cli::{Apply, Connection, Sync};
use crate::output::Printer;
use crate::plan::guard::Guard;
use crate::profiles::Profile;

use super::carry_out::{Order, carry_out};
use super::planning::plan_or_take_up;
use super::{Exit, hand, protected};

pub(super) async fn sync(
    arguments: Sync,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let tags = arguments.selection.select_tags;
    let planned = plan_or_take_up(&arguments.source, tags, false, connection).await?;
    let order = Order {
        verb: "sync",
        execution: &arguments.execution,
        guard: Guard {
            protect_tags: protected(&arguments.execution.protect_tags, profile),
            max_deletes: arguments.max_deletes,
        },
    };
    carry_out(planned, &order, printer).await
}

pub(super) async fn apply(
    arguments: Apply,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if hand::names_kind(&arguments) {
        return hand::apply(arguments, connection, profile, printer).await;
    }
    let tags = arguments.selection.select_tags;
    let planned = plan_or_take_up(&arguments.source, tags, true, connection).await?;
    let order = Order {
        verb: "apply",
        execution: &arguments.execution,
        guard: Guard {
            protect_tags: protected(&arguments.execution.protect_tags, profile),
            max_deletes: None,
        },
    };
    carry_out(planned, &order, printer).await
}
