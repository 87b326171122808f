//! The topics of `kong/topics` as Kubernetes objects: `helm-values/manifests` has what `kongctl to-k8s` makes of them.
//!
//! `UPDATE_MANIFESTS=1 cargo test -p stories --test packaging manifests` writes the files anew.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use stories::kongctl::built_binary;
use stories::repository;

use crate::document::parse_stream;

/// A file of a topic, and what its manifest is called.
struct Topic {
    manifest: &'static str,
    file: &'static str,
    /// Whether an Ingress can say it.
    has_ingress: bool,
}

const fn topic(manifest: &'static str, file: &'static str) -> Topic {
    Topic {
        manifest,
        file,
        has_ingress: true,
    }
}

/// An Ingress has one Service a path.
const fn over_targets(manifest: &'static str, file: &'static str) -> Topic {
    Topic {
        manifest,
        file,
        has_ingress: false,
    }
}

const TOPICS: [Topic; 17] = [
    topic("10-routing", "routing/kong.yml"),
    topic("20-tls", "tls/kong.yml"),
    topic("30-rate-limiting", "rate-limiting/kong.yml"),
    topic("40-api-keys", "api-keys/kong.yml"),
    topic("41-jwt", "jwt/kong.yml"),
    topic("42-oauth2", "oauth2/kong.yml"),
    topic("43-oauth2-of-kong", "oauth2/kong-plugin.yml"),
    over_targets("50-load-balancing", "load-balancing/kong.yml"),
    over_targets(
        "51-least-connections",
        "load-balancing/least-connections.yml",
    ),
    over_targets(
        "52-consistent-hashing",
        "load-balancing/consistent-hashing.yml",
    ),
    over_targets("53-health-checks", "health-checks/kong.yml"),
    topic("60-transformation", "transformation/kong.yml"),
    topic("61-caching", "caching/kong.yml"),
    topic("70-cors", "cors/kong.yml"),
    topic("80-timeouts", "timeouts/kong.yml"),
    over_targets("90-canary", "canary/kong.yml"),
    topic("91-canary-by-header", "canary/by-header.yml"),
];

const FORMS: [(&str, Option<&str>); 2] = [("gateway", None), ("ingress", Some("--ingress"))];

fn topics_directory() -> PathBuf {
    repository().join("kong/topics")
}

fn manifests() -> PathBuf {
    repository().join("helm-values/manifests")
}

/// The manifests of all topics, by form.
pub(super) fn files() -> impl Iterator<Item = PathBuf> {
    FORMS.into_iter().flat_map(|(form, _)| {
        TOPICS
            .iter()
            .filter(move |topic| form == "gateway" || topic.has_ingress)
            .map(move |topic| {
                manifests()
                    .join(form)
                    .join(format!("{}.yaml", topic.manifest))
            })
    })
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

/// Every file of every topic has a manifest.
pub(crate) fn every_topic_has_a_manifest() -> Result<()> {
    let known: BTreeSet<&str> = TOPICS.iter().map(|topic| topic.file).collect();
    for folder in fs::read_dir(topics_directory())? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "yml") {
                let relative = path.strip_prefix(topics_directory())?;
                let relative = relative.to_str().context("a path that is not UTF-8")?;
                ensure!(known.contains(relative), "{relative} has no manifest");
            }
        }
    }
    Ok(())
}

/// A manifest and what kongctl makes of its topic mean the same.
pub(crate) fn manifests_mean_the_same_as_topics() -> Result<()> {
    for (form, flag) in FORMS {
        for topic in TOPICS
            .iter()
            .filter(|topic| flag.is_none() || topic.has_ingress)
        {
            let files = [Path::new("agent.yml"), Path::new(topic.file)];
            let made = to_k8s(&topics_directory(), &files, flag)
                .with_context(|| format!("{form}: {}", topic.file))?;
            let path = manifests()
                .join(form)
                .join(format!("{}.yaml", topic.manifest));
            agrees(&path, &head(topic), &made)?;
        }
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
        "# kong/topics/{} as Kubernetes objects, written by `kongctl to-k8s`; its page says what it is for.\n\
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
