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

/// decK's words, and ours.
const LINES: &[(&[&str], &[&str])] = &[
    (
        &["patch", "patches.yml"],
        &["patch-files", "--patch-file", "patches.yml"],
    ),
    (
        &[
            "patch",
            "--selector",
            "$..routes[*]",
            "--value",
            "strip_path:false",
            "--value",
            "methods:",
        ],
        &[
            "patch-files",
            "--selector",
            "$..routes[*]",
            "--value",
            "strip_path:false",
            "--value",
            "methods:",
        ],
    ),
    (
        &["patch", "--selector", "$..paths", "--value", "[\"/more\"]"],
        &[
            "patch-files",
            "--selector",
            "$..paths",
            "--value",
            "[\"/more\"]",
        ],
    ),
    (&["add-tags", "new"], &["add-tags", "--tag", "new"]),
    (
        &["add-tags", "--selector", "$.services[*]", "new"],
        &["add-tags", "--selector", "$.services[*]", "--tag", "new"],
    ),
    (
        &["remove-tags", "beta", "old"],
        &["remove-tags", "--tag", "beta", "--tag", "old"],
    ),
    (
        &["remove-tags", "--keep-only", "team-a"],
        &["remove-tags", "--keep-only", "--tag", "team-a"],
    ),
    (
        &["remove-tags", "--keep-only"],
        &["remove-tags", "--keep-only"],
    ),
    (
        &[
            "add-plugins",
            "--selector",
            "$..routes[*]",
            "--config",
            "{\"name\": \"key-auth\"}",
        ],
        &[
            "add-plugins",
            "--selector",
            "$..routes[*]",
            "--plugin",
            "{\"name\": \"key-auth\"}",
        ],
    ),
    (
        &["namespace", "--path-prefix", "/team-a"],
        &["namespace", "--path-prefix", "/team-a"],
    ),
    (
        &[
            "namespace",
            "--path-prefix",
            "/team-a",
            "--host",
            "b.example",
            "--clear-hosts",
            "--selector",
            "$..routes[*]",
        ],
        &[
            "namespace",
            "--path-prefix",
            "/team-a",
            "--host",
            "b.example",
            "--clear-hosts",
            "--selector",
            "$..routes[*]",
        ],
    ),
];

pub(crate) async fn agrees(world: &World, deck: &Deck) -> Result<()> {
    let at = tempfile::tempdir()?;
    fs::write(at.path().join("kong.json"), FILE)?;
    fs::write(at.path().join("patches.yml"), PATCHES)?;
    for (theirs, ours) in LINES {
        let answer = deck
            .rewrite(at.path(), theirs, ["kong.json", "deck.json"])
            .await?;
        ensure!(answer.content, "{}", answer.text);
        let expected = fs::read(at.path().join("deck.json"))?;
        let expected: Value = serde_json::from_slice(&expected)?;
        let line = [*ours, &["kong.json"]].concat();
        let found = world.kongctl.run_in(at.path(), &line).await?;
        let found: Value = serde_json::from_str(&found)?;
        ensure!(
            found == expected,
            "kongctl {ours:?}\n{found:#}\ndecK: {expected:#}"
        );
    }
    Ok(())
}
