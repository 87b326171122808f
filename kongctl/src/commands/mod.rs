//! The verbs, one file each, and what several of them share.

mod carry_out;
pub(crate) mod completion;
mod consent;
mod diff;
mod dump;
mod get;
mod hand;
mod jwks;
mod lint;
mod man;
mod ping;
mod plan;
mod planning;
mod plugin;
mod quota;
mod reset;
mod rewrite;
mod rollback;
mod runtime;
mod status;
mod sync;
mod to_k8s;
mod token;
mod top;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use llm_plugin_server::check::Subject;
use serde_json::Value;

use crate::admin::client::{Client, Settings};
use crate::admin::entities::custom;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::admin::schema_cache::SchemaCache;
use crate::cli::{Cli, Command, Connection, LimiterConnection};
use crate::limiter;
use crate::output::Printer;
use crate::output::failure::UsageError;
use crate::profiles::{self, Profile};
use crate::state::declared::{self, Configuration};
use crate::state::diagnostics::Diagnostics;
use crate::state::files;
use crate::state::node::Node;
use crate::state::references::Policy;

/// Where the Admin API is if nobody says.
const USUAL_ADDRESS: &str = "http://127.0.0.1:8001";

/// How a command ended, if no error stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// It ran to its end, and told what went wrong.
    Failed,
    Different,
}

/// Runs the command that was asked for.
pub(crate) async fn run(mut cli: Cli, printer: Printer) -> anyhow::Result<Exit> {
    let profile = match cli.command {
        Command::Completion { .. } | Command::Man(_) | Command::Token { .. } => Profile::default(),
        _ => profiles::load(cli.connection.profile.as_deref(), &|name| {
            std::env::var(name).ok()
        })?,
    };
    profile.complete(&mut cli.connection);
    let connection = &cli.connection;
    refuse_workspace(connection)?;
    match cli.command {
        Command::Ping => ping::run(connection, printer).await,
        Command::Status(arguments) => status::run(&arguments, connection, printer).await,
        Command::Validate(arguments) => validate::run(&arguments, connection, printer).await,
        Command::Lint(arguments) => lint::run(&arguments, connection, printer),
        Command::Plugin { command } => plugin::run(&command, connection, printer).await,
        Command::ToK8s(arguments) => to_k8s::run(&arguments, connection, printer),
        Command::Diff(arguments) => diff::run(arguments, connection, printer).await,
        Command::Plan(arguments) => plan::run(arguments, connection, printer).await,
        Command::Sync(arguments) => sync::sync(arguments, connection, &profile, printer).await,
        Command::Apply(arguments) => sync::apply(arguments, connection, &profile, printer).await,
        Command::Dump(arguments) => dump::run(&arguments, connection, printer).await,
        Command::Reset(arguments) => reset::run(&arguments, connection, &profile, printer).await,
        Command::Rollback(arguments) => {
            rollback::run(&arguments, connection, &profile, printer).await
        }
        Command::Get(arguments) => get::run(&arguments, connection, printer).await,
        Command::Create(arguments) => hand::create(&arguments, connection, &profile, printer).await,
        Command::Patch(arguments) => hand::patch(&arguments, connection, &profile, printer).await,
        Command::Delete(arguments) => hand::delete(&arguments, connection, &profile, printer).await,
        Command::Describe(arguments) => hand::describe(&arguments, connection, printer).await,
        Command::Upstream { command } => runtime::upstream(&command, connection, printer).await,
        Command::Target { command } => runtime::target(&command, connection, printer).await,
        Command::LogLevel { command } => runtime::log_level(&command, connection, printer).await,
        Command::Quota(arguments) => quota::run(arguments, connection, printer).await,
        Command::Top(arguments) => top::run(&arguments, connection, printer).await,
        Command::Token { command } => token::run(command, connection, printer).await,
        Command::Jwks { command } => jwks::run(&command, connection, printer).await,
        Command::Man(arguments) => man::run(&arguments, printer),
        Command::Rewrite(command) => rewrite::run(&command, connection, printer),
        Command::Completion { shell } => completion::run(shell, printer),
    }
}

fn refuse_workspace(connection: &Connection) -> Result<(), UsageError> {
    match connection.workspace.as_deref() {
        None | Some("" | "default") => Ok(()),
        Some(name) => Err(UsageError {
            message: format!(
                "--workspace {name}: workspaces are a feature of Kong Enterprise; Kong OSS has `default` alone"
            ),
        }),
    }
}

/// A client of the one node that a verb speaks to.
fn connect(connection: &Connection) -> anyhow::Result<Client> {
    if connection.admin_url.len() > 1 {
        return Err(UsageError {
            message: "this verb speaks to one node: give one --admin-url".to_owned(),
        }
        .into());
    }
    Ok(Client::new(&settings(connection))?)
}

/// A client of each node.
fn connect_all(connection: &Connection) -> Result<Vec<Client>, AdminError> {
    let usual = [USUAL_ADDRESS.to_owned()];
    let urls = match connection.admin_url.as_slice() {
        [] => &usual,
        urls => urls,
    };
    let clients = urls.iter().map(|url| {
        Client::new(&Settings {
            url: url.clone(),
            schema_cache: schema_cache(connection, url),
            ..settings(connection)
        })
    });
    clients.collect()
}

fn settings(connection: &Connection) -> Settings {
    let client_certificate = connection
        .client_cert
        .clone()
        .zip(connection.client_key.clone());
    let url = connection.admin_url.first().map(String::as_str);
    Settings {
        url: url.unwrap_or(USUAL_ADDRESS).to_owned(),
        headers: connection.headers.clone(),
        token: connection.token.clone(),
        ca_file: connection.ca_file.clone(),
        client_certificate,
        server_name: connection.tls_server_name.clone(),
        timeout: connection.timeout,
        connect_timeout: connection.connect_timeout,
        retries: connection.retries,
        schema_cache: node_cache(connection),
    }
}

/// Where what a node says of its plugins is kept.
fn schema_cache(connection: &Connection, url: &str) -> Option<SchemaCache> {
    let env = |name: &str| std::env::var(name).ok();
    (!connection.no_cache)
        .then(|| SchemaCache::of(url, &env))
        .flatten()
}

/// What the first node that is named said last of its plugins; nothing where it was never asked.
fn remembered_answers(connection: &Connection) -> BTreeMap<String, Value> {
    node_cache(connection)
        .map(|cache| cache.plugins())
        .unwrap_or_default()
}

/// Where what the first node that is named says is kept.
fn node_cache(connection: &Connection) -> Option<SchemaCache> {
    let url = connection.admin_url.first().map(String::as_str);
    schema_cache(connection, url.unwrap_or(USUAL_ADDRESS))
}

/// The same as schemas, without those of our own plugins: the plugin server's own code judges them.
fn remembered_schemas(connection: &Connection) -> Schemas {
    let mut schemas = Schemas::default();
    for (name, answer) in remembered_answers(connection) {
        if Subject::named(&name).is_none() {
            schemas.add_plugin(&name, &answer);
        }
    }
    schemas
}

/// What a person protects: by flag, and by profile.
fn protected(flags: &[String], profile: &Profile) -> Vec<String> {
    flags.iter().chain(&profile.protect_tags).cloned().collect()
}

/// A client of the plugin server, after so many retries at most.
fn connect_limiter(
    limiter: &LimiterConnection,
    connection: &Connection,
    retries: u32,
) -> anyhow::Result<limiter::client::Client> {
    let Some(url) = limiter.limiter_addr.clone() else {
        return Err(UsageError {
            message: "say where the plugin server's admin listener is: --limiter-addr http://127.0.0.1:PORT or \
                      unix:/path/to.sock, or KONGCTL_LIMITER_ADDR"
                .to_owned(),
        }
        .into());
    };
    let settings = Settings {
        url,
        // These are Kong's: the plugin server is to see nothing of them.
        headers: Vec::new(),
        token: None,
        server_name: None,
        schema_cache: None,
        retries,
        ..settings(connection)
    };
    let token = limiter.limiter_token.as_deref();
    Ok(limiter::client::Client::new(&settings, token)?)
}

/// Reads files into a configuration, without a node; mistakes are collected, not returned.
fn read_files(
    paths: &[PathBuf],
    lenient: bool,
    connection: &Connection,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Configuration> {
    let policy = if lenient {
        Policy::NullWhereUnset
    } else {
        Policy::Evaluate
    };
    let documents = documents(paths, policy, diagnostics)?;
    Ok(declare(&documents, connection, diagnostics))
}

/// Reads documents; what nobody here understands may be of a kind that the node told last.
fn declare(
    documents: &[Arc<Node>],
    connection: &Connection,
    diagnostics: &mut Diagnostics,
) -> Configuration {
    let mut told = Diagnostics::default();
    let mut configuration = declared::read(documents, &mut told);
    if !told.is_empty() && learn_remembered_kinds(connection) {
        told = Diagnostics::default();
        configuration = declared::read(documents, &mut told);
    }
    diagnostics.append(told);
    configuration
}

/// Learns the kinds that the first node that is named told last; false if there are none.
fn learn_remembered_kinds(connection: &Connection) -> bool {
    let kinds = node_cache(connection).map(|cache| custom::learn(cache.kinds()));
    kinds.is_some_and(|kinds| !kinds.is_empty())
}

/// Reads files for nodes; mistakes are collected, not returned. What nobody here understands may be of a kind that a node knows.
async fn read_files_for(
    clients: &[Client],
    paths: &[PathBuf],
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Configuration> {
    let documents = documents(paths, Policy::Evaluate, diagnostics)?;
    let mut told = Diagnostics::default();
    let mut configuration = declared::read(&documents, &mut told);
    if !told.is_empty() {
        let kinds = join_all(clients.iter().map(Client::glance_at_kinds)).await;
        if kinds.iter().any(|kinds| !kinds.is_empty()) {
            told = Diagnostics::default();
            configuration = declared::read(&documents, &mut told);
        }
    }
    diagnostics.append(told);
    Ok(configuration)
}

fn documents(
    paths: &[PathBuf],
    policy: Policy,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Vec<Arc<Node>>> {
    let env = |name: &str| std::env::var(name).ok();
    files::read(paths, &env, policy, diagnostics)
}
