//! What a user sees of each verb: exit code, standard output and standard error, against the stand-in gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod hand;
mod kinds;
mod nodes;
mod plugin;
mod shell;
mod sync;
mod validate;
mod verbs;

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
        let config = Config {
            database,
            ..Config::default()
        };
        let world = Self::on(config).await;
        world.write("kong.yml", FILE);
        world
    }

    /// On a gateway of one's own, without files.
    async fn on(gateway: Config) -> Self {
        Self {
            gateway: Standin::start(gateway).await.unwrap(),
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.path().join(name), text).unwrap();
    }

    /// Runs a command line and tells all that can be seen of it.
    async fn run(&self, line: &str) -> String {
        run(line, self.files.path(), self.gateway.admin_addr()).await
    }

    /// The same of several command lines, one after the other.
    async fn lines(&self, lines: &[&str]) -> String {
        let mut seen = Vec::new();
        for line in lines {
            seen.push(self.run(line).await);
        }
        seen.join("\n")
    }

    /// The same as [`World::run`] where there is room for so many columns.
    async fn run_in(&self, line: &str, columns: usize) -> String {
        let room = columns.to_string();
        let (directory, admin) = (self.files.path(), self.gateway.admin_addr());
        run_with(line, directory, admin, &[("COLUMNS", &room)]).await
    }
}

async fn run(line: &str, directory: &Path, admin: SocketAddr) -> String {
    run_with(line, directory, admin, &[]).await
}

async fn run_with(
    line: &str,
    directory: &Path,
    admin: SocketAddr,
    environment: &[(&str, &str)],
) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
    command
        .args(line.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .env("KONGCTL_ADMIN_URL", format!("http://{admin}"))
        .env("HOME", directory)
        .envs(environment.iter().copied())
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
