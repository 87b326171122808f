//! The vendors' own packages, as their users run them: at the gateway they behave as at their vendor.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::process::run;
use stories::world::World;
use stories::{node, repository};

use crate::limits::{LIMIT, until_charged};

/// A vendor's package for one language.
pub(crate) struct Client {
    runtime: Runtime,
    package: &'static str,
    /// Its script in `tests/clients`.
    script: &'static str,
    /// The route whose budget of two requests is soon back.
    brief: &'static str,
    /// What the package calls a refusal that waiting cures.
    kind: &'static str,
}

enum Runtime {
    Python,
    Node,
}

pub(crate) const OPENAI_PYTHON: Client = Client {
    runtime: Runtime::Python,
    package: "openai",
    script: "openai_story.py",
    brief: "/brief/v1",
    kind: "rate_limit_exceeded",
};
pub(crate) const OPENAI_NODE: Client = Client {
    runtime: Runtime::Node,
    script: "openai_story.cjs",
    ..OPENAI_PYTHON
};
pub(crate) const ANTHROPIC_PYTHON: Client = Client {
    runtime: Runtime::Python,
    package: "anthropic",
    script: "anthropic_story.py",
    brief: "/brief-anthropic/v1",
    kind: "rate_limit_error",
};
pub(crate) const ANTHROPIC_NODE: Client = Client {
    runtime: Runtime::Node,
    package: "@anthropic-ai/sdk",
    script: "anthropic_story.cjs",
    ..ANTHROPIC_PYTHON
};

impl Client {
    /// Why it cannot be run, or `None`.
    pub(crate) fn absence(&self) -> Option<&'static str> {
        match self.runtime {
            Runtime::Python => {
                let reason = "the Python package is not in .cache/venv (tests/run installs it)";
                (!loads(self.package)).then_some(reason)
            }
            Runtime::Node => node::absence(self.package),
        }
    }

    fn command(&self) -> Command {
        match self.runtime {
            Runtime::Python => {
                let mut command = python();
                command.arg(repository().join("tests").join("clients").join(self.script));
                command
            }
            Runtime::Node => node::script(self.script),
        }
    }

    /// Runs its script for a tenant of its own, and judges what it tells.
    async fn tell(&self, world: &World) -> Result<()> {
        let tenant = format!("user of {}", self.script);
        let token = world.issuer.mint(&world.kongctl, &tenant, "free").await?;
        let url = |path: &str| format!("{}{path}", world.gateway.proxy_url());
        let mut command = self.command();
        command.args([url("/metered/v1"), url(self.brief), token]);
        let said = tokio::task::spawn_blocking(move || run(&mut command)).await??;
        let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;

        let answers = told["answers"].as_array().context("no answers")?;
        let first = answers.first().context("no answers")?;
        let text = first["text"].as_str().context("no text")?;
        ensure!(text.starts_with("You asked:"), "the answer is {text:?}");
        let mut used = 0;
        for answer in answers {
            ensure!(
                answer["text"] == text,
                "{answer} differs from the first answer, {text:?}"
            );
            // A streamed chat does not show its usage, which is that of the plain one.
            let tokens = answer.get("total_tokens").unwrap_or(&first["total_tokens"]);
            used += tokens.as_u64().context("no usage")?;
        }

        let refused = &told["refused"];
        ensure!(
            refused["status"] == 429 && refused["kind"] == self.kind,
            "the refusal was {refused}"
        );
        ensure!(
            refused["retry_after"].is_string(),
            "the refusal does not say when to come back: {refused}"
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
        until_charged(&world.tenant("/metered/v1", &tenant).await?, LIMIT, used).await
    }
}

/// Whether Python imports the package, which takes it a second. Asked once.
fn loads(package: &'static str) -> bool {
    static LOADS: Mutex<BTreeMap<&str, bool>> = Mutex::new(BTreeMap::new());
    let mut loads = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
    *loads.entry(package).or_insert_with(|| {
        let import = format!("import {package}");
        run(python().args(["-c", &import])).is_ok()
    })
}

/// The Python of the virtual environment that `tests/run` prepares.
fn python() -> Command {
    let bin = repository().join(".cache").join("venv").join("bin");
    let mut command = Command::new(bin.join("python"));
    // Loopback needs no proxy, whatever this machine says.
    command.env("NO_PROXY", "127.0.0.1");
    command
}

pub(crate) async fn openai_in_python_talks_streams_and_retries(world: &mut World) -> Result<()> {
    OPENAI_PYTHON.tell(world).await
}

pub(crate) async fn openai_in_node_talks_streams_and_retries(world: &mut World) -> Result<()> {
    OPENAI_NODE.tell(world).await
}

pub(crate) async fn anthropic_in_python_talks_streams_and_retries(world: &mut World) -> Result<()> {
    ANTHROPIC_PYTHON.tell(world).await
}

pub(crate) async fn anthropic_in_node_talks_streams_and_retries(world: &mut World) -> Result<()> {
    ANTHROPIC_NODE.tell(world).await
}
