//! The topics of `kong/topics` as Kubernetes objects: `helm-values/manifests` has what `kongctl to-k8s` makes of them.
//!
//! The manifests' first lines say which topic they are of; a new one begins with that line alone.
//! `UPDATE_MANIFESTS=1 cargo test -p stories --test packaging manifests` writes the files anew.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::kongctl::built_binary;
use stories::repository;

use crate::document::parse_stream;

/// A topic's file and its manifest, as the manifest's first line pairs them.
struct Topic {
    /// The manifest's file name, the same in both forms.
    manifest: String,
    /// The path below `kong/topics`.
    file: String,
}

/// What kongctl says of what an Ingress has no word for.
const NO_INGRESS: &str = "an Ingress has one Service a path";

/// The topics that have a manifest, in the manifests' order.
fn topics() -> Result<Vec<Topic>> {
    let mut topics = Vec::new();
    for path in manifests_in(FORMS[0].0)? {
        let text = fs::read_to_string(&path)?;
        let file = text
            .strip_prefix(HEAD)
            .and_then(|rest| rest.split_once(' '))
            .with_context(|| format!("{} does not say of which topic it is", path.display()))?
            .0;
        topics.push(Topic {
            manifest: name_of(&path),
            file: file.to_owned(),
        });
    }
    Ok(topics)
}

/// What a manifest begins with, before the topic's file.
const HEAD: &str = "# kong/topics/";

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The manifests of one form, sorted.
fn manifests_in(form: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(manifests().join(form))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

const FORMS: [(&str, Option<&str>); 2] = [("gateway", None), ("ingress", Some("--ingress"))];

fn topics_directory() -> PathBuf {
    repository().join("kong/topics")
}

fn manifests() -> PathBuf {
    repository().join("helm-values/manifests")
}

/// The manifests of all topics, in both forms.
pub(super) fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (form, _) in FORMS {
        files.extend(manifests_in(form)?);
    }
    Ok(files)
}

/// The capstone as Kubernetes objects.
const CAPSTONE: &str = "kong/capstone/kubernetes.yaml";

/// The capstone in Kubernetes' words means what its declarative file means.
pub(crate) fn the_capstone_means_the_same_in_kubernetes() -> Result<()> {
    let directory = repository().join("kong/capstone");
    let made = to_k8s(&directory, &[Path::new("kong.yml")], None)?;
    let head = "# kong/capstone/kong.yml as Kubernetes objects, written by `kongctl to-k8s`; README.md says how to apply them.\n";
    agrees(&repository().join(CAPSTONE), head, &made)
}

/// The manifest's addresses are those of `sample-agents.yaml`, and a key of several lines survives `envsubst` as the README puts it in.
pub(crate) fn the_capstone_finds_its_agents_and_its_key() -> Result<()> {
    let text = fs::read_to_string(repository().join(CAPSTONE))?;
    let wanted: BTreeSet<String> = parse_stream(&text)?
        .iter()
        .filter_map(|object| Some(object["spec"]["externalName"].as_str()?.to_owned()))
        .collect();
    let samples = fs::read_to_string(manifests().join("sample-agents.yaml"))?;
    let there: BTreeSet<String> = parse_stream(&samples)?
        .iter()
        .filter(|object| object["kind"] == "Service")
        .map(|object| {
            let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            format!("{}.{}.svc.cluster.local", part("name"), part("namespace"))
        })
        .collect();
    ensure!(
        wanted == there,
        "{wanted:?} are asked for, {there:?} are there"
    );

    let key = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
    let has_key = |object: &Value| object["config"]["issuers"][0]["public_keys"][0] == key;
    let found = |put_in: &str| -> Result<usize> {
        let objects = parse_stream(&text.replace("${AGENT_JWT_PUBLIC_KEY}", put_in))?;
        Ok(objects.into_iter().filter(has_key).count())
    };
    ensure!(
        found(key).unwrap_or_default() == 0,
        "a key of several lines can be put in as it is: the READMEs need no awk"
    );
    let found = found(&key.replace('\n', "\\n"))?;
    ensure!(found == 2, "{found} plugins have the key");
    for page in ["kong/capstone/README.md", "helm-values/README.md"] {
        let page = fs::read_to_string(repository().join(page))?;
        ensure!(
            page.contains(r#"awk '{printf "%s\\n", $0}'"#),
            "the key's lines"
        );
    }
    Ok(())
}

/// What a Secret of the manifests holds is left to whoever applies it, but for what is no secret.
pub(crate) fn secrets_are_left_to_whoever_applies_them() -> Result<()> {
    /// Names, and where a client may be sent back to.
    const OPEN: [&str; 3] = ["group", "name", "redirect_uris"];
    let mut found = 0;
    for path in files()?.into_iter().chain([repository().join(CAPSTONE)]) {
        for object in parse_stream(&fs::read_to_string(&path)?)? {
            if object["kind"] != "Secret" {
                continue;
            }
            ensure!(object.get("data").is_none(), "{}: data", path.display());
            let texts = object["stringData"].as_object().context("no stringData")?;
            for (key, value) in texts {
                let value = value.as_str().context("no text")?;
                let is_left = value.starts_with("${") && value.ends_with('}');
                ensure!(
                    is_left || OPEN.contains(&key.as_str()),
                    "{}: {key} is written out",
                    path.display()
                );
                found += usize::from(is_left);
            }
        }
    }
    ensure!(found > 5, "{found} secrets in the manifests");
    Ok(())
}

/// Every file of every topic has one manifest, and every manifest a topic.
pub(crate) fn every_topic_has_a_manifest() -> Result<()> {
    let topics = topics()?;
    let known: BTreeSet<String> = topics.iter().map(|topic| topic.file.clone()).collect();
    ensure!(
        known.len() == topics.len(),
        "two manifests are of one topic"
    );
    let wanted = crate::topics::files()?;
    ensure!(
        known == wanted,
        "with a topic or with a manifest, but not both: {:?}",
        known.symmetric_difference(&wanted)
    );
    Ok(())
}

/// A manifest and what kongctl makes of its topic mean the same. What kongctl cannot say as an Ingress has no manifest there, and nothing else
/// lacks one.
pub(crate) fn manifests_mean_the_same_as_topics() -> Result<()> {
    for (form, flag) in FORMS {
        let mut said = BTreeSet::new();
        for topic in topics()? {
            let files = [Path::new("agent.yml"), Path::new(&topic.file)];
            match to_k8s(&topics_directory(), &files, flag) {
                Err(error) if flag.is_some() && format!("{error:#}").contains(NO_INGRESS) => {}
                made => {
                    let made = made.with_context(|| format!("{form}: {}", topic.file))?;
                    let path = manifests().join(form).join(&topic.manifest);
                    agrees(&path, &head(&topic), &made)?;
                    said.insert(topic.manifest);
                }
            }
        }
        let kept: BTreeSet<_> = manifests_in(form)?
            .iter()
            .map(|path| name_of(path))
            .collect();
        ensure!(
            kept == said,
            "{form}: {kept:?} are kept, {said:?} can be said"
        );
        ensure!(said.len() > 10, "{form} has {} manifests", said.len());
    }
    Ok(())
}

/// A file is `head`, and then means what `made` means; where that is asked for, it is written anew.
fn agrees(path: &Path, head: &str, made: &str) -> Result<()> {
    if env::var_os("UPDATE_MANIFESTS").is_some() {
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(path, format!("{head}{made}"))?;
    }
    let kept = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    ensure!(
        parse_stream(&kept)? == parse_stream(made)?,
        "{} is not what kongctl makes of it: UPDATE_MANIFESTS=1 writes it anew",
        path.display()
    );
    ensure!(kept.starts_with(head), "{}: its head", path.display());
    Ok(())
}

fn head(topic: &Topic) -> String {
    format!(
        "{HEAD}{} as Kubernetes objects, written by `kongctl to-k8s`; its page says what it is for.\n\
         # What stands in ${{…}} is yours to say: envsubst < FILE | kubectl apply -f -\n",
        topic.file
    )
}

fn to_k8s(directory: &Path, files: &[&Path], form: Option<&str>) -> Result<String> {
    let mut command = Command::new(built_binary("kongctl")?);
    command
        .arg("to-k8s")
        .args(form)
        .args(files)
        .current_dir(directory);
    for file in files {
        let text = fs::read_to_string(directory.join(file))?;
        for rest in text.split("env \"").skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            command.env(name, value_of(name));
        }
    }
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// What a topic reads from the environment, as Kubernetes has it: addresses in the cluster; names and secrets are left to whoever applies it.
fn value_of(name: &str) -> String {
    let service = |name: &str| format!("{name}.agents.svc.cluster.local");
    match name {
        "AGENT_HOST" => service("agent"),
        "AGENT_CANARY_HOST" => service("agent-canary"),
        "AGENT_PORT" | "AGENT_CANARY_PORT" | "LLM_PORT" => "8080".to_owned(),
        "AGENT_STABLE" => format!("{}:8080", service("agent-stable")),
        "AGENT_CANARY" => format!("{}:8080", service("agent-canary")),
        "LLM_HOST" => service("llm"),
        "AGENT_READ_TIMEOUT" => "60000".to_owned(),
        "AGENT_DOMAIN" => "agents.example.com".to_owned(),
        "OIDC_ISSUER" => "https://idp.example.com".to_owned(),
        _ => match name.strip_prefix("AGENT_TARGET_") {
            Some(number) => format!("{}:8080", service(&format!("agent-{number}"))),
            None => format!("${{{name}}}"),
        },
    }
}
