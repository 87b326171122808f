//! Streams: passed on as they come, counted all the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sample_llm::tokens;
use serde_json::json;
use stories::chat::question;
use stories::wait;
use stories::world::World;

use crate::limits::{LIMIT, REMAINING, SETTLEMENT, charged, prompt_tokens, until_charged};

pub(crate) async fn a_streamed_chat_is_metered_and_its_usage_stays_hidden(
    world: &mut World,
) -> Result<()> {
    let caller = world
        .tenant("/metered/v1", "streamer")
        .await?
        .with_header("x-story", "hidden-usage");
    let body = question("How does a doorkeeper read a stream?", 80);
    let answer = caller.stream(&body).await?;

    ensure!(
        answer.status == 200,
        "answered {}: {}",
        answer.status,
        answer.rest
    );
    ensure!(
        answer.is_done(),
        "the last event is {:?}",
        answer.events.last()
    );
    let seen = world
        .provider
        .record_with_header("x-story", "hidden-usage")
        .await?;
    ensure!(
        seen["body"]["stream_options"]["include_usage"] == true,
        "the provider was asked {}",
        seen["body"]
    );
    for event in answer.events.iter().filter(|event| event.data != "[DONE]") {
        let choices = event.json()["choices"].as_array().map_or(0, Vec::len);
        ensure!(
            choices > 0,
            "the client sees an event without choices: {}",
            event.data
        );
    }
    let used = prompt_tokens(&body) + tokens::count(&answer.text()) as u64;
    ensure!(
        used == prompt_tokens(&body) + 60,
        "the answer is {} long",
        answer.text()
    );
    let reserved = LIMIT - answer.number(REMAINING).context(REMAINING)?;
    ensure!(reserved == prompt_tokens(&body) + 80, "reserved {reserved}");
    until_charged(&world.tenant("/metered/v1", "streamer").await?, LIMIT, used).await
}

pub(crate) async fn a_client_that_asks_for_usage_gets_it(world: &mut World) -> Result<()> {
    let caller = world.tenant("/metered/v1", "curious").await?;
    let mut body = question("What did that cost?", 20);
    body["stream_options"] = json!({"include_usage": true});
    let answer = caller.stream(&body).await?;
    let last = answer
        .events
        .iter()
        .rev()
        .nth(1)
        .context("no events")?
        .json();
    ensure!(last["choices"] == json!([]), "the last chunk is {last}");
    let used = last["usage"]["total_tokens"].as_u64().context("no usage")?;
    until_charged(&caller, LIMIT, used).await
}

pub(crate) async fn events_arrive_one_by_one(world: &mut World) -> Result<()> {
    let caller = world.tenant("/metered/v1", "watcher").await?;
    let mut body = question("Slowly, please.", 40);
    body["model"] = "slow".into();
    let answer = caller.stream(&body).await?;
    let first = answer.events.first().context("no events")?.at;
    // 30 tokens at 50 ms: held back to its end, the first event would come with the last.
    ensure!(
        answer.took > Duration::from_millis(1500),
        "the whole stream took {:?}",
        answer.took
    );
    ensure!(
        first < answer.took / 2,
        "the first event came after {first:?} of {:?}",
        answer.took
    );
    let mut instants: Vec<u128> = answer
        .events
        .iter()
        .map(|event| event.at.as_millis() / 25)
        .collect();
    instants.dedup();
    ensure!(
        instants.len() >= 15,
        "{} events came in {} bursts",
        answer.events.len(),
        instants.len()
    );
    Ok(())
}

pub(crate) async fn a_client_that_leaves_pays_for_what_was_said(world: &mut World) -> Result<()> {
    let story = "leaves-early";
    let caller = world
        .tenant("/metered/v1", "leaver")
        .await?
        .with_header("x-story", story);
    let mut body = question("Tell me everything.", 4000);
    body["model"] = "slow".into();
    let seen = caller
        .stream_until(&body, |events| events.len() > 10)
        .await?;
    ensure!(!seen.is_done(), "the stream ended before the client left");

    let spoken = wait::until("the provider notices", SETTLEMENT, async || {
        let record = world.provider.record_with_header("x-story", story).await?;
        ensure!(
            record["outcome"] == "aborted",
            "the provider is still {}",
            record["outcome"]
        );
        record["spoken"].as_u64().context("no count")
    })
    .await?;
    let own = prompt_tokens(&question("?", 1)) + 1;
    let (prompt, probe) = (
        prompt_tokens(&body),
        world.tenant("/metered/v1", "leaver").await?,
    );
    let mut probes = 0;
    wait::until("the books are settled", SETTLEMENT, async || {
        let charged = charged(&probe, LIMIT).await? - probes * own;
        probes += 1;
        // No usage was reported: it is an estimate of the streamed text, neither nothing nor the whole reservation.
        ensure!(
            charged > prompt,
            "charged {charged}, the prompt alone is {prompt}"
        );
        ensure!(
            charged <= prompt + 4 * spoken + 50,
            "charged {charged} for a prompt of {prompt} and {spoken} spoken"
        );
        Ok(())
    })
    .await
}
