//! The laws, checked on one pair of configurations.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use stories::kongctl::Kongctl;
use stories::world::World;

use super::case::{self, Case};
use super::state;

/// What the cases read from the environment.
pub(crate) const VARIABLES: [(&str, &str); 2] =
    [("LLM_HOST", "llm.example"), ("REDIS_HOST", "redis")];
/// What a node with nothing on it is dumped as.
const NOTHING: &str = "_format_version: \"3.0\"\n";

/// Fails with the law that does not hold.
pub(crate) async fn hold(world: &World, case: &Case) -> Result<()> {
    let node = Node::prepare(world, case)?;
    if case.spec.filters {
        state::ensure_filters(world).await?;
    }
    let ground = node.clear(case).await?;

    let a = node.synced("a.yml", &case.a).await?;
    let canonical = node.own_dump().await?;
    if let Some(expected) = &case.canonical {
        ensure!(
            meaning(&canonical)? == meaning(expected)?,
            "dump(sync(A)) is not the canonical A, but:\n{canonical}"
        );
    }
    node.write("dumped.yml", &canonical)?;
    node.no_difference("dumped.yml")
        .await
        .context("a dump does not say what the node has")?;

    let b = node.synced("b.yml", &case.b).await?;
    let b_from_a = node.own_dump().await?;
    // A sync that changes nothing leaves nothing to undo.
    if b != a {
        node.run("rollback --yes --passwords a.yml").await?;
    }
    ensure!(
        node.dump().await? == a,
        "a rollback of B did not restore A, but:\n{}",
        node.dump().await?
    );

    node.run("plan b.yml -o plan.json").await?;
    node.run("sync --yes --plan plan.json").await?;
    ensure!(
        node.dump().await? == b,
        "a saved plan did not do what a sync did, but:\n{}",
        node.dump().await?
    );

    node.reset().await?;
    ensure!(
        node.dump().await? == ground,
        "a reset left something:\n{}",
        node.dump().await?
    );
    node.run("rollback --yes --passwords b.yml").await?;
    ensure!(
        node.dump().await? == b,
        "a rollback of a reset did not restore B, but:\n{}",
        node.dump().await?
    );

    node.reset().await?;
    node.run("sync --yes b.yml").await?;
    let b_from_nothing = node.own_dump().await?;
    ensure!(
        b_from_a == b_from_nothing,
        "B from A is\n{b_from_a}\nB from nothing is\n{b_from_nothing}"
    );
    Ok(())
}

/// A dump as data: Kong tells the fields of an upstream's health checks in an order of its own.
fn meaning(dump: &str) -> Result<Value> {
    Ok(serde_saphyr::from_str(dump)?)
}

/// One gateway's configuration, and a directory for the case's files.
pub(crate) struct Node<'a> {
    kongctl: Kongctl,
    pub(crate) directory: PathBuf,
    tag: Option<&'a str>,
}

impl<'a> Node<'a> {
    pub(crate) fn prepare(world: &'a World, case: &'a Case) -> Result<Self> {
        let directory = world.directory().join("case");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        // What `!file` reads.
        std::os::unix::fs::symlink(case::directory().join("files"), directory.join("files"))?;
        // decK allows no other names than with this beginning.
        let variables = VARIABLES
            .into_iter()
            .flat_map(|(name, value)| [(name.to_owned(), value), (format!("DECK_{name}"), value)])
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        Ok(Self {
            kongctl: world.kongctl.clone().with_variables(variables),
            directory,
            tag: case.spec.tag.as_deref(),
        })
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.directory.join(name), text)?)
    }

    pub(crate) async fn run(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.kongctl.run_in(&self.directory, &words).await
    }

    /// All that the node has, ids included.
    async fn dump(&self) -> Result<String> {
        self.run("dump --with-ids").await
    }

    /// What the node has of ours, as a person would write it.
    pub(crate) async fn own_dump(&self) -> Result<String> {
        match self.tag {
            Some(tag) => self.run(&format!("dump --select-tag {tag}")).await,
            None => self.run("dump").await,
        }
    }

    async fn reset(&self) -> Result<()> {
        let line = match self.tag {
            Some(tag) => format!("reset --yes --select-tag {tag}"),
            None => "reset --yes".to_owned(),
        };
        self.run(&line).await.map(drop)
    }

    /// Leaves nothing on the node but what others own; that, as a dump.
    pub(crate) async fn clear(&self, case: &Case) -> Result<String> {
        self.empty().await?;
        let Some(others) = &case.spec.others else {
            return Ok(NOTHING.to_owned());
        };
        self.write("others.yml", others)?;
        self.run("sync --yes --journal off others.yml").await?;
        self.dump().await
    }

    /// Takes away what an earlier case may have left.
    async fn empty(&self) -> Result<()> {
        self.run("reset --yes --journal off").await?;
        let left = self.dump().await?;
        ensure!(left == NOTHING, "a reset left something:\n{left}");
        Ok(())
    }

    /// Syncs a file and checks that this is the end of it; what the node has then.
    async fn synced(&self, name: &str, text: &str) -> Result<String> {
        self.write(name, text)?;
        self.run(&format!("sync --yes {name}")).await?;
        let dump = self.dump().await?;
        self.no_difference(name).await?;
        self.writes_nothing(name).await?;
        ensure!(
            self.dump().await? == dump,
            "a second sync of {name} changed the dump"
        );
        Ok(dump)
    }

    /// Syncs a file that says what the node has.
    pub(crate) async fn writes_nothing(&self, name: &str) -> Result<()> {
        let said = self.run(&format!("sync --yes -o json {name}")).await?;
        let report: Value = serde_json::from_str(&said)?;
        let written = report["results"]
            .as_array()
            .context("a report has results")?;
        ensure!(
            written.is_empty(),
            "another sync of {name} writes {written:?}"
        );
        Ok(())
    }

    pub(crate) async fn no_difference(&self, name: &str) -> Result<()> {
        let path = Path::new(name).display();
        self.run(&format!("diff --exit-code {path}"))
            .await
            .map(drop)
            .with_context(|| format!("{name} differs from what its sync led to"))
    }
}
