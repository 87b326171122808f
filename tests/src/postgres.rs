//! A throwaway PostgreSQL from this machine's own binaries.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Process, run};
use crate::target::find_on_path;
use crate::wait;

const STARTUP: Duration = Duration::from_secs(30);

/// A running cluster whose superuser is `kong`, trusted from loopback.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    process: Process,
}

/// Why there cannot be one, or `None`.
pub fn absence() -> Option<String> {
    match binaries() {
        None => {
            Some("no PostgreSQL server binaries (Debian: apt-get install postgresql)".to_owned())
        }
        Some(_) if is_root() && postgres_user().is_none() => {
            Some("PostgreSQL refuses to run as root and there is no user `postgres`".to_owned())
        }
        Some(_) => None,
    }
}

impl Postgres {
    /// Makes a cluster in `directory` and starts it.
    pub async fn start(directory: &Path) -> Result<Self> {
        let binaries = binaries().context("no PostgreSQL server binaries")?;
        let data = directory.join("postgres");
        fs::create_dir(&data)?;
        let owner = if is_root() { postgres_user() } else { None };
        if let Some((uid, gid)) = owner {
            chown(&data, Some(uid), Some(gid))?;
        }
        let command = |program: &str| {
            let mut command = Command::new(binaries.join(program));
            command.current_dir(&data).arg("-D").arg(&data);
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command
        };
        run(command("initdb").args([
            "-U",
            "kong",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]))?;

        let [port] = wait::free_ports()?;
        let mut server = command("postgres");
        // Its life is a few minutes: durability would only cost time.
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
        ] {
            server.args(["-c", setting]);
        }
        server.args(["-p", &port.to_string()]);
        let mut process = Process::spawn(server, &directory.join("postgres.log"))?;
        wait::until("PostgreSQL listens", STARTUP, async || {
            process.check_alive()?;
            TcpStream::connect(("127.0.0.1", port))
                .map(drop)
                .map_err(Into::into)
        })
        .await?;
        Ok(Self { port, process })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database in it.
    pub fn create_database(&self, name: &str) -> Result<()> {
        let binaries = binaries().context("no PostgreSQL server binaries")?;
        let mut command = Command::new(binaries.join("createdb"));
        command.args([
            "-h",
            "127.0.0.1",
            "-U",
            "kong",
            "-p",
            &self.port.to_string(),
        ]);
        run(command.arg(name)).map(drop)
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop().map(drop)
    }
}

fn binaries() -> Option<PathBuf> {
    // Debian keeps them off PATH, one directory a version.
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("initdb").is_file() && path.join("postgres").is_file())
        .collect();
    versions.sort();
    versions
        .pop()
        .or_else(|| find_on_path("initdb")?.parent().map(Path::to_owned))
}

/// Whether we are root, by the owner of our own process.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = users
        .lines()
        .find(|line| line.starts_with("postgres:"))?
        .split(':')
        .collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}
