//! The layers of `helm-values/`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::repository;

use crate::document::{at, text_at, yaml};
use crate::kong_conf::{DIRECTORY, PLUGINS, settings};

const SIDECAR: &str = "helm-values/plugin-sidecar.yaml";
const TOPOLOGIES: [&str; 2] = [
    "helm-values/values-dbless.yaml",
    "helm-values/values-ingress-controller.yaml",
];

/// The variable with the path of the official chart `kong/kong`.
const CHART: &str = "KONG_CHART";

/// The chart turns each key of `env` into `KONG_…`, so the layer is `kong.conf` in another dress; `plugins` has a key of its own.
pub(crate) fn sidecar_agrees_with_kong_conf() -> Result<()> {
    let layer = yaml(SIDECAR)?;
    let mut wanted = settings()?;
    let plugins = wanted
        .remove("plugins")
        .context("kong.conf names no plugins")?;
    let installed = text_at(&layer, "/plugins/preInstalled")?;
    ensure!(plugins == format!("bundled,{installed}"), "{installed:?}");
    let given = at(&layer, "/env")?.as_object().context("env is no map")?;
    for (name, value) in &wanted {
        ensure!(
            given.get(name).and_then(Value::as_str) == Some(value),
            "env.{name} is {:?}, kong.conf says {value:?}",
            given.get(name)
        );
    }
    ensure!(given.len() == wanted.len(), "env sets more than kong.conf");
    Ok(())
}

pub(crate) fn sidecar_is_hardened() -> Result<()> {
    let layer = yaml(SIDECAR)?;
    let container = at(&layer, "/deployment/initContainers/0")?;
    ensure!(
        text_at(container, "/restartPolicy")? == "Always",
        "it is no native sidecar"
    );
    for (pointer, wanted) in [
        ("/securityContext/runAsUser", Value::from(1000)),
        ("/securityContext/runAsNonRoot", Value::from(true)),
        ("/securityContext/readOnlyRootFilesystem", Value::from(true)),
        (
            "/securityContext/allowPrivilegeEscalation",
            Value::from(false),
        ),
        ("/securityContext/capabilities/drop/0", Value::from("ALL")),
    ] {
        ensure!(at(container, pointer)? == &wanted, "{pointer}");
    }
    let mounts = [
        text_at(container, "/volumeMounts/0/mountPath")?,
        text_at(&layer, "/deployment/userDefinedVolumeMounts/0/mountPath")?,
        text_at(container, "/args/2")?,
    ];
    ensure!(mounts == [DIRECTORY; 3], "{mounts:?}");
    Ok(())
}

/// Helm replaces lists whole: the later layer would silently win.
pub(crate) fn lists_live_in_one_layer() -> Result<()> {
    let of_sidecar = lists(&yaml(SIDECAR)?);
    ensure!(
        !of_sidecar.is_empty(),
        "the sidecar layer has no list at all"
    );
    for topology in TOPOLOGIES {
        for list in lists(&yaml(topology)?) {
            ensure!(
                !of_sidecar.contains(&list),
                "{list} is set in {SIDECAR} and {topology}"
            );
        }
    }
    Ok(())
}

/// The paths of all lists in a document.
fn lists(document: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Array(_) => found.push(path.to_owned()),
            Value::Object(map) => {
                for (key, value) in map {
                    walk(value, &format!("{path}.{key}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

pub(crate) fn avoids_silent_traps() -> Result<()> {
    for layer in TOPOLOGIES.into_iter().chain([SIDECAR]) {
        let document = yaml(layer)?;
        ensure!(
            document.pointer("/env/plugins").is_none(),
            "{layer}: env.plugins overrides plugins.preInstalled"
        );
        if let Some(installed) = document.pointer("/plugins/preInstalled") {
            let installed = installed.as_str().context("preInstalled is no string")?;
            ensure!(!installed.contains(' '), "{layer}: a space in preInstalled");
            for plugin in PLUGINS {
                ensure!(
                    installed.split(',').any(|name| name == plugin),
                    "{layer}: no {plugin}"
                );
            }
        }
    }
    Ok(())
}

pub(crate) fn tool() -> Result<(), String> {
    chart()?;
    match Command::new("helm").arg("version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("no `helm` on PATH".into()),
    }
}

fn chart() -> Result<PathBuf, String> {
    std::env::var_os(CHART)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{CHART} does not name the official chart's directory"))
}

pub(crate) fn the_tool_renders_it() -> Result<()> {
    let chart = chart().map_err(anyhow::Error::msg)?;
    for topology in TOPOLOGIES {
        let output = Command::new("helm")
            .args(["template", "kong"])
            .arg(&chart)
            .args(["--values", SIDECAR, "--values", topology])
            .current_dir(repository())
            .output()?;
        ensure!(
            output.status.success(),
            "{topology}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let rendered = String::from_utf8(output.stdout)?;
        for (name, value) in settings()? {
            let variable = format!("- name: KONG_{}", name.to_uppercase());
            let given = rendered
                .lines()
                .skip_while(|line| line.trim() != variable)
                .nth(1)
                .with_context(|| format!("{topology} renders no {variable}"))?;
            ensure!(
                given.trim() == format!("value: \"{value}\""),
                "{topology}: {variable} has {given}"
            );
        }
    }
    Ok(())
}
