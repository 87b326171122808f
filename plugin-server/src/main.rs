//! Parse, wire, run, drain.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use kong_pdk::server::ParentWatch;
use llm_plugin_server::cli::{Cli, Command, ProcessArgs};
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::server::Plugins;
use llm_plugin_server::{health, logging, server};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // Before anything takes time: a parent that dies meanwhile must be missed.
    let parent = ParentWatch::new();
    match run(Cli::parse(), parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `eprintln!` panics when nobody reads stderr.
            drop(writeln!(io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, parent: ParentWatch) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve {
            dir,
            exit_with_parent,
            process,
        } => serve(
            &ProcessConfig::resolve(process)?,
            &dir,
            exit_with_parent.then_some(parent),
        ),
        Command::Dump { plugin, dir } => {
            let plugins = Plugins::new(&ProcessConfig::resolve(ProcessArgs::default())?)?;
            let dir = dir.unwrap_or_else(|| PathBuf::from("."));
            let Some(plugin) = plugin else {
                return plugins.write_dumps(&dir);
            };
            let known = || {
                format!(
                    "no plugin is named {plugin:?}; there are {}",
                    Plugins::NAMES.join(" and ")
                )
            };
            print(&plugins.dump(&plugin, &dir).with_context(known)?)
        }
        Command::Healthcheck { dir } => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(health::check(&dir, &Plugins::NAMES))
        }
        Command::CheckConfig { process } => {
            print(&toml::to_string(&ProcessConfig::resolve(process)?)?)
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
}

fn serve(config: &ProcessConfig, dir: &Path, parent: Option<ParentWatch>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.events.worker_threads)
        .enable_all()
        .build()?;
    runtime.block_on(serve_until_told(config, dir, parent))
}

async fn serve_until_told(
    config: &ProcessConfig,
    dir: &Path,
    parent: Option<ParentWatch>,
) -> anyhow::Result<()> {
    logging::init(&config.log)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = gone(parent) => tracing::warn!("the parent process is gone"),
        }
    };
    server::serve(config, dir, shutdown).await
}

/// Completes when the watched parent is gone: never, if none is watched.
async fn gone(parent: Option<ParentWatch>) {
    match parent {
        Some(parent) => parent.gone().await,
        None => std::future::pending().await,
    }
}
