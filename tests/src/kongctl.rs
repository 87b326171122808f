//! `kongctl` as a user runs it.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

use crate::process::run;
use crate::repository;

/// The command, aimed at one gateway.
#[derive(Clone, Debug)]
pub struct Kongctl {
    program: PathBuf,
    admin_url: String,
    variables: BTreeMap<String, String>,
}

impl Kongctl {
    /// Aims at an Admin API; `variables` are what configuration files may read with `${{ env "…" }}`.
    pub fn new(admin_url: &str, variables: BTreeMap<String, String>) -> Result<Self> {
        Ok(Self {
            program: built_binary("kongctl")?,
            admin_url: admin_url.to_owned(),
            variables,
        })
    }

    /// The same, with more for configuration files to read.
    #[must_use]
    pub fn with_variables(mut self, variables: BTreeMap<String, String>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// The same, aimed at another Admin API.
    #[must_use]
    pub fn aimed_at(mut self, admin_url: &str) -> Self {
        admin_url.clone_into(&mut self.admin_url);
        self
    }

    /// What configuration files may read with `${{ env "…" }}`.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Runs it; fails with all that it said if its exit code is not 0.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_in(&env::current_dir()?, arguments).await
    }

    /// The same in a directory.
    pub async fn run_in(&self, directory: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(directory, arguments);
        tokio::task::spawn_blocking(move || run(&mut command))
            .await?
            .with_context(|| format!("kongctl {}", arguments.join(" ")))
    }

    /// Runs it in a directory, for whatever comes of it.
    pub async fn output_in(&self, directory: &Path, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(directory, arguments);
        command.stdin(Stdio::null());
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(directory)
            .env("KONGCTL_ADMIN_URL", &self.admin_url)
            .env("NO_COLOR", "1")
            .envs(&self.variables);
        command
    }

    /// Makes the gateway what `file` declares.
    pub async fn sync(&self, file: &Path) -> Result<String> {
        self.with_files(&["sync", "--yes"], &[file]).await
    }

    /// Runs a verb on files.
    pub async fn with_files(&self, verb: &[&str], files: &[impl AsRef<Path>]) -> Result<String> {
        let mut arguments = verb.to_vec();
        for file in files {
            arguments.push(file.as_ref().to_str().context("the path is not UTF-8")?);
        }
        self.run(&arguments).await
    }
}

/// A program of this workspace, built now if cargo runs us: a test of yesterday's program proves nothing.
pub fn built_binary(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_ref();
    let path = directory.map_err(|error| anyhow!("{error}"))?.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built: cargo build --workspace --bins",
            path.display()
        );
    }
    Ok(path)
}

fn build() -> Result<PathBuf> {
    let this = env::current_exe()?;
    let directory = this
        .ancestors()
        .skip(1)
        .find(|directory| !directory.ends_with("deps"))
        .context("a program lies in a directory")?
        .to_owned();
    if let Some(cargo) = env::var_os("CARGO") {
        let target = directory
            .parent()
            .context("the profile's directory lies in the target directory")?;
        let mut command = Command::new(cargo);
        command.current_dir(repository()).args([
            "build",
            "--quiet",
            // With the features that all tests of the workspace ask for, which a test has to be among: with any others, the
            // dependencies would be compiled once more.
            "--workspace",
            "--test",
            "schema",
            "--bin",
            "llm-plugin-server",
            "--bin",
            "kongctl",
        ]);
        command.arg("--target-dir").arg(target);
        if directory.ends_with("release") {
            command.arg("--release");
        }
        run(&mut command).context("cannot build the programs under test")?;
    }
    Ok(directory)
}
