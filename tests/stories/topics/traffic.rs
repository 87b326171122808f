//! What happens to a request between client and agent.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use stories::agent::{Agent, DELAY_HEADER, STATUS_HEADER};
use stories::chat::{Answer, Caller, Credential, question};
use stories::identity_provider::IdentityProvider;
use stories::repository;
use stories::wait;
use stories::world::World;

use super::{RESEARCH_BOT, TRIAL_BOT, Topics, Visitor, answered, seen};

/// The topic's requests a minute.
const REQUESTS_PER_MINUTE: usize = 30;
/// Its dollars for a tenant's day, in millionths.
const SPEND: u64 = 5_000_000;
/// Its prices of a token, in the same.
const INPUT: f64 = 2.5;
const OUTPUT: f64 = 10.0;

/// A consumer whose requests no other story needs: Kong goes on counting while other configurations are served.
const SPENDTHRIFT: &str = r#"
_format_version: "3.0"
consumers:
- username: spendthrift
  keyauth_credentials: [{key: key-of-the-spendthrift}]
  acls: [{group: agents}]
"#;

pub(crate) async fn requests_are_limited_for_each_consumer(world: &mut World) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let keyed = |key: &str| visitor.get("/agent/hello").header("apikey", key);
    let topics = Topics::new(world, &["rate-limiting/kong.yml", "api-keys/kong.yml"])
        .beside("spendthrift.yml", SPENDTHRIFT)?
        .before(&agent);
    topics
        .served(async || {
            // Kong counts by the clock's minutes: one may end in between.
            let mut granted = 0;
            let refusal = loop {
                let answer = Answer::read(keyed("key-of-the-spendthrift").send().await?).await?;
                if answer.status == 429 {
                    break answer;
                }
                granted += 1;
                ensure!(granted <= 2 * REQUESTS_PER_MINUTE, "nothing is refused");
            };
            ensure!(granted >= REQUESTS_PER_MINUTE, "refused after {granted}");
            let message = &refusal.body["message"];
            ensure!(message == "API rate limit exceeded", "{message}");
            ensure!(agent.count() == granted);
            let wait = refusal.number("retry-after").context("no Retry-After")?;
            ensure!((1..=60).contains(&wait), "Retry-After: {wait}");
            answered(keyed(TRIAL_BOT.1), 200).await.map(drop)
        })
        .await
}

/// The sample LLM in an agent's place: it reports its usage.
fn provider(world: &World) -> Result<SocketAddr> {
    let (host, port) = (&world.provider.host, world.provider.port);
    Ok(format!("{host}:{port}").parse()?)
}

/// Asks for a few long answers; what the refusal said, if there was one.
async fn refusal(caller: &Caller) -> Result<Option<String>> {
    for _ in 0..4 {
        let answer = caller.chat(&question("Tell me a story.", 400)).await?;
        match answer.status {
            200 => {}
            429 => return Ok(Some(answer.body.to_string())),
            status => anyhow::bail!("answered {status}: {}", answer.body),
        }
    }
    Ok(None)
}

/// Insists that one is refused by the limit of that name, and the other not at all.
async fn only_the_first_is_limited(limit: &str, free: &Caller, other: &Caller) -> Result<()> {
    let refused = refusal(free).await?;
    ensure!(
        refused.as_ref().is_some_and(|said| said.contains(limit)),
        "the free tier was told {refused:?}"
    );
    let refused = refusal(other).await?;
    ensure!(refused.is_none(), "the other was told {refused:?}");
    Ok(())
}

pub(crate) async fn the_free_tier_gets_fewer_tokens_by_tag_of_its_consumer(
    world: &mut World,
) -> Result<()> {
    let topics = Topics::new(world, &["rate-limiting/kong.yml", "api-keys/kong.yml"])
        .before_address(provider(world)?);
    let with = |key: &str| world.caller("/agent/v1", Credential::Key(key.to_owned()));
    let (research, trial) = (with(RESEARCH_BOT.1)?, with(TRIAL_BOT.1)?);
    topics
        .served(async || only_the_first_is_limited("free-tier", &trial, &research).await)
        .await
}

pub(crate) async fn the_free_tier_and_the_money_of_a_tenant_are_those_of_its_claims(
    world: &mut World,
) -> Result<()> {
    let provider_of_tokens = IdentityProvider::start(&world.issuer).await?;
    let topics = Topics::new(world, &["rate-limiting/kong.yml", "jwt/kong.yml"])
        .before_address(provider(world)?)
        .with("OIDC_ISSUER", provider_of_tokens.url())
        .in_a_private_network()?;
    let in_tier = |tenant: &str, tier: &str| {
        let token = provider_of_tokens.token(tenant, |claims| claims["tier"] = tier.into())?;
        world.caller("/agent/v1", Credential::Token(token))
    };
    let (free, pro, other) = (
        in_tier("frugal", "free")?,
        in_tier("wealthy", "pro")?,
        in_tier("thrifty", "pro")?,
    );
    topics
        .served(async || {
            only_the_first_is_limited("free-tenant", &free, &pro).await?;

            let answer = other.chat(&question("What is it worth?", 100)).await?;
            ensure!(answer.status == 200, "answered {}", answer.status);
            let tokens = |kind: &str| answer.body["usage"][kind].as_f64().context("no usage");
            let cost = tokens("prompt_tokens")? * INPUT + tokens("completion_tokens")? * OUTPUT;
            wait::until("its price is charged", Duration::from_secs(5), async || {
                // A request that cannot be answered costs nothing, and tells what is left.
                let asked = other.post("/nothing-here", &question("", 1)).await?;
                let left = asked.left("spend").context("no limit by that name")?;
                ensure!(
                    (SPEND - left) as f64 >= cost,
                    "{left} left after spending {cost}"
                );
                Ok(())
            })
            .await
        })
        .await
}

pub(crate) async fn an_answer_is_a_miss_then_a_hit_for_each_caller_apart(
    world: &mut World,
) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let keyed = |request: reqwest::RequestBuilder, key: &str| request.header("apikey", key);
    let topics = Topics::new(world, &["caching/kong.yml", "api-keys/kong.yml"]).before(&agent);
    topics
        .served(async || {
            // What each was answered, by Kong's cache and by the agent's count.
            let asked = async |key: &str, cache: &str, request: u64| -> Result<()> {
                let answer = answered(keyed(visitor.get("/agent/facts?of=kong"), key), 200).await?;
                let (status, number) = (answer.header("x-cache-status"), &answer.body["request"]);
                ensure!(
                    status == cache && number == request,
                    "{status} of request {number} instead of {cache} of {request}"
                );
                Ok(())
            };
            asked(RESEARCH_BOT.1, "Miss", 1).await?;
            asked(RESEARCH_BOT.1, "Hit", 1).await?;
            asked(TRIAL_BOT.1, "Miss", 2).await?;
            asked(TRIAL_BOT.1, "Hit", 2).await?;

            let post = keyed(visitor.post("/agent/facts?of=kong"), RESEARCH_BOT.1);
            let posted = answered(post, 200).await?;
            ensure!(posted.header("x-cache-status") == "Bypass");
            for _ in 0..2 {
                let failing = keyed(visitor.get("/agent/failure"), RESEARCH_BOT.1);
                answered(failing.header(STATUS_HEADER, "500"), 500).await?;
            }
            ensure!(agent.count() == 5, "a failure was kept");
            Ok(())
        })
        .await
}

pub(crate) async fn tenants_without_a_consumer_do_not_share_what_is_kept(
    world: &mut World,
) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let provider = IdentityProvider::start(&world.issuer).await?;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["caching/kong.yml", "jwt/kong.yml"])
        .before(&agent)
        .with("OIDC_ISSUER", provider.url())
        .in_a_private_network()?;
    topics
        .served(async || {
            for (tenant, cache) in [("acme", "Miss"), ("acme", "Hit"), ("globex", "Miss")] {
                let token = provider.token(tenant, |_| ())?;
                let request = visitor.get("/agent/facts").bearer_auth(token);
                let answer = answered(request, 200).await?;
                let status = answer.header("x-cache-status");
                ensure!(status == cache, "{tenant}: {status} instead of {cache}");
                ensure!(seen(&answer, "x-tenant") == tenant);
            }
            Ok(())
        })
        .await
}

/// What the lint rule `shared-cache` says is so.
pub(crate) async fn tenants_without_a_consumer_share_what_is_kept_where_no_header_tells_them_apart(
    world: &mut World,
) -> Result<()> {
    let careless = fs::read_to_string(repository().join("kong/topics/caching/kong.yml"))?
        .replace(", x-tenant]", "]");
    let agent = Agent::start("agent").await?;
    let provider = IdentityProvider::start(&world.issuer).await?;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["jwt/kong.yml"])
        .before(&agent)
        .with("OIDC_ISSUER", provider.url())
        .beside("careless.yml", &careless)?
        .in_a_private_network()?;
    let linted = topics.linted().await?;
    ensure!(linted.contains("shared-cache"), "{linted}");
    topics
        .served(async || {
            for (tenant, cache) in [("acme", "Miss"), ("globex", "Hit")] {
                let token = provider.token(tenant, |_| ())?;
                let request = visitor.get("/agent/careless").bearer_auth(token);
                let answer = answered(request, 200).await?;
                let status = answer.header("x-cache-status");
                ensure!(status == cache, "{tenant}: {status} instead of {cache}");
                ensure!(seen(&answer, "x-tenant") == "acme");
            }
            Ok(())
        })
        .await
}

pub(crate) async fn a_slow_agent_is_given_up_and_only_what_may_be_is_tried_again(
    world: &mut World,
) -> Result<()> {
    const READ_TIMEOUT: Duration = Duration::from_millis(500);
    /// What the agent takes, which nobody waits for.
    const ANSWER: Duration = Duration::from_secs(4);
    let mut agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["timeouts/kong.yml"])
        .before(&agent)
        .with("AGENT_READ_TIMEOUT", &READ_TIMEOUT.as_millis());
    topics
        .served(async || {
            // Time until the gateway gave up, and how often the agent was asked.
            let given_up = async |request: reqwest::RequestBuilder, status| -> Result<_> {
                agent.forget();
                let start = Instant::now();
                answered(
                    request.header(DELAY_HEADER, ANSWER.as_millis().to_string()),
                    status,
                )
                .await?;
                Ok((start.elapsed(), agent.count()))
            };
            let (waited, asked) = given_up(visitor.post("/agent/think"), 504).await?;
            ensure!(
                asked == 1 && waited >= READ_TIMEOUT && waited < ANSWER,
                "a POST was sent {asked} times in {waited:?}"
            );
            let (waited, asked) = given_up(visitor.get("/agent/think"), 504).await?;
            ensure!(
                asked == 2 && waited >= 2 * READ_TIMEOUT && waited < ANSWER,
                "a GET was sent {asked} times in {waited:?}"
            );
            let quick = visitor.get("/agent/think").header(DELAY_HEADER, "100");
            answered(quick, 200).await?;
            Ok(())
        })
        .await?;
    agent.stop().await
}

pub(crate) async fn requests_and_answers_are_changed_on_their_way(world: &mut World) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let topics = Topics::new(world, &["transformation/kong.yml"]).before(&agent);
    topics
        .served(async || {
            let request = visitor
                .get("/agent/hello?debug=1&q=2")
                .header("x-debug", "1")
                .header("x-session", "42")
                .header("user-agent", "story");
            let answer = answered(request, 200).await?;
            for (header, value) in [
                ("x-conversation", "42"),
                ("user-agent", "agent-gateway"),
                ("x-gateway", "kong"),
                ("x-caller", "story"),
            ] {
                let told = seen(&answer, header);
                ensure!(told == value, "the agent was told {header}: {told}");
            }
            for header in ["x-debug", "x-session"] {
                ensure!(
                    seen(&answer, header).is_null(),
                    "the agent was told {header}"
                );
            }
            ensure!(answer.body["query"] == "q=2", "{}", answer.body["query"]);

            ensure!(
                !answer.headers.contains_key("x-powered-by"),
                "the client was told what powers the agent"
            );
            ensure!(answer.header("cache-control") == "no-store");
            ensure!(answer.header("x-content-type-options") == "nosniff");
            Ok(())
        })
        .await
}
