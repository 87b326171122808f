//! Nodes that fail in the middle of a sync: what was done is known, the same command carries on, and a rollback undoes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use kong_standin::Standin;
use kong_standin::config::Database;
use serde_json::Value;

use super::front::{self, Fate, Front};
use super::{User, standin, subject, url};

/// What was there before the sync, and partly goes by it.
const BEFORE: &str = "
services:
- {name: s0, host: old, routes: [{name: gone, paths: [/gone]}]}
consumers: [{username: leaves, keyauth_credentials: [{key: leaves}]}]
";

struct World {
    node: Standin,
    user: User,
    before: String,
    after: String,
}

impl World {
    /// A node with something on it, and what it should have in the end.
    async fn new() -> Self {
        let (node, user) = (standin(Database::Memory).await, User::new());
        user.write("before.yml", BEFORE);
        user.write("kong.yml", &subject::wanted());
        let direct = url(&node);
        user.must("sync before.yml", &direct).await;
        let before = user.dump(&direct).await;
        user.must("sync --journal off kong.yml", &direct).await;
        let after = user.dump(&direct).await;
        user.must("sync --journal off before.yml", &direct).await;
        assert_eq!(user.dump(&direct).await, before);
        Self {
            node,
            user,
            before,
            after,
        }
    }

    async fn front(
        &self,
        script: impl Fn(usize, &Method, &str) -> Fate + Send + Sync + 'static,
    ) -> (Front, String) {
        Front::start(&url(&self.node), script).await
    }

    async fn now(&self) -> String {
        self.user.dump(&url(&self.node)).await
    }

    /// A sync that fails; what its report counts.
    async fn fails(&self, line: &str, node: &str) -> (Value, String) {
        let seen = self.user.run(line, node).await;
        assert_eq!(seen.code, 1, "{seen:?}");
        let report: Value = serde_json::from_str(&seen.stdout).unwrap();
        (report, seen.stderr)
    }

    /// Every change that the report calls done is seen on the node, and none that it calls not done.
    async fn is_as_told(&self, report: &Value) {
        let now = self.now().await;
        let untrue = subject::untrue(report, &now);
        assert!(untrue.is_none(), "{untrue:?} is not so:\n{now}");
    }

    /// The same command carries on, and rollbacks undo all of it.
    async fn resumes_and_is_undone(&self, node: &str) {
        self.user.must("sync kong.yml", node).await;
        assert_eq!(self.now().await, self.after);
        for _ in 0..2 {
            self.user.must("rollback --yes", node).await;
        }
        assert_eq!(self.now().await, self.before);
    }

    /// What the sync that failed did is undone at once.
    async fn is_undone(&self, node: &str) {
        self.user.must("rollback --yes", node).await;
        assert_eq!(self.now().await, self.before);
    }
}

/// Writes that are in flight at most when the node dies.
const IN_FLIGHT: u64 = 32;

const SYNC: &str = "sync -o json --retries 1 --timeout 2s kong.yml";

fn dies_at(fatal: usize) -> impl Fn(usize, &Method, &str) -> Fate {
    move |number, _, _| {
        if number == fatal {
            Fate::Cut
        } else {
            Fate::Pass
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_mid_sync_is_given_up_and_the_next_run_carries_on() {
    for fatal in [0, 7, 20] {
        let world = World::new().await;
        let (front, node) = world.front(dies_at(fatal)).await;
        let (report, stderr) = world.fails(SYNC, &node).await;
        assert!(
            report["summary"]["done"].as_u64().unwrap() <= fatal as u64 + IN_FLIGHT,
            "{report}"
        );
        assert!(
            report["summary"]["unknown"].as_u64().unwrap() > 0,
            "the answer was lost with the node: {report}"
        );
        assert!(stderr.contains("`kongctl rollback` restores"), "{stderr}");
        front.mend();
        world.is_as_told(&report).await;
        world.resumes_and_is_undone(&node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_did_before_it_died_is_undone_at_once() {
    for fatal in [0, 7, 20] {
        let world = World::new().await;
        let (front, node) = world.front(dies_at(fatal)).await;
        world.fails(SYNC, &node).await;
        front.mend();
        world.is_undone(&node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_killed_leaves_a_journal_that_undoes_it() {
    let world = World::new().await;
    let (front, node) = world
        .front(|number, _, _| {
            if number < 9 {
                Fate::Pass
            } else {
                Fate::Swallowed
            }
        })
        .await;
    let mut child = world.user.command("sync kong.yml", &node).spawn().unwrap();
    let started = Instant::now();
    while front.writes() < 10 {
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "the writes come"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let listed = world.user.must("rollback --list", &node).await;
    assert!(listed.contains("cut off"), "{listed}");
    // Directly: the front swallows what comes now.
    let direct = url(&world.node);
    let journals = world.user.must("rollback --list -o name", &direct).await;
    let path = format!(
        "{}/.local/state/kongctl-admin/journals/{}.jsonl",
        world.user.path().display(),
        journals.lines().next().unwrap()
    );
    // The journal is of the front's address; the node behind it is the same.
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace(&node, &direct);
    std::fs::write(&path, text).unwrap();
    world.is_undone(&direct).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weakness_that_passes_is_outlasted() {
    for status in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::BAD_GATEWAY,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let world = World::new().await;
        // Every third write is refused, the first time round; only a target's POST may not be repeated.
        let (_, node) = world
            .front(move |number, method, path| {
                let repeatable = method != Method::POST || !path.ends_with("/targets");
                if number % 3 == 0 && number < 30 && repeatable {
                    Fate::Refused(status)
                } else {
                    Fate::Pass
                }
            })
            .await;
        world.user.must("sync kong.yml", &node).await;
        assert_eq!(world.now().await, world.after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_asks_for_a_pause_gets_it_from_all_calls() {
    let world = World::new().await;
    let (front, node) = world
        .front(|number, _, _| if number == 3 { Fate::Later } else { Fate::Pass })
        .await;
    let started = Instant::now();
    world.user.must("sync kong.yml", &node).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(world.now().await, world.after);
    assert!(front.writes() > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_answers_500_to_everything_is_given_up() {
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ] {
        let world = World::new().await;
        let (front, node) = world.front(front::refuses_after(4, status)).await;
        let (report, stderr) = world.fails(SYNC, &node).await;
        assert_eq!(report["gave_up"], true, "{report}");
        assert_eq!(report["summary"]["done"], 4, "{report}");
        assert_eq!(
            report["summary"]["unknown"], 0,
            "what was not answered well was looked up: {report}"
        );
        assert!(stderr.contains("the rest was not tried"), "{stderr}");
        assert!(front.writes() < 30, "{} writes", front.writes());
        world.is_as_told(&report).await;
        let direct = url(&world.node);
        world
            .user
            .must("sync --journal off kong.yml", &direct)
            .await;
        assert_eq!(world.now().await, world.after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entity_that_fails_stops_what_needs_it_and_all_deletions() {
    let world = World::new().await;
    let (_, node) = world
        .front(|_, method, path| {
            if *method == Method::POST && path == "/upstreams" {
                Fate::Refused(StatusCode::INTERNAL_SERVER_ERROR)
            } else {
                Fate::Pass
            }
        })
        .await;
    let (report, _) = world.fails(SYNC, &node).await;
    let summary = &report["summary"];
    // The upstream; its two targets, and three deletions.
    assert_eq!(
        (&summary["failed"], &summary["not_done"]),
        (&1.into(), &5.into()),
        "{report}"
    );
    world.is_as_told(&report).await;
    world.is_undone(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_looked_up() {
    let world = World::new().await;
    // All tries of a service's update arrive, the only one of each target, and the first of a key; none is answered.
    let key = AtomicBool::new(true);
    let (_, node) = world
        .front(move |_, method, path| {
            let swallowed = match *method {
                Method::PUT => path.starts_with("/services/"),
                Method::POST if path.ends_with("/key-auth") => key.swap(false, Ordering::Relaxed),
                Method::POST => path.ends_with("/targets"),
                _ => false,
            };
            if swallowed {
                Fate::Swallowed
            } else {
                Fate::Pass
            }
        })
        .await;
    let seen = world.user.run(SYNC, &node).await;
    let report: Value = serde_json::from_str(&seen.stdout).unwrap();
    let unknown = &report["summary"]["unknown"];
    assert_eq!(unknown, 0, "{report}");
    world.is_as_told(&report).await;
    let direct = url(&world.node);
    world
        .user
        .must("sync --journal off kong.yml", &direct)
        .await;
    assert_eq!(world.now().await, world.after);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_writer_adds_meanwhile_is_not_deleted_with_what_it_stands_on() {
    let world = World::new().await;
    let direct = url(&world.node);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // Another writer gives a service a route.
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (_, node) = world
        .front(move |number, _, _| {
            if number == 0 {
                sender.send(()).unwrap();
            }
            Fate::Pass
        })
        .await;
    let run = world.user.run("sync -o json kong.yml", &node);
    let other = async {
        asked.recv().await.unwrap();
        let body = r#"{"name": "theirs", "paths": ["/theirs"]}"#;
        let route = client
            .post(format!("{direct}/services/s0/routes"))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(route.status(), 201);
    };
    let (seen, ()) = tokio::join!(run, other);
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(world.now().await.contains("name: theirs"));
    // Undoing the sync touches nothing of theirs.
    world.user.must("rollback --yes", &node).await;
    let now = world.now().await;
    assert!(
        now.contains("name: theirs") && now.contains("host: old"),
        "{now}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_somebody_elses_load_is_not_overwritten() {
    let (node, user) = (standin(Database::Off).await, User::new());
    let direct = url(&node);
    user.write("before.yml", BEFORE);
    user.write("kong.yml", &subject::wanted());
    user.must("sync before.yml", &direct).await;
    user.must("plan kong.yml -o plan.json", &direct).await;
    user.write("theirs.yml", &BEFORE.replace("host: old", "host: theirs"));
    user.must("sync --journal off theirs.yml", &direct).await;
    let theirs = user.dump(&direct).await;
    let seen = user.run("sync --plan plan.json", &direct).await;
    assert!(
        seen.stderr.contains("service s0: was changed meanwhile"),
        "{seen:?}"
    );
    assert_eq!(user.dump(&direct).await, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_a_lost_answer_leaves_doubt_or_none() {
    let (node, user) = (standin(Database::Off).await, User::new());
    user.write("before.yml", BEFORE);
    user.write("kong.yml", &subject::wanted());
    user.must("sync before.yml", &url(&node)).await;
    let before = user.dump(&url(&node)).await;
    let (front, through) = Front::start(&url(&node), dies_at(0)).await;
    let seen = user
        .run("sync -o json --retries 0 kong.yml", &through)
        .await;
    assert_eq!(seen.code, 1, "{seen:?}");
    let report: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(report["summary"]["done"], 0, "{report}");
    assert!(
        report["summary"]["unknown"].as_u64().unwrap() > 20,
        "{report}"
    );
    front.mend();
    user.must("rollback --yes", &through).await;
    assert_eq!(user.dump(&url(&node)).await, before);
}
