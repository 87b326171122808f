//! `dump`: what the node has, as a file that sync understands.

use anyhow::Context as _;

use crate::admin::entities::Kind;
use crate::cli::{Connection, Dump};
use crate::output::failure::UsageError;
use crate::output::{self, Format, Printer, private_file};
use crate::state::current;
use crate::state::document::{self, Shape, Style};
use crate::state::resolve::Scope;

use super::{Exit, connect};

pub(super) async fn run(
    arguments: &Dump,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if !printer.is_structured() {
        return Err(UsageError {
            message: "dump writes yaml or json: use -o yaml or -o json".to_owned(),
        }
        .into());
    }
    let client = connect(connection)?;
    let inventory = current::read(&client)
        .await
        .context("cannot read the node's configuration")?;
    let mut plugins: Vec<String> = inventory
        .of_kind(Kind::Plugin)
        .filter_map(|plugin| plugin.body.get("name")?.as_str().map(str::to_owned))
        .collect();
    plugins.sort();
    plugins.dedup();
    let kinds = Kind::all()
        .filter(|kind| inventory.of_kind(*kind).next().is_some())
        .collect();
    let schemas = client
        .schemas(kinds, plugins)
        .await
        .context("cannot read the node's schemas")?;
    let scope = Scope {
        select_tags: arguments.selection.select_tags.clone(),
        ..Scope::default()
    };
    let style = Style {
        ids: arguments.with_ids,
        all_fields: arguments.all_fields,
        redact: arguments.redact,
        // Nobody who tries this tool is kept from going back.
        shape: Shape::Deck,
    };
    let document = document::write(&inventory, &scope, &schemas, style);
    let text = match printer.format {
        Format::Json => output::json(&document) + "\n",
        _ => output::yaml::write(&document),
    };
    match &arguments.output_file {
        None => printer.result(&text)?,
        Some(path) => {
            private_file::write(path, &text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            output::note(&format!("Wrote {}.", path.display()));
        }
    }
    Ok(Exit::Done)
}
