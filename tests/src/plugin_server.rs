//! `llm-plugin-server`, the program under test, as a process that can be killed and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{Process, run, tail};
use crate::{kongctl, wait};

const STARTUP: Duration = Duration::from_secs(20);

/// Linux reports processor time in hundredths of a second (`USER_HZ`).
const MILLISECONDS_PER_TICK: u64 = 10;

/// A plugin that Kong finds behind a socket.
#[derive(Clone, Debug)]
pub struct ExternalPlugin {
    /// Its name in configurations.
    pub name: &'static str,
    /// Where it listens.
    pub socket: PathBuf,
    /// A command that prints its dump.
    pub query_command: String,
}

impl ExternalPlugin {
    /// Its name in `pluginserver_names`, where dashes are not allowed.
    pub fn server_name(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The names of our plugins, as `kong/kong.conf` has them.
pub const PLUGINS: [&str; 2] = ["llm-rate-limiting", "llm-jwt"];

/// The socket in the directory that is shared with Kong.
const SOCKET: &str = "plugins.sock";

/// The plugins whose descriptions are in `directory`.
fn plugins_in(directory: &Path) -> Vec<ExternalPlugin> {
    let plugin = |name| ExternalPlugin {
        name,
        socket: directory.join(SOCKET),
        query_command: format!(
            "cat {}",
            directory.join(name).with_extension("json").display()
        ),
    };
    PLUGINS.map(plugin).to_vec()
}

/// Writes the plugins' descriptions into `directory`, for a control plane: nobody serves them there.
pub fn describe(directory: &Path) -> Result<Vec<ExternalPlugin>> {
    let mut command = Command::new(kongctl::built_binary("llm-plugin-server")?);
    command.arg("dump").arg("--dir").arg(directory);
    run(&mut command)?;
    Ok(plugins_in(directory))
}

/// A plugin server and the directory that it shares with Kong.
#[derive(Debug)]
pub struct PluginServer {
    program: PathBuf,
    directory: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl PluginServer {
    /// Starts one with its socket and dumps in a directory under `parent`.
    pub async fn start(parent: &Path) -> Result<Self> {
        let directory = parent.join("plugins");
        fs::create_dir(&directory)?;
        // Kong's workers may run as another user, who must get to the socket.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        let mut server = Self {
            program: kongctl::built_binary("llm-plugin-server")?,
            directory,
            log: parent.join("plugin-server.log"),
            process: None,
        };
        server.restart().await?;
        Ok(server)
    }

    /// The plugins that it serves, all on one socket.
    pub fn plugins(&self) -> Vec<ExternalPlugin> {
        plugins_in(&self.directory)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// The address of its admin listener, as kongctl takes it.
    pub fn admin_address(&self) -> String {
        format!("unix:{}", self.directory.join("admin.sock").display())
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Processor time that it has used so far, while it runs.
    pub fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()?)).ok()?;
        // After the name, which may hold anything but is closed by the last parenthesis: utime and stime are fields 14 and 15 of proc(5).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Duration::from_millis(
            (ticks(14)? + ticks(15)?) * MILLISECONDS_PER_TICK,
        ))
    }

    /// Its resident memory in KiB, while it runs.
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        resident.trim().strip_suffix(" kB")?.trim().parse().ok()
    }

    /// Where its log goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts the process, which must not be running, and waits until it accepts connections.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the plugin server runs already");
        }
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--dir").arg(&self.directory);
        command.arg("--admin-listen").arg(self.admin_address());
        let mut process = Process::spawn(command, &self.log)?;
        let socket = self.socket();
        wait::until("the plugin server listens", STARTUP, async || {
            process.check_alive()?;
            UnixStream::connect(&socket).map(drop).map_err(Into::into)
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().map(drop),
            None => bail!("the plugin server does not run"),
        }
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        tail(&self.log, 20)
    }
}
