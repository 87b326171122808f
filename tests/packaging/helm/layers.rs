//! What the layers say, read as data.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::repository;

use super::{COMBINATIONS, INGRESS_CHART, SCHEMA_ONLY, SIDECAR};
use crate::document::{at, text_at, yaml};
use crate::kong_conf::{DIRECTORY, PLUGINS, settings};

fn layer(name: &str) -> Result<Value> {
    yaml(&format!("helm-values/{name}"))
}

/// The layers of `kong/kong`, each once.
fn layers() -> BTreeSet<&'static str> {
    COMBINATIONS
        .iter()
        .flat_map(|combination| combination.layers)
        .copied()
        .collect()
}

pub(crate) fn every_layer_is_in_a_combination() -> Result<()> {
    let known = layers();
    for entry in fs::read_dir(repository().join("helm-values"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_layer = name.starts_with("values-") || name.starts_with("plugin-");
        ensure!(
            !is_layer || known.contains(name.as_str()),
            "{name} is in no combination that is checked"
        );
    }
    Ok(())
}

/// The chart turns each key of `env` into `KONG_…`, so the layer is `kong.conf` in another dress; `plugins` has a key of its own.
pub(crate) fn sidecar_agrees_with_kong_conf() -> Result<()> {
    let layer = layer(SIDECAR)?;
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

/// Control planes know the plugins by the same names and files, and have no bodies to buffer.
pub(crate) fn schemas_agree_with_the_sidecar() -> Result<()> {
    let (sidecar, schemas) = (layer(SIDECAR)?, layer(SCHEMA_ONLY)?);
    let mut wanted = at(&sidecar, "/env")?
        .as_object()
        .context("env is no map")?
        .clone();
    wanted.remove("nginx_http_client_body_buffer_size");
    ensure!(
        at(&schemas, "/env")?.as_object() == Some(&wanted),
        "env differs"
    );
    for pointer in [
        "/plugins",
        "/deployment/userDefinedVolumes",
        "/deployment/userDefinedVolumeMounts",
        "/deployment/initContainers/0/image",
        "/deployment/initContainers/0/volumeMounts",
        "/deployment/initContainers/0/securityContext",
    ] {
        ensure!(
            at(&sidecar, pointer)? == at(&schemas, pointer)?,
            "{pointer} differs"
        );
    }
    let container = at(&schemas, "/deployment/initContainers/0")?;
    ensure!(
        container.get("restartPolicy").is_none(),
        "what writes descriptions must end before Kong starts"
    );
    ensure!(
        at(container, "/args")? == &serde_json::json!(["dump", "--dir", DIRECTORY]),
        "it does not write descriptions"
    );
    Ok(())
}

/// That chart takes Kong's values under `gateway`, and Helm has no way to move a layer there.
pub(crate) fn the_ingress_chart_repeats_the_sidecar() -> Result<()> {
    let (sidecar, topology) = (layer(SIDECAR)?, layer(INGRESS_CHART)?);
    for (key, wanted) in sidecar.as_object().context("the layer is no map")? {
        ensure!(
            at(&topology, &format!("/gateway/{key}"))? == wanted,
            "gateway.{key} is not what {SIDECAR} says"
        );
    }
    Ok(())
}

pub(crate) fn sidecar_is_hardened() -> Result<()> {
    let layer = layer(SIDECAR)?;
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
    for combination in COMBINATIONS {
        let mut found = BTreeSet::new();
        for name in combination.layers {
            for list in lists(&layer(name)?) {
                ensure!(
                    found.insert(list.clone()),
                    "{}: {list} is set twice, at last in {name}",
                    combination.name()
                );
            }
        }
        ensure!(!found.is_empty(), "{} has no list", combination.name());
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
    for name in layers() {
        let document = layer(name)?;
        for values in [Some(&document), document.get("gateway")]
            .into_iter()
            .flatten()
        {
            ensure!(
                values.pointer("/env/plugins").is_none(),
                "{name}: env.plugins overrides plugins.preInstalled"
            );
            if let Some(installed) = values.pointer("/plugins/preInstalled") {
                let installed = installed.as_str().context("preInstalled is no string")?;
                ensure!(!installed.contains(' '), "{name}: a space in preInstalled");
                for plugin in PLUGINS {
                    ensure!(
                        installed.split(',').any(|name| name == plugin),
                        "{name}: no {plugin}"
                    );
                }
            }
        }
    }
    Ok(())
}
