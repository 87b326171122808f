//! decK as its users run it, where set-up has built it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use stories::world::World;

/// What it exits with if it was asked to tell whether there is a difference, and there is.
const DIFFERS: i32 = 2;

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct Deck {
    program: PathBuf,
}

/// What it said, and whether it was content: did what it was asked for, or found no difference.
pub(crate) struct Answer {
    pub(crate) content: bool,
    pub(crate) text: String,
}

impl Deck {
    /// The one that `need_deck` of `tests/setup.sh` builds; else why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let program = stories::repository().join(".cache").join("deck");
        if program.is_file() {
            Ok(Self { program })
        } else {
            Err("there is no .cache/deck: tests/run builds it, with Go".to_owned())
        }
    }

    /// Makes the node what the files say.
    pub(crate) async fn sync(&self, world: &World, at: &Path, files: &str) -> Result<Answer> {
        self.run(world, at, &format!("sync {files}")).await
    }

    /// Whether the node is what the files say.
    pub(crate) async fn agrees(&self, world: &World, at: &Path, files: &str) -> Result<Answer> {
        self.run(world, at, &format!("diff --non-zero-exit-code {files}"))
            .await
    }

    /// Writes down what the node has.
    pub(crate) async fn dump(
        &self,
        world: &World,
        at: &Path,
        tag: Option<&str>,
        file: &str,
    ) -> Result<Answer> {
        let select = tag
            .map(|tag| format!("--select-tag {tag}"))
            .unwrap_or_default();
        self.run(world, at, &format!("dump --yes {select} -o {file}"))
            .await
    }

    /// Writes what a file becomes by one of the verbs that rewrite it, as JSON.
    pub(crate) async fn rewrite(
        &self,
        at: &Path,
        verb: &[&str],
        [from, to]: [&str; 2],
    ) -> Result<Answer> {
        let mut command = self.command(at);
        command.arg("file").args(verb).args([
            "--state",
            from,
            "--output-file",
            to,
            "--format",
            "json",
        ]);
        answer(format!("file {}", verb.join(" ")), command).await
    }

    async fn run(&self, world: &World, at: &Path, line: &str) -> Result<Answer> {
        let mut command = self.command(at);
        command.arg("gateway").args(line.split_whitespace()).args([
            "--kong-addr",
            &world.gateway.admin_url(),
            "--no-color",
        ]);
        answer(format!("gateway {line}"), command).await
    }

    fn command(&self, at: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(at)
            .env_clear()
            // Its own configuration would lie here.
            .env("HOME", at)
            // It would tell its vendor about us.
            .env("DECK_ANALYTICS", "off")
            .stdin(Stdio::null());
        for (name, value) in super::laws::VARIABLES {
            command.env(format!("DECK_{name}"), value);
        }
        command
    }
}

async fn answer(what: String, mut command: Command) -> Result<Answer> {
    let output = tokio::task::spawn_blocking(move || command.output())
        .await?
        .context("decK could not be started")?;
    let text = format!(
        "deck {what}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let content = match output.status.code() {
        Some(0) => true,
        Some(1 | DIFFERS) => false,
        _ => bail!("{} ended {text}", output.status),
    };
    Ok(Answer { content, text })
}
