//! `create KIND` and `apply KIND`: one entity, with what may be nested in it.

use std::path::Path;

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::cli::{Apply, Connection, Create, Fields, Parents};
use crate::output::Printer;
use crate::output::failure::{Refused, UsageError};
use crate::plan::guard::Guard;
use crate::profiles::Profile;
use crate::state::declared;
use crate::state::diagnostics::Diagnostics;
use crate::state::resolve::Scope;

use super::super::protected;
use super::fields::{document, entry};
use super::{Exit, Node, Order, Read, connect, guard, kind_of, wanted};

/// What is said of one entity.
struct Said<'a> {
    kind: Kind,
    name: Option<&'a str>,
    parents: &'a Parents,
    fields: &'a Fields,
}

pub(in super::super) async fn create(
    arguments: &Create,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let client = connect(connection)?;
    let said = Said {
        kind: kind_of(&arguments.kind, &client).await?,
        name: arguments.name.as_deref(),
        parents: &arguments.parents,
        fields: &arguments.fields,
    };
    let order = Order {
        verb: "create",
        execution: &arguments.safety.execution(),
        guard: guard(&arguments.safety, profile),
    };
    write(&said, &order, client, printer).await
}

/// True if `apply` speaks of one entity by its kind, not of files.
pub(in super::super) fn names_kind(arguments: &Apply) -> bool {
    let word = arguments.source.files.first();
    let Some(word) = word.and_then(|word| word.to_str()) else {
        return false;
    };
    let said = !arguments.fields.is_empty() || arguments.parents.given().next().is_some();
    said || Kind::from_word(word).is_some() && !Path::new(word).exists()
}

/// `apply KIND [NAME]`: as `create`, or as it is said where it is there already.
pub(in super::super) async fn apply(
    arguments: Apply,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let words = arguments.source.files.iter();
    let words: Vec<&str> = words.filter_map(|word| word.to_str()).collect();
    let (kind, name) = match words.as_slice() {
        [kind] => (*kind, None),
        [kind, name] => (*kind, Some(*name)),
        _ => {
            return Err(UsageError {
                message: "one entity takes a kind and a name: apply KIND [NAME] --set FIELD=VALUE"
                    .to_owned(),
            }
            .into());
        }
    };
    let client = connect(connection)?;
    let said = Said {
        kind: kind_of(kind, &client).await?,
        name,
        parents: &arguments.parents,
        fields: &arguments.fields,
    };
    let order = Order {
        verb: "apply",
        execution: &arguments.execution,
        guard: Guard {
            protect_tags: protected(&arguments.execution.protect_tags, profile),
            max_deletes: None,
        },
    };
    write(&said, &order, client, printer).await
}

async fn write(
    said: &Said<'_>,
    order: &Order<'_>,
    client: Client,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let kind = said.kind;
    let mut diagnostics = Diagnostics::default();
    let entry = entry(kind, said.name, said.parents, said.fields, &mut diagnostics)?;
    let configuration = declared::read(&[document(kind, entry)], &mut diagnostics);
    declared::check_our_plugins(&configuration, &mut diagnostics);
    diagnostics.into_result()?;
    let (kinds, plugins) = (configuration.kinds(), configuration.plugin_names());
    let node = Node::read(client, order.verb, kinds, plugins).await?;
    let scope = Scope {
        keeps_unnamed: true,
        ..Scope::default()
    };
    let Read {
        current, schemas, ..
    } = &node.read;
    let mut diagnostics = Diagnostics::default();
    let desired = wanted(
        &node.client,
        configuration,
        current,
        schemas,
        &scope,
        &mut diagnostics,
    )
    .await?;
    diagnostics.into_result()?;
    let there = desired
        .entities
        .of_kind(kind)
        .find(|entity| current.contains(kind, &entity.id));
    if let Some(there) = there.filter(|_| order.verb == "create") {
        return Err(Refused {
            message: format!("{} {} is there already", kind.singular(), there.label),
            hint: "`kongctl patch` changes some of its fields, `kongctl apply` all of them"
                .to_owned(),
        }
        .into());
    }
    node.make(desired, true, order, printer).await
}
