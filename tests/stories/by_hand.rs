//! One thing at a time: entities created, changed, shown and deleted by hand.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use stories::kongctl::Kongctl;
use stories::wait;
use stories::world::World;

/// Patience with a node that reads what was written.
const BALANCER: Duration = Duration::from_secs(20);

/// Runs kongctl and reads what it gives as JSON.
async fn json(kongctl: &Kongctl, line: &str) -> Result<Value> {
    let mut words: Vec<&str> = line.split(' ').collect();
    words.extend(["-o", "json"]);
    Ok(serde_json::from_str(&kongctl.run(&words).await?)?)
}

/// Runs lines, each of which must succeed.
async fn all(kongctl: &Kongctl, lines: &[&str]) -> Result<()> {
    for line in lines {
        kongctl.run(&line.split(' ').collect::<Vec<_>>()).await?;
    }
    Ok(())
}

pub(crate) async fn single_entities_are_changed_by_hand(world: &mut World) -> Result<()> {
    let kongctl = &world.kongctl;
    let changes = [
        "create service hand --set url=http://127.0.0.1:9/x --set retries=0",
        "create route hand --service hand --set paths=[/hand]",
        "create plugin key-auth --route hand --set config.key_names=[apikey]",
        "create consumer hand --set tags=[hand]",
        "create key-auth --consumer hand --set key=hand-key",
        "create basic-auth hand --consumer hand --set password=first",
        "create acl hand --consumer hand",
        "create upstream hand",
        "create target 127.0.0.1:9 --upstream hand --set weight=10",
        "create key-set hand",
        "create vault hand --set name=env --set config.prefix=HAND_",
        "patch service hand --set retries=3",
        "patch plugin key-auth --route hand --set config.hide_credentials=true",
        "create plugin rate-limiting --route hand --set config.minute=5 --set config.redis.host=127.0.0.1",
        "patch plugin rate-limiting --route hand --set config.redis.port=6380 --set config.fault_tolerant=no",
        "patch plugin rate-limiting --route hand --set config.redis_timeout=500",
        "patch basic-auth hand --set password=second",
        "patch target 127.0.0.1:9 --upstream hand --set weight=20",
        "patch upstream hand --set healthchecks.active.healthy.interval=5 --set healthchecks.active.unhealthy.interval=5",
        "apply route hand --service hand --set paths=[/hand,/by-hand]",
    ];
    all(kongctl, &changes).await?;
    // Kong makes a balancer for the upstream a moment after it has been written.
    wait::until("the upstream has a balancer", BALANCER, async || {
        let unhealthy = ["target", "set-health", "hand", "127.0.0.1:9", "unhealthy"];
        kongctl.run(&unhealthy).await.map(drop)
    })
    .await?;
    let service = json(kongctl, "describe service hand").await?;
    ensure!(
        service["retries"] == 3 && service["_related"]["routes"][0]["name"] == "hand",
        "{service}"
    );
    let plugin = json(kongctl, "describe plugin key-auth --route hand").await?;
    ensure!(
        plugin["config"]["hide_credentials"] == true
            && plugin["config"]["key_names"][0] == "apikey",
        "{plugin}"
    );
    let limits = json(kongctl, "describe plugin rate-limiting --route hand").await?;
    ensure!(
        limits["config"]["redis"]["port"] == 6380
            && limits["config"]["redis"]["timeout"] == 500
            && limits["config"]["fault_tolerant"] == false
            && limits["config"]["minute"] == 5,
        "{limits}"
    );
    let target = json(kongctl, "describe target 127.0.0.1:9 --upstream hand").await?;
    ensure!(target["weight"] == 20, "{target}");
    let upstream = json(kongctl, "describe upstream hand").await?;
    ensure!(
        upstream["healthchecks"]["active"]["http_path"] == "/",
        "{upstream}"
    );
    let consumer = kongctl.run(&["describe", "consumer", "hand"]).await?;
    ensure!(
        !consumer.contains("hand-key") && consumer.contains("basicauth_credentials"),
        "{consumer}"
    );
    let health = kongctl.run(&["upstream", "health", "hand"]).await?;
    ensure!(health.contains("127.0.0.1:9"), "{health}");
    // What was changed last is undone first.
    all(
        kongctl,
        &["patch service hand --set retries=4", "rollback --yes"],
    )
    .await?;
    ensure!(json(kongctl, "describe service hand").await?["retries"] == 3);
    let refused = kongctl.run(&["delete", "service", "hand", "--yes"]).await;
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("stands on")));
    let deletions = [
        "delete route hand --yes",
        "delete service hand --yes",
        "delete consumer hand --yes",
        "delete upstream hand --yes",
        "delete key-set hand --yes",
        "delete vault hand --yes",
    ];
    all(kongctl, &deletions).await?;
    let left = kongctl.run(&["get", "plugins"]).await?;
    ensure!(!left.contains("hand"), "{left}");
    Ok(())
}

pub(crate) async fn a_node_without_a_database_refuses_single_changes(
    world: &mut World,
) -> Result<()> {
    let refused = world.kongctl.run(&["create", "consumer", "hand"]).await;
    let Err(error) = refused else {
        anyhow::bail!("it was not refused")
    };
    let error = format!("{error:#}");
    ensure!(
        error.contains("a node without a database does not take"),
        "{error}"
    );
    Ok(())
}

pub(crate) async fn the_level_of_the_log_is_told(world: &mut World) -> Result<()> {
    let kongctl = &world.kongctl;
    let before = json(kongctl, "log-level get").await?;
    let changed = kongctl
        .run(&["log-level", "set", "info", "--for", "5s"])
        .await;
    match changed {
        Ok(_) => {
            let now = json(kongctl, "log-level get").await?;
            ensure!(now["level"] == "info", "{now}");
        }
        Err(error) => {
            let error = format!("{error:#}");
            ensure!(
                error.contains("a node without a database cannot change its level"),
                "{error}"
            );
            ensure!(json(kongctl, "log-level get").await? == before);
        }
    }
    Ok(())
}
