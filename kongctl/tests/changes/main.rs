//! Plans that are saved, runs that are undone, nodes that fail on the way: what a user sees, and what the node has in the end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod faults;
mod front;
mod nodes;
mod plans;
mod rollbacks;
mod subject;
mod terminal;
mod transcript;

use std::path::Path;
use std::process::{Command, Stdio};

use kong_standin::config::Database;
use kong_standin::{Config, Standin};

/// A user's directory, which is their home too.
struct User(tempfile::TempDir);

/// What is seen of a command that ended.
#[derive(Debug)]
struct Seen {
    code: i32,
    stdout: String,
    stderr: String,
}

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, line: &str, node: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
        command
            .args(line.split_whitespace())
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("KONGCTL_ADMIN_URL", node)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line against a node.
    async fn run(&self, line: &str, node: &str) -> Seen {
        let mut command = self.command(line, node);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        Seen {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command line that must succeed, for what it prints.
    async fn must(&self, line: &str, node: &str) -> String {
        let seen = self.run(line, node).await;
        assert_eq!(seen.code, 0, "{line}: {seen:?}");
        seen.stdout
    }

    /// All that a node has, ids included.
    async fn dump(&self, node: &str) -> String {
        self.must("dump --with-ids", node).await
    }
}

async fn standin(database: Database) -> Standin {
    Standin::start(Config {
        database,
        ..Config::default()
    })
    .await
    .unwrap()
}

fn url(standin: &Standin) -> String {
    format!("http://{}", standin.admin_addr())
}

/// Both ways to keep a configuration.
const DATABASES: [Database; 2] = [Database::Memory, Database::Off];
