//! Which agent a request goes to.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use serde_json::Value;
use stories::agent::Agent;
use stories::chat::Answer;
use stories::wait;
use stories::world::World;

use super::{POOL, Topics, Visitor, answered};

/// Patience with a health check: the topic asks each second and believes the second failure.
const DIAGNOSIS: Duration = Duration::from_secs(20);

async fn agents<const N: usize>(names: [&str; N]) -> Result<[Agent; N]> {
    let started = join_all(names.map(Agent::start)).await;
    let agents: Vec<Agent> = started.into_iter().collect::<Result<_>>()?;
    Ok(agents.try_into().expect("one agent for each name"))
}

/// The agent that answered.
fn who(answer: &Answer) -> Result<&str> {
    answer.body["agent"]
        .as_str()
        .with_context(|| format!("no agent in {}", answer.body))
}

/// Sends requests one after another; how many each agent answered.
async fn shares(visitor: &Visitor, requests: usize) -> Result<BTreeMap<String, usize>> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let answer = answered(visitor.get("/agent/hello"), 200).await?;
        *shares.entry(who(&answer)?.to_owned()).or_default() += 1;
    }
    Ok(shares)
}

pub(crate) async fn requests_are_spread_by_weight(world: &mut World) -> Result<()> {
    const REQUESTS: usize = 80;
    let agents = agents(["one", "two", "three"]).await?;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["load-balancing/kong.yml"]).balancing(&agents);
    topics
        .served(async || {
            shares(&visitor, REQUESTS).await?;
            // A quarter, a quarter, a half: exactly so for each worker, and each may be in the middle of its round.
            for (agent, share) in agents.iter().zip([1, 1, 2]) {
                let (wanted, given) = (REQUESTS / 4 * share, agent.count());
                ensure!(
                    given.abs_diff(wanted) <= 4,
                    "{given} requests instead of {wanted}"
                );
            }
            Ok(())
        })
        .await
}

pub(crate) async fn a_busy_agent_is_spared(world: &mut World) -> Result<()> {
    const CLIENTS: usize = 8;
    let agents = agents(["slow", "quick"]).await?;
    let [slow, quick] = &agents;
    slow.set_delay(Duration::from_millis(500));
    quick.set_delay(Duration::from_millis(10));
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["load-balancing/least-connections.yml"]).balancing(&agents);
    topics
        .served(async || {
            let clients = (0..CLIENTS).map(|_| shares(&visitor, 10));
            join_all(clients)
                .await
                .into_iter()
                .collect::<Result<Vec<_>>>()?;
            ensure!(
                slow.count() > 0 && slow.count() * 3 < quick.count(),
                "the slow one got {}, the quick one {}",
                slow.count(),
                quick.count()
            );
            Ok(())
        })
        .await
}

pub(crate) async fn a_conversation_stays_with_its_agent(world: &mut World) -> Result<()> {
    const CONVERSATIONS: usize = 16;
    let agents = agents(["one", "two", "three"]).await?;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["load-balancing/consistent-hashing.yml"]).balancing(&agents);
    topics
        .served(async || {
            for conversation in 0..CONVERSATIONS {
                let mut home = None;
                for _ in 0..4 {
                    let request = visitor
                        .get("/agent/hello")
                        .header("x-conversation", format!("conversation-{conversation}"));
                    let agent = who(&answered(request, 200).await?)?.to_owned();
                    let home = home.get_or_insert_with(|| agent.clone());
                    ensure!(
                        agent == *home,
                        "conversation {conversation} went from {home} to {agent}"
                    );
                }
            }
            let busy = agents.iter().filter(|agent| agent.count() > 0).count();
            ensure!(busy > 1, "one agent has every conversation");
            Ok(())
        })
        .await
}

/// What Kong thinks of each agent, by its address.
async fn health(world: &World) -> Result<BTreeMap<String, String>> {
    let url = format!("{}/upstreams/{POOL}/health", world.gateway.admin_url());
    let mut answer: Value = reqwest::get(url).await?.json().await?;
    let targets: Vec<Value> = serde_json::from_value(answer["data"].take())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(targets
        .iter()
        .map(|target| (text(&target["target"]), text(&target["health"])))
        .collect())
}

async fn until_health(world: &World, agent: &Agent, wanted: &str) -> Result<()> {
    let address = agent.address().to_string();
    let what = format!("{address} is {wanted}");
    wait::until(&what, DIAGNOSIS, async || {
        let health = health(world).await?;
        ensure!(
            health.get(&address).map(String::as_str) == Some(wanted),
            "{health:?}"
        );
        Ok(())
    })
    .await
}

pub(crate) async fn a_dead_agent_gets_nothing_until_it_is_back(world: &mut World) -> Result<()> {
    let mut agents = agents(["one", "two"]).await?;
    let world = &*world;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["health-checks/kong.yml"]).balancing(&agents);
    let [one, two] = &mut agents;
    topics
        .served(async || {
            until_health(world, one, "HEALTHY").await?;
            until_health(world, two, "HEALTHY").await?;
            let both = shares(&visitor, 10).await?;
            ensure!(both.len() == 2, "{both:?}");

            // Nobody asks: the active check alone finds out.
            one.stop().await?;
            until_health(world, one, "UNHEALTHY").await?;
            let left = shares(&visitor, 20).await?;
            ensure!(left == BTreeMap::from([("two".to_owned(), 20)]), "{left:?}");

            // It listens again, but says itself that it is not ready.
            one.set_well(false);
            one.restart().await?;
            let before = one.checks();
            wait::until("it is asked again", DIAGNOSIS, async || {
                ensure!(one.checks() > before, "asked {before} times");
                Ok(())
            })
            .await?;
            let left = shares(&visitor, 10).await?;
            ensure!(left == BTreeMap::from([("two".to_owned(), 10)]), "{left:?}");

            one.set_well(true);
            until_health(world, one, "HEALTHY").await?;
            wait::until("both agents serve", DIAGNOSIS, async || {
                let both = shares(&visitor, 10).await?;
                ensure!(both.len() == 2, "{both:?}");
                Ok(())
            })
            .await
        })
        .await
}

pub(crate) async fn an_agent_that_fails_is_left_out_and_one_that_dies_fails_nobody(
    world: &mut World,
) -> Result<()> {
    /// What the topic's passive check endures; each health check that passes in between sets its count back.
    const FAILURES: usize = 3;
    /// Requests at once: half of them fail.
    const BURST: usize = 16;
    let mut agents = agents(["one", "two"]).await?;
    let world = &*world;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["health-checks/kong.yml"]).balancing(&agents);
    let [one, two] = &mut agents;
    topics
        .served(async || {
            until_health(world, one, "HEALTHY").await?;
            until_health(world, two, "HEALTHY").await?;
            // Its health check passes, its answers do not: only real requests tell, and the next check takes it back.
            one.set_status(500)?;
            let address = one.address().to_string();
            wait::until("it is left out", DIAGNOSIS, async || {
                let burst = (0..BURST).map(|_| visitor.get("/agent/hello").send());
                join_all(burst).await;
                let health = health(world).await?;
                ensure!(health[&address] == "UNHEALTHY", "{health:?}");
                Ok(())
            })
            .await?;
            ensure!(one.count() >= FAILURES, "after {} failures", one.count());

            // It recovers. Then it dies: the request that finds out is tried at the other one.
            one.set_status(200)?;
            until_health(world, one, "HEALTHY").await?;
            one.stop().await?;
            let served = shares(&visitor, 20).await?;
            ensure!(served == BTreeMap::from([("two".to_owned(), 20)]));
            until_health(world, one, "UNHEALTHY").await
        })
        .await
}

pub(crate) async fn a_canary_gets_its_tenth_and_whoever_asks_for_it(
    world: &mut World,
) -> Result<()> {
    const REQUESTS: usize = 100;
    let agents = agents(["stable", "canary"]).await?;
    let [stable, canary] = &agents;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["canary/kong.yml", "canary/by-header.yml"])
        .pooled()
        .with("AGENT_STABLE", &stable.address())
        .with("AGENT_CANARY", &canary.address())
        .with("AGENT_CANARY_HOST", &canary.address().ip())
        .with("AGENT_CANARY_PORT", &canary.address().port());
    topics
        .served(async || {
            shares(&visitor, REQUESTS).await?;
            let given = canary.count();
            ensure!((6..=14).contains(&given), "{given} of {REQUESTS}");

            canary.forget();
            for _ in 0..10 {
                let asked = visitor.get("/agent/hello").header("x-canary", "always");
                let answer = answered(asked, 200).await?;
                ensure!(who(&answer)? == "canary" && answer.body["path"] == "/hello");
            }
            ensure!(canary.count() == 10);
            Ok(())
        })
        .await
}
