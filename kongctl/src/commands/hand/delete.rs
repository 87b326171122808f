//! `delete KIND NAME`: with what Kong deletes along with it, told beforehand.

use std::collections::HashSet;

use crate::admin::entities::Kind;
use crate::cli::{Connection, Delete};
use crate::output::failure::Refused;
use crate::output::{self, Printer};
use crate::profiles::Profile;
use crate::state::Entity;
use crate::state::current::Inventory;
use crate::state::resolve::Desired;

use super::{Exit, Node, Order, connect, guard, kind_of, named};

pub(in super::super) async fn run(
    arguments: &Delete,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if !arguments.safety.yes && !output::can_ask() {
        return Err(Refused {
            message: "this deletes, and nobody can be asked".to_owned(),
            hint: "say --yes if that is meant".to_owned(),
        }
        .into());
    }
    let client = connect(connection)?;
    let kind = kind_of(&arguments.entity.kind, &client).await?;
    let node = Node::read(client, "delete", Vec::new(), Vec::new()).await?;
    let current = &node.read.current;
    let entity = named(current, kind, &arguments.entity)?;
    let gone = cascade(current, entity)?;
    let kept = current
        .iter()
        .filter(|entity| !gone.contains(&(entity.kind, entity.id.clone())));
    let desired = Desired {
        entities: Inventory::new(kept.cloned()),
        ..Desired::default()
    };
    let order = Order {
        verb: "delete",
        execution: &arguments.safety.execution(),
        guard: guard(&arguments.safety, profile),
    };
    node.make(desired, false, &order, printer).await
}

/// The entity, and all that Kong deletes with it.
fn cascade(current: &Inventory, entity: &Entity) -> Result<HashSet<(Kind, String)>, Refused> {
    let mut gone = HashSet::from([(entity.kind, entity.id.clone())]);
    // References point to earlier kinds only: one pass in the order of kinds closes the set.
    for kind in Kind::all() {
        for dependent in current.of_kind(kind) {
            let standing = dependent
                .references()
                .find(|(_, to, id, _)| gone.contains(&(*to, (*id).to_owned())));
            let Some((.., goes_along)) = standing else {
                continue;
            };
            if !goes_along {
                return Err(Refused {
                    message: format!(
                        "{} {} stands on {} {}, and Kong keeps what others stand on",
                        dependent.kind.singular(),
                        dependent.label,
                        entity.kind.singular(),
                        entity.label
                    ),
                    hint: format!(
                        "delete it first: `kongctl delete {} {}`",
                        word(dependent.kind),
                        dependent.label
                    ),
                });
            }
            gone.insert((dependent.kind, dependent.id.clone()));
        }
    }
    Ok(gone)
}

/// The kind as a command line says it.
fn word(kind: Kind) -> &'static str {
    kind.spec().aliases.first().copied().unwrap_or(kind.name())
}
