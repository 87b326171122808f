//! Limits beyond tokens and requests: at once, in money, for one tier, on trial, by priority, in other windows, on models.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sample_llm::exchange::{CACHED_HEADER, REASONING_HEADER};
use serde_json::{Value, json};
use stories::chat::{Caller, question};
use stories::wait;
use stories::world::World;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

use crate::limits::{LIMIT, REMAINING, SETTLEMENT, granted, prompt_tokens, spend};

/// A stream that runs by itself until it ends, or its client is aborted.
struct Running(JoinHandle<Result<()>>);

impl Running {
    /// Starts an answer of three quarters of `cap` tokens, 50 ms each, and waits until the provider was asked for it.
    async fn start(world: &World, caller: &Caller, story: &str, cap: u32) -> Result<Self> {
        let caller = caller.clone().with_header("x-story", story);
        let mut body = question("Slowly, please.", cap);
        body["model"] = "slow".into();
        let running = Self(tokio::spawn(async move {
            // The request before it may hold its slot until it is settled.
            let started = Instant::now();
            loop {
                let answer = caller.stream(&body).await?;
                if answer.status != 429 || started.elapsed() > SETTLEMENT {
                    ensure!(answer.status == 200, "answered {}", answer.status);
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }));
        wait::until("the provider is asked", SETTLEMENT, async || {
            yield_now().await;
            world.provider.record_with_header("x-story", story).await
        })
        .await?;
        Ok(running)
    }
}

/// Waits until `caller` is granted a request, as one is that has a slot.
async fn until_granted(caller: &Caller) -> Result<()> {
    wait::until("a slot is free", SETTLEMENT, async || {
        granted(caller, &question("And now?", 1)).await.map(drop)
    })
    .await
}

async fn refused(caller: &Caller) -> Result<()> {
    let answer = caller.chat(&question("And now?", 1)).await?;
    ensure!(answer.status == 429, "answered {}", answer.status);
    Ok(())
}

pub(crate) async fn concurrent_streams_are_limited_until_one_ends_or_its_client_leaves(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/slots/v1", "crowd").await?;
    let short = Running::start(world, &caller, "slot-short", 120).await?;
    let long = Running::start(world, &caller, "slot-long", 4000).await?;
    refused(&caller).await.context("beside two streams")?;
    short.0.await??;
    until_granted(&caller).await.context("after one ended")?;

    let other = Running::start(world, &caller, "slot-other", 4000).await?;
    refused(&caller).await.context("beside two streams again")?;
    long.0.abort();
    until_granted(&caller)
        .await
        .context("after a client left")?;
    other.0.abort();
    Ok(())
}

/// Micro-dollars for tokens of the prompt, of the cache, of the answer and of reasoning, as the route's price table has them.
fn cost(prompt: u64, cached: u64, said: u64, thought: u64) -> u64 {
    let nano_dollars = (prompt - cached) * 2500 + cached * 1250 + said * 10_000 + thought * 4000;
    nano_dollars.div_ceil(1000)
}

pub(crate) async fn money_is_spent_by_model_with_cached_and_reasoning_prices(
    world: &mut World,
) -> Result<()> {
    let body = question("What is that in dollars?", 80);
    let prompt = prompt_tokens(&body);
    let caller = world.tenant("/priced/v1", "buyer").await?;
    let detailed = caller
        .clone()
        .with_header(CACHED_HEADER, "3")
        .with_header(REASONING_HEADER, "7");
    let answer = granted(&detailed, &body).await?;
    let reserved = LIMIT - answer.left("spend").context("nothing says what is left")?;
    ensure!(
        reserved == cost(prompt, 0, 80, 0),
        "reserved {reserved} micro-dollars"
    );

    let probe = question("?", 1);
    let own = cost(prompt_tokens(&probe), 0, 1, 0);
    let spent = cost(prompt, 3, 60, 7);
    let mut probes = 0;
    wait::until("the books are settled", SETTLEMENT, async || {
        let answer = granted(&caller, &probe).await?;
        probes += 1;
        let left = answer.left("spend").context("nothing says what is left")?;
        let charged = LIMIT - left - probes * own;
        ensure!(charged == spent, "charged {charged}, really spent {spent}");
        Ok(())
    })
    .await
}

pub(crate) async fn a_limit_for_one_tier_leaves_the_others_alone(world: &mut World) -> Result<()> {
    let body = question("Which tier am I in?", 1);
    let free = world.tenant("/tiers/v1", "tiered").await?;
    let pro = world.tenant_in_tier("/tiers/v1", "tiered", "pro").await?;
    granted(&free, &body).await?;
    refused(&free).await.context("a second time, free")?;
    for _ in 0..3 {
        let answer = granted(&pro, &body).await.context("not in the free tier")?;
        ensure!(
            answer.left("free-tier").is_none(),
            "a limit is told that does not apply"
        );
    }
    Ok(())
}

pub(crate) async fn a_limit_on_trial_refuses_nothing_and_is_not_told(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/shadow/v1", "guinea-pig").await?;
    for round in 1..=3_u64 {
        let answer = granted(&caller, &question("Am I on trial?", 1)).await?;
        ensure!(
            answer.left("meant") == Some(3 - round),
            "round {round}: {:?} is left",
            answer.left("meant")
        );
        for header in ["ratelimit", "ratelimit-policy"] {
            let told = answer.headers[header].to_str()?;
            ensure!(!told.contains("on-trial"), "{header}: {told}");
        }
        let warned = answer.headers.contains_key("x-llm-ratelimit-warning");
        ensure!(warned == (round > 1), "round {round}: warned {warned}");
    }
    refused(&caller).await.context("the limit that is meant")
}

pub(crate) async fn a_priority_class_leaves_its_reserve_to_the_others(
    world: &mut World,
) -> Result<()> {
    let body = question("Who goes first?", 1);
    let background = world.tenant("/priorities/v1", "shared").await?;
    let foreground = world
        .tenant_in_tier("/priorities/v1", "shared", "pro")
        .await?;
    let (in_background, _) = spend(&background, &body).await?;
    ensure!(in_background == 2, "{in_background} of 4 in the background");
    let (in_foreground, _) = spend(&foreground, &body).await?;
    ensure!(in_foreground == 2, "{in_foreground} of the 2 kept back");
    Ok(())
}

pub(crate) async fn whoever_waits_as_told_passes_whatever_the_window(
    world: &mut World,
) -> Result<()> {
    // In a sliding window of 2 s a charge counts for up to one of its slots, a thirtieth, longer.
    let windows = [
        ("/brief/v1", 2067),
        ("/fixed/v1", 2000),
        ("/bucket/v1", 1000),
    ];
    for (path, longest) in windows {
        let caller = world.tenant(path, "patient").await?;
        let body = question("When, then?", 1);
        let (granted_at_once, refusal) = spend(&caller, &body).await?;
        ensure!(granted_at_once >= 2, "{path}: {granted_at_once} at once");
        let told = refusal.retry_after().context("no retry-after-ms")?;
        // A tenth of jitter, and what is rounded up.
        let most = Duration::from_millis(longest) * 11 / 10 + Duration::from_millis(50);
        ensure!(told <= most, "{path}: told to wait {told:?}");
        sleep(told).await;
        granted(&caller, &body)
            .await
            .with_context(|| format!("{path}, after {told:?}"))?;
    }
    Ok(())
}

pub(crate) async fn a_calendar_month_ends_within_31_days(world: &mut World) -> Result<()> {
    const MONTH: u64 = 31 * 24 * 3600;
    let caller = world.tenant("/monthly/v1", "accountant").await?;
    let (in_a_month, refusal) = spend(&caller, &question("Is it over?", 1)).await?;
    ensure!(in_a_month == 1, "{in_a_month} in a month");
    let retry_after = refusal.number("retry-after").context("no Retry-After")?;
    ensure!(
        (1..=MONTH + 2).contains(&retry_after),
        "Retry-After: {retry_after}"
    );
    Ok(())
}

pub(crate) async fn a_model_outside_the_list_never_reaches_the_provider(
    world: &mut World,
) -> Result<()> {
    let story = "not-in-the-catalogue";
    let caller = world
        .tenant("/catalogue/v1", "shopper")
        .await?
        .with_header("x-story", story);
    for model in [json!("o1-pro"), Value::Null] {
        let mut body = question("May I?", 1);
        body["model"] = model.clone();
        let refusal = caller.chat(&body).await?;
        ensure!(
            (400..500).contains(&refusal.status) && refusal.status != 429,
            "{model} was answered {}",
            refusal.status
        );
        if !model.is_null() {
            ensure!(refusal.status == 403, "answered {}", refusal.status);
        }
        ensure!(
            refusal.body["error"]["message"].is_string(),
            "the body is {}",
            refusal.body
        );
    }
    let reached = world.provider.record_with_header("x-story", story).await;
    ensure!(reached.is_err(), "the provider was asked all the same");
    granted(&caller, &question("And this?", 1)).await.map(drop)
}

pub(crate) async fn caps_are_clamped_and_injected_on_the_way(world: &mut World) -> Result<()> {
    for (story, cap, sent) in [
        ("greedy", Some(400), 16),
        ("modest", Some(10), 10),
        ("silent", None, 8),
    ] {
        let caller = world
            .tenant("/catalogue/v1", story)
            .await?
            .with_header("x-story", story);
        let mut body = question("How long may it be?", cap.unwrap_or(1));
        if cap.is_none() {
            body.as_object_mut()
                .context("an object")?
                .remove("max_tokens");
        }
        let answer = granted(&caller, &body).await?;
        let seen = world.provider.record_with_header("x-story", story).await?;
        let seen = &seen["body"];
        let reached = seen["max_completion_tokens"]
            .as_u64()
            .or(seen["max_tokens"].as_u64());
        ensure!(reached == Some(sent), "{story}: the provider got {seen}");
        let reserved = LIMIT - answer.number(REMAINING).context(REMAINING)?;
        ensure!(
            reserved == prompt_tokens(&body) + sent,
            "{story}: reserved {reserved}"
        );
    }
    Ok(())
}
