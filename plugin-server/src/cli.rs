//! The command line: types only.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

use crate::admin::listener::ListenAddress;
use crate::config::LogFormat;
use crate::telemetry::config::TracingArgs;
use crate::webhook::config::WebhookArgs;

/// Kong's plugins for AI traffic: token limits and tokens that prove who is calling.
#[derive(Debug, Parser)]
#[command(name = "llm-plugin-server", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the plugins' descriptions, then serve Kong on DIR/plugins.sock until SIGTERM or SIGINT.
    Serve {
        /// The directory that is shared with Kong. It is made if it is absent.
        #[arg(long, env = "LLM_PLUGIN_SERVER_DIR")]
        dir: PathBuf,
        /// Stop when the parent process is gone: for a server that Kong itself starts.
        #[arg(long, env = "LLM_PLUGIN_SERVER_EXIT_WITH_PARENT", value_parser = BoolishValueParser::new())]
        exit_with_parent: bool,
        /// What belongs to the process.
        #[command(flatten)]
        process: ProcessArgs,
    },
    /// Print what Kong's query command must print for one plugin: its name, phases, priority and schema. Without a name, write that of each
    /// to DIR/PLUGIN.json, as `serve` does: all that a control plane needs.
    Dump {
        /// The plugin's name, such as llm-jwt.
        plugin: Option<String>,
        /// The directory that is shared with Kong; Kong itself takes the socket's path from its own configuration.
        #[arg(
            long,
            env = "LLM_PLUGIN_SERVER_DIR",
            required_unless_present = "plugin"
        )]
        dir: Option<PathBuf>,
    },
    /// Ask the server on DIR/plugins.sock for its plugins; the exit code is 0 if it answers as it should.
    Healthcheck {
        /// The directory that is shared with Kong.
        #[arg(long, env = "LLM_PLUGIN_SERVER_DIR")]
        dir: PathBuf,
    },
    /// Print the configuration that `serve` would run with, or what is wrong with it.
    CheckConfig {
        /// What belongs to the process.
        #[command(flatten)]
        process: ProcessArgs,
    },
}

/// What belongs to the process and not to a plugin in Kong. A flag wins over its variable, which wins over the file.
#[derive(Debug, Default, Args)]
pub struct ProcessArgs {
    /// A configuration file (TOML).
    #[arg(long, env = "LLM_PLUGIN_SERVER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or directives such as warn,llm_plugin_server=debug.
    #[arg(long, env = "LLM_PLUGIN_SERVER_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// How it is written to stderr.
    #[arg(long, env = "LLM_PLUGIN_SERVER_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Serve health, metrics, counters and a page over HTTP: on a loopback address, on unix:PATH, or with a token anywhere.
    #[arg(long, env = "LLM_PLUGIN_SERVER_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<ListenAddress>,
    /// The file with the token that it demands; LLM_PLUGIN_SERVER_ADMIN_TOKEN may hold the token itself.
    #[arg(long, env = "LLM_PLUGIN_SERVER_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Whether token metrics tell consumers apart (at most 500 pairs of model and consumer).
    #[arg(
        long,
        env = "LLM_PLUGIN_SERVER_ADMIN_CONSUMER_LABEL",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub admin_consumer_label: Option<bool>,
    /// The threads that serve events; by default half of the processors, at least one: Kong needs the rest.
    #[arg(long, env = "LLM_PLUGIN_SERVER_WORKER_THREADS", value_name = "THREADS")]
    pub worker_threads: Option<usize>,
    /// The most events of one plugin at a time; more are answered with 503.
    #[arg(long, env = "LLM_PLUGIN_SERVER_MAX_CONCURRENCY", value_name = "EVENTS")]
    pub max_concurrency: Option<usize>,
    /// The most milliseconds that one event may take; after that it fails as the plugin fails.
    #[arg(
        long,
        env = "LLM_PLUGIN_SERVER_DEADLINE_MS",
        value_name = "MILLISECONDS"
    )]
    pub deadline_ms: Option<u64>,
    /// The most milliseconds that a stop waits for events under way.
    #[arg(long, env = "LLM_PLUGIN_SERVER_DRAIN_MS", value_name = "MILLISECONDS")]
    pub drain_ms: Option<u64>,
    /// Keep the counters of `policy: memory` in this file, so that a restart does not lose them.
    #[arg(long, env = "LLM_PLUGIN_SERVER_STATE_FILE", value_name = "FILE")]
    pub state_file: Option<PathBuf>,
    /// Where news of limits go.
    #[command(flatten)]
    pub webhook: WebhookArgs,
    /// Where spans go.
    #[command(flatten)]
    pub tracing: TracingArgs,
}
