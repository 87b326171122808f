//! Real Redis servers on free loopback ports, for as long as a test runs.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use llm_plugin_server::stores::redis::RedisStore;
use llm_plugin_server::stores::redis::config::RedisConfig;
use tempfile::TempDir;

/// The end of patience: only reached by what is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whether `redis-server` is here. If not, says so past the harness's capture, and fails in CI.
pub(crate) fn is_here() -> bool {
    let found = Command::new("redis-server")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // A test that is only reported green would hide that it did not run.
        let _best_effort = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: redis-server is not installed"
        );
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI must have redis-server"
        );
    }
    found
}

/// Ends the test unless `redis-server` is here.
macro_rules! require_redis {
    () => {
        if !$crate::server::is_here() {
            return;
        }
    };
}
pub(crate) use require_redis;

/// One server process; killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    arguments: Vec<String>,
    pub(crate) port: u16,
    directory: TempDir,
}

impl Server {
    /// A server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with more arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::on(free_port(), arguments)
    }

    pub(crate) fn on(port: u16, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let process = spawn(port, directory.path(), &arguments);
        Self {
            process,
            arguments,
            port,
            directory,
        }
    }

    /// A sentinel with this configuration, which it rewrites.
    pub(crate) fn sentinel(port: u16, settings: &Path) -> Self {
        let directory = TempDir::new().unwrap();
        let arguments = vec!["--sentinel".to_owned()];
        let process = Command::new("redis-server")
            .arg(settings)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--sentinel",
            ])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            arguments,
            port,
            directory,
        }
    }

    /// Kills it as by `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, on the same port and empty.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port, self.directory.path(), &self.arguments);
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Runs one command with `redis-cli`, and returns what it printed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig {
            port: self.port,
            // Two busy cores must not fail a test that is about something else.
            timeout: Duration::from_secs(5),
            ..RedisConfig::default()
        }
    }

    pub(crate) fn store(&self) -> RedisStore {
        RedisStore::new(Arc::new(self.config()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _already_gone = self.process.wait();
    }
}

pub(crate) fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn spawn(port: u16, directory: &Path, arguments: &Vec<String>) -> Child {
    let process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if port != 0 {
        wait_until("redis-server listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }
    process
}
