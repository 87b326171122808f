//! What is applied beside a release.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::SIDECAR;
use crate::document::{at, text_at, yaml, yaml_stream};

const MONITORING: &str = "helm-values/manifests/monitoring.yaml";
const POLICIES: &str = "helm-values/manifests/network-policies.yaml";
const VALKEY: &str = "helm-values/valkey.yaml";

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    documents
        .iter()
        .find(|document| document["kind"] == kind)
        .with_context(|| format!("no {kind}"))
}

/// Prometheus' own file and the operator's object are the same rules.
pub(crate) fn alerts_are_those_of_observe() -> Result<()> {
    let documents = yaml_stream(MONITORING)?;
    let alerts = yaml("kong/observe/alerts.yml")?;
    ensure!(
        at(of_kind(&documents, "PrometheusRule")?, "/spec/groups")? == at(&alerts, "/groups")?,
        "the rules differ"
    );
    Ok(())
}

/// Port, token and job: of the sidecar, of the ConfigMap that opens it, of who scrapes it, and of the alerts.
pub(crate) fn metrics_are_scraped_where_they_are_served() -> Result<()> {
    let documents = yaml_stream(MONITORING)?;
    let sidecar = yaml(&format!("helm-values/{SIDECAR}"))?;
    let container = at(&sidecar, "/deployment/initContainers/0")?;
    let port = at(container, "/ports/0")?;
    let number = at(port, "/containerPort")?;
    let opened = of_kind(&documents, "ConfigMap")?;
    ensure!(
        text_at(opened, "/data/LLM_PLUGIN_SERVER_ADMIN_LISTEN")? == format!("0.0.0.0:{number}"),
        "the ConfigMap opens another port"
    );
    ensure!(
        at(container, "/envFrom/0/configMapRef/name")? == at(opened, "/metadata/name")?,
        "the sidecar does not read that ConfigMap"
    );
    let monitor = of_kind(&documents, "PodMonitor")?;
    let endpoint = at(monitor, "/spec/podMetricsEndpoints/0")?;
    ensure!(at(endpoint, "/port")? == at(port, "/name")?, "another port");
    let credentials = at(endpoint, "/authorization/credentials")?;
    ensure!(
        at(credentials, "/name")? == at(container, "/envFrom/1/secretRef/name")?
            && text_at(credentials, "/key")? == "LLM_PLUGIN_SERVER_ADMIN_TOKEN",
        "the scraper shows another token"
    );
    ensure!(
        text_at(endpoint, "/relabelings/0/replacement")? == "llm-plugin-server",
        "the alerts ask for another job"
    );
    let policies = yaml_stream(POLICIES)?;
    let allowed = policies[0].to_string();
    ensure!(
        allowed.contains(&number.to_string()),
        "the network policy keeps Prometheus out"
    );
    Ok(())
}

pub(crate) fn only_kong_may_reach_valkey() -> Result<()> {
    let stateful = yaml_stream(VALKEY)?;
    let stateful = of_kind(&stateful, "StatefulSet")?;
    let policies = yaml_stream(POLICIES)?;
    let policy = policies
        .iter()
        .find(|policy| policy["metadata"]["name"] == "valkey")
        .context("no policy for valkey")?;
    ensure!(
        at(policy, "/spec/podSelector/matchLabels")?
            == at(stateful, "/spec/template/metadata/labels")?,
        "the policy selects other pods"
    );
    let container = at(stateful, "/spec/template/spec/containers/0")?;
    ensure!(
        at(policy, "/spec/ingress/0/ports/0/port")? == at(container, "/ports/0/name")?,
        "the policy opens another port"
    );
    ensure!(
        container["env"][0].get("valueFrom").is_some(),
        "the password is no reference"
    );
    Ok(())
}
