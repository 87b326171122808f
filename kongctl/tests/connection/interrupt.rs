//! Ctrl-C in the middle of a sync.

use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::Arc;

use axum::http::Method;
use axum::response::IntoResponse as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::Semaphore;

use super::node::{Answer, Node};
use super::{PATIENCE, Seen, kongctl};

/// A sync of eight consumers, two calls at a time, on a node that holds writes back.
struct HeldSync {
    node: Node,
    gate: Arc<Semaphore>,
    child: Child,
    stderr: BufReader<ChildStderr>,
    _files: TempDir,
}

impl HeldSync {
    /// With a database; returns when two writes are done and two are in flight.
    async fn start() -> Self {
        let gate = Arc::new(Semaphore::new(2));
        let held = gate.clone();
        let node = Node::new(move |call, _| match call.method {
            Method::POST => Answer::Held(held.clone()),
            _ => Answer::Usual,
        });
        Self::start_on(node, gate, &Method::POST, 4).await
    }

    /// Without a database; returns when the one call that writes is in flight.
    async fn start_dbless() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        let node = Node::new(move |call, _| match call.path.as_str() {
            "/status" => Answer::This(r#"{"server": {}}"#.into_response()),
            "/config" => Answer::Held(held.clone()),
            _ => Answer::Usual,
        });
        Self::start_on(node, gate, &Method::POST, 1).await
    }

    async fn start_on(node: Node, gate: Arc<Semaphore>, writes: &Method, count: usize) -> Self {
        let url = node.start().await;
        let files = tempfile::tempdir().unwrap();
        let mut text = "consumers:\n".to_owned();
        for number in 1..=8 {
            writeln!(text, "- username: user-{number}").unwrap();
        }
        std::fs::write(files.path().join("kong.yml"), text).unwrap();
        let mut child = kongctl("sync --parallelism 2 kong.yml", &url, files.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        node.has_seen(writes, count).await;
        Self {
            node,
            gate,
            child,
            stderr,
            _files: files,
        }
    }

    /// Sends SIGINT and returns what is said to it.
    async fn interrupt(&mut self) -> String {
        let kill = format!("kill -INT {}", self.child.id().unwrap());
        let status = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(status.unwrap().success());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, self.stderr.read_line(&mut line))
            .await
            .expect("the signal is noticed")
            .unwrap();
        line
    }

    async fn end(mut self) -> (Seen, Node) {
        let mut stderr = String::new();
        let output = tokio::time::timeout(PATIENCE, async {
            self.stderr.read_to_string(&mut stderr).await.unwrap();
            self.child.wait_with_output().await.unwrap()
        });
        let mut seen = Seen::from(output.await.expect("the command ends"));
        seen.stderr = stderr;
        (seen, self.node)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_sync_ends_what_it_began_and_says_what_is_left() {
    let mut sync = HeldSync::start().await;
    let said = sync.interrupt().await;
    assert!(said.starts_with("Interrupted: waiting"), "{said}");
    sync.gate.add_permits(8);
    let (seen, node) = sync.end().await;
    assert_eq!(seen.code, Some(1), "{}", seen.stderr);
    let count = |words: &str| seen.stdout.matches(words).count();
    assert_eq!(count("created consumer user-"), 4, "{}", seen.stdout);
    assert_eq!(count("not started: create consumer user-"), 4);
    assert!(
        seen.stdout
            .contains("4 done, 0 failed, 4 not done, 0 unchanged."),
        "{}",
        seen.stdout
    );
    assert!(
        seen.stderr.contains("not as the files say"),
        "{}",
        seen.stderr
    );
    assert_eq!(node.calls(&Method::POST).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_waits_for_nothing() {
    let mut sync = HeldSync::start().await;
    sync.interrupt().await;
    let said = sync.interrupt().await;
    assert!(said.starts_with("Interrupted again"), "{said}");
    let (seen, node) = sync.end().await;
    assert_eq!(seen.code, Some(1), "{}", seen.stderr);
    let count = |words: &str| seen.stdout.matches(words).count();
    assert_eq!(
        count("no answer yet: create consumer user-"),
        2,
        "{}",
        seen.stdout
    );
    assert!(
        seen.stdout
            .contains("2 done, 0 failed, 4 not done, 2 unknown, 0 unchanged."),
        "{}",
        seen.stdout
    );
    assert_eq!(node.calls(&Method::POST).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_one_call_is_waited_for_or_given_up() {
    let mut sync = HeldSync::start_dbless().await;
    sync.interrupt().await;
    sync.gate.add_permits(1);
    let (seen, _) = sync.end().await;
    // All was done, as if nobody had interrupted.
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert!(
        seen.stdout.contains("8 done, 0 unchanged."),
        "{}",
        seen.stdout
    );

    let mut sync = HeldSync::start_dbless().await;
    sync.interrupt().await;
    sync.interrupt().await;
    let (seen, _) = sync.end().await;
    assert_eq!(seen.code, Some(1), "{}", seen.stderr);
    let told = "0 done, 0 failed, 0 not done, 8 unknown, 0 unchanged.";
    assert!(seen.stdout.contains(told), "{}", seen.stdout);
}
