//! The words of the verbs that act on one thing.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use crate::admin::entities::Kind;
use crate::commands::completion;

use super::{Execution, duration};
use crate::journal;

/// What an entity is to have.
#[derive(Args, Clone, Default)]
pub(crate) struct Fields {
    /// A field, such as port=80, config.minute=5 or cert=@cert.pem; may be repeated.
    ///
    /// The value is YAML: a word, a number, [a, b], {a: b}, or @FILE for the text of a file.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Fields as JSON or YAML text; --set wins.
    #[arg(long, value_name = "TEXT")]
    pub(crate) json: Option<String>,
    /// Fields from a YAML or JSON file, - for standard input; --json and --set win.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

impl Fields {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.json.is_none() && self.file.is_none()
    }
}

/// What an entity belongs to, by name or id.
#[derive(Args, Clone, Default)]
pub(crate) struct Parents {
    /// The service of a route or a plugin.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::names_of(Kind::Service)))]
    pub(crate) service: Option<String>,
    /// The route of a plugin.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::names_of(Kind::Route)))]
    pub(crate) route: Option<String>,
    /// The consumer of a credential, a group or a plugin.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::names_of(Kind::Consumer)))]
    pub(crate) consumer: Option<String>,
    /// The upstream of a target.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::names_of(Kind::Upstream)))]
    pub(crate) upstream: Option<String>,
    /// The certificate of an SNI.
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(completion::names_of(Kind::Certificate)))]
    pub(crate) certificate: Option<String>,
    /// The key set of a key.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::names_of(Kind::KeySet)))]
    pub(crate) key_set: Option<String>,
}

impl Parents {
    /// Those that are said: (field that refers to it, name).
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("service", &self.service),
            ("route", &self.route),
            ("consumer", &self.consumer),
            ("upstream", &self.upstream),
            ("certificate", &self.certificate),
            ("set", &self.key_set),
        ]
        .into_iter()
        .filter_map(|(field, name)| Some((field, name.as_deref()?)))
    }
}

/// One entity that is there.
#[derive(Args)]
pub(crate) struct Named {
    /// The kind, in the singular or plural.
    #[arg(add = ArgValueCandidates::new(completion::kinds))]
    pub(crate) kind: String,
    /// A name, key or id.
    #[arg(add = ArgValueCompleter::new(completion::names))]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) parents: Parents,
}

/// How one change is carried out.
#[derive(Args, Clone)]
pub(crate) struct Safety {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Refuse to change or delete what has this tag; may be repeated.
    #[arg(long = "protect-tag", value_name = "TAG")]
    pub(crate) protect_tags: Vec<String>,
    /// Where the journal goes, which rollback needs: a file instead of the state directory, or off.
    #[arg(long, value_name = "FILE|off")]
    pub(crate) journal: Option<journal::Target>,
}

impl Safety {
    /// The same for the executor, one call after the other.
    pub(crate) fn execution(&self) -> Execution {
        Execution {
            yes: self.yes,
            dbless: false,
            parallelism: 1,
            protect_tags: self.protect_tags.clone(),
            journal: self.journal.clone(),
        }
    }
}

#[derive(Args)]
pub(crate) struct Create {
    /// The kind, in the singular or plural.
    #[arg(add = ArgValueCandidates::new(completion::kinds))]
    pub(crate) kind: String,
    /// The entity's name; of a target its address, of a credential its key or username.
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) parents: Parents,
    #[command(flatten)]
    pub(crate) fields: Fields,
    #[command(flatten)]
    pub(crate) safety: Safety,
}

#[derive(Args)]
pub(crate) struct Patch {
    #[command(flatten)]
    pub(crate) entity: Named,
    #[command(flatten)]
    pub(crate) fields: Fields,
    #[command(flatten)]
    pub(crate) safety: Safety,
}

#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) entity: Named,
    #[command(flatten)]
    pub(crate) safety: Safety,
}

#[derive(Args)]
pub(crate) struct Describe {
    #[command(flatten)]
    pub(crate) entity: Named,
}

#[derive(Subcommand)]
pub(crate) enum UpstreamCommand {
    /// Tell how Kong finds an upstream's targets.
    #[command(after_help = "Examples:
  kongctl upstream health pool
  kongctl upstream health pool -o json")]
    Health {
        /// The upstream's name or id.
        #[arg(add = ArgValueCompleter::new(completion::names_of(Kind::Upstream)))]
        upstream: String,
    },
}

/// What a target is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Health {
    Healthy,
    Unhealthy,
}

#[derive(Subcommand)]
pub(crate) enum TargetCommand {
    /// Tell every node that a target is healthy or unhealthy, until health checks find otherwise.
    #[command(after_help = "Examples:
  kongctl target set-health pool 10.0.0.1:80 unhealthy
  kongctl target set-health pool host.example:80 healthy --address 10.0.0.1:80")]
    SetHealth {
        /// The upstream's name or id.
        #[arg(add = ArgValueCompleter::new(completion::names_of(Kind::Upstream)))]
        upstream: String,
        /// The target, as HOST:PORT, or its id.
        #[arg(add = ArgValueCompleter::new(completion::names_of(Kind::Target)))]
        target: String,
        #[arg(value_enum)]
        health: Health,
        /// Only this one of the addresses that the target's name resolves to.
        #[arg(long, value_name = "IP:PORT")]
        address: Option<String>,
    },
}

/// Kong's levels, the quietest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
    Alert,
    Emerg,
}

#[derive(Subcommand)]
pub(crate) enum LogLevelCommand {
    /// Tell the node's level.
    #[command(after_help = "Examples:
  kongctl log-level get")]
    Get,
    /// Change the level for a while; then it goes back by itself.
    #[command(after_help = "Examples:
  kongctl log-level set debug --for 5m
  kongctl log-level set info --cluster")]
    Set {
        #[arg(value_enum)]
        level: Level,
        /// How long.
        #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "60s")]
        period: std::time::Duration,
        /// All nodes that share the database.
        #[arg(long)]
        cluster: bool,
    },
}
