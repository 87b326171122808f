//! A first sync, a diff, a refused plan and a rollback, as a user sees them. The README links to what this writes down.

use std::fmt::Write as _;

use kong_standin::config::Database;

use super::{User, standin, url};

const FILE: &str = "\
services:
- name: llm
  url: https://provider.example/v1
  routes:
  - name: chat
    paths: [/chat]
    plugins:
    - name: key-auth
consumers:
- username: alice
  keyauth_credentials: [{key: s3cret-of-alice}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hour() {
    let (node, user, colleague) = (standin(Database::Memory).await, User::new(), User::new());
    let node = url(&node);
    let mut transcript = String::new();
    let mut tell = async |line: &str| {
        let seen = user.run(line, &node).await;
        writeln!(
            transcript,
            "$ kongctl {line}\n{}{}",
            seen.stdout, seen.stderr
        )
        .unwrap();
        if seen.code != 0 {
            writeln!(transcript, "(exit code {})\n", seen.code).unwrap();
        }
    };
    user.write("kong.yml", FILE);
    tell("sync kong.yml").await;
    user.write(
        "kong.yml",
        &FILE
            .replace("/v1", "/v2")
            .replace("[/chat]", "[/chat, /v1/chat/completions, /v1/completions]")
            .replace("s3cret-of-alice", "another-s3cret"),
    );
    tell("diff --exit-code kong.yml").await;
    tell("plan kong.yml -o plan.json").await;
    let theirs = FILE.replace("  routes:", "  retries: 0\n  routes:");
    colleague.write("kong.yml", &theirs);
    colleague.must("sync kong.yml", &node).await;
    tell("sync --plan plan.json").await;
    tell("sync kong.yml").await;
    tell("rollback --yes").await;
    tell("diff --exit-code kong.yml -o name").await;
    assert!(!transcript.contains("s3cret"), "{transcript}");
    let moments = vec![
        (r"\d{8}T\d{6}-\d{3}Z-\d+", "20261123T160500-123Z-0"),
        (
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
            "2026-11-23 16:05:00 UTC",
        ),
    ];
    insta::with_settings!({filters => moments}, {
        insta::assert_snapshot!(transcript);
    });
}
