//! A server that runs until it is stopped or killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kong_pdk::wire;
use reqwest::Client;
use serde_json::Value;

use crate::support::{Kong, Request};

/// More than any step takes, so that a failure ends the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server in its directory, killed if the test ends before it.
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
}

/// What starts a server in this directory, with an admin listener there.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-plugin-server"));
    command
        .env_clear()
        .arg("serve")
        .arg("--dir")
        .arg(dir)
        .arg("--admin-listen")
        .arg(format!("unix:{}", dir.join("admin.sock").display()))
        .stderr(Stdio::null());
    command
}

impl Server {
    pub(crate) async fn start(dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        // That of a server that was killed.
        drop(fs::remove_file(dir.join("plugins.sock")));
        let mut command = command(dir);
        change(&mut command);
        let server = Self {
            child: command.spawn().unwrap(),
            dir: dir.to_owned(),
        };
        until("the server is up", || dir.join("plugins.sock").exists()).await;
        server
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-s", "TERM", &pid]).status().unwrap().success());
        until("the server has ended", || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
        assert!(self.child.wait().unwrap().success());
    }

    /// Lets a consumer make so many requests under a configuration; how many passed.
    pub(crate) async fn requests(&self, config: &Value, consumer: &str, count: usize) -> usize {
        let mut kong = Kong::connect(&self.dir).await;
        let instance = kong.start_instance("llm-rate-limiting", config).await;
        let consumer = wire::Consumer {
            id: consumer.to_owned().into(),
            ..wire::Consumer::default()
        };
        let request = Request::default().answering("kong.client.get_consumer", &consumer);
        let mut passed = 0;
        for _ in 0..count {
            let event = kong.access(instance, &request).await;
            if event.exit.is_none() {
                passed += 1;
            } else {
                // Kong ends the connection of a request that was answered so.
                kong = Kong::connect(&self.dir).await;
            }
        }
        passed
    }

    /// What the admin listener answers.
    pub(crate) async fn get(&self, path: &str) -> String {
        let client = Client::builder()
            .no_proxy()
            .unix_socket(self.dir.join("admin.sock"))
            .build()
            .unwrap();
        let request = client.get(format!("http://localhost{path}"));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success());
        answer.text().await.unwrap()
    }

    /// One number of the metrics page.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics").await;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        value
            .unwrap_or_else(|| panic!("no {name}: {page}"))
            .parse()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
