//! `completion`: a script that completes verbs and flags.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::output::Printer;

use super::Exit;

pub(super) fn run(shell: Shell, printer: Printer) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kongctl", &mut script);
    printer.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
