//! What a server's state file is worth to the next one.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Server, command};

/// What a server may lose when it is killed.
const LOST_AT_MOST: Duration = Duration::from_secs(1);

fn keeps_state(command: &mut Command, dir: &Path) {
    command.arg("--state-file").arg(dir.join("state"));
}

async fn start(dir: &Path) -> Server {
    Server::start(dir, |command| keeps_state(command, dir)).await
}

/// Lets a consumer make so many requests; how many passed.
async fn requests(server: &Server, consumer: &str, count: usize) -> usize {
    let config = json!({"limits": [
        {"name": "hourly", "unit": "requests", "limit": 5, "window_size": 3600},
        {"name": "yearly", "unit": "requests", "limit": 1000, "window_type": "fixed", "window_size": 31_536_000},
    ]});
    server.requests(&config, consumer, count).await
}

/// What counts as used of each limit, by its name.
async fn used(server: &Server, consumer: &str) -> Vec<(String, u64)> {
    let counters = server.get(&format!("/v1/counters?search={consumer}")).await;
    let counters: Value = serde_json::from_str(&counters).unwrap();
    let mut used: Vec<_> = counters["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|counter| {
            let name = counter["limit_name"].as_str().unwrap();
            (name.to_owned(), counter["used"].as_u64().unwrap())
        })
        .collect();
    used.sort();
    used
}

fn both(count: u64) -> Vec<(String, u64)> {
    vec![("hourly".to_owned(), count), ("yearly".to_owned(), count)]
}

#[tokio::test]
async fn counters_outlive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    assert_eq!(requests(&server, "alice", 7).await, 5);
    assert_eq!(requests(&server, "bob", 3).await, 3);
    assert_eq!(used(&server, "alice").await, both(5));
    tokio::time::sleep(LOST_AT_MOST).await;
    let bytes = fs::metadata(dir.path().join("state")).unwrap().len();
    assert_eq!(server.metric("llm_state_file_bytes").await, bytes);
    assert_eq!(server.metric("llm_state_file_up").await, 1);
    assert_eq!(server.metric("llm_state_file_failures_total").await, 0);
    server.kill();

    let server = start(dir.path()).await;
    assert_eq!(requests(&server, "alice", 1).await, 0, "the window is full");
    assert_eq!(used(&server, "alice").await, both(5));
    assert_eq!(requests(&server, "bob", 3).await, 2);
    // A stop loses nothing, not even the last second.
    server.stop().await;

    let server = start(dir.path()).await;
    assert_eq!(requests(&server, "bob", 1).await, 0);
    assert_eq!(used(&server, "bob").await, both(5));
}

#[tokio::test]
async fn a_kill_under_load_costs_the_last_second_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"limits": [
        {"name": "yearly", "unit": "requests", "limit": 1_000_000, "window_type": "fixed", "window_size": 31_536_000},
    ]});
    let server = start(dir.path()).await;
    let began = Instant::now();
    let mut passed = Vec::new();
    while began.elapsed() < LOST_AT_MOST * 2 {
        let before = passed.last().map_or(0, |&(_, count)| count);
        let more = server.requests(&config, "alice", 20).await;
        passed.push((Instant::now(), before + more as u64));
    }
    let killed = Instant::now();
    server.kill();

    let server = start(dir.path()).await;
    assert_eq!(server.requests(&config, "alice", 1).await, 1);
    let kept = used(&server, "alice").await[0].1 - 1;
    let old = passed.iter().rfind(|(at, _)| *at + LOST_AT_MOST <= killed);
    let (&(_, old), &(_, all)) = old.zip(passed.last()).unwrap();
    assert!(
        old > 0 && (old..=all).contains(&kept),
        "{kept} kept of {all}, {old} of them older than a second"
    );
}

#[tokio::test]
async fn a_torn_tail_is_told_of_and_the_rest_restored() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    assert_eq!(requests(&server, "alice", 3).await, 3);
    server.stop().await;
    let state = File::options().write(true).open(dir.path().join("state"));
    let state = state.unwrap();
    state.set_len(state.metadata().unwrap().len() - 3).unwrap();

    let log = dir.path().join("log");
    let server = Server::start(dir.path(), |command| {
        keeps_state(command, dir.path());
        command.stderr(File::create(&log).unwrap());
    })
    .await;
    let log = fs::read_to_string(&log).unwrap();
    let warning = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let warning = warning
        .filter(|entry| entry["level"] == "WARN")
        .collect::<Vec<_>>();
    assert_eq!(warning.len(), 1, "{log}");
    assert!(warning[0]["records_kept"].as_u64() >= Some(1), "{log}");
    assert!(warning[0]["bytes_cut"].as_u64() >= Some(20), "{log}");
    assert_eq!(requests(&server, "alice", 1).await, 1);
    let mut counts: Vec<u64> = used(&server, "alice")
        .await
        .into_iter()
        .map(|(_, used)| used)
        .collect();
    counts.sort_unstable();
    assert_eq!(counts[1], 4, "what was whole is restored");
    assert!(counts[0] < 4, "what was torn is not");
}

#[tokio::test]
async fn without_a_state_file_counters_end_with_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), |_| {}).await;
    assert_eq!(requests(&server, "alice", 7).await, 5);
    assert!(!server.get("/metrics").await.contains("llm_state_file"));
    server.kill();
    let server = Server::start(dir.path(), |_| {}).await;
    assert_eq!(requests(&server, "alice", 7).await, 5);
}

#[tokio::test]
async fn a_second_server_is_told_why_it_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    let _first = start(dir.path()).await;
    let mut second = command(dir.path());
    keeps_state(&mut second, dir.path());
    let second = second.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    let state = dir.path().join("state").canonicalize().unwrap();
    let expected = format!(
        "error: {} (store.state_file) is in use by another process: stop that one, or name another file\n",
        state.display()
    );
    assert_eq!(message, expected);
}
