//! A Redis or Valkey that can be frozen, killed and started again, and forgets nothing that it has answered.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Process, tail};
use crate::target::find_on_path;
use crate::wait;

const STARTUP: Duration = Duration::from_secs(10);
/// The programs that will do, the first that is there.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// A server on a loopback port of its own.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    port: u16,
    directory: PathBuf,
    process: Option<Process>,
}

impl Redis {
    /// Why this machine cannot run one, or `None` if it can.
    pub fn absence() -> Option<&'static str> {
        program()
            .is_none()
            .then_some("neither redis-server nor valkey-server is installed")
    }

    /// Starts one that keeps its data under `parent`.
    pub async fn start(parent: &Path) -> Result<Self> {
        let directory = parent.join("redis");
        std::fs::create_dir(&directory)?;
        let [port] = wait::free_ports()?;
        let mut redis = Self {
            program: program().context("no redis-server on PATH")?,
            port,
            directory,
            process: None,
        };
        redis.restart().await?;
        Ok(redis)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it without ending it: whoever asks waits.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.signal("STOP");
        Ok(())
    }

    /// Undoes [`Redis::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.running()?.signal("CONT");
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("redis does not run")?;
        process.kill().map(drop)
    }

    /// Starts it, which must not be running, with all that it has ever answered.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("redis runs already");
        }
        let mut command = Command::new(&self.program);
        command.current_dir(&self.directory).args([
            "--bind",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]);
        let log = self.directory.join("log");
        let mut process = Process::spawn(command, &log)?;
        wait::until("redis listens", STARTUP, async || {
            process.check_alive()?;
            let _ = TcpStream::connect(("127.0.0.1", self.port))?;
            Ok(())
        })
        .await
        .with_context(|| tail(&log, 20))?;
        self.process = Some(process);
        Ok(())
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("redis does not run")
    }
}

fn program() -> Option<PathBuf> {
    PROGRAMS.into_iter().find_map(find_on_path)
}
