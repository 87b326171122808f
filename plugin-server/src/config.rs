//! What belongs to the process: log, admin listener, bounds on events, where counters are kept, where news of limits go.
//!
//! Flags and environment come through [`ProcessArgs`], where clap has already preferred the flag; the file fills in what
//! both leave open, and defaults the rest.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::admin::listener::ListenAddress;
use crate::admin::token::{AdminToken, InvalidToken};
use crate::cli::ProcessArgs;
use crate::telemetry::config::{TracingConfig, TracingSection};
use crate::webhook::config::{WebhookConfig, WebhookSection};

/// Events of one plugin at a time, unless configured.
const MAX_CONCURRENCY: usize = 4096;
/// More threads than this are a slip of the pen.
const MAX_WORKER_THREADS: usize = 1024;
/// Kong itself gives up on an event after 60 s.
const KONG_TIMEOUT: Duration = Duration::from_mins(1);

/// The variable that holds the admin listener's token. It has no flag: every user of a machine sees the flags of all processes.
const TOKEN: &str = "LLM_PLUGIN_SERVER_ADMIN_TOKEN";
/// More than any secret's file holds, in bytes.
const LONGEST_SECRET_FILE: u64 = 64 * 1024;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The configuration of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessConfig {
    /// The log.
    pub log: LogConfig,
    /// The admin listener.
    pub admin: AdminConfig,
    /// Bounds on Kong's events.
    pub events: EventsConfig,
    /// The store of `policy: memory`.
    #[serde(skip_serializing_if = "MemoryStoreConfig::is_default")]
    pub store: MemoryStoreConfig,
    /// Where news of limits go; without it, nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    /// Where spans go; without it none are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogConfig {
    /// Directives of tracing's `EnvFilter`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminConfig {
    /// Its address; without one there is no listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenAddress>,
    /// The file that holds its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Whether token metrics have a label for the consumer.
    pub consumer_label: bool,
    /// Its token, from the environment or the file. Never shown.
    #[serde(skip)]
    pub token: Option<AdminToken>,
}

/// Bounds on Kong's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventsConfig {
    /// The threads that serve events.
    pub worker_threads: usize,
    /// The most events of one plugin at a time.
    pub max_concurrency: usize,
    /// The most milliseconds that one event may take.
    pub deadline_ms: u64,
    /// The most milliseconds that a stop waits for events under way.
    pub drain_ms: u64,
}

/// The store of `policy: memory`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStoreConfig {
    /// The file that its counters survive in; without one they end with the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_file: Option<PathBuf>,
}

/// Why a process cannot run as configured.
#[derive(Debug, thiserror::Error)]
pub enum ProcessConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not a valid configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value cannot work.
    #[error("{field}: {problem}")]
    Value {
        /// The field's name in the file.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl ProcessConfigError {
    /// What is wrong with the value of a field.
    pub(crate) fn value(field: &'static str, problem: impl fmt::Display) -> Self {
        Self::Value {
            field,
            problem: problem.to_string(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    log: LogSection,
    admin: AdminSection,
    events: EventsSection,
    store: StoreSection,
    webhook: WebhookSection,
    tracing: TracingSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    level: Option<String>,
    format: Option<LogFormat>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AdminSection {
    listen: Option<ListenAddress>,
    token_file: Option<PathBuf>,
    consumer_label: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EventsSection {
    worker_threads: Option<usize>,
    max_concurrency: Option<usize>,
    deadline_ms: Option<u64>,
    drain_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreSection {
    state_file: Option<PathBuf>,
}

impl ProcessConfig {
    /// Resolves flags, environment and file.
    ///
    /// # Errors
    ///
    /// When the file is unusable or a value cannot work.
    pub fn resolve(args: ProcessArgs) -> Result<Self, ProcessConfigError> {
        let file = args.config.map(read).transpose()?.unwrap_or_default();
        let token_file = args.admin_token_file.or(file.admin.token_file);
        let config = Self {
            log: LogConfig {
                level: args
                    .log_level
                    .or(file.log.level)
                    .unwrap_or_else(|| "info".to_owned()),
                format: args
                    .log_format
                    .or(file.log.format)
                    .unwrap_or(LogFormat::Json),
            },
            admin: AdminConfig {
                listen: args.admin_listen.or(file.admin.listen),
                token: admin_token(env::var_os(TOKEN), token_file.as_deref())?,
                token_file,
                consumer_label: args
                    .admin_consumer_label
                    .or(file.admin.consumer_label)
                    .unwrap_or(false),
            },
            events: EventsConfig {
                worker_threads: args
                    .worker_threads
                    .or(file.events.worker_threads)
                    .unwrap_or_else(kong_pdk::server::worker_threads),
                max_concurrency: args
                    .max_concurrency
                    .or(file.events.max_concurrency)
                    .unwrap_or(MAX_CONCURRENCY),
                deadline_ms: args
                    .deadline_ms
                    .or(file.events.deadline_ms)
                    .unwrap_or(10_000),
                drain_ms: args.drain_ms.or(file.events.drain_ms).unwrap_or(20_000),
            },
            store: MemoryStoreConfig {
                state_file: args.state_file.or(file.store.state_file),
            },
            webhook: file.webhook.resolve(args.webhook)?,
            tracing: file.tracing.resolve(args.tracing),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ProcessConfigError> {
        let problem = |field, problem: &str| Err(ProcessConfigError::value(field, problem));
        if let Err(error) = self.log.level.parse::<EnvFilter>() {
            return problem("log.level", &error.to_string());
        }
        if self.admin.token.is_none()
            && self
                .admin
                .listen
                .as_ref()
                .is_some_and(ListenAddress::is_public)
        {
            return problem(
                "admin.listen",
                "an address that other machines reach needs a token: set LLM_PLUGIN_SERVER_ADMIN_TOKEN or admin.token_file, or \
                 listen on a loopback address or a Unix socket",
            );
        }
        if !(1..=MAX_WORKER_THREADS).contains(&self.events.worker_threads) {
            return problem(
                "events.worker_threads",
                &format!("1 to {MAX_WORKER_THREADS}"),
            );
        }
        if self.events.max_concurrency == 0 {
            return problem("events.max_concurrency", "at least 1");
        }
        if !(Duration::from_millis(1)..KONG_TIMEOUT).contains(&self.events.deadline()) {
            return problem(
                "events.deadline_ms",
                "1 to 59999: Kong itself gives up after 60 seconds",
            );
        }
        if self
            .store
            .state_file
            .as_ref()
            .is_some_and(|path| path.file_name().is_none())
        {
            return problem(
                "store.state_file",
                "the path of a file, such as /var/lib/llm-plugin-server/state",
            );
        }
        self.tracing.as_ref().map_or(Ok(()), TracingConfig::check)
    }
}

impl EventsConfig {
    /// The most time that one event may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// The most time that a stop waits.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

impl MemoryStoreConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn read(path: PathBuf) -> Result<File, ProcessConfigError> {
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|source| ProcessConfigError::Parse {
            path,
            source: Box::new(source),
        }),
        Err(source) => Err(ProcessConfigError::Read { path, source }),
    }
}

/// A secret as an operator has given it. It has no `Debug`: nothing shows it.
pub(crate) struct Secret {
    /// As it was given, line end and all.
    pub(crate) text: String,
    /// The variable, or the file's field.
    pub(crate) field: &'static str,
}

impl Secret {
    /// That of the environment's `variable`, else that of the file that `field` names. An empty variable is none.
    pub(crate) fn of(
        variable: &'static str,
        field: &'static str,
        file: Option<&Path>,
    ) -> Result<Option<Self>, ProcessConfigError> {
        Self::either(variable, env::var_os(variable), field, file)
    }

    fn either(
        variable: &'static str,
        value: Option<OsString>,
        field: &'static str,
        file: Option<&Path>,
    ) -> Result<Option<Self>, ProcessConfigError> {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return Ok(Some(Self {
                text: value.to_string_lossy().into_owned(),
                field: variable,
            }));
        }
        let Some(path) = file else {
            return Ok(None);
        };
        let read = || -> io::Result<String> {
            let mut text = String::new();
            fs::File::open(path)?
                .take(LONGEST_SECRET_FILE)
                .read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| ProcessConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(Self { text, field }))
    }
}

/// The admin listener's token: that of the environment, else that of the file.
fn admin_token(
    variable: Option<OsString>,
    file: Option<&Path>,
) -> Result<Option<AdminToken>, ProcessConfigError> {
    let secret = Secret::either(TOKEN, variable, "admin.token_file", file)?;
    let token = secret.map(|Secret { text, field }| {
        AdminToken::new(&text)
            .map_err(|problem: InvalidToken| ProcessConfigError::value(field, problem))
    });
    token.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_the_environment_wins_over_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "from-the-file-0123\n").unwrap();
        let token = |variable: Option<&str>| {
            admin_token(variable.map(Into::into), Some(&file))
                .unwrap()
                .unwrap()
        };
        assert!(token(None).is(b"from-the-file-0123"));
        assert!(token(Some("")).is(b"from-the-file-0123"));
        assert!(token(Some("from-the-environment")).is(b"from-the-environment"));
        assert!(admin_token(None, None).unwrap().is_none());
    }

    #[test]
    fn a_bad_token_is_reported_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "two words and more").unwrap();
        let message = |variable: Option<&str>| {
            let error = admin_token(variable.map(Into::into), Some(&file)).unwrap_err();
            format!("{error} {error:?}")
        };
        for (message, field) in [
            (message(None), "admin.token_file: "),
            (message(Some("hunter2")), "LLM_PLUGIN_SERVER_ADMIN_TOKEN: "),
        ] {
            assert!(message.starts_with(field), "{message}");
            assert!(!message.contains("hunter2") && !message.contains("two words"));
        }
        fs::remove_file(&file).unwrap();
        assert!(message(None).contains("cannot read"));
    }
}
