//! `render` and `convert`: what files mean, in one shape or another.

use serde_json::Value;

use crate::admin::schema::Schemas;
use crate::cli::{Connection, Convert, Render, Shape};
use crate::output::failure::Refused;
use crate::output::{self, Printer};
use crate::state::current::Inventory;
use crate::state::declared::{self, Configuration};
use crate::state::diagnostics::Diagnostics;
use crate::state::document::{self, Style};
use crate::state::references::{Policy, is_kept, is_kept_file};
use crate::state::resolve::{self, Desired, Scope};
use crate::syntax;

use super::super::{Exit, declare, documents, remembered_schemas};
use super::write;

/// Routes that a note names; the others are counted.
const NAMED_ROUTES: usize = 10;

pub(super) fn render(
    arguments: &Render,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let json = super::is_json(printer)?;
    let mut diagnostics = Diagnostics::default();
    let files = &arguments.written.files.files;
    let configuration = configuration(files, arguments.show_secrets, connection, &mut diagnostics)?;
    if configuration.lookup_tags.is_empty() {
        resolved(&configuration, &mut diagnostics);
    }
    diagnostics.into_result()?;
    let text = text(&declared::render(&configuration), json)?;
    write::output(&text, arguments.written.output_file.as_ref(), printer)
}

pub(super) fn run(
    arguments: &Convert,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let json = super::is_json(printer)?;
    let shape = match arguments.to {
        Shape::Kong3 => return upgrade(arguments, json, printer),
        Shape::Deck => document::Shape::Deck,
        Shape::Dbless => document::Shape::Dbless,
        Shape::Normal => document::Shape::Kongctl,
    };
    let mut diagnostics = Diagnostics::default();
    let files = &arguments.written.files.files;
    let configuration = configuration(files, arguments.show_secrets, connection, &mut diagnostics)?;
    let desired = resolved(&configuration, &mut diagnostics);
    diagnostics.into_result()?;
    let scope = scope(&configuration);
    let style = Style {
        shape,
        ..Style::default()
    };
    let mut value = document::write(&desired.entities, &scope, &Schemas::default(), style);
    if configuration.hashed_passwords
        && let Some(document) = value.as_object_mut()
    {
        document.shift_insert(1, "_transform".to_owned(), Value::Bool(false));
    }
    let refused = match shape {
        document::Shape::Dbless if has(&value, &is_kept) => {
            Some("Kong itself knows no references to variables and files")
        }
        document::Shape::Deck if has(&value, &is_kept_file) => Some("decK knows no `!file`"),
        _ => None,
    };
    if let Some(message) = refused {
        return Err(Refused {
            message: message.to_owned(),
            hint: "put their values in with --show-secrets, or refer to a vault".to_owned(),
        }
        .into());
    }
    let text = text(&value, json)?;
    write::output(&text, arguments.written.output_file.as_ref(), printer)
}

/// Only what Kong 3 reads otherwise; the rest of the file stays as it is written.
fn upgrade(arguments: &Convert, json: bool, printer: Printer) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let mut files = Vec::new();
    for (_, mut file) in super::read(&arguments.written.files.files)? {
        let marked = file.upgrade(&mut diagnostics);
        if !marked.is_empty() {
            note_marked(&marked);
        }
        files.push(file);
    }
    let merged = syntax::merge(files, &mut diagnostics);
    let mut text = syntax::write(&merged);
    if json {
        let values = syntax::values("the converted file", &text, &mut diagnostics);
        text = self::text(
            values.unwrap_or_default().first().unwrap_or(&Value::Null),
            true,
        )?;
    }
    diagnostics.into_result()?;
    write::output(&text, arguments.written.output_file.as_ref(), printer)
}

fn note_marked(marked: &[(String, usize)]) {
    let paths: usize = marked.iter().map(|(_, paths)| paths).sum();
    let names: Vec<&str> = marked
        .iter()
        .map(|(name, _)| name.as_str())
        .take(NAMED_ROUTES)
        .collect();
    let more = marked.len() - names.len();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    output::note(&format!(
        "Marked {paths} path{} as regular expressions with `~`, in the routes {}{more}. Look at them: Kong 2 \
         told regular expressions by their characters.",
        if paths == 1 { "" } else { "s" },
        names.join(", "),
    ));
}

fn configuration(
    paths: &[std::path::PathBuf],
    show_secrets: bool,
    connection: &Connection,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Configuration> {
    let policy = if show_secrets {
        Policy::Evaluate
    } else {
        Policy::KeepSecrets
    };
    let documents = documents(paths, policy, diagnostics)?;
    let documents: Vec<_> = documents.iter().map(declared::upgraded).collect();
    let configuration = declare(&documents, connection, diagnostics);
    let schemas = remembered_schemas(connection);
    let configuration = declared::with_booleans(configuration, &schemas);
    declared::refuse_open_booleans(&configuration, &schemas, diagnostics);
    Ok(configuration)
}

fn scope(configuration: &Configuration) -> Scope {
    Scope {
        select_tags: configuration.select_tags.clone(),
        ..Scope::default()
    }
}

fn resolved(configuration: &Configuration, diagnostics: &mut Diagnostics) -> Desired {
    let scope = scope(configuration);
    resolve::resolve(
        configuration.clone(),
        &Inventory::default(),
        &scope,
        diagnostics,
    )
}

/// The value in the form asked for.
pub(super) fn text(value: &Value, json: bool) -> Result<String, Refused> {
    if json {
        refuse_references(value)?;
        Ok(output::json(value) + "\n")
    } else {
        Ok(output::yaml::write(value))
    }
}

/// JSON cannot say that a reference is a number.
pub(super) fn refuse_references(value: &Value) -> Result<(), Refused> {
    if has(value, &is_kept) {
        return Err(Refused {
            message: "references to variables and files have no form in JSON".to_owned(),
            hint: "write YAML, or put their values in with `kongctl render --show-secrets`"
                .to_owned(),
        });
    }
    Ok(())
}

/// Is any text in the value such a one?
fn has(value: &Value, such: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => such(text),
        Value::Array(items) => items.iter().any(|item| has(item, such)),
        Value::Object(map) => map.values().any(|inner| has(inner, such)),
        _ => false,
    }
}
