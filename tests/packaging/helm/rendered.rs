//! What the official charts make of each combination, with a real Helm.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::helm::{self, CHART, INGRESS_CHART, chart};
use stories::repository;
use stories::target::find_on_path;

use super::topics;
use super::{COMBINATIONS, Combination, SCHEMA_ONLY};
use crate::document::parse_stream;
use crate::kong_conf::settings;

/// Kubernetes' versions whose schemas the results must satisfy: the oldest with native sidecars, and two newer ones.
const KUBERNETES: [&str; 3] = ["1.29", "1.32", "1.35"];
/// Where custom resources come from, whose schemas are not Kubernetes' own.
const CUSTOM: [&str; 4] = [
    "api version cert-manager.io/",
    "api version monitoring.coreos.com/",
    "api version configuration.konghq.com/",
    "api version gateway.networking.k8s.io/",
];

pub(crate) fn helm() -> Result<(), String> {
    helm::absence().map_or(Ok(()), |reason| Err(reason.to_owned()))
}

pub(crate) fn helm_with_the_ingress_chart() -> Result<(), String> {
    chart(INGRESS_CHART)?;
    helm()
}

pub(crate) fn schemas() -> Result<(), String> {
    helm()?;
    find_on_path("kubernetes-validate")
        .map(drop)
        .ok_or_else(|| "no `kubernetes-validate` on PATH".to_owned())
}

/// The directory of the chart `kong/kong`.
pub(crate) fn chart_directory() -> Result<PathBuf, String> {
    chart(CHART)
}

/// The combinations for which this machine has a chart, each with what Helm makes of it.
fn rendered() -> Result<Vec<(&'static Combination, String)>> {
    let mut all = Vec::new();
    for combination in COMBINATIONS {
        let variable = if combination.is_for_the_ingress_chart() {
            INGRESS_CHART
        } else {
            CHART
        };
        if let Ok(chart) = chart(variable) {
            let rendered = helm::template("kong", &chart, combination.layers);
            all.push((combination, rendered.with_context(|| combination.name())?));
        }
    }
    Ok(all)
}

fn succeeded(output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A container of a rendered object, with the object's kind.
struct Container {
    kind: String,
    is_initial: bool,
    spec: Value,
}

fn containers(rendered: &str) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    for object in parse_stream(rendered)? {
        let Some(pod) = object.pointer("/spec/template/spec") else {
            continue;
        };
        for (list, is_initial) in [("initContainers", true), ("containers", false)] {
            for container in pod[list].as_array().into_iter().flatten() {
                found.push(Container {
                    kind: object["kind"].as_str().unwrap_or_default().to_owned(),
                    is_initial,
                    spec: container.clone(),
                });
            }
        }
    }
    Ok(found)
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    container["env"]
        .as_array()?
        .iter()
        .find(|variable| variable["name"] == name)
}

/// Each container that starts Kong knows the plugins, and can read their descriptions when it does.
pub(crate) fn kong_starts_with_the_plugins() -> Result<()> {
    for (combination, rendered) in rendered()? {
        let containers = containers(&rendered)?;
        let schema_only = combination.layers.contains(&SCHEMA_ONLY);
        let starting: Vec<_> = containers
            .iter()
            .filter(|found| variable(&found.spec, "KONG_PLUGINS").is_some())
            // It removes old process ids and runs before everything; waiting for PostgreSQL is a shell's loop.
            .filter(|found| {
                !["clear-stale-pid", "wait-for-postgres"]
                    .iter()
                    .any(|name| found.spec["name"] == *name)
            })
            .collect();
        ensure!(
            starting.iter().any(|found| found.kind == "Deployment"),
            "{}: no Kong in it",
            combination.name()
        );
        for Container { spec, .. } in starting {
            let place = format!("{}: {}", combination.name(), spec["name"]);
            for (name, value) in settings()? {
                if schema_only && name == "nginx_http_client_body_buffer_size" {
                    continue;
                }
                let name = format!("KONG_{}", name.to_uppercase());
                let given =
                    variable(spec, &name).with_context(|| format!("{place} has no {name}"))?;
                ensure!(given["value"] == value, "{place}: {name} is {given}");
            }
            ensure!(
                spec["volumeMounts"].as_array().is_some_and(|mounts| mounts
                    .iter()
                    .any(|mount| mount["name"] == "llm-plugins")),
                "{place} cannot read the descriptions"
            );
        }
        let server = containers
            .iter()
            .any(|found| found.is_initial && found.spec["name"] == "llm-plugin-server");
        ensure!(
            server != schema_only,
            "{}: the plugin server runs where it should not, or not where it should",
            combination.name()
        );
    }
    Ok(())
}

/// What sounds like a secret is a reference or a path, in Kong's environment and in ours.
pub(crate) fn secrets_are_references() -> Result<()> {
    for (combination, rendered) in rendered()? {
        for Container { spec, .. } in containers(&rendered)? {
            for variable in spec["env"].as_array().into_iter().flatten() {
                let name = variable["name"].as_str().unwrap_or_default();
                let sounds_secret = ["PASSWORD", "SECRET", "TOKEN", "_KEY", "PG_USER"]
                    .iter()
                    .any(|word| name.contains(word));
                let value = variable["value"].as_str().unwrap_or_default();
                ensure!(
                    !sounds_secret || value.is_empty() || value.starts_with('/'),
                    "{}: {name} is written out",
                    combination.name()
                );
            }
        }
    }
    Ok(())
}

/// The only Secrets in what is rendered are the keys that the chart draws for the admission webhook, anew each time.
pub(crate) fn secrets_are_the_charts_own() -> Result<()> {
    for (combination, rendered) in rendered()? {
        for object in parse_stream(&rendered)? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            ensure!(
                object["kind"] != "Secret"
                    || name.ends_with("-validation-webhook-keypair")
                    || name.ends_with("-validation-webhook-ca-keypair"),
                "{}: the Secret {name} is written out",
                combination.name()
            );
        }
    }
    Ok(())
}

pub(crate) fn satisfies_the_schemas_of_kubernetes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut files = vec![
        repository().join("helm-values/valkey.yaml"),
        repository().join("helm-values/manifests/network-policies.yaml"),
        repository().join("helm-values/manifests/sample-agents.yaml"),
        repository().join("kong/capstone/kubernetes.yaml"),
    ];
    files.extend(topics::files()?);
    for (index, (_, rendered)) in rendered()?.into_iter().enumerate() {
        let file = directory.path().join(format!("{index}.yaml"));
        std::fs::write(&file, rendered)?;
        files.push(file);
    }
    for version in KUBERNETES {
        let output = Command::new("kubernetes-validate")
            .args(["--kubernetes-version", version, "--strict"])
            .args(&files)
            .output()?;
        succeeded(&output).with_context(|| format!("Kubernetes {version}"))?;
        // It passes over what it has no schema for.
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        for line in said.lines().filter(|line| line.starts_with("WARN")) {
            ensure!(
                CUSTOM.iter().any(|origin| line.contains(origin)),
                "Kubernetes {version}: {line}"
            );
        }
    }
    Ok(())
}
