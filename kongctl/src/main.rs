//! `kongctl`: declares and operates Kong Gateway through its Admin API.
//!
//! # Layout
//!
//! - `cli` has the words of the command line, `commands` one file a verb, `output` every word that a user sees.
//! - `state` turns files into what is wanted and the Admin API's answers into what is there.
//! - `lint` looks for what is allowed in files and still not what was meant.
//! - `syntax` knows how files are written, for the verbs that rewrite them.
//! - `openapi` makes a configuration of an OpenAPI description.
//! - `plan` tells the two apart and orders the changes; it is pure.
//! - `limiter` knows the plugin server's own API, for `quota`, `top` and `token revoke`; `tokens` takes tokens and keys apart.
//! - `execute` carries a plan out; `journal` keeps what was there before and what was done, for `rollback`.
//! - `admin` knows the Admin API: entities, schemas, errors, a client; `profiles` how the user reaches which nodes.
//! - `kubernetes` writes what is declared as objects of Kubernetes.
//!
//! A sync runs through them in this order: files → declared → (current) → resolved → plan → executor → report.

mod admin;
mod cli;
mod clock;
mod commands;
mod execute;
mod journal;
mod kubernetes;
mod limiter;
mod lint;
mod openapi;
mod output;
mod plan;
mod profiles;
mod state;
mod syntax;
mod tokens;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use commands::Exit;
use output::failure::{self, UsageError};
use output::{Format, Printer};

const FAILED: u8 = 1;
const DIFFERENT: u8 = 2;
const USAGE: u8 = 64;

fn main() -> ExitCode {
    commands::completion::answer_shell();
    let mut cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do if the words cannot be printed.
            let _ = error.print();
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            if asked {
                return ExitCode::SUCCESS;
            }
            if let Some(format) = cli::structured_format(std::env::args().skip(1)) {
                let _ = Printer::new(format).value(&failure::usage_value(&error));
            }
            return ExitCode::from(USAGE);
        }
    };
    let is_said = cli.output.is_some();
    let format = match cli.take_format() {
        Ok(format) => format,
        Err(error) => return failed(&error.into(), Printer::new(Format::Table)),
    };
    let printer = Printer::new(format);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs nothing that could be missing");
    match runtime.block_on(commands::run(cli, printer)) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(FAILED),
        Ok(Exit::Different) => ExitCode::from(DIFFERENT),
        // What a verb writes where nobody says how is for a file: a failure is none.
        Err(error) if !is_said => failed(&error, Printer::new(Format::Table)),
        Err(error) => failed(&error, printer),
    }
}

/// Tells of a failure; the exit code says of which kind.
fn failed(error: &anyhow::Error, printer: Printer) -> ExitCode {
    output::note(&failure::text(error));
    if printer.is_structured() {
        // The exit code tells of the failure even if this cannot be written.
        let _ = printer.value(&failure::value(error));
    }
    ExitCode::from(if error.is::<UsageError>() {
        USAGE
    } else {
        FAILED
    })
}
