//! `validate`: are the files right?

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::admin::client::Client;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::cli::{Connection, Validate};
use crate::output::{self, Printer, redact};
use crate::state::current::Inventory;
use crate::state::declared::{self, Configuration};
use crate::state::diagnostics::Diagnostics;
use crate::state::resolve::{self, Desired, Scope};
use crate::state::{Entity, current};

use super::{Exit, connect, lint, read_files, remembered_schemas};

/// Questions to the node in flight at once.
const CONCURRENT_QUESTIONS: usize = 16;

pub(super) async fn run(
    arguments: &Validate,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let configuration = read_files(&arguments.files.files, !arguments.online, &mut diagnostics)?;
    declared::check_our_plugins(&configuration, &mut diagnostics);
    if arguments.online {
        // What the files get wrong by themselves would only confuse the node.
        diagnostics.into_result()?;
        let client = connect(connection)?;
        let mut diagnostics = Diagnostics::default();
        online(&client, &configuration, &mut diagnostics).await?;
        diagnostics.into_result()?;
    } else {
        let schemas = remembered_schemas(connection);
        let settled = declared::with_booleans(configuration.clone(), &schemas);
        declared::check_plugins(&settled, &schemas, &mut diagnostics);
        resolve_offline(&settled, &mut diagnostics);
        diagnostics.into_result()?;
        note_open_booleans(&settled, &schemas);
    }
    let count = configuration.entities.len();
    if !arguments.lint {
        lint::tell(count, None, printer)?;
        return Ok(Exit::Done);
    }
    let desired = resolve_offline(&configuration, &mut Diagnostics::default());
    let warnings = lint::warnings(&desired, &arguments.judgement);
    lint::tell(count, Some(&warnings), printer)?;
    Ok(lint::judge(&warnings, &arguments.judgement))
}

/// No mistakes: a node will tell which of them are booleans. Whoever reads the file cannot.
fn note_open_booleans(configuration: &Configuration, schemas: &Schemas) {
    let mut open = Diagnostics::default();
    declared::refuse_open_booleans(configuration, schemas, &mut open);
    if let Err(open) = open.into_result() {
        output::note(&format!("warning: {open}"));
    }
}

/// The entities of the files with their references, as far as the files themselves have what is referred to.
pub(super) fn resolve_offline(
    configuration: &Configuration,
    diagnostics: &mut Diagnostics,
) -> Desired {
    let mut ignored = Diagnostics::default();
    // Entities outside the files may be there: only a node can tell.
    let told = if configuration.lookup_tags.is_empty() {
        diagnostics
    } else {
        &mut ignored
    };
    let scope = scope(configuration);
    resolve::resolve(configuration.clone(), &Inventory::default(), &scope, told)
}

fn scope(configuration: &Configuration) -> Scope {
    Scope {
        select_tags: configuration.select_tags.clone(),
        keeps_unnamed: false,
    }
}

/// Asks the node about each entity.
async fn online(
    client: &Client,
    configuration: &Configuration,
    diagnostics: &mut Diagnostics,
) -> Result<(), AdminError> {
    let (current, schemas) = tokio::try_join!(
        current::read(client),
        client.schemas(Vec::new(), configuration.plugin_names())
    )?;
    current::check_kinds(client, configuration, diagnostics).await?;
    let configuration = declared::with_booleans(configuration.clone(), &schemas);
    declared::check_plugins(&configuration, &schemas, diagnostics);
    let scope = scope(&configuration);
    let desired = resolve::resolve(configuration, &current, &scope, diagnostics);
    if !diagnostics.is_empty() {
        // References are open: the node would be asked about half an entity.
        return Ok(());
    }
    let answers: Vec<(&Entity, Option<AdminError>)> = stream::iter(desired.entities.iter())
        .map(|entity| async move { Ok((entity, ask(client, entity).await?)) })
        .buffer_unordered(CONCURRENT_QUESTIONS)
        .try_collect()
        .await?;
    for (entity, refusal) in answers {
        let (Some(refusal), Some(node)) = (refusal, &entity.source) else {
            continue;
        };
        let refusal = refusal.without(&redact::secrets(entity.kind, &entity.body, &schemas));
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
    Ok(())
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
