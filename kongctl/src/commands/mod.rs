//! The verbs, one file each, and what several of them share.

mod completion;
mod consent;
mod diff;
mod dump;
mod get;
mod jwks;
mod ping;
mod quota;
mod reset;
mod sync;
mod to_k8s;
mod token;
mod top;
mod validate;

use std::path::PathBuf;

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _, stream};

use crate::admin::client::{Client, Mode, Settings};
use crate::admin::entities::Kind;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::cli::{Cli, Command, Connection, LimiterConnection};
use crate::execute::{self, Report};
use crate::limiter;
use crate::output::failure::{Refused, UsageError};
use crate::output::{self, Format, Printer, changes};
use crate::plan::{self, Action, Change, Plan};
use crate::state::current::{self, Inventory};
use crate::state::declared::{self, Configuration};
use crate::state::diagnostics::Diagnostics;
use crate::state::files;
use crate::state::resolve::{self, Scope};

/// How a command ended, if no error stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// It ran to its end, and told what went wrong.
    Failed,
    Different,
}

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli, printer: Printer) -> anyhow::Result<Exit> {
    let connection = &cli.connection;
    match cli.command {
        Command::Ping => ping::run(connection, printer).await,
        Command::Validate(arguments) => validate::run(&arguments, connection, printer).await,
        Command::ToK8s(arguments) => to_k8s::run(&arguments, printer),
        Command::Diff(arguments) => diff::run(&arguments, connection, printer).await,
        Command::Sync(arguments) => sync::sync(arguments, connection, printer).await,
        Command::Apply(arguments) => sync::apply(arguments, connection, printer).await,
        Command::Dump(arguments) => dump::run(&arguments, connection, printer).await,
        Command::Reset(arguments) => reset::run(&arguments, connection, printer).await,
        Command::Get(arguments) => get::run(&arguments, connection, printer).await,
        Command::Quota(arguments) => quota::run(arguments, connection, printer).await,
        Command::Top(arguments) => top::run(&arguments, connection, printer).await,
        Command::Token { command } => token::run(command, connection, printer).await,
        Command::Jwks { command } => jwks::run(&command, connection, printer).await,
        Command::Completion { shell } => completion::run(shell, printer),
    }
}

fn connect(connection: &Connection) -> Result<Client, AdminError> {
    Client::new(&settings(connection))
}

fn settings(connection: &Connection) -> Settings {
    let client_certificate = connection
        .client_cert
        .clone()
        .zip(connection.client_key.clone());
    Settings {
        url: connection.admin_url.clone(),
        headers: connection.headers.clone(),
        token: connection.token.clone(),
        ca_file: connection.ca_file.clone(),
        client_certificate,
        timeout: connection.timeout,
        connect_timeout: connection.connect_timeout,
        retries: connection.retries,
    }
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
        retries,
        ..settings(connection)
    };
    let token = limiter.limiter_token.as_deref();
    Ok(limiter::client::Client::new(&settings, token)?)
}

/// Reads files into a configuration; mistakes are collected, not returned.
fn read_files(
    paths: &[PathBuf],
    lenient: bool,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Configuration> {
    let env = |name: &str| std::env::var(name).ok();
    let documents = files::read(paths, &env, lenient, diagnostics)?;
    Ok(declared::read(&documents, diagnostics))
}

/// Everything that a plan was made from.
struct Planned {
    client: Client,
    current: Inventory,
    schemas: Schemas,
    plan: Plan,
    hashed_passwords: bool,
}

/// Reads files and node, and plans what brings the node to where the files want it.
async fn plan_files(
    paths: &[PathBuf],
    mut select_tags: Vec<String>,
    keeps_unnamed: bool,
    connection: &Connection,
) -> anyhow::Result<Planned> {
    let mut diagnostics = Diagnostics::default();
    let configuration = read_files(paths, false, &mut diagnostics)?;
    diagnostics.into_result()?;
    if configuration.entities.is_empty() {
        return Err(Refused {
            message: "the files declare nothing".to_owned(),
            hint: "to delete everything, say so: `kongctl reset`".to_owned(),
        }
        .into());
    }
    for tag in &configuration.select_tags {
        if !select_tags.contains(tag) {
            select_tags.push(tag.clone());
        }
    }
    let client = connect(connection)?;
    let mut kinds: Vec<Kind> = configuration
        .entities
        .iter()
        .map(|entity| entity.kind)
        .collect();
    kinds.sort();
    kinds.dedup();
    let (current, schemas) = tokio::try_join!(
        current::read(&client),
        client.schemas(kinds, configuration.plugin_names())
    )
    .context("cannot read the node's configuration")?;

    let scope = Scope {
        select_tags,
        keeps_unnamed,
    };
    let mut diagnostics = Diagnostics::default();
    declared::check_plugins(&configuration, &schemas, &mut diagnostics);
    let desired = resolve::resolve(&configuration, &current, &scope, &mut diagnostics);
    diagnostics.into_result()?;
    let plan = plan::diff::diff(&current, &desired, &scope, &schemas)
        .context("there is no way to make these changes")?;
    Ok(Planned {
        client,
        current,
        schemas,
        plan,
        hashed_passwords: desired.hashed_passwords,
    })
}

/// Shows a plan to a person who can say no. True if it may be carried out.
fn may_execute(plan: &Plan, schemas: &Schemas, yes: bool) -> anyhow::Result<bool> {
    if yes || plan.is_empty() || !output::can_ask() {
        return Ok(true);
    }
    output::note(&changes::plan(
        plan,
        Format::Table,
        output::Paint(false),
        schemas,
    ));
    output::confirm("Carry this out?").context("cannot ask")
}

/// Carries a plan out and tells what became of it.
async fn execute(
    planned: &Planned,
    dbless: bool,
    parallelism: u16,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let Planned {
        client,
        current,
        schemas,
        plan,
        hashed_passwords,
    } = planned;
    let report = if plan.is_empty() {
        Report {
            outcomes: Vec::new(),
            interrupted: false,
            error: None,
        }
    } else if dbless || client.mode().await? == Mode::Dbless {
        execute::dbless::run(
            client,
            plan,
            current,
            schemas,
            *hashed_passwords,
            interrupts(),
        )
        .await
    } else {
        refuse_hashes(planned)?;
        execute::run(
            client,
            plan,
            schemas,
            usize::from(parallelism),
            interrupts(),
        )
        .await
    };
    printer.result(&changes::report(
        plan,
        &report,
        printer.format,
        printer.paint(),
    ))?;
    if report.is_complete() {
        return Ok(Exit::Done);
    }
    if let Some(error) = report.error {
        // The report is on standard output already; a second JSON document would follow it.
        output::note(&output::failure::text(&anyhow::Error::new(error)));
    }
    output::note(
        "The node is not as the files say. The same command carries on where this one stopped.",
    );
    Ok(Exit::Failed)
}

/// Each Ctrl-C, told to the user as it comes.
fn interrupts() -> impl Stream<Item = ()> {
    stream::unfold(false, |again| async move {
        // Without a handler the signal ends the process as always.
        tokio::signal::ctrl_c().await.ok()?;
        output::note(if again {
            "Interrupted again: not waiting any more."
        } else {
            "Interrupted: waiting for the calls in flight; interrupt again to give them up."
        });
        Some(((), true))
    })
    .chain(stream::pending())
}

/// A database's node hashes every password that it is given, a hash too.
fn refuse_hashes(planned: &Planned) -> Result<(), Refused> {
    let changes_password = |change: &Change| {
        change.kind == Kind::BasicAuth
            && (change.action == Action::Create
                || change.fields.iter().any(|field| field.path == "password"))
    };
    match planned
        .plan
        .changes
        .iter()
        .find(|change| changes_password(change))
    {
        Some(change) if planned.hashed_passwords => Err(Refused {
            message: format!(
                "{} {}: a node with a database takes no hashed password",
                change.kind.singular(),
                change.label
            ),
            hint: "give the password itself, and remove `_transform: false`".to_owned(),
        }),
        _ => Ok(()),
    }
}
