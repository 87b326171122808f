//! Kong's objects against the definitions that the official chart ships: structural schemas, strictly, and rules in CEL.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use cel::{Context as Variables, Program};
use serde_json::Value;
use stories::kongctl::built_binary;
use stories::repository;

use super::rendered::chart_directory;
use super::topics;
use crate::document::parse_stream;

/// Definitions by `apiVersion` and kind.
type Definitions = BTreeMap<(String, String), Value>;

pub(crate) fn definitions_are_there() -> Result<(), String> {
    chart_directory().map(drop)
}

fn definitions() -> Result<Definitions> {
    let directory = chart_directory().map_err(anyhow::Error::msg)?.join("crds");
    let mut found = Definitions::new();
    for entry in fs::read_dir(&directory)? {
        for definition in parse_stream(&fs::read_to_string(entry?.path())?)? {
            let spec = &definition["spec"];
            let (Some(group), Some(kind)) =
                (spec["group"].as_str(), spec["names"]["kind"].as_str())
            else {
                continue;
            };
            for version in spec["versions"].as_array().into_iter().flatten() {
                let name = version["name"].as_str().unwrap_or_default();
                let schema = version["schema"]["openAPIV3Schema"].clone();
                found.insert((format!("{group}/{name}"), kind.to_owned()), schema);
            }
        }
    }
    ensure!(!found.is_empty(), "{} defines nothing", directory.display());
    Ok(found)
}

/// The manifests beside the layers.
pub(crate) fn accept_the_manifests() -> Result<()> {
    let definitions = definitions()?;
    let mut checked = 0;
    let beside = fs::read_dir(repository().join("helm-values/manifests"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    for path in beside.into_iter().chain(topics::files()?) {
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            checked += check(&definitions, &fs::read_to_string(&path)?)
                .with_context(|| path.display().to_string())?;
        }
    }
    ensure!(checked > 0, "no manifest has an object of Kong's");
    Ok(())
}

/// What kongctl makes of our declarative files.
pub(crate) fn accept_what_kongctl_writes() -> Result<()> {
    let definitions = definitions()?;
    let fixtures = repository().join("kongctl/tests/fixtures/kubernetes");
    let mut checked = 0;
    for file in [
        repository().join("kong/kong.yml"),
        fixtures.join("all.yml"),
        fixtures.join("certificates.yml"),
    ] {
        for form in [None, Some("--ingress")] {
            let written = to_k8s(&file, form)?;
            checked += check(&definitions, &written).with_context(|| file.display().to_string())?;
        }
    }
    ensure!(checked >= 20, "only {checked} objects of Kong's");
    Ok(())
}

fn to_k8s(file: &Path, form: Option<&str>) -> Result<String> {
    let output = Command::new(built_binary("kongctl")?)
        .args(["to-k8s", "--allow-losses"])
        .args(form)
        .arg(file)
        .envs([
            ("LLM_HOST", "llm.example"),
            ("LLM_PORT", "8080"),
            ("LLM_JWT_PUBLIC_KEY", "a key"),
            ("NIGHTLY_REPORT_KEY", "one"),
            ("SUPPORT_BOT_KEY", "two"),
        ])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Checks each object of a text that has a definition; how many there were.
fn check(definitions: &Definitions, text: &str) -> Result<usize> {
    let mut checked = 0;
    for object in parse_stream(text)? {
        let word = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (word("apiVersion"), word("kind"));
        let Some(schema) = definitions.get(&(version.clone(), kind.clone())) else {
            // Of Kong's objects, each has one.
            ensure!(
                !version.contains("konghq.com"),
                "no {version} {kind} is defined"
            );
            continue;
        };
        accepts(schema, &object)
            .with_context(|| format!("{kind} {}", object["metadata"]["name"]))?;
        checked += 1;
    }
    Ok(checked)
}

fn accepts(schema: &Value, object: &Value) -> Result<()> {
    let mut strict = schema.clone();
    forbid_unknown(&mut strict);
    let validator = jsonschema::validator_for(&strict).map_err(|error| anyhow!("{error}"))?;
    if let Some(error) = validator.iter_errors(object).next() {
        return Err(anyhow!("{}: {error}", error.instance_path()));
    }
    rules(schema, object)
}

/// Kubernetes drops fields that a structural schema does not name; here each is a mistake.
fn forbid_unknown(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    let keeps = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if map.contains_key("properties") && !keeps && !map.contains_key("additionalProperties") {
        map.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(forbid_unknown);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(inner) {
            forbid_unknown(inner);
        }
    }
}

/// The rules of a schema and of what is in it, but for those of a change.
fn rules(schema: &Value, value: &Value) -> Result<()> {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let text = rule["rule"].as_str().unwrap_or_default();
        if text.contains("oldSelf") {
            continue;
        }
        let program = Program::compile(text).map_err(|error| anyhow!("{text}: {error}"))?;
        let mut variables = Variables::default();
        variables
            .add_variable("self", value)
            .map_err(|error| anyhow!("{error}"))?;
        let holds = program
            .execute(&variables)
            .map_err(|error| anyhow!("{text}: {error}"))?;
        ensure!(holds == cel::Value::Bool(true), "{}", rule["message"]);
    }
    if let (Some(properties), Some(map)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, inner) in properties {
            if let Some(value) = map.get(name) {
                rules(inner, value)?;
            }
        }
    }
    if let Some(items) = value.as_array() {
        for item in items {
            rules(&schema["items"], item)?;
        }
    }
    Ok(())
}

/// The checks themselves: what Kubernetes would refuse is refused here.
pub(crate) fn refuse_what_kubernetes_refuses() -> Result<()> {
    let definitions = definitions()?;
    let refused = |text: &str| -> Result<String> {
        match check(&definitions, text) {
            Ok(_) => Err(anyhow!("nothing is said against {text}")),
            Err(error) => Ok(format!("{error:#}")),
        }
    };
    for (object, said) in [
        (
            "{apiVersion: configuration.konghq.com/v1, kind: KongPlugin, metadata: {name: x}, plugin: cors, instanceName: y}",
            "instanceName",
        ),
        (
            "{apiVersion: configuration.konghq.com/v1, kind: KongPlugin, metadata: {name: x}, plugin: cors, config: {}, configFrom: {secretKeyRef: {name: a, key: b}}}",
            "config",
        ),
        (
            "{apiVersion: configuration.konghq.com/v1beta1, kind: KongUpstreamPolicy, metadata: {name: x}, spec: {hashOn: {input: ip}}}",
            "algorithm",
        ),
        (
            "{apiVersion: configuration.konghq.com/v9, kind: KongPlugin, metadata: {name: x}}",
            "is defined",
        ),
    ] {
        let message = refused(object)?;
        ensure!(message.contains(said), "{message}");
    }
    Ok(())
}
