//! `kong/observe` and the profile of `docker-compose.yml` that runs it. That its queries fit the metrics is tested beside the plugin server.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::repository;

use crate::document::{at, text, text_at, yaml};

const DASHBOARD: &str = "kong/observe/grafana/dashboards/llm-gateway.json";

/// Whoever is woken by an alert finds what to do.
pub(crate) fn every_alert_has_its_section() -> Result<()> {
    let alerts = yaml("kong/observe/alerts.yml")?;
    let manual = text("kong/OPERATING.md")?;
    let sections: Vec<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let groups = at(&alerts, "/groups")?.as_array().context("no list")?;
    let names: Vec<&str> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .filter_map(|rule| rule["alert"].as_str())
        .collect();
    ensure!(
        names == sections,
        "the alerts are {names:?}, the sections of kong/OPERATING.md {sections:?}"
    );
    Ok(())
}

fn mounts<'a>(compose: &'a Value, service: &str) -> Vec<&'a str> {
    compose["services"][service]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The listener that shows every tenant's use is open to the network only with a token, and published nowhere.
pub(crate) fn admin_listener_is_private() -> Result<()> {
    let compose = yaml("docker-compose.yml")?;
    let server = at(&compose, "/services/plugin-server")?;
    ensure!(
        server.get("ports").is_none(),
        "plugin-server publishes ports"
    );
    let token = text_at(server, "/environment/LLM_PLUGIN_SERVER_ADMIN_TOKEN_FILE")?;
    let directory = token
        .strip_suffix("/token")
        .context("no file named token")?;
    let writable: Vec<&String> = at(&compose, "/services")?
        .as_object()
        .context("services is no map")?
        .keys()
        .filter(|name| mounts(&compose, name).contains(&format!("llm-admin:{directory}").as_str()))
        .collect();
    ensure!(
        writable == ["admin-token"],
        "{writable:?} may write the token"
    );
    for service in ["plugin-server", "prometheus"] {
        let read_only = format!("llm-admin:{directory}:ro");
        ensure!(
            mounts(&compose, service).contains(&read_only.as_str()),
            "{service} cannot read the token"
        );
    }
    Ok(())
}

/// Prometheus scrapes what the compose file has, as it has it.
pub(crate) fn prometheus_agrees_with_compose() -> Result<()> {
    let compose = yaml("docker-compose.yml")?;
    let prometheus = yaml("kong/observe/prometheus.yml")?;
    let environment = at(&compose, "/services/plugin-server/environment")?;
    let (_, port) = text_at(environment, "/LLM_PLUGIN_SERVER_ADMIN_LISTEN")?
        .rsplit_once(':')
        .context("no port")?;
    let job = at(&prometheus, "/scrape_configs/0")?;
    ensure!(text_at(job, "/static_configs/0/targets/0")? == format!("plugin-server:{port}"));
    ensure!(
        text_at(job, "/authorization/credentials_file")?
            == text_at(environment, "/LLM_PLUGIN_SERVER_ADMIN_TOKEN_FILE")?
    );
    let status = text_at(&compose, "/services/kong/environment/KONG_STATUS_LISTEN")?;
    let (_, port) = status.rsplit_once(':').context("no port")?;
    let kong = text_at(&prometheus, "/scrape_configs/1/static_configs/0/targets/0")?;
    ensure!(kong == format!("kong:{port}"), "{kong} is not {status}");
    Ok(())
}

/// Every file that a service of the profile mounts is there, Grafana finds the dashboard, and panels ask the source that is provisioned.
pub(crate) fn provisioning_is_whole() -> Result<()> {
    let compose = yaml("docker-compose.yml")?;
    for service in ["prometheus", "grafana"] {
        ensure!(compose["services"][service]["profiles"] == serde_json::json!(["observe"]));
        for mount in mounts(&compose, service) {
            let source = mount.split(':').next().unwrap_or_default();
            ensure!(
                !source.starts_with('.') || repository().join(source).exists(),
                "{service} mounts {source}, which is not there"
            );
        }
    }
    let provider = yaml("kong/observe/grafana/provisioning/dashboards/files.yml")?;
    let directory = text_at(&provider, "/providers/0/options/path")?;
    ensure!(
        mounts(&compose, "grafana")
            .contains(&format!("./kong/observe/grafana/dashboards:{directory}:ro").as_str())
    );
    let source = yaml("kong/observe/grafana/provisioning/datasources/prometheus.yml")?;
    let source = text_at(&source, "/datasources/0/uid")?;
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)?)?;
    for panel in at(&dashboard, "/panels")?.as_array().context("no panels")? {
        let asked = &panel["datasource"]["uid"];
        ensure!(
            panel["type"] == "row" || asked == source,
            "{} asks {asked}",
            panel["title"]
        );
    }
    Ok(())
}

pub(crate) fn tool() -> Result<(), String> {
    match Command::new("promtool").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("no `promtool` on this machine".into()),
    }
}

/// Prometheus' own checker takes the configuration, the alerts, and every query of the dashboard, as rules.
pub(crate) fn the_tool_accepts_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rules = directory.path().join("dashboard.yml");
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)?)?;
    let mut queries = "groups: [{name: dashboard, rules: [\n".to_owned();
    let panels = at(&dashboard, "/panels")?.as_array().context("no panels")?;
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for (number, target) in targets.enumerate() {
        let query = text_at(target, "/expr")?
            .replace("$__rate_interval", "1m")
            .replace("$model", ".*");
        writeln!(queries, "{{record: query_{number}, expr: {query:?}}},")?;
    }
    queries.push_str("]}]\n");
    fs::write(&rules, queries)?;
    let observe = repository().join("kong/observe");
    for (arguments, file) in [
        (
            &["check", "config", "--syntax-only"][..],
            observe.join("prometheus.yml"),
        ),
        (&["check", "rules"], observe.join("alerts.yml")),
        (&["check", "rules"], rules),
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .arg(file)
            .output()?;
        ensure!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
