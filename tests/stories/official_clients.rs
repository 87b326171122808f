//! The vendors' own packages, as their users run them: at the gateway they behave as at their vendor.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::process::run;
use stories::repository;
use stories::world::World;

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
    /// The Python of the virtual environment that `tests/run` prepares.
    Python,
    /// Node, with the packages that `tests/run` installs.
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
        let (test, package) = (&mut self.command(), self.package);
        let (loads, reason) = match self.runtime {
            Runtime::Python => (
                run(test.args(["-c", &format!("import {package}")])),
                "the Python package is not in .cache/venv (tests/run installs it)",
            ),
            Runtime::Node => (
                run(test.args(["-e", &format!("require('{package}')")])),
                "the Node package is not in .cache/node, or there is no node (tests/run installs both)",
            ),
        };
        loads.is_err().then_some(reason)
    }

    fn command(&self) -> Command {
        let cache = repository().join(".cache");
        let mut command = match self.runtime {
            Runtime::Python => Command::new(cache.join("venv").join("bin").join("python")),
            Runtime::Node => Command::new("node"),
        };
        command
            .env("NODE_PATH", cache.join("node").join("node_modules"))
            // Loopback needs no proxy, whatever this machine says.
            .env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Runs its script for a tenant of its own, and judges what it tells.
    async fn tell(&self, world: &World) -> Result<()> {
        let tenant = format!("user of {}", self.script);
        let token = world.issuer.mint(&world.kongctl, &tenant, "free").await?;
        let url = |path: &str| format!("{}{path}", world.gateway.proxy_url());
        let mut command = self.command();
        command
            .arg(repository().join("tests").join("clients").join(self.script))
            .args([url("/metered/v1"), url(self.brief), token]);
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
