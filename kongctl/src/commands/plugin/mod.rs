//! `plugin`: configurations of our plugins to start from, and the fields of any plugin.

mod fields;
mod scaffold;

use llm_plugin_server::check::Subject;
use serde_json::{Map, Value};

use crate::cli::{Connection, PluginCommand, Scaffold, Schema};
use crate::output::failure::Refused;
use crate::output::{Format, Printer};
use crate::state::diagnostics::suggestion;

use super::{Exit, connect, remembered_answers};

pub(super) async fn run(
    command: &PluginCommand,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::Scaffold(arguments) => scaffold(arguments, printer),
        PluginCommand::Schema(arguments) => schema(arguments, connection, printer).await,
    }
}

fn scaffold(arguments: &Scaffold, printer: Printer) -> anyhow::Result<Exit> {
    let subject = ours(&arguments.name)?;
    printer.result(&scaffold::write(subject, arguments.full))?;
    Ok(Exit::Done)
}

async fn schema(
    arguments: &Schema,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let name = arguments.name.as_str();
    let config = if arguments.offline {
        remembered(name, connection)?
    } else {
        asked(name, connection).await?
    };
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&Value::Object(config))?,
        Format::Name => printer.result(&fields::names(&config))?,
        Format::Table => printer.result(&fields::table(&config, printer.paint()))?,
    }
    Ok(Exit::Done)
}

/// The schema of a plugin's `config`, as the node has it.
async fn asked(name: &str, connection: &Connection) -> anyhow::Result<Map<String, Value>> {
    let client = connect(connection)?;
    let Some(answer) = client.plugin_schema(name).await? else {
        return Err(Refused {
            message: format!("the node has no plugin `{name}`"),
            hint: "a plugin must be named in the node's `plugins` setting (KONG_PLUGINS)"
                .to_owned(),
        }
        .into());
    };
    Ok(config_of(&answer))
}

/// The same without the node: of our own plugins, and of those that it was asked about before.
fn remembered(name: &str, connection: &Connection) -> Result<Map<String, Value>, Refused> {
    match (ours(name), remembered_answers(connection).get(name)) {
        (Ok(subject), _) => Ok(subject.schema().as_json().clone()),
        (Err(_), Some(answer)) => Ok(config_of(answer)),
        (Err(unknown), None) => Err(unknown),
    }
}

fn config_of(answer: &Value) -> Map<String, Value> {
    let fields = answer.get("fields").and_then(Value::as_array);
    let config = fields
        .into_iter()
        .flatten()
        .find_map(|field| field.get("config")?.as_object());
    config.cloned().unwrap_or_default()
}

fn ours(name: &str) -> Result<&'static Subject, Refused> {
    Subject::named(name).ok_or_else(|| {
        let known = Subject::all().iter().map(|subject| subject.name);
        Refused {
            message: format!("kongctl itself knows no plugin `{name}`"),
            hint: suggestion(name, known.clone()).unwrap_or_else(|| {
                format!("known are {}", known.collect::<Vec<_>>().join(" and "))
            }),
        }
    })
}

/// The fields of a record as Kong prints them, in its order.
fn fields_of(record: &Map<String, Value>) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let fields = record.get("fields").and_then(Value::as_array);
    fields
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
        .filter_map(|(name, field)| Some((name, field.as_object()?)))
}

/// Text in lines of at most so many columns, broken at spaces.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
