//! `to-k8s`: files as Kubernetes objects.

use serde_json::json;

use crate::cli::{Connection, ToK8s};
use crate::kubernetes::{self, Loss, Options};
use crate::output::failure::Refused;
use crate::output::{self, Format, Printer};
use crate::state::current::Inventory;
use crate::state::declared;
use crate::state::diagnostics::Diagnostics;
use crate::state::resolve::{self, Scope};

use super::{Exit, read_files, remembered_schemas};

pub(super) fn run(
    arguments: &ToK8s,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let configuration = read_files(&arguments.files.files, false, connection, &mut diagnostics)?;
    let schemas = remembered_schemas(connection);
    let configuration = declared::with_booleans(configuration, &schemas);
    declared::refuse_open_booleans(&configuration, &schemas, &mut diagnostics);
    let desired = resolve::resolve(
        configuration,
        &Inventory::default(),
        &Scope::default(),
        &mut diagnostics,
    );
    diagnostics.into_result()?;
    let options = Options {
        ingress: arguments.ingress,
        class: arguments.class.clone(),
        gateway: arguments.gateway.clone(),
        namespace: arguments.namespace.clone(),
    };
    let conversion = kubernetes::convert(&desired.entities, &declared::our_schemas(), &options);
    if !conversion.losses.is_empty() {
        if !arguments.allow_losses {
            return Err(Refused {
                message: format!(
                    "Kubernetes has no word for all of it:\n{}",
                    list(&conversion.losses)
                ),
                hint: "to write the rest, say --allow-losses".to_owned(),
            }
            .into());
        }
        output::note(&format!("Lost on the way:\n{}", list(&conversion.losses)));
    }
    match printer.format {
        Format::Json => printer.value(&json!({
            "apiVersion": "v1",
            "kind": "List",
            "items": conversion.objects,
        }))?,
        Format::Name => {
            let names = conversion.objects.iter().map(|object| {
                let text = |pointer: &str| object.pointer(pointer).and_then(|value| value.as_str());
                let kind = text("/kind").unwrap_or_default().to_lowercase();
                format!("{kind}/{}", text("/metadata/name").unwrap_or_default())
            });
            printer.result(&names.collect::<Vec<_>>().join("\n"))?;
        }
        Format::Table | Format::Yaml => {
            let documents = conversion.objects.iter().map(output::yaml::write);
            printer.result(&documents.collect::<Vec<_>>().join("---\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn list(losses: &[Loss]) -> String {
    let lines = losses
        .iter()
        .map(|Loss { entity, what }| format!("- {entity}: {what}"));
    lines.collect::<Vec<_>>().join("\n")
}
