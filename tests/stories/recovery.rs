//! The plugin server dies, Kong reloads: requests go on as soon as they can, and nothing runs wild.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stories::chat::{Caller, question};
use stories::wait;
use stories::world::World;

use crate::load::{CALLERS, Load, RECOVERY};

/// How often Kong may try an event again when a new plugin server does not know its instances: each worker has [`CALLERS`] requests in flight at
/// most, each with two events before the answer and one after. A storm makes thousands a second.
const RETRIES: usize = 2 * CALLERS * 3 * 2;
/// How long silence is listened to.
const WATCH: Duration = Duration::from_millis(500);

async fn until_serving(caller: &Caller) -> Result<()> {
    wait::until("the gateway serves again", RECOVERY, async || {
        // More often than there are workers.
        for _ in 0..8 {
            let answer = caller.chat(&question("Back?", 1)).await?;
            ensure!(
                answer.status == 200,
                "answered {}: {}",
                answer.status,
                answer.body
            );
        }
        Ok(())
    })
    .await
}

pub(crate) async fn a_killed_plugin_server_recovers_when_idle(world: &mut World) -> Result<()> {
    let caller = world.tenant("/metered/v1", "patient").await?;
    until_serving(&caller).await?;
    world.kill_plugin_server().await?;
    let down = caller.chat(&question("Anyone?", 1)).await?;
    world.restart_plugin_server().await?;

    ensure!(
        down.status == 500,
        "without its plugin server the gateway answers {}: it must fail closed",
        down.status
    );
    until_serving(&caller).await
}

pub(crate) async fn a_killed_plugin_server_recovers_under_load_without_a_storm(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/metered/v1", "impatient").await?;
    until_serving(&caller).await?;
    let load = Load::start(&caller);
    load.until_granted(50).await?;
    world.kill_plugin_server().await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let retries_before = world.gateway.retries()?;
    world.restart_plugin_server().await?;
    let recovered = load.until_granted(200).await;
    let failed = load.stop().await.failed;

    recovered?;
    ensure!(
        failed > 0,
        "no request noticed that the plugin server was dead"
    );
    until_serving(&caller).await?;
    if let (Some(before), Some(after)) = (retries_before, world.gateway.retries()?) {
        ensure!(
            after - before <= RETRIES,
            "Kong tried {} times again",
            after - before
        );
    }
    until_quiet(world).await
}

/// A storm goes on when nobody asks any more: without requests, the plugin server must have nothing to do.
async fn until_quiet(world: &World) -> Result<()> {
    let Some(server) = world.plugin_server() else {
        return Ok(());
    };
    wait::until("the plugin server is quiet", RECOVERY, async || {
        let before = server.processor_time().context("no processor time")?;
        tokio::time::sleep(WATCH).await;
        let busy = server
            .processor_time()
            .context("no processor time")?
            .saturating_sub(before);
        ensure!(busy * 10 < WATCH, "busy for {busy:?} of {WATCH:?}");
        Ok(())
    })
    .await
}

pub(crate) async fn a_reload_under_load_fails_no_request(world: &mut World) -> Result<()> {
    let caller = world
        .tenant("/metered/v1", "reloaded")
        .await?
        .without_keep_alive()?;
    until_serving(&caller).await?;
    let load = Load::start(&caller);
    load.until_granted(50).await?;
    world.gateway.reload().await.context("reload")?;
    let went_on = load.until_granted(200).await;
    let report = load.stop().await;
    went_on?;
    report.without_failure()
}
