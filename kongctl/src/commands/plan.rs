//! `plan`: what would a sync change, shown and saved.

use anyhow::Context as _;

use crate::cli::{Connection, Plan};
use crate::clock;
use crate::output::failure::Refused;
use crate::output::private_file;
use crate::output::{self, Printer, changes};
use crate::plan::saved::{self, Origin};
use crate::state::files;

use super::Exit;
use super::carry_out::shown_plans;
use super::planning::{Wish, plan_files};

pub(super) async fn run(
    arguments: Plan,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let paths = &arguments.files.files;
    let wish = Wish {
        files: paths,
        select_tags: arguments.selection.select_tags,
        keeps_unnamed: arguments.no_delete,
        standing: true,
    };
    let (nodes, scope) = plan_files(wish, connection).await?;
    printer.result(&changes::plans(
        &shown_plans(&nodes),
        printer.format,
        printer.paint(),
    ))?;
    if let (Some(path), Some(first)) = (&arguments.output_file, nodes.first()) {
        let standing = first.standing.as_ref();
        let origin = Origin {
            files: files::marks(paths),
            nodes: nodes
                .iter()
                .map(|node| node.client.url().to_owned())
                .collect(),
            mode: standing
                .map_or("", |standing| standing.mode.name())
                .to_owned(),
            select_tags: scope.select_tags,
        };
        let saved = saved::save(
            &first.plan,
            origin,
            first.hashed_passwords,
            clock::unix_seconds(),
        );
        // One file has one plan: that of nodes which all are as the first.
        for node in &nodes[1..] {
            if saved.revive(&node.current, &node.schemas).is_err() {
                return Err(Refused {
                    message: format!(
                        "{} is not as {}: one plan cannot be for both",
                        node.client.url(),
                        first.client.url()
                    ),
                    hint: "sync them without a saved plan, or save one for each".to_owned(),
                }
                .into());
            }
        }
        let mut text = serde_json::to_string_pretty(&saved)?;
        text.push('\n');
        private_file::write(path, &text)
            .with_context(|| format!("cannot write {}", path.display()))?;
        output::note(&format!(
            "Wrote {}, secrets included: only you can read it. `kongctl {} --plan {}` carries it out.",
            path.display(),
            if arguments.no_delete { "apply" } else { "sync" },
            path.display()
        ));
    }
    let differs = nodes.iter().any(|node| !node.plan.is_empty());
    Ok(if arguments.exit_code && differs {
        Exit::Different
    } else {
        Exit::Done
    })
}
