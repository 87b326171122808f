//! `kong/Dockerfile`: what its images promise, and who relies on it.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::kongctl::built_binary;
use stories::process::run;

use crate::document::{at, text, yaml};
use crate::kong_conf::DIRECTORY;

/// Docker's names of the architectures, and Rust's.
const TARGETS: [(&str, &str); 2] = [
    ("amd64", "x86_64-unknown-linux-gnu"),
    ("arm64", "aarch64-unknown-linux-gnu"),
];

/// A stage: what it is made from, and its instructions.
struct Stage {
    from: String,
    instructions: Vec<(String, String)>,
}

impl Stage {
    /// The argument of its last instruction of one kind.
    fn last(&self, kind: &str) -> Option<&str> {
        let mut known = self.instructions.iter().rev();
        let (_, argument) = known.find(|(name, _)| name == kind)?;
        Some(argument)
    }
}

/// The stages by name. Lines that go on are joined.
fn stages() -> Result<BTreeMap<String, Stage>> {
    let joined = text("kong/Dockerfile")?.replace("\\\n", "");
    let mut stages = BTreeMap::new();
    let mut name = String::new();
    for line in joined.lines().filter(|line| !line.starts_with('#')) {
        let Some((instruction, argument)) = line.split_once(' ') else {
            continue;
        };
        if instruction == "FROM" {
            let (from, stage) = argument.split_once(" AS ").context("a stage has a name")?;
            stage.clone_into(&mut name);
            let stage = Stage {
                from: from.to_owned(),
                instructions: Vec::new(),
            };
            stages.insert(name.clone(), stage);
        } else if let Some(stage) = stages.get_mut(&name) {
            let instruction = (instruction.to_owned(), argument.to_owned());
            stage.instructions.push(instruction);
        }
    }
    Ok(stages)
}

/// What runs while it is built runs on the machine at hand, for each architecture that the chart's nodes may have.
pub(crate) fn builds_for_two_architectures() -> Result<()> {
    let stages = stages()?;
    let build = stages.get("build").context("no stage build")?;
    ensure!(build.from.starts_with("--platform=$BUILDPLATFORM "));
    ensure!(build.last("ARG") == Some("TARGETARCH"));
    let commands: String = build
        .instructions
        .iter()
        .map(|(_, argument)| argument.as_str())
        .collect();
    for (docker, rust) in TARGETS {
        ensure!(
            commands.contains(&format!("{docker}) target={rust} ;;")),
            "nothing is built for {docker}"
        );
        let linker = format!(
            "CARGO_TARGET_{}_LINKER=",
            rust.replace('-', "_").to_uppercase()
        );
        ensure!(commands.contains(&linker), "{rust} has no linker");
    }
    for (name, stage) in &stages {
        let is_built_here = name == "build" || stage.from == "build";
        ensure!(
            is_built_here || stage.last("RUN").is_none(),
            "{name} runs something on the target"
        );
    }
    let toolchain = text("rust-toolchain.toml")?;
    let version = build
        .from
        .rsplit_once(" rust:")
        .and_then(|(_, tag)| tag.split_once("-slim"))
        .context("the compiler's version")?
        .0;
    ensure!(
        toolchain.contains(&format!("channel = \"{version}\"")),
        "rust-toolchain.toml asks for another compiler than {version}"
    );
    Ok(())
}

/// No image runs as root; the plugin server's user is Kong's, who is the sidecar's too.
pub(crate) fn runs_as_nobody_special() -> Result<()> {
    for (name, stage) in stages()? {
        if let Some(entrypoint) = stage.last("ENTRYPOINT") {
            let copied = stage
                .last("COPY")
                .and_then(|copy| copy.split(' ').next_back());
            let program = copied.with_context(|| format!("{name} has no program"))?;
            ensure!(
                entrypoint == format!("[{program:?}]"),
                "{name} runs {entrypoint}"
            );
            ensure!(
                stage.from.ends_with(":nonroot") || stage.last("USER") == Some("1000:1000"),
                "{name} runs as root"
            );
        }
    }
    let sidecar = yaml("helm-values/plugin-sidecar.yaml")?;
    let user = at(
        &sidecar,
        "/deployment/initContainers/0/securityContext/runAsUser",
    )?;
    ensure!(user == 1000, "the sidecar is {user}");
    Ok(())
}

/// Compose's health check and Helm's probes ask the image's program by a verb that it has.
pub(crate) fn has_the_verb_of_its_health_checks() -> Result<()> {
    let compose = yaml("docker-compose.yml")?;
    let sidecar = yaml("helm-values/plugin-sidecar.yaml")?;
    let container = at(&sidecar, "/deployment/initContainers/0")?;
    let program = "/usr/bin/llm-plugin-server";
    let wanted = [program, "healthcheck", "--dir", DIRECTORY].map(Value::from);
    let test = at(&compose, "/services/plugin-server/healthcheck/test")?;
    let test = test.as_array().context("a list")?;
    ensure!(test.split_first() == Some((&Value::from("CMD"), wanted.as_slice())));
    for probe in ["startupProbe", "livenessProbe"] {
        let command = at(container, &format!("/{probe}/exec/command"))?;
        ensure!(
            command.as_array().map(Vec::as_slice) == Some(wanted.as_slice()),
            "{probe}"
        );
    }
    let mut command = Command::new(built_binary("llm-plugin-server")?);
    let help = run(command.args(["healthcheck", "--help"]))?;
    ensure!(help.contains("--dir"), "{help}");
    Ok(())
}
