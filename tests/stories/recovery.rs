//! The plugin server dies, Kong reloads: requests go on as soon as they can, and nothing runs wild.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stories::chat::{Caller, question};
use stories::wait;
use stories::world::World;
use tokio::task::JoinSet;

/// Callers that keep asking.
const LOAD: usize = 8;
/// Patience with a gateway that finds its plugin server again. Usually that is at once; but where Kong starts an instance on a pooled
/// connection that has just died, its claim on that instance stays for ten seconds, and then once more for whoever claimed next.
const RECOVERY: Duration = Duration::from_secs(30);

/// How often Kong may try an event again when a new plugin server does not know its instances: each worker has [`LOAD`] requests in flight at
/// most, each with two events before the answer and one after. A storm makes thousands a second.
const RETRIES: usize = 2 * LOAD * 3 * 2;
/// How long silence is listened to.
const WATCH: Duration = Duration::from_millis(500);

/// Requests without pause, until told to stop.
struct Load {
    running: Arc<AtomicBool>,
    granted: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    /// What the first failure looked like.
    failure: Arc<OnceLock<String>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(caller: &Caller) -> Self {
        let (running, granted, failed, failure) = (
            Arc::new(AtomicBool::new(true)),
            Arc::default(),
            Arc::default(),
            Arc::default(),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..LOAD {
            let (caller, running) = (caller.clone(), Arc::clone(&running));
            let (granted, failed, failure) = (
                Arc::<AtomicUsize>::clone(&granted),
                Arc::<AtomicUsize>::clone(&failed),
                Arc::<OnceLock<String>>::clone(&failure),
            );
            tasks.spawn(async move {
                let body = question("Are you there?", 1);
                while running.load(Ordering::Relaxed) {
                    let reason = match caller.chat(&body).await {
                        Ok(answer) if answer.status == 200 => None,
                        Ok(answer) => Some(format!("{}: {}", answer.status, answer.body)),
                        Err(error) => Some(format!("{error:#}")),
                    };
                    let count = if reason.is_none() { &granted } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    if let Some(reason) = reason {
                        failure.get_or_init(|| reason);
                        // A refused connection comes back at once: leave the processor to the recovery.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            });
        }
        Self {
            running,
            granted,
            failed,
            failure,
            tasks,
        }
    }

    async fn until_granted(&self, more: usize) -> Result<()> {
        let goal = self.granted.load(Ordering::Relaxed) + more;
        wait::until("requests are granted", RECOVERY, async || {
            let granted = self.granted.load(Ordering::Relaxed);
            ensure!(granted >= goal, "{granted} of {goal}");
            Ok(())
        })
        .await
    }

    /// Stops; how many failed, and how the first did.
    async fn stop(mut self) -> (usize, String) {
        self.running.store(false, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        let failure = self.failure.get().cloned().unwrap_or_default();
        (self.failed.load(Ordering::Relaxed), failure)
    }
}

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
    let (failed, _) = load.stop().await;

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
    let (failed, failure) = load.stop().await;
    went_on?;
    ensure!(
        failed == 0,
        "{failed} requests failed, the first: {failure}"
    );
    Ok(())
}
