//! The connection to a node: retries, TLS, sockets, interrupts and unusual answers, as a user meets them, against nodes that misbehave on request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod interrupt;
mod kinds;
mod node;
mod retries;
mod transport;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is seen of a command that ended.
struct Seen {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Seen {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A command line in a directory, against the node at `url`.
fn kongctl(line: &str, url: &str, directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
    command
        .args(line.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .env("KONGCTL_ADMIN_URL", url)
        .env("HOME", directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> Seen {
    tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the command ends")
        .unwrap()
        .into()
}
