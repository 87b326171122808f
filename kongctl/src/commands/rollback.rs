//! `rollback`: restore what a run found.

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::admin::client::{Client, Mode};
use crate::admin::entities::Kind;
use crate::cli::{Connection, Rollback};
use crate::clock;
use crate::journal::{Directory, Journal, JournalError};
use crate::output::failure::Refused;
use crate::output::{self, Format, Printer, table};
use crate::plan::guard::Guard;
use crate::plan::restore::{self, Restoration, Terms};
use crate::profiles::Profile;
use crate::state::diagnostics::Diagnostics;

use super::carry_out::{Order, carry_out, journals};
use super::planning::{Planned, Read, read_node};
use super::{Exit, connect_all, protected, read_files};

pub(super) async fn run(
    arguments: &Rollback,
    connection: &Connection,
    profile: &Profile,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let directory = journals();
    if arguments.list {
        list(directory.as_ref(), printer)?;
        return Ok(Exit::Done);
    }
    if !arguments.execution.yes && !output::can_ask() {
        return Err(Refused {
            message: "rollback changes the node, and nobody can be asked".to_owned(),
            hint: "say --yes if that is meant".to_owned(),
        }
        .into());
    }
    let known = known_passwords(arguments, connection)?;
    let kept = directory.as_ref().map(Directory::all).unwrap_or_default();
    let clients = connect_all(connection)?;
    let nodes = clients.into_iter().map(|client| {
        let chosen = choose(arguments, directory.as_ref(), &kept, client.url());
        let terms = Terms {
            overrule: arguments.force,
            known_passwords: known.clone(),
            ..Terms::default()
        };
        async move { plan_back(client, &chosen?, terms, arguments).await }
    });
    let planned = try_join_all(nodes).await?;
    let order = Order {
        verb: "rollback",
        execution: &arguments.execution,
        guard: Guard {
            protect_tags: protected(&arguments.execution.protect_tags, profile),
            max_deletes: arguments.max_deletes,
        },
    };
    carry_out(planned, &order, printer).await
}

fn choose(
    arguments: &Rollback,
    directory: Option<&Directory>,
    kept: &[Journal],
    node: &str,
) -> anyhow::Result<Journal> {
    let refused = |message: String| Refused {
        message,
        hint: "`kongctl rollback --list` shows the journals that there are".to_owned(),
    };
    let Some(word) = &arguments.from else {
        let newest = restore::latest(kept, node).cloned();
        let nothing = || refused(format!("there is nothing to undo on {node}"));
        return newest.ok_or_else(|| nothing().into());
    };
    let journal = match directory {
        Some(directory) => directory.find(word)?,
        None => return Err(JournalError::Absent(word.clone()).into()),
    };
    if journal.head.node != node {
        let message = format!(
            "the journal {word} is of {}, not of {node}",
            journal.head.node
        );
        return Err(refused(message).into());
    }
    Ok(journal)
}

async fn plan_back(
    client: Client,
    journal: &Journal,
    mut terms: Terms,
    arguments: &Rollback,
) -> anyhow::Result<Planned> {
    // The journal may tell of kinds that only the node knows.
    client
        .custom_kinds()
        .await
        .context("cannot read the node's configuration")?;
    let (kinds, plugins) = restore::subjects(journal);
    let Read {
        standing,
        current,
        schemas,
    } = read_node(&client, kinds, plugins, !arguments.execution.dbless)
        .await
        .context("cannot read the node's configuration")?;
    terms.node_hashes = standing
        .as_ref()
        .is_some_and(|standing| standing.mode == Mode::Database);
    terms.age = clock::unix_seconds().saturating_sub(journal.head.made_at);
    let Restoration { plan, moved, lost } =
        restore::restore(journal, &current, &schemas, &terms)
            .context("there is no way back to what the journal tells")?;
    let indented = |lines: &[String]| {
        let lines = lines.iter().map(|line| format!("\n    {line}"));
        lines.collect::<String>()
    };
    if !moved.is_empty() && !arguments.force && !arguments.partial {
        return Err(Refused {
            message: format!(
                "others changed what would be restored; nothing was changed:{}",
                indented(&moved)
            ),
            hint: "--force restores these too, --partial leaves them as they are and restores the rest".to_owned(),
        }
        .into());
    }
    if !lost.is_empty() && !arguments.partial {
        return Err(Refused {
            message: format!(
                "not all can be restored; nothing was changed:{}",
                indented(&lost)
            ),
            hint:
                "--passwords FILE names files that have the passwords, --partial restores the rest"
                    .to_owned(),
        }
        .into());
    }
    for line in lost.iter().chain(moved.iter().filter(|_| !arguments.force)) {
        output::note(&format!("Left as it is: {line}."));
    }
    output::note(&format!(
        "Undoing {}: `kongctl {}` of {}.",
        journal.name,
        journal.head.verb,
        clock::shown(journal.head.made_at)
    ));
    Ok(Planned {
        client,
        standing,
        current,
        schemas,
        plan,
        // What a node without a database has are hashes; a database's are left out, or known.
        hashed_passwords: !terms.node_hashes,
        undoes: Some(journal.name.clone()),
    })
}

/// Basic-auth passwords that files give.
fn known_passwords(arguments: &Rollback, connection: &Connection) -> anyhow::Result<Vec<String>> {
    if arguments.passwords.is_empty() {
        return Ok(Vec::new());
    }
    let mut diagnostics = Diagnostics::default();
    let configuration = read_files(&arguments.passwords, false, connection, &mut diagnostics)?;
    diagnostics.into_result()?;
    let passwords = configuration
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::BasicAuth)
        .filter_map(|entity| entity.fields.get("password")?.as_str().map(str::to_owned));
    Ok(passwords.collect())
}

fn list(directory: Option<&Directory>, printer: Printer) -> anyhow::Result<()> {
    let journals = directory.map(Directory::all).unwrap_or_default();
    let state = |journal: &Journal| match journal.end {
        Some(true) => "complete",
        Some(false) => "partial",
        None => "cut off",
    };
    match printer.format {
        Format::Json | Format::Yaml => {
            let values: Vec<Value> = journals
                .iter()
                .map(|journal| {
                    let head = &journal.head;
                    json!({
                        "name": journal.name,
                        "made_at": head.made_at,
                        "verb": head.verb,
                        "node": head.node,
                        "mode": head.mode,
                        "undoes": head.undoes,
                        "changes": head.changes.len(),
                        "done": journal.done(),
                        "state": state(journal),
                    })
                })
                .collect();
            printer.value(&Value::Array(values))?;
        }
        Format::Name => {
            let names: Vec<String> = journals
                .iter()
                .map(|journal| format!("{}\n", journal.name))
                .collect();
            printer.result(&names.concat())?;
        }
        Format::Table if journals.is_empty() => printer.result("There are no journals.")?,
        Format::Table => {
            let rows: Vec<Vec<String>> = journals
                .iter()
                .map(|journal| {
                    let head = &journal.head;
                    vec![
                        journal.name.clone(),
                        head.verb.clone(),
                        format!("{} of {}", journal.done(), head.changes.len()),
                        state(journal).to_owned(),
                        head.node.clone(),
                    ]
                })
                .collect();
            let columns = ["journal", "verb", "done", "state", "node"];
            printer.result(&table::render(&columns, &rows))?;
        }
    }
    Ok(())
}
