//! `describe KIND NAME`: one entity, what it refers to and what refers to it.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::admin::schema::Schemas;
use crate::cli::{Connection, Describe};
use crate::output::{self, Format, Printer, redact, table, text, yaml};
use crate::state::current::{self, Inventory};
use crate::state::{Entity, reference_id};

use super::super::connect;
use super::{Exit, kind_of, named, schemas};

/// Before each line below the heading.
const INDENT: &str = "  ";

pub(in super::super) async fn run(
    arguments: &Describe,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let client = connect(connection)?;
    let kind = kind_of(&arguments.entity.kind, &client).await?;
    let current = current::read(&client)
        .await
        .context("cannot read the node's configuration")?;
    let entity = named(&current, kind, &arguments.entity)?;
    let related = related(&current, entity);
    let mut shown: Vec<&Entity> = related
        .iter()
        .flat_map(|(_, list)| list.iter().copied())
        .collect();
    shown.push(entity);
    let schemas = schemas(&client, &shown).await?;
    match printer.format {
        Format::Name => printer.result(&format!("{}/{}", kind.name(), entity.label))?,
        Format::Json | Format::Yaml => printer.value(&value(entity, &related, &schemas))?,
        Format::Table => printer.result(&page(&current, entity, &related, &schemas))?,
    }
    Ok(Exit::Done)
}

/// What has to do with an entity, by kind: what stands on it, then what it is reached through.
fn related<'a>(current: &'a Inventory, entity: &Entity) -> Vec<(Kind, Vec<&'a Entity>)> {
    let mut found = Vec::new();
    for kind in Kind::all() {
        let refers = |other: &&Entity| {
            let mut references = other.references();
            references.any(|(_, to, id, _)| to == entity.kind && id == entity.id)
        };
        // A service reaches the upstream whose name is its host.
        let reaches = |other: &&Entity| {
            let host = |service: &Entity| service.body.get("host").cloned();
            match (entity.kind, other.kind) {
                (Kind::Service, Kind::Upstream) => host(entity) == other.body.get("name").cloned(),
                (Kind::Upstream, Kind::Service) => host(other) == entity.body.get("name").cloned(),
                _ => false,
            }
        };
        let mut list: Vec<&Entity> = current
            .of_kind(kind)
            .filter(|other| refers(other) || reaches(other))
            .collect();
        list.sort_by(|a, b| a.label.cmp(&b.label));
        if !list.is_empty() {
            found.push((kind, list));
        }
    }
    found
}

fn body(entity: &Entity, schemas: &Schemas) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("id".to_owned(), Value::String(entity.id.clone()));
    body.extend(redact::body(entity.kind, &entity.body, schemas));
    body
}

fn value(entity: &Entity, related: &[(Kind, Vec<&Entity>)], schemas: &Schemas) -> Value {
    let mut value = body(entity, schemas);
    let lists: Map<String, Value> = related
        .iter()
        .map(|(kind, list)| {
            let list = list
                .iter()
                .map(|entity| Value::Object(body(entity, schemas)));
            (kind.name().to_owned(), list.collect())
        })
        .collect();
    value.insert("_related".to_owned(), Value::Object(lists));
    Value::Object(value)
}

fn page(
    current: &Inventory,
    entity: &Entity,
    related: &[(Kind, Vec<&Entity>)],
    schemas: &Schemas,
) -> String {
    let mut out = format!(
        "{} {}\n",
        entity.kind.singular(),
        text::clean(&entity.label)
    );
    let body = body(entity, schemas);
    // As the table of kinds has them; what is not a person's word comes last.
    let record = entity.kind.record();
    let rank = |name: &String| record.fields.get_index_of(name).unwrap_or(usize::MAX);
    let mut said: Vec<_> = body
        .iter()
        .filter(|(_, value)| !is_nothing(value))
        .collect();
    said.sort_by_key(|(name, _)| rank(name));
    let width = said.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in said {
        let parent = entity.kind.references().find(|(field, ..)| field == name);
        let value = match (parent, reference_id(value)) {
            (Some((_, to, _)), Some(id)) => {
                let name = current
                    .get(to, id)
                    .map_or(id, |entity| entity.label.as_str());
                Value::String(format!("{} {name}", to.singular()))
            }
            _ => value.clone(),
        };
        field(&mut out, name, &value, width);
    }
    for (kind, list) in related {
        let _ = writeln!(out, "\n{}", kind.name());
        let columns: Vec<&str> = kind
            .spec()
            .columns
            .iter()
            .copied()
            // What they refer to is this entity, or said by `describe` of it.
            .filter(|column| kind.references().all(|(field, ..)| field != *column))
            .collect();
        let rows: Vec<Vec<String>> = list
            .iter()
            .map(|entity| {
                let body = self::body(entity, schemas);
                let cell = |column: &&str| table::cell(body.get(*column).unwrap_or(&Value::Null));
                columns.iter().map(cell).collect()
            })
            .collect();
        let room = output::columns().map(|columns| columns - INDENT.len());
        for line in table::render_in(&columns, &rows, room).lines() {
            let _ = writeln!(out, "{}", format!("{INDENT}{line}").trim_end());
        }
    }
    out
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn field(out: &mut String, name: &str, value: &Value, width: usize) {
    let many_lines = match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        Value::String(text) => text.contains('\n'),
        _ => false,
    };
    if !many_lines {
        let cell = table::cell(value);
        let before = 2 * INDENT.len() + width;
        let lines = match output::columns() {
            Some(columns) => text::wrap(&cell, columns.saturating_sub(before).max(INDENT.len())),
            None => vec![text::clean(&cell)],
        };
        for (number, line) in lines.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let _ = writeln!(out, "{INDENT}{name:width$}{INDENT}{line}");
        }
        return;
    }
    let _ = writeln!(out, "  {name}");
    let block = match value {
        Value::String(text) => text.clone(),
        value => yaml::write(value),
    };
    for line in block.lines() {
        let _ = writeln!(out, "    {}", text::clean(line));
    }
}
