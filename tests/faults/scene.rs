//! A node before a sync, and what it should be in the end.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::http::Method;
use serde_json::Value;
use stories::kongctl::Kongctl;
use stories::wait;
use stories::world::World;

use super::front::{Fate, Front};
use super::subject;

/// What others own on the same node.
const OTHERS: &str = "
services: [{name: theirs, host: theirs, tags: [theirs], routes: [{name: theirs, paths: [/theirs]}]}]
consumers: [{username: them, keyauth_credentials: [{key: theirs}]}]
";

/// What was there before the sync, and partly goes by it.
const BEFORE: &str = "
_info: {select_tags: [ours]}
services:
- {name: s0, host: old, routes: [{name: gone, paths: [/gone]}]}
- {name: leaves, host: old}
consumers: [{username: leaves, keyauth_credentials: [{key: leaves}]}]
";

/// The sync that meets a fault: it does not wait long.
pub(crate) const SYNC: &str =
    "sync --yes -o json --retries 1 --timeout 5s --connect-timeout 2s kong.yml";
/// Patience with a Kong that comes back.
const RECOVERY: Duration = Duration::from_secs(30);

/// A user before a gateway that has something on it: theirs and what others own.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    /// Speaks to the node itself.
    pub(crate) kongctl: Kongctl,
    directory: PathBuf,
    /// All that the node had before the sync, ids included.
    pub(crate) before: String,
    /// All that it should have after it.
    pub(crate) after: String,
}

/// What was seen of a command.
pub(crate) struct Seen {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'a> Scene<'a> {
    /// Makes the node what it is before a sync.
    pub(crate) async fn set(world: &'a World) -> Result<Self> {
        let directory = world.directory().join("scene");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        // The journals of this scene alone.
        let state = directory.join("state").display().to_string();
        let mut scene = Self {
            world,
            kongctl: world
                .kongctl
                .clone()
                .with_variables([("XDG_STATE_HOME".to_owned(), state)].into()),
            directory,
            before: String::new(),
            after: String::new(),
        };
        let wanted = format!("_info: {{select_tags: [ours]}}\n{}", subject::wanted());
        for (name, text) in [
            ("others.yml", OTHERS),
            ("before.yml", BEFORE),
            ("kong.yml", &wanted),
        ] {
            scene.write(name, text)?;
        }
        scene.must("reset --yes --journal off").await?;
        scene.must("sync --yes --journal off others.yml").await?;
        scene.must("sync --yes before.yml").await?;
        scene.before = scene.dump().await?;
        scene.must("sync --yes --journal off kong.yml").await?;
        scene.after = scene.dump().await?;
        scene.must("sync --yes --journal off before.yml").await?;
        ensure!(scene.dump().await? == scene.before, "the ground is even");
        ensure!(
            scene.after.contains("theirs"),
            "what others own is on the node"
        );
        Ok(scene)
    }

    /// Writes a file of the user's.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.directory.join(name), text)?)
    }

    /// Runs a command line against an address.
    pub(crate) async fn run_at(&self, address: &str, line: &str) -> Result<Seen> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kongctl = self.kongctl.clone().aimed_at(address);
        let output = kongctl.output_in(&self.directory, &words).await?;
        Ok(Seen {
            code: output.status.code().context("it ended by itself")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command line that must succeed, for what it prints.
    pub(crate) async fn must_at(&self, address: &str, line: &str) -> Result<String> {
        let seen = self.run_at(address, line).await?;
        ensure!(
            seen.code == 0,
            "{line}: {}\n{}{}",
            seen.code,
            seen.stdout,
            seen.stderr
        );
        Ok(seen.stdout)
    }

    /// The same against the node itself.
    pub(crate) async fn must(&self, line: &str) -> Result<String> {
        self.must_at(&self.address(), line).await
    }

    /// The node's own address.
    pub(crate) fn address(&self) -> String {
        self.world.gateway.admin_url()
    }

    /// All that the node has, ids included.
    pub(crate) async fn dump(&self) -> Result<String> {
        self.must("dump --with-ids").await
    }

    /// Stands before the node; a script chooses what becomes of each write.
    pub(crate) async fn front(
        &self,
        script: impl Fn(usize, &Method, &str) -> Fate + Send + Sync + 'static,
    ) -> (Front, String) {
        Front::start(&self.address(), script).await
    }

    /// A sync that must fail: what it reports, and what it says to people.
    pub(crate) async fn fails(&self, address: &str) -> Result<(Value, String)> {
        let seen = self.run_at(address, SYNC).await?;
        ensure!(
            seen.code == 1,
            "it ended with {}:\n{}{}",
            seen.code,
            seen.stdout,
            seen.stderr
        );
        Ok((serde_json::from_str(&seen.stdout)?, seen.stderr))
    }

    /// Starts the Kong that was killed, and waits until it answers.
    pub(crate) async fn revive(&self) -> Result<()> {
        self.world.gateway.restart().await?;
        wait::until("Kong is back", RECOVERY, async || self.dump().await).await?;
        Ok(())
    }

    /// Every change that a report calls done is seen on the node, and none that it calls not done.
    pub(crate) async fn is_as_told(&self, report: &Value) -> Result<()> {
        let now = self.dump().await?;
        let untrue = subject::untrue(report, &now);
        ensure!(untrue.is_none(), "{untrue:?} is not so:\n{now}");
        Ok(())
    }

    /// The same command carries on, and as many rollbacks as there were runs that changed something undo all of it.
    pub(crate) async fn resumes_and_is_undone(&self, address: &str, runs: usize) -> Result<()> {
        self.must_at(address, "sync --yes kong.yml").await?;
        self.is(&self.after, "the sync that carried on").await?;
        for _ in 0..runs {
            self.must_at(address, "rollback --yes").await?;
        }
        self.is(&self.before, "the rollbacks").await
    }

    /// Fails unless the node has exactly this.
    pub(crate) async fn is(&self, dump: &str, after: &str) -> Result<()> {
        let now = self.dump().await?;
        ensure!(
            now == dump,
            "after {after} the node has\n{now}\ninstead of\n{dump}"
        );
        Ok(())
    }
}

/// How many changes a report counts so.
pub(crate) fn count(report: &Value, status: &str) -> Result<u64> {
    report["summary"][status]
        .as_u64()
        .with_context(|| format!("a report counts {status}: {report}"))
}
