//! `quickstart`: the product's story, told on whatever gateway this machine has.

mod story;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use stories::repository;
use stories::target::Target;
use stories::world::World;
use tokio::signal::unix::{SignalKind, signal};

use story::Story;

/// Tells the story of a gateway that checks tokens and meters LLM traffic.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The gateway: compose, binary (a `kong` on PATH), standin, or one of their variants such as binary-postgres [default: the first that
    /// this machine has, in this order]
    #[arg(long)]
    target: Option<String>,
    /// End after the story; the exit code is 0 only if all went as it should.
    #[arg(long)]
    exit: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match tell(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as it should.
async fn tell(arguments: &Arguments) -> Result<bool> {
    let target = choose(arguments.target.as_deref())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::pin!(stopped);

    say(&format!("Starting {} …", describe(target)))?;
    let world = tokio::select! {
        world = World::start(target) => world?,
        () = &mut stopped => return Ok(false),
    };
    let told = tokio::select! {
        told = configure_and_tell(&world, arguments.exit) => told,
        () = &mut stopped => Ok(false),
    };
    if let (Ok(_), false) = (&told, arguments.exit) {
        say("\n  Ctrl-C ends it.")?;
        stopped.await;
    }
    if told.is_err() {
        eprintln!("{}", world.last_words());
    }
    world.stop().await?;
    told
}

async fn configure_and_tell(world: &World, ends: bool) -> Result<bool> {
    world
        .kongctl
        .sync(&repository().join("kong").join("kong.yml"))
        .await?;
    world.until_routed("/v1/models").await?;
    say(&format!(
        "  gateway    {}  (Admin API {})\n  provider   sample LLM at http://{}:{}\n  applied    kong/kong.yml, by kongctl\n",
        world.gateway.proxy_url(),
        world.gateway.admin_url(),
        world.provider.host,
        world.provider.port,
    ))?;
    let mut story = Story::new(world, std::io::stdout().is_terminal()).await?;
    let unexpected = story.tell().await?;
    for surprise in &unexpected {
        say(&format!("  ✗ {surprise}"))?;
    }
    if unexpected.is_empty() {
        say("  ✓ All went as it should.")?;
    }
    if !ends {
        say(&story.epilogue())?;
    }
    Ok(unexpected.is_empty())
}

fn choose(wanted: Option<&str>) -> Result<Target> {
    // Docker's Kong asks nothing of the machine; a `kong` on PATH is quickest without a database.
    let candidates = match wanted {
        Some(name) => Target::parse_list(name)?,
        None => vec![Target::Compose, Target::BinaryDbless, Target::StandinMemory],
    };
    let mut absences = Vec::new();
    for target in candidates {
        match target.absence() {
            None => return Ok(target),
            Some(reason) => absences.push(format!("{target}: {reason}")),
        }
    }
    bail!("this machine has no such gateway ({})", absences.join("; "))
}

fn describe(target: Target) -> &'static str {
    match target {
        Target::StandinMemory => "the stand-in gateway (no Docker engine, no `kong` on PATH)",
        Target::StandinDbless => "the stand-in gateway, DB-less",
        Target::BinaryDbless => "the `kong` on PATH, DB-less",
        Target::BinaryPostgres => "the `kong` on PATH, with a throwaway PostgreSQL",
        Target::Compose => "Docker's Kong, with docker-compose.yml",
    }
}

/// Prints at once: a story is watched.
fn say(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .context("stdout is closed")
}
