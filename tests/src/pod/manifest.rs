//! Rendered objects, read.

use anyhow::{Context, Result};
use serde_json::Value;

/// The spec of the pods of the only Deployment in a rendered release.
pub fn deployment(rendered: &str) -> Result<Value> {
    pod_of(rendered, |object| object["kind"] == "Deployment")
}

/// The spec of the pod of the Job whose name ends with `suffix`.
pub fn job(rendered: &str, suffix: &str) -> Result<Value> {
    pod_of(rendered, |object| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        object["kind"] == "Job" && name.ends_with(suffix)
    })
}

fn pod_of(rendered: &str, chosen: impl Fn(&Value) -> bool) -> Result<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(rendered)?;
    let object = objects.into_iter().find(chosen);
    let mut object = object.context("the release has no such object")?;
    Ok(object["spec"]["template"]["spec"].take())
}

/// A pod's containers of one kind.
pub(super) fn containers<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    spec[list].as_array().into_iter().flatten()
}

/// The texts of a list; none if there is none.
pub(super) fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A container's port by its number or its name.
pub(super) fn port(container: &Value, port: &Value) -> Result<u16> {
    let named = || {
        let ports = container["ports"].as_array()?;
        ports.iter().find(|known| known["name"] == *port)?["containerPort"].as_u64()
    };
    let number = port.as_u64().or_else(named);
    let number = number.with_context(|| format!("the container has no port {port}"))?;
    Ok(u16::try_from(number)?)
}
