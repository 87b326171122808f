//! On a terminal: a plan is shown and asked for, the node is looked at again after the answer, progress is drawn and goes away.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kong_standin::config::Database;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::front::{Fate, Front};
use super::{User, standin, url};

/// A command on a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    fn run(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let child = command
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(command);
        let mut screen = File::from(master);
        let keyboard = screen.try_clone().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let shown = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose other end is closed is read with an error.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                shown
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self {
            child,
            keyboard,
            seen,
        }
    }

    async fn until(&self, words: &str) {
        let started = Instant::now();
        while !self.seen.lock().unwrap().contains(words) {
            assert!(
                started.elapsed() < Duration::from_mins(1),
                "{}",
                self.seen.lock().unwrap()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn answer(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Its exit code, and all that it said.
    async fn end(mut self) -> (i32, String) {
        let mut child = self.child;
        let status = tokio::task::spawn_blocking(move || child.wait())
            .await
            .unwrap();
        self.keyboard.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let seen = self.seen.lock().unwrap().clone();
        (status.unwrap().code().unwrap(), seen)
    }
}

const FILE: &str = "consumers: [{username: alice}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_asked_for_and_progress_leaves_no_trace() {
    let (node, user) = (standin(Database::Memory).await, User::new());
    let node = url(&node);
    user.write("a.yml", FILE);
    let mut terminal = Terminal::run(user.command("sync a.yml", &node));
    terminal.until("[y/N]").await;
    terminal.answer("n\n");
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 1);
    assert!(
        seen.contains("+ create consumer alice  (new in a.yml:1)"),
        "{seen}"
    );
    assert!(seen.contains("nothing was changed"), "{seen}");
    assert_eq!(user.dump(&node).await, "_format_version: \"3.0\"\n");

    let mut terminal = Terminal::run(user.command("sync a.yml", &node));
    terminal.until("[y/N]").await;
    terminal.answer("y\n");
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 0, "{seen}");
    let drawn = seen.find("] 1/1").expect("progress is drawn");
    assert!(seen[drawn..].ends_with("\r\x1b[K"), "and cleared: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moved_while_somebody_thought_is_not_changed() {
    let (node, user) = (standin(Database::Memory).await, User::new());
    let node = url(&node);
    user.write("a.yml", FILE);
    user.must("sync a.yml", &node).await;
    user.write("b.yml", "consumers: [{username: alice, tags: [mine]}]\n");
    user.write(
        "theirs.yml",
        "consumers: [{username: alice, tags: [theirs]}]\n",
    );
    let mut terminal = Terminal::run(user.command("sync b.yml", &node));
    terminal.until("[y/N]").await;
    user.must("sync theirs.yml", &node).await;
    terminal.answer("y\n");
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 1, "{seen}");
    assert!(
        seen.contains("consumer alice: was changed meanwhile"),
        "{seen}"
    );
    assert!(user.dump(&node).await.contains("theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_was_asked_for_still_sends_its_fields_alone() {
    let (node, user) = (standin(Database::Memory).await, User::new());
    let node = url(&node);
    user.write("a.yml", "services: [{name: llm, host: h}]\n");
    user.must("sync a.yml", &node).await;
    let writes = Arc::new(Mutex::new(Vec::new()));
    let seen = writes.clone();
    let (_front, front) = Front::start(&node, move |_, method, path| {
        seen.lock().unwrap().push(format!("{method} {path}"));
        Fate::Pass
    })
    .await;
    let mut terminal = Terminal::run(user.command("patch service llm --set retries=3", &front));
    terminal.until("[y/N]").await;
    terminal.answer("y\n");
    let (code, shown) = terminal.end().await;
    assert_eq!(code, 0, "{shown}");
    let writes = writes.lock().unwrap();
    assert!(
        writes.len() == 1 && writes[0].starts_with("PATCH /services/"),
        "{writes:?}"
    );
}
