//! `man`: the help of each verb as manual pages.

use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::{Cli, ManPages};
use crate::output::failure::UsageError;
use crate::output::{self, Printer};

use super::Exit;

pub(super) fn run(arguments: &ManPages, printer: Printer) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    command.build();
    if let Some(directory) = &arguments.directory {
        let count = all(&command, directory)?;
        output::note(&format!(
            "Wrote {count} pages into {}.",
            directory.display()
        ));
        return Ok(Exit::Done);
    }
    let mut asked = &command;
    for verb in &arguments.verb {
        asked = asked.find_subcommand(verb).ok_or_else(|| UsageError {
            message: format!("there is no verb `{}`", arguments.verb.join(" ")),
        })?;
    }
    printer.result(&page(asked)?)?;
    Ok(Exit::Done)
}

/// A page for each verb, named as `man` looks for them: `kongctl-quota-list.1`.
fn all(command: &Command, directory: &Path) -> anyhow::Result<usize> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut stack = vec![command];
    let mut count = 0;
    while let Some(command) = stack.pop() {
        let path = directory.join(format!("{}.1", name(command)));
        std::fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        count += 1;
        let verbs = command.get_subcommands();
        stack.extend(verbs.filter(|verb| !verb.is_hide_set() && verb.get_name() != "help"));
    }
    Ok(count)
}

fn name(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    name.replace(' ', "-")
}

fn page(command: &Command) -> std::io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(name(command))
        .section("1")
        .render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
