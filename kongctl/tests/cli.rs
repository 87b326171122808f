//! What a user sees of each verb: exit code, standard output and standard error, against the stand-in gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use kong_standin::config::Database;
use kong_standin::{Config, Standin};

const FILE: &str = r#"_format_version: "3.0"
services:
- name: llm
  url: http://provider.example/v1
  routes:
  - name: chat
    paths: [/chat]
    plugins:
    - {name: key-auth, config: {key_names: [apikey]}}
consumers:
- username: alice
  tags: [gold]
  keyauth_credentials: [{key: alice-s3cret}]
  basicauth_credentials: [{username: alice, password: pw-s3cret}]
  acls: [{group: gold}]
upstreams:
- name: pool
  targets: [{target: "127.0.0.1:9955", weight: 10}, {target: host.example}]
"#;

/// A gateway, and a directory with files.
struct World {
    gateway: Standin,
    files: tempfile::TempDir,
}

impl World {
    async fn new(database: Database) -> Self {
        let gateway = Standin::start(Config {
            database,
            ..Config::default()
        })
        .await
        .unwrap();
        let world = Self {
            gateway,
            files: tempfile::tempdir().unwrap(),
        };
        world.write("kong.yml", FILE);
        world
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.path().join(name), text).unwrap();
    }

    /// Runs a command line and tells all that can be seen of it.
    async fn run(&self, line: &str) -> String {
        run(line, self.files.path(), self.gateway.admin_addr()).await
    }
}

async fn run(line: &str, directory: &Path, admin: SocketAddr) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
    command
        .args(line.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .env("KONGCTL_ADMIN_URL", format!("http://{admin}"))
        .env("HOME", directory)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let mut seen = format!(
        "$ kongctl {line}\nexit code: {}\n",
        output.status.code().unwrap()
    );
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8(bytes.clone())
            .unwrap()
            .replace(&admin.to_string(), "ADMIN");
        assert!(!text.contains("s3cret"), "a secret is shown:\n{text}");
        if !text.is_empty() {
            let _ = write!(seen, "--- {name}\n{text}");
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_tells_the_mode() {
    let world = World::new(Database::Memory).await;
    insta::assert_snapshot!(world.run("ping").await);
    let world = World::new(Database::Off).await;
    insta::assert_snapshot!("ping_dbless", world.run("ping").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_a_failure_with_a_hint() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(run("ping --retries 0 -o json", directory.path(), unused).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_64() {
    let world = World::new(Database::Memory).await;
    let seen = world.run("sync").await;
    assert!(seen.contains("exit code: 64"), "{seen}");
    insta::assert_snapshot!(world.run("get widgets").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_tells_every_mistake_with_its_place() {
    let world = World::new(Database::Memory).await;
    insta::assert_snapshot!("validate_good", world.run("validate kong.yml").await);
    world.write("bad.yml", "services:\n- nam: llm\n  host: h\n  port: '80'\n  port: 81\nplugins:\n- {name: key-auth, route: chat}\n");
    insta::assert_snapshot!("validate_bad", world.run("validate bad.yml").await);
    insta::assert_snapshot!(
        "validate_bad_json",
        world.run("validate -o json bad.yml").await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_online_asks_the_node() {
    let world = World::new(Database::Memory).await;
    insta::assert_snapshot!(
        "validate_online_good",
        world.run("validate --online kong.yml").await
    );
    world.write("bad.yml", "services:\n- name: 'bad name'\n  host: h\nplugins:\n- name: key-auth\n  config: {key_name: [x]}\n");
    insta::assert_snapshot!(
        "validate_online_plugin",
        world.run("validate --online bad.yml").await
    );
    world.write("bad.yml", "services:\n- name: 'bad name'\n  host: h\n");
    insta::assert_snapshot!(
        "validate_online_entity",
        world.run("validate --online bad.yml").await
    );
}

/// Sync, diff, second sync, dump, change, reset: the life of a file, in both modes.
async fn life(database: Database, name: &str) {
    let world = World::new(database).await;
    let mut seen = Vec::new();
    for line in [
        "diff --exit-code kong.yml",
        "sync kong.yml",
        "diff --exit-code kong.yml",
        "sync kong.yml",
        "dump --redact",
    ] {
        seen.push(world.run(line).await);
    }
    world.write(
        "kong.yml",
        &FILE
            .replace("/chat", "/talk")
            .replace("weight: 10", "weight: 20")
            .replace("pw-s3cret", "pw2-s3cret"),
    );
    for line in [
        "diff kong.yml",
        "diff -o json kong.yml",
        "sync -o json kong.yml",
        "diff --exit-code kong.yml",
    ] {
        seen.push(world.run(line).await);
    }
    world.write(
        "less.yml",
        "consumers:\n- {username: alice, tags: [gold]}\n",
    );
    for line in [
        "diff --no-delete less.yml",
        "sync --max-deletes 2 less.yml",
        "apply less.yml",
        "sync less.yml",
        "reset",
        "reset --yes",
        "dump",
    ] {
        seen.push(world.run(line).await);
    }
    let journal = (r"/\S+/journals/[0-9TZ-]+\.jsonl", "JOURNAL");
    insta::with_settings!({filters => vec![journal]}, {
        insta::assert_snapshot!(name, seen.join("\n"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_file_with_a_database() {
    life(Database::Memory, "life_database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_file_without_a_database() {
    life(Database::Off, "life_dbless").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_deletes_nothing() {
    let world = World::new(Database::Memory).await;
    world.write("empty.yml", "_format_version: '3.0'\nservices: []\n");
    insta::assert_snapshot!(world.run("sync empty.yml").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kong_refuses_is_told_and_the_rest_is_done() {
    let world = World::new(Database::Memory).await;
    world.write("kong.yml", &FILE.replace("name: llm", "name: 'bad name'"));
    insta::assert_snapshot!("refused_database", world.run("sync kong.yml").await);
    let seen = world.run("sync -o json kong.yml").await;
    let journal = (r"/\S+/journals/[0-9TZ-]+\.jsonl", "JOURNAL");
    insta::with_settings!({filters => vec![journal]}, {
        insta::assert_snapshot!("refused_database_json", seen);
    });
    let world = World::new(Database::Off).await;
    world.write("kong.yml", &FILE.replace("name: llm", "name: 'bad name'"));
    insta::assert_snapshot!("refused_dbless", world.run("sync kong.yml").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_keep_apart_what_belongs_to_whom() {
    let world = World::new(Database::Memory).await;
    world.run("sync kong.yml").await;
    world.write(
        "mine.yml",
        "_info: {select_tags: [mine]}\nroutes:\n- {name: extra, paths: [/extra], service: llm}\n",
    );
    let mut seen = vec![world.run("sync mine.yml").await];
    seen.push(world.run("dump --select-tag mine").await);
    seen.push(world.run("reset --yes --select-tag mine").await);
    world.write("theirs.yml", "consumers: [{username: alice}]\n");
    seen.push(world.run("sync --select-tag mine theirs.yml").await);
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_lists_and_shows_without_secrets() {
    let world = World::new(Database::Memory).await;
    world.run("sync kong.yml").await;
    let mut seen = Vec::new();
    for line in [
        "get services",
        "get routes -o name",
        "get consumer alice",
        "get consumer alice -o yaml",
        "get targets",
        "get plugins",
        "get key-auths -o name",
        "get consumer alcie",
    ] {
        seen.push(world.run(line).await);
    }
    insta::with_settings!({filters => vec![(r"(created|updated)_at: [0-9.]+", "${1}_at: TIME")]}, {
        insta::assert_snapshot!(seen.join("\n"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_three_parts_and_a_shell_gets_its_script() {
    let world = World::new(Database::Memory).await;
    world.write("secret.txt", "shared\n");
    let seen = world
        .run("token mint --algorithm HS256 --key-file secret.txt --subject alice")
        .await;
    let token = seen.lines().last().unwrap();
    assert_eq!(token.split('.').count(), 3, "{seen}");
    let script = world.run("completion bash").await;
    assert!(
        script.contains("exit code: 0") && script.contains("_kongctl"),
        "{script}"
    );
}
