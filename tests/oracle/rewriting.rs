//! The verbs that rewrite files, beside decK's: the same words make the same file.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;
use stories::world::World;

use super::deck::Deck;

/// A file with something for each verb.
const FILE: &str = r#"{
  "_format_version": "3.0",
  "services": [{
    "name": "llm", "url": "http://h/v1", "retries": 3, "tags": ["team-a", "beta"],
    "routes": [
      {"name": "chat", "paths": ["/chat", "~/embed/\\d+$", "/"], "methods": ["GET"], "tags": ["beta"]},
      {"name": "hosted", "hosts": ["a.example"], "tags": ["team-a", "old"]}
    ]
  }],
  "routes": [{"name": "alone", "paths": ["/alone"]}],
  "consumers": [{"username": "alice", "tags": ["team-b"]}],
  "plugins": [{"name": "cors"}]
}"#;

/// Patches of each kind.
const PATCHES: &str = r#"
_format_version: "1.0"
patches:
- selectors: ["$.services[*]"]
  values: {read_timeout: 10000, tags: [production]}
  remove: [retries]
- selectors: ["$..routes[*].methods"]
  values: [OPTIONS]
- values: {_info: {select_tags: [production]}}
"#;

/// What the tools are told: each its own words, then both the same.
struct Line {
    theirs: &'static str,
    ours: &'static str,
    both: &'static str,
}

impl Line {
    const fn each(theirs: &'static str, ours: &'static str, both: &'static str) -> Self {
        Self { theirs, ours, both }
    }

    const fn both(both: &'static str) -> Self {
        Self::each("", "", both)
    }

    /// decK's words, and ours.
    fn words(&self) -> [Vec<&'static str>; 2] {
        [self.theirs, self.ours].map(|own| {
            let words = own.split_whitespace();
            words.chain(self.both.split_whitespace()).collect()
        })
    }
}

const LINES: [Line; 11] = [
    Line::each("patch", "patch-files --patch-file", "patches.yml"),
    Line::each(
        "patch",
        "patch-files",
        "--selector $..routes[*] --value strip_path:false --value methods:",
    ),
    Line::each(
        "patch",
        "patch-files",
        r#"--selector $..paths --value ["/more"]"#,
    ),
    Line::each("add-tags", "add-tags --tag", "new"),
    Line::each("add-tags", "add-tags --tag", "new --selector $.services[*]"),
    Line::each(
        "remove-tags beta old",
        "remove-tags --tag beta --tag old",
        "",
    ),
    Line::each("remove-tags", "remove-tags --tag", "team-a --keep-only"),
    Line::both("remove-tags --keep-only"),
    Line::each(
        "add-plugins --config",
        "add-plugins --plugin",
        r#"{"name":"key-auth"} --selector $..routes[*]"#,
    ),
    Line::both("namespace --path-prefix /team-a"),
    Line::both(
        "namespace --path-prefix /team-a --host b.example --clear-hosts --selector $..routes[*]",
    ),
];

pub(crate) async fn agrees(world: &World, deck: &Deck) -> Result<()> {
    let at = tempfile::tempdir()?;
    fs::write(at.path().join("kong.json"), FILE)?;
    fs::write(at.path().join("patches.yml"), PATCHES)?;
    for line in LINES {
        let [theirs, mut ours] = line.words();
        let answer = deck
            .rewrite(at.path(), &theirs, ["kong.json", "deck.json"])
            .await?;
        ensure!(answer.content, "{}", answer.text);
        let expected = fs::read(at.path().join("deck.json"))?;
        let expected: Value = serde_json::from_slice(&expected)?;
        ours.push("kong.json");
        let found = world.kongctl.run_in(at.path(), &ours).await?;
        let found: Value = serde_json::from_str(&found)?;
        ensure!(
            found == expected,
            "kongctl {ours:?}\n{found:#}\ndecK: {expected:#}"
        );
    }
    Ok(())
}
