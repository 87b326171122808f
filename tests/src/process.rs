//! Children that never outlive us.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Patience with a child that was asked to end, before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A child whose output goes to a file; ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    guard: Guard,
}

impl Process {
    /// Spawns `command` with stdout and stderr appended to `log`, in a process group of its own so that Ctrl-C reaches us first.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let guard = Guard::new(&format!("kill -9 {}", child.id()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
            guard,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, if it ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("ended with {status}:\n{}", tail(&self.log, 20)),
        }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        let status = self.child.wait()?;
        self.guard.disarm();
        Ok(status)
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Asks it to end and waits; kills it when it does not.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM");
        self.wait(GRACE)
    }

    /// Waits until it ends by itself; kills it when it does not within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                self.guard.disarm();
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a child that cannot be ended.
        let _ = self.stop();
    }
}

/// Runs a shell command when this process dies without [`Guard::disarm`], however it dies.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Arms a guard that will run `command`.
    pub fn new(command: &str) -> Result<Self> {
        // Our death closes the pipe, which ends the `read`.
        let script =
            format!("read -r word; [ \"$word\" = done ] || {{ {command}; }} >/dev/null 2>&1");
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self(child))
    }

    /// Whether the command would run.
    pub fn is_armed(&self) -> bool {
        self.0.stdin.is_some()
    }

    /// Lets the guard go: its command will not run.
    pub fn disarm(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b"done\n");
            drop(pipe);
            let _ = self.0.wait();
        }
    }
}

/// Runs a command to its end; its output is the error when it fails, and the value when not.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{program} ended with {}:\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}

/// The last lines of a text file, or why it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("{}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_acts_only_when_not_disarmed() {
        let directory = tempfile::tempdir().unwrap();
        let touched = |name: &str| directory.path().join(name);
        let command = |name: &str| format!("touch '{}'", touched(name).display());

        Guard::new(&command("disarmed")).unwrap().disarm();
        let mut armed = Guard::new(&command("armed")).unwrap();
        drop(armed.0.stdin.take());
        armed.0.wait().unwrap();

        assert!(!touched("disarmed").exists());
        assert!(touched("armed").exists());
    }

    #[test]
    fn a_process_that_ends_early_shows_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let mut process = Process::spawn(command, &directory.path().join("log")).unwrap();
        process.child.wait().unwrap();
        let message = process.check_alive().unwrap_err().to_string();
        assert!(
            message.contains("no such luck") && message.contains('3'),
            "{message}"
        );
    }
}
