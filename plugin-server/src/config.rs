//! What belongs to the process: log, admin listener, bounds on events.
//!
//! Flags and environment come through [`ProcessArgs`], where clap has already preferred the flag; the file fills in what
//! both leave open, and defaults the rest.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::cli::ProcessArgs;

/// Events of one plugin at a time, unless configured.
const MAX_CONCURRENCY: usize = 4096;
/// More threads than this are a slip of the pen.
const MAX_WORKER_THREADS: usize = 1024;
/// Kong itself gives up on an event after 60 s.
const KONG_TIMEOUT: Duration = Duration::from_mins(1);

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessConfig {
    /// The log.
    pub log: LogConfig,
    /// The admin listener.
    pub admin: AdminConfig,
    /// Bounds on Kong's events.
    pub events: EventsConfig,
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
    /// Its loopback address; without one there is no listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
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

/// Why a process cannot run as configured.
#[derive(Debug, thiserror::Error)]
pub enum ProcessConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    log: LogSection,
    admin: AdminSection,
    events: EventsSection,
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
    listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EventsSection {
    worker_threads: Option<usize>,
    max_concurrency: Option<usize>,
    deadline_ms: Option<u64>,
    drain_ms: Option<u64>,
}

impl ProcessConfig {
    /// Resolves flags, environment and file.
    ///
    /// # Errors
    ///
    /// When the file is unusable or a value cannot work.
    pub fn resolve(args: ProcessArgs) -> Result<Self, ProcessConfigError> {
        let file = args.config.map(read).transpose()?.unwrap_or_default();
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
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ProcessConfigError> {
        let problem = |field, problem: &str| {
            Err(ProcessConfigError::Value {
                field,
                problem: problem.to_owned(),
            })
        };
        if let Err(error) = self.log.level.parse::<EnvFilter>() {
            return problem("log.level", &error.to_string());
        }
        if self
            .admin
            .listen
            .is_some_and(|address| !address.ip().is_loopback())
        {
            return problem(
                "admin.listen",
                "only a loopback address: nothing there asks who is calling",
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
        Ok(())
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

fn read(path: PathBuf) -> Result<File, ProcessConfigError> {
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|source| ProcessConfigError::Parse {
            path,
            source: Box::new(source),
        }),
        Err(source) => Err(ProcessConfigError::Read { path, source }),
    }
}
