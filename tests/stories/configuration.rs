//! The configuration: applied, applied again, applied often.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use stories::chat::question;
use stories::world::World;

/// How often the configuration is pushed by the story that watches for growth.
const PUSHES: usize = 30;
/// Growth of the plugin server's memory that pushes may cause, in KiB: a leak of one instance a push and worker shows beyond it.
const GROWTH_KIB: u64 = 8 * 1024;

pub(crate) async fn the_admin_api_answers_its_root(world: &mut World) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client
        .get(format!("{}/", world.gateway.admin_url()))
        .send()
        .await?;
    ensure!(answer.status() == 200, "answered {}", answer.status());
    let root: serde_json::Value = answer.json().await?;
    for plugin in ["llm-jwt", "llm-rate-limiting"] {
        ensure!(
            root["plugins"]["available_on_server"].get(plugin).is_some(),
            "{plugin} is not on the server"
        );
    }
    Ok(())
}

pub(crate) async fn a_second_sync_changes_nothing(world: &mut World) -> Result<()> {
    let file = crate::configuration_file();
    world.kongctl.sync(&file).await?;
    let file = file.to_str().context("the path is not UTF-8")?;
    // Exit code 2, an error here, says that there are differences.
    world
        .kongctl
        .run(&["diff", "--exit-code", file])
        .await
        .map(drop)
}

pub(crate) async fn configuration_pushed_often_makes_nothing_grow(world: &mut World) -> Result<()> {
    let caller = world.tenant("/metered/v1", "steady").await?;
    let before = memory(world);
    let original = fs::read_to_string(crate::configuration_file())?;
    // `!file` is read from where the file lies.
    let tap = stories::repository().join("kong").join("usage-tap.lua");
    let original = original.replace("../../kong/usage-tap.lua", &tap.display().to_string());
    let file = world.directory().join("pushed.yml");
    for push in 0..PUSHES {
        fs::write(&file, format!("{original}- username: passer-by-{push}\n"))?;
        world.kongctl.sync(&file).await?;
        let answer = caller.chat(&question("Still there?", 1)).await?;
        ensure!(
            answer.status == 200,
            "after push {push}: answered {}: {}",
            answer.status,
            answer.body
        );
    }
    world
        .configure(&crate::configuration_file(), "/open/v1/models")
        .await?;
    if let (Some(before), Some(after)) = (before, memory(world)) {
        ensure!(
            after < before + GROWTH_KIB,
            "the plugin server grew from {before} KiB to {after} KiB"
        );
    }
    Ok(())
}

/// Resident memory of the plugin server in KiB, where it is a process of ours.
fn memory(world: &World) -> Option<u64> {
    let pid = world.plugin_server()?.id()?;
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix(" kB")?
        .trim()
        .parse()
        .ok()
}
