//! `completion`: a script that asks this program what could come next, live names of entities included.
//!
//! # Failure
//!
//! Silence: where the node does not answer within [`PATIENCE`], or refuses, nothing is offered and nothing is said.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use llm_plugin_server::check::Subject;
use serde_json::Value;

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::admin::errors::AdminError;
use crate::cli::{Cli, Connection};
use crate::output::{Printer, text};
use crate::state::current;

use super::{Exit, learn_remembered_kinds, settings};

/// Tells this program that a shell asks.
const VARIABLE: &str = "KONGCTL_ADMIN_COMPLETE";
/// What a person at a prompt bears.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers a shell, if it is one that asks, and ends there.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .complete();
}

pub(super) fn run(shell: clap_complete::Shell, printer: Printer) -> anyhow::Result<Exit> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(&shell.to_string())
        .expect("the flag takes the shells that there are");
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "kongctl", "kongctl", "kongctl", &mut script)?;
    printer.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// The kinds, by the shortest of their names.
pub(crate) fn kinds() -> Vec<CompletionCandidate> {
    recall_kinds();
    let names = Kind::all().map(|kind| {
        let name = match kind.spec().aliases.first() {
            Some(alias) if kind.spec().below.is_none() || kind == Kind::Target => alias,
            _ => kind.name(),
        };
        CompletionCandidate::new(name).help(Some(kind.with_article().into()))
    });
    names.collect()
}

/// The names of the kind that the command line has said before.
pub(crate) fn names(current: &OsStr) -> Vec<CompletionCandidate> {
    recall_kinds();
    let words = words();
    let mut said = words.iter().filter_map(|word| word.to_str());
    match said.find_map(Kind::from_word) {
        Some(kind) => names_of(kind)(current),
        None => Vec::new(),
    }
}

/// The names of one kind.
pub(crate) fn names_of(kind: Kind) -> impl Fn(&OsStr) -> Vec<CompletionCandidate> {
    move |current| {
        let names = ask(async |client: Client| match kind.spec().list_path {
            Some(path) => {
                let entries = client.list(path).await?.unwrap_or_default();
                Ok(current::from_lists(vec![(kind, entries)]))
            }
            None => current::read(&client).await,
        });
        let entities = names.as_ref().map(|inventory| inventory.of_kind(kind));
        let names = entities.into_iter().flatten().map(|entity| {
            let spec = entity.kind.spec();
            let field = if kind == Kind::Target {
                Some("target")
            } else {
                spec.natural_keys.first().map(|key| key[0])
            };
            let is_secret = |field: &str| entity.kind.record().fields[field].secret;
            let name = field
                .filter(|field| !is_secret(field) && kind != Kind::Certificate)
                .and_then(|field| entity.body.get(field)?.as_str());
            name.unwrap_or(&entity.id).to_owned()
        });
        candidates(names, current)
    }
}

/// The plugins that this program knows by itself.
pub(crate) fn our_plugins() -> Vec<CompletionCandidate> {
    let names = Subject::all().iter().map(|subject| subject.name);
    names.map(CompletionCandidate::new).collect()
}

/// The plugins that the node has.
pub(crate) fn plugins(current: &OsStr) -> Vec<CompletionCandidate> {
    let answer = ask(async |client: Client| client.get("plugins/enabled").await);
    let names = answer
        .as_ref()
        .and_then(|answer| answer.get("enabled_plugins")?.as_array());
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    candidates(names.map(str::to_owned), current)
}

fn candidates(names: impl Iterator<Item = String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with(&*current))
        // A shell writes them to a terminal.
        .filter(|name| text::clean(name) == *name)
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The words of the command line that is being completed.
fn words() -> Vec<OsString> {
    std::env::args_os()
        .skip_while(|word| word != "--")
        .skip(1)
        .collect()
}

/// The node that the command line and the environment name.
fn connection() -> Option<Connection> {
    let matches = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(words())
        .ok()?;
    Some(Connection {
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        retries: 0,
        ..Connection::from_arg_matches(&matches).ok()?
    })
}

/// Learns the kinds that the node's plugins bring along, as it told them last.
fn recall_kinds() {
    if let Some(connection) = connection() {
        learn_remembered_kinds(&connection);
    }
}

/// Asks that node.
fn ask<T>(question: impl AsyncFnOnce(Client) -> Result<T, AdminError>) -> Option<T> {
    let connection = connection()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let client = Client::new(&settings(&connection)).ok()?;
        let answer = tokio::time::timeout(PATIENCE, question(client)).await;
        answer.ok()?.ok()
    })
}
