//! OpenAI's own Python package, as its users run it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::process::run;
use stories::repository;
use stories::world::World;

/// The Python of the virtual environment that `tests/run` prepares.
fn python() -> PathBuf {
    repository()
        .join(".cache")
        .join("venv")
        .join("bin")
        .join("python")
}

/// Why the client cannot be run, or `None`.
pub(crate) fn absence() -> Option<&'static str> {
    let imports = run(Command::new(python()).args(["-c", "import openai"]));
    imports
        .is_err()
        .then_some("the Python package `openai` is not in .cache/venv (tests/run installs it)")
}

pub(crate) async fn the_official_python_client_talks_streams_and_retries(
    world: &mut World,
) -> Result<()> {
    let token = world
        .issuer
        .mint(&world.kongctl, "pythonista", "free")
        .await?;
    let url = |path: &str| format!("{}{path}", world.gateway.proxy_url());
    let mut command = Command::new(python());
    command
        .arg(
            repository()
                .join("tests")
                .join("clients")
                .join("openai_story.py"),
        )
        .args([url("/metered/v1"), url("/brief/v1"), token])
        // Loopback needs no proxy, whatever this machine says.
        .env("NO_PROXY", "127.0.0.1");
    let said = tokio::task::spawn_blocking(move || run(&mut command)).await??;
    let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;

    let text = told["plain"]["text"].as_str().context("no text")?;
    ensure!(
        text.starts_with("You asked:"),
        "the plain answer is {text:?}"
    );
    ensure!(
        told["streamed"]["text"] == text,
        "the streamed answer differs: {}",
        told["streamed"]
    );
    ensure!(
        told["refused"]["status"] == 429,
        "the refusal was {}",
        told["refused"]
    );
    ensure!(
        told["refused"]["code"] == "rate_limit_exceeded",
        "the refusal was {}",
        told["refused"]
    );
    ensure!(
        told["retried"]["text"] == text,
        "the retried answer is {}",
        told["retried"]
    );
    let waited = told["retried"]["waited"].as_f64().context("no time")?;
    ensure!(
        waited > 0.2,
        "the client got through after {waited} s, without having to wait"
    );
    Ok(())
}
