//! Control plane and data plane, as `helm-values` and the compose profile `hybrid` lay them out.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use stories::chat::{Caller, Credential, question};
use stories::gateway::{Cluster, Gateway, Kong, Role, Settings, WORKERS};
use stories::kongctl::Kongctl;
use stories::plugin_server::{self, PluginServer};
use stories::postgres::Postgres;
use stories::repository;
use stories::target::Target;
use stories::wait;
use stories::world::{KEYS, World};

/// How long a change may take from the control plane to a worker of the data plane.
const PROPAGATION: Duration = Duration::from_secs(20);

/// Why a target cannot show it.
pub(crate) fn beyond(target: Target) -> Option<&'static str> {
    match target {
        Target::BinaryPostgres => None,
        Target::BinaryDbless => Some("a control plane needs a database"),
        Target::Compose => Some("it starts planes of its own on this machine"),
        Target::StandinMemory | Target::StandinDbless => Some("the stand-in is one node"),
    }
}

/// The control plane knows the plugins by their schemas alone. The data plane serves what it is sent, changes too, and goes on alone.
pub(crate) async fn a_control_plane_without_a_plugin_server_configures_a_data_plane(
    world: &mut World,
) -> Result<()> {
    let directory = world.directory().join("hybrid");
    let room = |name: &str| -> Result<_> {
        let room = directory.join(name);
        fs::create_dir_all(&room)?;
        Ok(room)
    };
    let cluster = Cluster::new(&room("cluster")?)?;
    let settings = |plugins, postgres, role| Settings {
        plugins,
        workers: WORKERS,
        postgres,
        role,
        kinds: false,
    };

    let schemas = plugin_server::describe(&room("schemas")?)?;
    let postgres = Postgres::start(&room("database")?).await?;
    let role = Role::ControlPlane(cluster.clone());
    let control = Kong::start(&room("control")?, settings(schemas, Some(postgres), role)).await?;
    let control = Gateway::Kong(Box::new(control));

    let plugins = PluginServer::start(&room("data")?).await?;
    let role = Role::DataPlane(cluster);
    let data = Kong::start(&room("data")?, settings(plugins.plugins(), None, role)).await?;
    let data = Gateway::Kong(Box::new(data));

    let kongctl = Kongctl::new(&control.admin_url(), world.kongctl.variables().clone())?;
    kongctl.sync(&repository().join("kong/kong.yml")).await?;
    let caller = Caller::new(
        format!("{}/keys/v1", data.proxy_url()),
        Credential::Key(KEYS[0].1.to_owned()),
    )?;
    wait::until("the data plane serves it", PROPAGATION, async || {
        let answer = caller.chat(&question("Are you there?", 1)).await?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        Ok(())
    })
    .await?;
    let before = caller.chat(&question("How much is left?", 10)).await?;
    let after = caller.chat(&question("And now?", 10)).await?;
    ensure!(
        after.left("tokens-per-minute") < before.left("tokens-per-minute"),
        "{:?}, then {:?}",
        before.left("tokens-per-minute"),
        after.left("tokens-per-minute")
    );

    let change = world.directory().join("blocked.yml");
    fs::write(
        &change,
        "_format_version: \"3.0\"\nplugins:\n- {name: request-termination, consumer: nightly-report, config: {status_code: 403}}\n",
    )?;
    kongctl.with_files(&["apply", "--yes"], &[change]).await?;
    wait::until("the change is there", PROPAGATION, async || {
        let answer = caller.chat(&question("Still there?", 1)).await?;
        ensure!(answer.status == 403, "answered {}", answer.status);
        Ok(())
    })
    .await?;

    control.stop().await?;
    let other = Caller::new(
        format!("{}/keys/v1", data.proxy_url()),
        Credential::Key(KEYS[1].1.to_owned()),
    )?;
    let answer = other.chat(&question("Alone?", 10)).await?;
    ensure!(answer.status == 200, "alone it answers {}", answer.status);
    ensure!(
        answer.left("tokens-per-minute").is_some(),
        "alone it does not meter"
    );
    data.stop().await
}
