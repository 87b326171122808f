//! A pod of a rendered chart, run on this machine's loopback: what a node of a cluster would do with it, as far as processes can.
//!
//! # Layout
//!
//! - [`Surroundings`]: the Secrets, ConfigMaps and Services that its cluster has.
//! - `manifest`: the rendered objects, read.
//! - `place`: where the pod's paths, ports and hosts are here, and the environment of a container, put in these terms.
//! - [`Pod`]: init containers in order, sidecars behind their startup probes, then the containers, until they are ready.
//!
//! # What differs from a cluster
//!
//! 1. An image is a program: `kong` is the one on `PATH`, `llm-plugin-server` a copy of the one that was built. Their entrypoints' only part
//!    that matters here is that Kong's starts Kong in the foreground.
//! 2. A volume is a directory; a path that no volume of the container covers is an error.
//! 3. A container's port is a free one of loopback; a Service is what [`Surroundings`] says.
//! 4. Without root, `runAsUser` is whoever runs the test; as root it is obeyed.
//!
//! Everything else of the environment reaches Kong as it was rendered, and a variable that holds a path or an address which `place` does
//! not know is an error. Limits of memory, capabilities and read-only roots are not replayed.

mod manifest;
mod place;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::kongctl::built_binary;
use crate::postgres::is_root;
use crate::process::{Guard, Process, run, tail};
use crate::target::find_on_path;
use crate::{http, wait};
pub use manifest::{deployment, job};
use place::Place;

/// Patience with a container that becomes ready.
const READINESS: Duration = Duration::from_mins(1);

/// Init containers that have nothing to do here, and why.
const IDLE: [(&str, &str); 1] = [(
    "clear-stale-pid",
    "the prefix is new, and has no old process id",
)];

/// Named texts: those of a Secret or a ConfigMap, or a pod's environment.
pub type Texts = BTreeMap<String, String>;

/// What a pod finds in its cluster.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    secrets: BTreeMap<String, Texts>,
    config_maps: BTreeMap<String, Texts>,
    services: BTreeMap<String, SocketAddr>,
}

impl Surroundings {
    /// With a Secret.
    #[must_use]
    pub fn secret<const N: usize>(mut self, name: &str, data: [(&str, &str); N]) -> Self {
        self.secrets.insert(name.to_owned(), texts(data));
        self
    }

    /// With a ConfigMap.
    #[must_use]
    pub fn config_map<const N: usize>(mut self, name: &str, data: [(&str, &str); N]) -> Self {
        self.config_maps.insert(name.to_owned(), texts(data));
        self
    }

    /// With a Service, by `host:port` as pods call it, that is at `address` here.
    #[must_use]
    pub fn service(mut self, name: &str, address: SocketAddr) -> Self {
        self.services.insert(name.to_owned(), address);
        self
    }
}

fn texts<const N: usize>(data: [(&str, &str); N]) -> Texts {
    data.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// A running pod.
#[derive(Debug)]
pub struct Pod {
    place: Place,
    log: PathBuf,
    // Dropped from the first to the last: Kong ends before its sidecar.
    gateway: Option<Gateway>,
    sidecars: Vec<Process>,
}

/// Kong in the foreground. Signals to the command do not reach nginx, so it is stopped as a pod's `preStop` does it: by its prefix.
#[derive(Debug)]
struct Gateway {
    prefix: String,
    process: Process,
    guard: Guard,
}

impl Gateway {
    fn new(prefix: &str, process: Process) -> Result<Self> {
        Ok(Self {
            prefix: prefix.to_owned(),
            process,
            guard: Guard::new(&format!("kong stop --prefix '{prefix}'"))?,
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if run(Command::new("kong").args(["stop", "--prefix", &self.prefix])).is_ok() {
            self.guard.disarm();
        }
    }
}

impl Pod {
    /// Runs a pod's spec under `directory` until its containers are ready.
    pub async fn start(
        directory: &Path,
        spec: &Value,
        surroundings: &Surroundings,
    ) -> Result<Self> {
        let mut pod = Self::prepare(directory, spec, surroundings)?;
        let containers: Vec<_> = manifest::containers(spec, "containers").collect();
        let [container] = containers[..] else {
            bail!(
                "the pod has {} containers, and only Kong's is known here",
                containers.len()
            );
        };
        let ready = pod.start_gateway(container, surroundings).await;
        ready.with_context(|| pod.last_words())?;
        Ok(pod)
    }

    /// Runs the spec of a Job's pod to its end.
    pub fn complete(directory: &Path, spec: &Value, surroundings: &Surroundings) -> Result<()> {
        let mut pod = Self::prepare(directory, spec, surroundings)?;
        for container in manifest::containers(spec, "containers") {
            pod.run(container, surroundings)?;
        }
        Ok(())
    }

    /// The init containers, in their order: a sidecar goes on, and what comes after it waits for its startup probe.
    fn prepare(directory: &Path, spec: &Value, surroundings: &Surroundings) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let mut pod = Self {
            place: Place::new(directory, spec, surroundings)?,
            log: directory.join("log"),
            gateway: None,
            sidecars: Vec::new(),
        };
        fs::write(&pod.log, "")?;
        for container in manifest::containers(spec, "initContainers") {
            let name = container["name"].as_str().unwrap_or_default();
            if IDLE.iter().any(|(idle, _)| *idle == name) {
                continue;
            }
            if container["restartPolicy"] == "Always" {
                let mut process = Process::spawn(pod.command(container, surroundings)?, &pod.log)?;
                pod.until_started(container, &mut process)?;
                pod.sidecars.push(process);
            } else {
                pod.run(container, surroundings)?;
            }
        }
        Ok(pod)
    }

    /// Runs a container to its end.
    fn run(&mut self, container: &Value, surroundings: &Surroundings) -> Result<()> {
        let mut process = Process::spawn(self.command(container, surroundings)?, &self.log)?;
        let status = process.wait(READINESS)?;
        ensure!(
            status.success(),
            "{} ended with {status}:\n{}",
            container["name"],
            self.last_words()
        );
        Ok(())
    }

    async fn start_gateway(
        &mut self,
        container: &Value,
        surroundings: &Surroundings,
    ) -> Result<()> {
        let prefix = self.place.environment(container, surroundings)?;
        let prefix = prefix.get("KONG_PREFIX").context("Kong has a prefix")?;
        let process = Process::spawn(self.command(container, surroundings)?, &self.log)?;
        let gateway = self.gateway.insert(Gateway::new(prefix, process)?);
        for probe in ["readinessProbe", "livenessProbe"] {
            let get = &container[probe]["httpGet"];
            let port = manifest::port(container, &get["port"])?;
            let path = get["path"].as_str().context("a probe has a path")?;
            let url = format!("http://{}{path}", self.place.address(port)?);
            let client = http::client().build()?;
            wait::until(probe, READINESS, async || {
                gateway.process.check_alive()?;
                let status = client.get(&url).send().await?.status();
                ensure!(status.is_success(), "{url} answers {status}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Asks a sidecar's startup probe as often as it may fail.
    fn until_started(&mut self, container: &Value, process: &mut Process) -> Result<()> {
        let probe = &container["startupProbe"];
        let command = manifest::strings(&probe["exec"]["command"]);
        let (program, arguments) = command
            .split_first()
            .context("a sidecar has a startup probe")?;
        let number = |field: &str| probe[field].as_u64().with_context(|| format!("no {field}"));
        let period = Duration::from_secs(number("periodSeconds")?);
        let mut tries = number("failureThreshold")?;
        loop {
            process.check_alive()?;
            let mut asked = Command::new(self.place.program(program)?);
            for argument in arguments {
                asked.arg(self.place.argument(container, argument)?);
            }
            match run(&mut asked) {
                Ok(_) => return Ok(()),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => tries -= 1,
            }
            std::thread::sleep(period);
        }
    }

    /// What a container runs, with nothing but its own environment.
    fn command(&mut self, container: &Value, surroundings: &Surroundings) -> Result<Command> {
        let mut line = manifest::strings(&container["command"]);
        line.extend(manifest::strings(&container["args"]));
        if container["command"].is_null() {
            let image = container["image"].as_str().unwrap_or_default();
            match image.split(':').next() {
                Some("llm-plugin-server") => line.insert(0, place::PLUGIN_SERVER),
                // The image's command; its entrypoint executes any other as it is.
                Some("kong") if line.is_empty() => line.extend(["kong", "start"]),
                Some("kong") => {}
                _ => bail!("no program here is the image {image:?}"),
            }
        }
        let (program, arguments) = line.split_first().context("a container runs something")?;
        let mut command = Command::new(self.place.program(program)?);
        for argument in arguments {
            command.arg(self.place.argument(container, argument)?);
        }
        command
            .env_clear()
            .envs(self.place.environment(container, surroundings)?);
        if is_root() {
            let security = &container["securityContext"];
            let id = |field: &str| {
                security[field]
                    .as_u64()
                    .and_then(|id| u32::try_from(id).ok())
            };
            let (uid, gid) = (id("runAsUser"), id("runAsGroup"));
            let (uid, gid) = uid.zip(gid).context("a container says as whom it runs")?;
            self.place.give_to(uid, gid)?;
            chown(&self.log, Some(uid), Some(gid))?;
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        Ok(command)
    }

    /// Where a port of its containers is.
    pub fn address(&mut self, port: u16) -> Result<SocketAddr> {
        self.place.address(port)
    }

    /// What its containers said last.
    pub fn last_words(&self) -> String {
        tail(&self.log, 40)
    }

    /// Ends it: Kong, then the sidecars.
    pub fn stop(mut self) -> Result<()> {
        self.gateway.take();
        for mut sidecar in self.sidecars.drain(..) {
            let status = sidecar.stop()?;
            ensure!(status.success(), "a sidecar ended with {status}");
        }
        Ok(())
    }
}

/// The programs of the images: Kong's is on `PATH`, ours is copied to where any user may run it.
fn install(directory: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let server = directory.join("llm-plugin-server");
    fs::copy(built_binary("llm-plugin-server")?, &server)?;
    for file in ["/etc/kong/kong.conf", "/etc/kong.conf"] {
        ensure!(
            !Path::new(file).exists(),
            "the image has no {file}: Kong would read this machine's"
        );
    }
    let kong = find_on_path("kong").context("no `kong` on PATH")?;
    Ok(BTreeMap::from([
        (place::PLUGIN_SERVER, server),
        ("kong", kong),
        ("/bin/bash", PathBuf::from("/bin/bash")),
    ]))
}
