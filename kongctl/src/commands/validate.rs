//! `validate`: are the files right?

use std::path::PathBuf;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::admin::client::Client;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::cli::{Connection, Validate};
use crate::output::{self, Printer, redact};
use crate::state::Entity;
use crate::state::current::Inventory;
use crate::state::declared::{self, Configuration};
use crate::state::diagnostics::Diagnostics;
use crate::state::resolve::{self, Desired, Scope};

use super::planning::{Read, read_node, wanted};
use super::{Exit, connect, lint, read_files, read_files_for, remembered_schemas};

/// Questions to the node in flight at once.
const CONCURRENT_QUESTIONS: usize = 16;

pub(super) async fn run(
    arguments: &Validate,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let files = &arguments.files.files;
    let (count, desired) = if arguments.online {
        online(files, &connect(connection)?).await?
    } else {
        offline(files, connection)?
    };
    if !arguments.lint {
        lint::tell(count, None, printer)?;
        return Ok(Exit::Done);
    }
    let warnings = lint::warnings(&desired, &arguments.judgement);
    lint::tell(count, Some(&warnings), printer)?;
    Ok(lint::judge(&warnings, &arguments.judgement))
}

/// How many entities the files declare, and what they come to, as far as that can be told without a node.
fn offline(files: &[PathBuf], connection: &Connection) -> anyhow::Result<(usize, Desired)> {
    let mut diagnostics = Diagnostics::default();
    let configuration = read_files(files, true, connection, &mut diagnostics)?;
    declared::check_our_plugins(&configuration, &mut diagnostics);
    let schemas = remembered_schemas(connection);
    let configuration = declared::with_booleans(configuration, &schemas);
    declared::check_plugins(&configuration, &schemas, &mut diagnostics);
    let mut open = Diagnostics::default();
    declared::refuse_open_booleans(&configuration, &schemas, &mut open);
    let count = configuration.entities.len();
    let desired = resolve_offline(configuration, &mut diagnostics);
    diagnostics.into_result()?;
    // No mistakes: a node will tell which of them are booleans. Whoever reads the file cannot.
    if let Err(open) = open.into_result() {
        output::note(&format!("warning: {open}"));
    }
    Ok((count, desired))
}

/// The entities of the files with their references, as far as the files themselves have what is referred to.
pub(super) fn resolve_offline(
    configuration: Configuration,
    diagnostics: &mut Diagnostics,
) -> Desired {
    let mut ignored = Diagnostics::default();
    // Entities outside the files may be there: only a node can tell.
    let told = if configuration.lookup_tags.is_empty() {
        diagnostics
    } else {
        &mut ignored
    };
    let scope = scope(&configuration);
    resolve::resolve(configuration, &Inventory::default(), &scope, told)
}

fn scope(configuration: &Configuration) -> Scope {
    Scope {
        select_tags: configuration.select_tags.clone(),
        keeps_unnamed: false,
        custom_kinds: Some(configuration.custom_kinds.keys().copied().collect()),
    }
}

/// How many entities the files declare, and what they come to on a node that finds nothing wrong with them.
async fn online(files: &[PathBuf], client: &Client) -> anyhow::Result<(usize, Desired)> {
    let mut diagnostics = Diagnostics::default();
    let nodes = std::slice::from_ref(client);
    let configuration = read_files_for(nodes, files, &mut diagnostics).await?;
    declared::check_our_plugins(&configuration, &mut diagnostics);
    // What the files get wrong by themselves would only confuse the node.
    diagnostics.into_result()?;
    let Read {
        current, schemas, ..
    } = read_node(client, Vec::new(), configuration.plugin_names(), false).await?;
    let (count, scope) = (configuration.entities.len(), scope(&configuration));
    let mut diagnostics = Diagnostics::default();
    let desired = wanted(
        client,
        configuration,
        &current,
        &schemas,
        &scope,
        &mut diagnostics,
    )
    .await?;
    // Where references are open, the node would be asked about half an entity.
    diagnostics.into_result()?;
    judge(client, &desired, &schemas).await?.into_result()?;
    Ok((count, desired))
}

/// Asks the node about each entity.
async fn judge(
    client: &Client,
    desired: &Desired,
    schemas: &Schemas,
) -> Result<Diagnostics, AdminError> {
    let mut diagnostics = Diagnostics::default();
    let answers: Vec<(&Entity, Option<AdminError>)> = stream::iter(desired.entities.iter())
        .map(|entity| async move { Ok((entity, ask(client, entity).await?)) })
        .buffer_unordered(CONCURRENT_QUESTIONS)
        .try_collect()
        .await?;
    for (entity, refusal) in answers {
        let (Some(refusal), Some(node)) = (refusal, &entity.source) else {
            continue;
        };
        let refusal = refusal.without(&redact::secrets(entity.kind, &entity.body, schemas));
        let Some(rejection) = refusal.rejection() else {
            continue;
        };
        let what = format!("{} {}", entity.kind.singular(), entity.label);
        if rejection.fields.is_empty() {
            diagnostics.add(&node.place, format!("{what}: {}", rejection.message));
        }
        for (path, message) in &rejection.fields {
            // The place of the deepest part of the path that the file has.
            let place = path
                .split('.')
                .try_fold(node, |node, part| node.get(part).ok_or(node));
            let place = match place {
                Ok(node) | Err(node) => &node.place,
            };
            diagnostics.add(place, format!("{what}: {path}: {message}"));
        }
    }
    Ok(diagnostics)
}

/// `None` if the node finds nothing wrong with the entity.
async fn ask(client: &Client, entity: &Entity) -> Result<Option<AdminError>, AdminError> {
    let path = format!("schemas/{}/validate", entity.kind.name());
    match client
        .post(&path, &Value::Object(entity.body.clone()))
        .await
    {
        Ok(_) => Ok(None),
        Err(error)
            if error
                .rejection()
                .is_some_and(|rejection| rejection.status == 400) =>
        {
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}
