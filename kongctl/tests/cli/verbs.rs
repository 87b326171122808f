//! No verb without a snapshot of what a user sees of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kong_standin::config::Database;

use super::World;

/// What `schema` prints is the published `kong.schema.json`, and `tests/files/schema.rs` compares the two.
const SHOWN_ELSEWHERE: &str = "kongctl-schema";

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_told_in_the_form_that_is_asked_for() {
    let world = World::new(Database::Memory).await;
    let mut seen = Vec::new();
    for line in [
        "sync -o json",
        "wash --output=yaml",
        "get nothing -o json",
        "ping --workspace team-a",
        "ping --workspace default -o name",
    ] {
        seen.push(world.run(line).await);
    }
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_is_under_a_snapshot() {
    let world = World::new(Database::Memory).await;
    world.run("man --directory pages").await;
    let pages: BTreeSet<String> = fs::read_dir(world.files.path().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_end_matches(".1").to_owned())
        .collect();
    // `kongctl-quota` is no verb: `kongctl-quota-get` is.
    let verbs = pages.iter().filter(|page| {
        let beneath = format!("{page}-");
        !pages.iter().any(|other| other.starts_with(&beneath))
    });
    let mut snapshots = String::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for path in snapshots_beneath(&tests) {
        snapshots.push_str(&fs::read_to_string(path).unwrap());
    }
    let shown = |verb: &&String| {
        // Words of a verb may have hyphens of their own.
        let name = verb.replacen("kongctl-", "", 1);
        snapshots
            .lines()
            .filter_map(|line| line.strip_prefix("$ kongctl "))
            .any(|line| line.replace(' ', "-").starts_with(&name))
    };
    let unseen: Vec<_> = verbs
        .filter(|verb| *verb != SHOWN_ELSEWHERE && !shown(verb))
        .collect();
    assert!(unseen.is_empty(), "no snapshot shows {unseen:?}");
}

fn snapshots_beneath(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                snapshots_beneath(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "snap"))
        .collect()
}
