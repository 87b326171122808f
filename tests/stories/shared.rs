//! Budgets in Redis: one for all nodes, and what holds while Redis is away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use serde_json::Value;
use stories::chat::{Answer, Caller, question};
use stories::redis::Redis;
use stories::target::Target;
use stories::wait;
use stories::world::World;

use crate::configuration_file;
use crate::limits::{LIMIT, charged, granted, until_charged};
use crate::load::{Load, RECOVERY};

/// How long a frozen Redis stays frozen.
const FROST: Duration = Duration::from_secs(4);
/// The longest that a request may take meanwhile: the routes' `redis.timeout` of 200 ms, and time for a busy machine; less than
/// the frost, which nobody may wait for.
const BOUND: Duration = Duration::from_millis(2500);

/// Clients that ask at the same time, and what the routes of the race allow them.
const CLIENTS: usize = 200;
const PLACES: usize = 100;
/// How often they do: on the real Kong, where two nodes can. Elsewhere it is the same plugin server, and a few times will do.
fn races(target: Target) -> usize {
    if target.is_real_kong() && target.is_dbless() {
        50
    } else {
        5
    }
}

fn redis(world: &mut World) -> Result<&mut Redis> {
    world.redis_mut().context("no redis of ours")
}

/// Waits until a caller whose limit says `on_store_failure: closed` passes: the story before may have taken Redis away.
async fn until_redis_decides(closed: &Caller, body: &Value) -> Result<()> {
    wait::until("redis decides", RECOVERY, async || {
        granted(closed, body).await.map(drop)
    })
    .await
}

/// Sends a request of every client at once, each to the next of the callers; how many were granted.
async fn race(callers: &[Caller]) -> Result<usize> {
    let body = question("Is there a place?", 1);
    let clients = (0..CLIENTS).map(|client| callers[client % callers.len()].chat(&body));
    let answers: Vec<Answer> = join_all(clients).await.into_iter().collect::<Result<_>>()?;
    let of = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    let (granted, refused) = (of(200), of(429));
    ensure!(
        granted + refused == CLIENTS,
        "{granted} granted and {refused} refused of {CLIENTS}"
    );
    Ok(granted)
}

pub(crate) async fn a_race_for_places_in_memory_admits_exactly_the_limit(
    world: &mut World,
) -> Result<()> {
    for round in 0..races(world.target) {
        let caller = world.tenant("/raced/v1", &format!("racer-{round}")).await?;
        let granted = race(&[caller]).await?;
        ensure!(granted == PLACES, "round {round}: {granted} granted");
    }
    Ok(())
}

pub(crate) async fn a_race_for_places_at_two_nodes_admits_exactly_the_limit(
    world: &mut World,
) -> Result<()> {
    let other = world.start_beside().await?;
    let raced = async {
        other.configure(&configuration_file()).await?;
        for round in 0..races(world.target) {
            let tenant = format!("team-{round}");
            let here = world.tenant("/raced-together/v1", &tenant).await?;
            let there = other.tenant("/raced-together/v1", &tenant).await?;
            let granted = race(&[here, there]).await?;
            ensure!(granted == PLACES, "round {round}: {granted} granted");
        }
        Ok(())
    }
    .await
    .with_context(|| other.last_words());
    other.stop().await?;
    raced
}

pub(crate) async fn a_budget_in_redis_is_reserved_and_settled(world: &mut World) -> Result<()> {
    let caller = world.tenant("/shared/v1", "sharer").await?;
    let answer = granted(&caller, &question("Say a little.", 80)).await?;
    let used = answer.total_tokens().context("no usage")?;
    until_charged(&caller, LIMIT, used).await
}

pub(crate) async fn a_frozen_redis_delays_no_request_beyond_its_timeout(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/shared/v1", "frozen").await?;
    let load = Load::start(&caller);
    let went_on = async {
        load.until_granted(30).await?;
        redis(world)?.freeze()?;
        tokio::time::sleep(FROST).await;
        load.until_granted(30).await
    }
    .await;
    redis(world)?.thaw()?;
    let back = load.until_granted(30).await;
    let report = load.stop().await;
    went_on.context("frozen")?;
    back.context("thawed")?;
    report.without_failure()?;
    ensure!(
        report.longest < BOUND,
        "a request took {:?}",
        report.longest
    );
    // What arrived before the frost and is carried out after it may count twice, but nothing is lost.
    wait::until("what was spent is written back", RECOVERY, async || {
        let charged = charged(&caller, LIMIT).await?;
        ensure!(
            charged >= report.tokens,
            "charged {charged}, really used {}",
            report.tokens
        );
        Ok(())
    })
    .await
}

pub(crate) async fn a_killed_redis_fails_no_request_and_loses_no_token(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/shared/v1", "bereft").await?;
    let (open, closed) = (
        world.tenant("/uncounted/v1", "bereft").await?,
        world.tenant("/closed/v1", "bereft").await?,
    );
    let body = question("Who counts?", 1);
    granted(&open, &body).await?;
    until_redis_decides(&closed, &body).await?;

    let load = Load::start(&caller);
    let without = async {
        load.until_granted(50).await?;
        redis(world)?.kill()?;
        load.until_granted(100).await?;
        for _ in 0..3 {
            granted(&open, &body)
                .await
                .context("on_store_failure: open")?;
        }
        let refusal = closed.chat(&body).await?;
        ensure!(
            refusal.status == 503 && refusal.headers.contains_key("retry-after"),
            "on_store_failure: closed is answered {}",
            refusal.status
        );
        let message = refusal.body["error"]["message"].as_str();
        ensure!(
            message.is_some_and(|message| message.contains("cannot be checked")),
            "{}",
            refusal.body
        );
        Ok(())
    }
    .await;
    redis(world)?.restart().await?;
    let back = load.until_granted(100).await;
    let report = load.stop().await;
    without.context("while redis is dead")?;
    back.context("when redis is back")?;
    report.without_failure()?;
    ensure!(
        report.longest < BOUND,
        "a request took {:?}",
        report.longest
    );
    until_redis_decides(&closed, &body).await?;
    until_charged(&caller, LIMIT, report.tokens).await
}
