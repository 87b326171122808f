//! `kongctl to-k8s`: what becomes of each kind of entity, and what is told of those that Kubernetes has no word for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn run(line: &str) -> String {
    run_with(line, &[])
}

fn run_with(line: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kongctl"))
        .args(line.split_whitespace())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubernetes"))
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut seen = format!(
        "$ kongctl {line}\nexit code: {}\n",
        output.status.code().unwrap()
    );
    for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
        let text = String::from_utf8(bytes).unwrap();
        let _ = write!(seen, "--- {name}\n{text}");
    }
    seen
}

/// The blocks between `---` that hold `word`.
fn objects_with(seen: &str, word: &str) -> String {
    seen.split("---\n")
        .filter(|object| object.contains(word))
        .collect::<Vec<_>>()
        .join("---\n")
}

#[test]
fn every_kind_has_its_object() {
    insta::assert_snapshot!(run("to-k8s all.yml"));
}

#[test]
fn ingresses_say_the_same_and_what_they_cannot_is_told() {
    let refused = run("to-k8s --ingress all.yml");
    insta::assert_snapshot!(refused);
    let seen = run("to-k8s --ingress --allow-losses --class inner --namespace agents all.yml");
    insta::assert_snapshot!("ingresses", objects_with(&seen, "kind: Ingress"));
    insta::assert_snapshot!(
        "names",
        run("to-k8s --ingress --allow-losses -o name all.yml")
    );
}

#[test]
fn certificates_become_secrets_listeners_and_references() {
    let seen = run("to-k8s certificates.yml");
    insta::assert_snapshot!(seen);
    let seen = run("to-k8s --ingress certificates.yml");
    insta::assert_snapshot!(
        "certificates_of_ingresses",
        objects_with(&seen, "kind: Ingress")
    );
}

#[test]
fn nothing_is_lost_in_silence() {
    insta::assert_snapshot!(run("to-k8s unsayable.yml"));
    insta::assert_snapshot!(
        "the_rest",
        run("to-k8s --allow-losses -o name unsayable.yml")
    );
}

/// Secrets alone hold secrets.
#[test]
fn a_secret_is_in_a_secret_and_nowhere_else() {
    let seen = run("to-k8s all.yml");
    assert_eq!(seen.matches("s3cret").count(), 3);
    for object in seen
        .split("---\n")
        .filter(|object| object.contains("s3cret"))
    {
        assert!(object.contains("kind: Secret"), "{object}");
    }
}

/// Nobody told what Kong's own plugins keep where; what an environment variable says in them is a secret.
#[test]
fn what_comes_from_the_environment_into_a_plugin_is_in_a_secret() {
    let environment = [
        ("AGENT_KEY", "s3cret-key"),
        ("ISSUER", "https://idp.example"),
    ];
    let seen = run_with("to-k8s environment.yml", &environment);
    for object in seen
        .split("---\n")
        .filter(|object| object.contains("s3cret"))
    {
        assert!(object.contains("kind: Secret"), "{object}");
    }
    insta::assert_snapshot!(seen);
}
