//! The JSON Schema that is published takes what `kongctl` takes.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{World, go_module};

/// decK with the files of its integration tests.
const DECK: &str = "github.com/kong/deck@v1.55.0";

/// What decK reads files with, its JSON Schema beside.
const RECONCILER: &str = "github.com/kong/go-database-reconciler@v1.40.3";

fn validator() -> Validator {
    let text = World::new(&[]).stdout(&["schema"]);
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn the_published_copy_is_that_of_the_entity_table() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("kong.schema.json");
    let printed = World::new(&[]).stdout(&["schema"]);
    let text = std::fs::read_to_string(&published).unwrap_or_default();
    assert!(
        text == printed,
        "write it anew: kongctl schema > {}",
        published.display()
    );
}

#[test]
fn what_is_wrong_is_wrong_by_the_schema_too() {
    let validator = validator();
    for good in [
        json!({"_format_version": "3.0", "services": [{"name": "a", "url": "http://h", "routes": [{"paths": ["/"], "plugins": [{"name": "cors"}]}]}]}),
        json!({"_info": {"select_tags": ["a"], "defaults": {"service": {"retries": 1}}}, "services": null}),
        json!({"services": [{"name": "a", "host": "h", "port": "${{ env \"PORT\" }}", "retries": null}]}),
        json!({"routes": [{"name": "r", "service": {"name": "a"}, "protocols": ["http"], "headers": {"x": ["y"]}}]}),
        json!({"certificates": [{"cert": "c", "key": "k", "snis": ["a.example", {"name": "b.example"}]}]}),
        json!({"key_sets": [{"name": "s", "keys": [{"kid": "k"}]}], "filter_chains": [{"route": "r", "filters": [{"name": "f"}]}]}),
    ] {
        let mistakes: Vec<String> = validator
            .iter_errors(&good)
            .map(|error| error.to_string())
            .collect();
        assert!(mistakes.is_empty(), "{good}: {mistakes:?}");
    }
    for bad in [
        json!({"servces": []}),
        json!({"services": {}}),
        json!({"services": [{"name": 5}]}),
        json!({"services": [{"name": "a", "port": "80"}]}),
        json!({"services": [{"name": "a", "port": 70000}]}),
        json!({"services": [{"name": "a", "protocol": "htps"}]}),
        json!({"services": [{"name": "a", "hots": "x"}]}),
        json!({"plugins": [{}]}),
        json!({"consumers": [{"tags": []}]}),
        json!({"consumer_groups": []}),
        json!({"routes": [{"service": {}}]}),
        json!({"_format_version": "1.1"}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

/// Every configuration in this repository.
#[test]
fn files_of_this_repository_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files: Vec<PathBuf> = ["kong", "tests", "kongctl/tests/fixtures", "helm-values"]
        .iter()
        .flat_map(|directory| configurations(&root.join(directory)))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    let accepted = agreeing(&files);
    assert!(accepted > 0);
}

/// Every file of decK's integration tests that `validate` takes, the schema takes too.
#[test]
fn files_of_deck_that_kongctl_takes_are_valid() {
    let Some(module) = go_module(DECK) else {
        return;
    };
    let files = configurations(&module.join("tests/integration/testdata"));
    let accepted = agreeing(&files);
    eprintln!(
        "{accepted} of decK's {} files are for Kong OSS 3",
        files.len()
    );
    assert!(accepted >= 100, "{accepted} of {}", files.len());
}

/// How many of the files `validate` takes; the schema has to take them too.
fn agreeing(files: &[PathBuf]) -> usize {
    let validator = validator();
    let world = World::new(&[]);
    let mut accepted = 0;
    for file in files {
        let seen = world.run(&["validate", file.to_str().unwrap()]);
        if !seen.contains("exit code: 0") {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        for document in documents(&text) {
            let mistakes: Vec<String> = validator
                .iter_errors(&document)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(mistakes.is_empty(), "{}: {mistakes:#?}", file.display());
        }
        accepted += 1;
    }
    accepted
}

/// What an editor sees: tags as the text behind them.
fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn configurations(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|ext| ext == "yml" || ext == "yaml")
                && std::fs::read_to_string(&path)
                    .is_ok_and(|text| text.lines().any(|line| line.starts_with("_format_version")))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What is converted for decK keeps to decK's own schema.
#[test]
fn what_is_converted_for_deck_is_valid_for_deck() {
    let Some(module) = go_module(RECONCILER) else {
        return;
    };
    let text = std::fs::read_to_string(module.join("pkg/file/kong_json_schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle");
    for name in ["a.yml", "b.yml"] {
        let path = fixtures.join(name);
        let words = ["convert", "--to", "deck", "--show-secrets", "-o", "json"];
        let words = [&words[..], &[path.to_str().unwrap()]].concat();
        let document: Value = serde_json::from_str(&World::new(&[]).stdout(&words)).unwrap();
        let mistakes: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty(), "{name}: {mistakes:#?}");
    }
}
