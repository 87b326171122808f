//! `get`: lists entities of a kind, or shows one.

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::cli::{Connection, Get};
use crate::output::failure::Refused;
use crate::output::{Format, Printer, redact, table};
use crate::state::current::{self, Inventory};
use crate::state::diagnostics::suggestion;
use crate::state::{Entity, reference_id};

use super::{Exit, connect, hand};

pub(super) async fn run(
    arguments: &Get,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let client = connect(connection)?;
    let kind = hand::kind_of(&arguments.kind, &client).await?;
    let with_credentials = kind == Kind::Consumer && arguments.name.is_some();
    let inventory = read(&client, kind, with_credentials)
        .await
        .with_context(|| format!("cannot read the node's {}", kind.name()))?;
    let mut found: Vec<&Entity> = inventory
        .of_kind(kind)
        .filter(|entity| entity.has_tags(&arguments.selection.select_tags))
        .filter(|entity| {
            arguments
                .name
                .as_deref()
                .is_none_or(|name| entity.is_called(name))
        })
        .collect();
    found.sort_by(|a, b| a.label.cmp(&b.label));
    if let (Some(name), []) = (&arguments.name, found.as_slice()) {
        let known = inventory.of_kind(kind).map(|entity| entity.label.as_str());
        return Err(Refused {
            message: format!("there is no {} `{name}`", kind.singular()),
            hint: suggestion(name, known)
                .unwrap_or_else(|| format!("`kongctl get {}` lists them", kind.name())),
        }
        .into());
    }
    let schemas = schemas(&client, &found).await?;
    let shown = |entity: &Entity| {
        let mut body = Map::new();
        body.insert("id".to_owned(), Value::String(entity.id.clone()));
        body.extend(if arguments.show_secrets {
            entity.body.clone()
        } else {
            redact::body(entity.kind, &entity.body, &schemas)
        });
        body
    };
    match printer.format {
        Format::Name => {
            let names: Vec<String> = found
                .iter()
                .map(|entity| format!("{}/{}\n", kind.name(), entity.label))
                .collect();
            printer.result(&names.concat())?;
        }
        Format::Json | Format::Yaml => {
            let mut values: Vec<Value> = found
                .iter()
                .map(|entity| {
                    let mut body = shown(entity);
                    for credentials in credentials_of(&inventory, entity, with_credentials) {
                        let list = credentials
                            .iter()
                            .map(|credential| Value::Object(shown(credential)))
                            .collect();
                        body.insert(credentials[0].kind.name().to_owned(), Value::Array(list));
                    }
                    Value::Object(body)
                })
                .collect();
            match (&arguments.name, values.len()) {
                (Some(_), 1) => printer.value(&values.remove(0))?,
                _ => printer.value(&Value::Array(values))?,
            }
        }
        Format::Table => {
            let mut text = rows(&inventory, kind, &found, &shown);
            for entity in &found {
                for credentials in credentials_of(&inventory, entity, with_credentials) {
                    text.push('\n');
                    text.push_str(&rows(&inventory, credentials[0].kind, &credentials, &shown));
                }
            }
            printer.result(&text)?;
        }
    }
    Ok(Exit::Done)
}

/// Entities of one kind, and what their tables name: those that they refer to.
async fn read(
    client: &Client,
    kind: Kind,
    with_credentials: bool,
) -> Result<Inventory, AdminError> {
    if kind.spec().list_path.is_none() {
        // Targets are listed by upstream.
        return current::read(client).await;
    }
    let mut kinds: Vec<Kind> = vec![kind];
    kinds.extend(kind.references().map(|(_, to, _)| to));
    if with_credentials {
        kinds.extend(
            kind.children()
                .map(|(_, child, _)| child)
                .filter(|child| child.spec().below.is_some()),
        );
    }
    kinds.sort();
    kinds.dedup();
    let lists = futures_util::future::try_join_all(kinds.into_iter().map(|kind| async move {
        let entries = match kind.spec().list_path {
            Some(path) => client.list(path).await?.unwrap_or_default(),
            None => Vec::new(),
        };
        Ok::<_, AdminError>((kind, entries))
    }))
    .await?;
    Ok(current::from_lists(lists))
}

/// What plugins keep secret is in their schemas.
async fn schemas(client: &Client, found: &[&Entity]) -> Result<Schemas, AdminError> {
    let mut plugins: Vec<String> = found
        .iter()
        .filter(|entity| entity.kind == Kind::Plugin)
        .filter_map(|entity| entity.body.get("name")?.as_str().map(str::to_owned))
        .collect();
    plugins.sort();
    plugins.dedup();
    client.schemas(Vec::new(), plugins).await
}

/// A consumer's credentials, by kind.
fn credentials_of<'a>(
    inventory: &'a Inventory,
    consumer: &Entity,
    wanted: bool,
) -> Vec<Vec<&'a Entity>> {
    if !wanted {
        return Vec::new();
    }
    Kind::Consumer
        .children()
        .filter(|(_, kind, _)| kind.spec().below.is_some())
        .map(|(_, kind, field)| {
            inventory
                .of_kind(kind)
                .filter(|entity| entity.reference(field) == Some(&consumer.id))
                .collect()
        })
        .filter(|list: &Vec<&Entity>| !list.is_empty())
        .collect()
}

fn rows(
    inventory: &Inventory,
    kind: Kind,
    entities: &[&Entity],
    shown: &dyn Fn(&Entity) -> Map<String, Value>,
) -> String {
    let columns = kind.spec().columns;
    let rows: Vec<Vec<String>> = entities
        .iter()
        .map(|entity| {
            let body = shown(entity);
            columns
                .iter()
                .map(|column| {
                    let value = body.get(*column).unwrap_or(&Value::Null);
                    let referred = kind.references().find(|(field, ..)| field == column);
                    match (referred, reference_id(value)) {
                        (Some((_, to, _)), Some(id)) => inventory
                            .get(to, id)
                            .map_or_else(|| id.to_owned(), |entity| entity.label.clone()),
                        _ => table::cell(value),
                    }
                })
                .collect()
        })
        .collect();
    table::render(columns, &rows)
}
