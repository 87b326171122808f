//! What `helm-values` renders, at work: its pods, started here by [`stories::pod`], serve the capstone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stories::agent::Agent;
use stories::gateway::Cluster;
use stories::helm::{self, CHART};
use stories::http;
use stories::kongctl::Kongctl;
use stories::pod::{self, Pod, Surroundings};
use stories::postgres::Postgres;
use stories::repository;
use stories::target::Target;
use stories::world::World;

use crate::capstone;

/// Ports of the chart's containers.
const PROXY: u16 = 8000;
const ADMIN: u16 = 8001;
const CLUSTER: u16 = 8005;
/// The sidecar's admin listener, by its ConfigMap and its Secret.
const SIDECAR: u16 = 9542;
const TOKEN: &str = "a-token-of-the-sidecar";

/// Where the objects are that bring plugins.
const MANIFESTS: [&str; 4] = [
    "helm-values/manifests",
    "helm-values/manifests/gateway",
    "helm-values/manifests/ingress",
    "kong/capstone",
];

/// Why a target cannot show it: one tells it for all, and a database needs the other.
pub(crate) fn beyond(target: Target) -> Option<&'static str> {
    match target {
        Target::BinaryDbless => helm::absence(),
        _ => Some("the pods bring a Kong of their own: told once, with binary-dbless"),
    }
}

/// The same of pods with a database.
pub(crate) fn beyond_database(target: Target) -> Option<&'static str> {
    match target {
        Target::BinaryPostgres => helm::absence(),
        _ => Some("the pods bring a Kong of their own: told once, with binary-postgres"),
    }
}

fn rendered(release: &str, layers: &[&str]) -> Result<String> {
    let chart = helm::chart(CHART).map_err(anyhow::Error::msg)?;
    helm::template(release, &chart, layers)
}

/// What the ConfigMap and the Secret of values-monitoring.yaml say to the sidecar.
fn monitored(surroundings: Surroundings) -> Surroundings {
    surroundings
        .config_map(
            "llm-plugin-server",
            [("LLM_PLUGIN_SERVER_ADMIN_LISTEN", "0.0.0.0:9542")],
        )
        .secret(
            "llm-plugin-server",
            [("LLM_PLUGIN_SERVER_ADMIN_TOKEN", TOKEN)],
        )
}

/// A pod with gateway and sidecar, from its start to its end: it serves the capstone, and is measured.
async fn serves_the_capstone(
    world: &World,
    agents: &mut [Agent; 2],
    directory: &Path,
    spec: &Value,
    surroundings: &Surroundings,
) -> Result<()> {
    let mut pod = Pod::start(directory, spec, surroundings).await?;
    let told = async {
        let proxy_url = format!("http://{}", pod.address(PROXY)?);
        capstone::is_served(world, &proxy_url, agents).await?;
        sidecar_is_measured(&mut pod).await
    }
    .await;
    told.with_context(|| pod.last_words())?;
    pod.stop()
}

/// The refusals of the story are in the sidecar's metrics, for those who have the token.
async fn sidecar_is_measured(pod: &mut Pod) -> Result<()> {
    let url = format!("http://{}/metrics", pod.address(SIDECAR)?);
    let client = http::client().build()?;
    let stranger = client.get(&url).send().await?.status();
    ensure!(stranger == 401, "without a token: {stranger}");
    let metrics = client.get(&url).bearer_auth(TOKEN).send().await?;
    let metrics = metrics.error_for_status()?.text().await?;
    ensure!(
        metrics.contains("tenant-tokens"),
        "the budget is not in the metrics:\n{metrics}"
    );
    Ok(())
}

/// `plugin-sidecar.yaml` with `values-dbless.yaml` and `values-monitoring.yaml`: the declarative file comes from its Secret.
pub(crate) async fn a_pod_without_a_database_serves_the_capstone(world: &mut World) -> Result<()> {
    let layers = [
        "plugin-sidecar.yaml",
        "values-dbless.yaml",
        "values-monitoring.yaml",
    ];
    let rendered = rendered("kong", &layers)?;
    let mut agents = capstone::agents().await?;
    let file = capstone::configured(world, &agents)
        .with_files(&["render", "--show-secrets"], &[capstone::file()])
        .await?;
    let surroundings = Surroundings::default().secret("kong-declarative", [("kong.yml", &file)]);

    let directory = world.directory().join("pod");
    let spec = pod::deployment(&rendered)?;
    let surroundings = monitored(surroundings);
    serves_the_capstone(world, &mut agents, &directory, &spec, &surroundings).await
}

/// The hybrid topology: the migrations' Job, the control plane with schemas alone, and a data plane with the sidecar, which serves.
pub(crate) async fn pods_of_both_planes_serve_the_capstone(world: &mut World) -> Result<()> {
    let directory = world.directory().join("planes");
    let room = |name: &str| -> Result<_> {
        let room = directory.join(name);
        fs::create_dir_all(&room)?;
        Ok(room)
    };
    let control = rendered(
        "control-plane",
        &[
            "plugin-schema-only.yaml",
            "values-hybrid-control-plane.yaml",
        ],
    )?;
    let data = rendered(
        "data-plane",
        &["plugin-sidecar.yaml", "values-hybrid-data-plane.yaml"],
    )?;

    let certificate = room("cluster")?;
    Cluster::new(&certificate)?;
    let read = |name: &str| fs::read_to_string(certificate.join(name));
    let postgres = Postgres::start(&room("database")?).await?;
    postgres.create_database("kong")?;
    let surroundings = Surroundings::default()
        .secret(
            "kong-cluster-cert",
            [
                ("tls.crt", &read("cluster.crt")?),
                ("tls.key", &read("cluster.key")?),
            ],
        )
        .secret("kong-postgres", [("user", "kong"), ("password", "trusted")])
        .service("postgres:5432", ([127, 0, 0, 1], postgres.port()).into());

    let mut control = plane(&control, "control", &directory, &surroundings).await?;
    let surroundings = monitored(surroundings)
        .service("control-plane-kong-cluster:8005", control.address(CLUSTER)?);
    let told = async {
        let mut agents = capstone::agents().await?;
        let admin_url = format!("http://{}", control.address(ADMIN)?);
        let variables = capstone::configured(world, &agents).variables().clone();
        Kongctl::new(&admin_url, variables)?
            .sync(&capstone::file())
            .await?;
        let directory = directory.join("data");
        let spec = pod::deployment(&data)?;
        serves_the_capstone(world, &mut agents, &directory, &spec, &surroundings).await
    }
    .await;
    told.with_context(|| control.last_words())?;
    control.stop()?;
    postgres.stop()
}

/// The control plane, once the chart's Job has made its database.
async fn plane(
    rendered: &str,
    name: &str,
    directory: &Path,
    surroundings: &Surroundings,
) -> Result<Pod> {
    let migrations = pod::job(rendered, "-init-migrations")?;
    Pod::complete(&directory.join("migrations"), &migrations, surroundings)?;
    let spec = pod::deployment(rendered)?;
    Pod::start(&directory.join(name), &spec, surroundings).await
}

/// Kong's own judgement of each plugin's configuration, as its admission webhook asks for it; a wrong one is refused.
pub(crate) async fn kong_takes_every_plugin_of_the_manifests(world: &mut World) -> Result<()> {
    let url = format!("{}/schemas/plugins/validate", world.gateway.admin_url());
    let client = http::client().build()?;
    let judged = async |plugin: &Value, config: &Value| -> Result<_> {
        let body = json!({"name": plugin, "config": config});
        let answer = client.post(&url).json(&body).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let mut plugins = BTreeSet::new();
    for object in objects()? {
        let kind = object["kind"].as_str().unwrap_or_default();
        if !["KongPlugin", "KongClusterPlugin"].contains(&kind) {
            continue;
        }
        let name = &object["metadata"]["name"];
        for field in ["configFrom", "configPatches"] {
            ensure!(
                object.get(field).is_none(),
                "{name}: its {field} refers to what is not here"
            );
        }
        let plugin = &object["plugin"];
        let mut config = object.get("config").cloned().unwrap_or_else(|| json!({}));
        let (status, said) = judged(plugin, &config).await?;
        ensure!(status == 200, "{name}: answered {status}: {said}");
        config["no_such_field"] = json!(1);
        let (status, said) = judged(plugin, &config).await?;
        ensure!(
            status == 400 && said.contains("no_such_field"),
            "{name} with a wrong field: answered {status}: {said}"
        );
        plugins.insert(plugin.to_string());
    }
    for wanted in ["llm-jwt", "llm-rate-limiting", "prometheus"] {
        ensure!(
            plugins.contains(&format!("{wanted:?}")),
            "no {wanted} among {plugins:?}"
        );
    }
    Ok(())
}

fn objects() -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for directory in MANIFESTS {
        for entry in fs::read_dir(repository().join(directory))? {
            let path = entry?.path();
            if path.extension() == Some("yaml".as_ref()) {
                let read: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&path)?)
                    .with_context(|| path.display().to_string())?;
                objects.extend(read);
            }
        }
    }
    Ok(objects)
}
