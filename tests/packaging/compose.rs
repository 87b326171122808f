//! `docker-compose.yml`, and what it builds from.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use stories::repository;

use crate::document::{at, text, text_at, yaml};
use crate::kong_conf::DIRECTORY;

fn services() -> Result<Map<String, Value>> {
    Ok(at(&yaml("docker-compose.yml")?, "/services")?
        .as_object()
        .context("services is no map")?
        .clone())
}

fn strings<'a>(service: &'a Value, key: &str) -> Vec<&'a str> {
    service[key]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

pub(crate) fn publishes_on_loopback_only() -> Result<()> {
    let mut published = 0;
    for (name, service) in services()? {
        for port in strings(&service, "ports") {
            ensure!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
            published += 1;
        }
    }
    ensure!(published > 0, "nothing is published at all");
    Ok(())
}

pub(crate) fn pins_every_image() -> Result<()> {
    for (name, service) in services()? {
        let image = service["image"]
            .as_str()
            .with_context(|| format!("{name} names no image"))?;
        let (_, tag) = image
            .rsplit_once(':')
            .with_context(|| format!("{name}: {image} has no tag"))?;
        ensure!(
            tag.trim_start_matches('v')
                .starts_with(|first: char| first.is_ascii_digit())
                && tag.contains('.'),
            "{name}: {image} does not say which version"
        );
    }
    Ok(())
}

pub(crate) fn shares_the_socket_directory() -> Result<()> {
    let services = services()?;
    for name in ["kong", "migrations", "plugin-server"] {
        let volumes = strings(&services[name], "volumes");
        ensure!(
            volumes.contains(&format!("llm-plugins:{DIRECTORY}").as_str()),
            "{name} mounts {volumes:?}"
        );
    }
    let kong = strings(&services["kong"], "volumes");
    ensure!(
        kong.contains(&"./kong/kong.conf:/etc/kong/kong.conf:ro"),
        "kong reads no kong.conf"
    );
    Ok(())
}

/// The volume that a service has at a path.
fn volume_at(service: &Value, path: &str) -> Option<String> {
    strings(service, "volumes").into_iter().find_map(|volume| {
        let (name, rest) = volume.split_once(':')?;
        (rest.split(':').next() == Some(path)).then(|| name.to_owned())
    })
}

/// Each data plane speaks to a plugin server of its own; the control plane has schemas from something that has ended.
pub(crate) fn hybrid_planes_have_what_they_need() -> Result<()> {
    let services = services()?;
    let volume = |name: &str, path: &str| {
        volume_at(&services[name], path).with_context(|| format!("{name} has nothing at {path}"))
    };
    let mut directories = Vec::new();
    for number in ["1", "2"] {
        let (plane, server) = (
            format!("data-plane-{number}"),
            format!("plugin-server-{number}"),
        );
        let directory = volume(&plane, DIRECTORY)?;
        ensure!(
            directory == volume(&server, DIRECTORY)?,
            "{plane} does not reach {server}"
        );
        ensure!(
            services[&plane]["depends_on"][&server]["condition"] == "service_healthy",
            "{plane} does not wait for {server}"
        );
        directories.push(directory);
    }
    let schemas = volume("control-plane", DIRECTORY)?;
    ensure!(
        schemas == volume("plugin-schemas", DIRECTORY)?,
        "the control plane has other schemas"
    );
    directories.push(schemas);
    directories.push(volume("kong", DIRECTORY)?);
    directories.sort();
    let planes = directories.len();
    directories.dedup();
    ensure!(
        directories.len() == planes,
        "two planes share {directories:?}"
    );
    for plane in [
        "control-plane",
        "control-plane-migrations",
        "data-plane-1",
        "data-plane-2",
    ] {
        let environment = &services[plane]["environment"];
        for key in ["KONG_CLUSTER_CERT", "KONG_CLUSTER_CERT_KEY"] {
            let path = environment[key].as_str().unwrap_or_default();
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            ensure!(
                volume(plane, directory)? == volume("cluster-certificate", directory)?,
                "{plane} has another {key}"
            );
        }
    }
    Ok(())
}

/// Every `${{ env "NAME" }}` of `kong/kong.yml` is handed to the container that resolves it.
pub(crate) fn sets_every_variable() -> Result<()> {
    let file = text("kong/kong.yml")?;
    let names: Vec<&str> = file
        .split("${{ env \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    ensure!(
        !names.is_empty(),
        "kong.yml reads nothing from the environment"
    );
    let services = services()?;
    let given = services["configure"]["environment"]
        .as_object()
        .context("configure has no environment")?;
    for name in names {
        ensure!(given.contains_key(name), "configure is not given {name}");
    }
    Ok(())
}

pub(crate) fn builds_targets_that_exist() -> Result<()> {
    let mut built = 0;
    for (name, service) in services()? {
        let Some(build) = service["build"].as_object() else {
            continue;
        };
        let file = build["dockerfile"].as_str().context("no dockerfile")?;
        let target = build["target"].as_str().context("no target")?;
        ensure!(
            text(file)?
                .lines()
                .any(|line| line.starts_with("FROM ") && line.ends_with(&format!(" AS {target}"))),
            "{name} builds {target}, which {file} lacks"
        );
        built += 1;
    }
    ensure!(built > 0, "nothing is built at all");
    Ok(())
}

/// Realm, gateway and compose speak of the same issuer, audience, scope and clients.
pub(crate) fn oidc_agrees() -> Result<()> {
    let services = services()?;
    let realm = yaml("kong/oidc/realm.json")?;
    let gateway = yaml("kong/oidc/kong.yml")?;
    let provider = &services["identity-provider"];
    let environment = provider["environment"]
        .as_object()
        .context("no environment")?;

    let issuer = format!(
        "{}/realms/{}",
        text_at(provider, "/environment/KC_HOSTNAME")?,
        text_at(&realm, "/realm")?
    );
    let configure = &services["configure-oidc"];
    let given = text_at(configure, "/environment/OIDC_ISSUER")?;
    ensure!(issuer == given, "the gateway is told of {given}");
    ensure!(
        issuer.starts_with("http://identity-provider:"),
        "the plugin server does not reach {issuer}"
    );
    let command = strings(configure, "command");
    ensure!(command.ends_with(&["/kong/kong.yml", "/kong/oidc/kong.yml"]));

    let config = at(&gateway, "/routes/0/plugins/0/config")?;
    let scope = at(&realm, "/clientScopes/0")?;
    ensure!(at(config, "/scopes_required/0")? == at(scope, "/name")?);
    ensure!(
        at(config, "/issuers/0/audience_required/0")?
            == at(scope, "/protocolMappers/0/config/included.custom.audience")?
    );
    let consumers = at(&yaml("kong/kong.yml")?, "/consumers")?.clone();
    let consumers: Vec<_> = consumers
        .as_array()
        .into_iter()
        .flatten()
        .map(|consumer| consumer["username"].clone())
        .collect();
    let clients = at(&realm, "/clients")?.as_array().context("no clients")?;
    for client in clients {
        let id = text_at(client, "/clientId")?;
        ensure!(strings(client, "defaultClientScopes") == [text_at(scope, "/name")?]);
        ensure!(
            client["serviceAccountsEnabled"] == true,
            "{id} gets no token"
        );
        let secret = text_at(client, "/secret")?;
        let variable = secret
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        let variable = variable.with_context(|| format!("the secret of {id} is written out"))?;
        ensure!(
            environment.contains_key(variable),
            "Keycloak is not given {variable}"
        );
    }
    let is_consumer = |id: &str| consumers.iter().any(|username| username == id);
    ensure!(is_consumer("nightly-report") && !is_consumer("stranger"));
    ensure!(clients.len() == 2, "{} clients", clients.len());
    Ok(())
}

const CAPSTONE: &str = "kong/capstone/compose.yml";

/// The capstone's file adds agents and changes `configure`, which then has all that the capstone's `kong.yml` reads.
pub(crate) fn capstone_fits() -> Result<()> {
    let added = yaml(CAPSTONE)?;
    let added = at(&added, "/services")?
        .as_object()
        .context("services is no map")?;
    let configure = &added["configure"];
    let own = configure["environment"]
        .as_object()
        .context("no environment")?;
    let base = services()?;
    let given = base["configure"]["environment"]
        .as_object()
        .context("configure has no environment")?;
    let command = strings(configure, "command");
    let file = command.last().context("no command")?;
    let file = file.strip_prefix('/').context("no absolute path")?;
    for rest in text(file)?.split("env \"").skip(1) {
        let name = rest.split('"').next().unwrap_or_default();
        ensure!(
            own.contains_key(name) || given.contains_key(name),
            "configure is not given {name}"
        );
    }
    for (name, service) in added.iter().filter(|(name, _)| *name != "configure") {
        let target = service["build"]["target"].as_str().context("no target")?;
        ensure!(
            text("kong/Dockerfile")?.contains(&format!(" AS {target}\n")),
            "{name} builds {target}"
        );
        let address = strings(service, "command")
            .last()
            .and_then(|address| {
                address
                    .rsplit_once(':')
                    .map(|(_, port)| format!("{name}:{port}"))
            })
            .context("no address")?;
        ensure!(
            own.values()
                .any(|value| value == &Value::from(address.clone())),
            "no target is {address}"
        );
    }
    Ok(())
}

pub(crate) fn tool() -> Result<(), String> {
    match Command::new("docker").args(["compose", "version"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("no `docker compose` on this machine".into()),
    }
}

pub(crate) fn the_tool_accepts_it() -> Result<()> {
    let output = Command::new("docker")
        .args([
            "compose",
            "--file",
            "docker-compose.yml",
            "--file",
            CAPSTONE,
        ])
        .args(["--profile", "*", "config", "--quiet"])
        .env("AGENT_JWT_PUBLIC_KEY", "a key")
        .env("PARTNER_KEY", "a key")
        .env("AGENT_LLM_KEY", "a key")
        .current_dir(repository())
        .env("LLM_JWT_PUBLIC_KEY", "a key")
        .env("NIGHTLY_REPORT_KEY", "a key")
        .env("SUPPORT_BOT_KEY", "a key")
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
