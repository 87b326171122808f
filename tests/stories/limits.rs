//! Budgets: reserved before, settled after, refused when spent.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sample_llm::tokens;
use serde_json::Value;
use stories::chat::{Answer, Caller, Credential, question};
use stories::wait;
use stories::world::{KEYS, World};

/// Patience with the log phase, which settles after the answer.
pub(crate) const SETTLEMENT: Duration = Duration::from_secs(5);
pub(crate) const REMAINING: &str = "x-ratelimit-remaining-tokens";
/// What the routes allow whose budgets no story exhausts.
pub(crate) const LIMIT: u64 = 1_000_000;
const LIMIT_HEADER: &str = "x-ratelimit-limit-tokens";

/// The prompt tokens that the provider bills for a request.
pub(crate) fn prompt_tokens(body: &Value) -> u64 {
    tokens::count_messages(body["messages"].as_array().map_or(&[], Vec::as_slice)) as u64
}

/// How many tokens a caller's earlier requests are charged, seen through one small request more.
///
/// `limit` is the route's; what the small request reserves is known because its own charge is found the same way: it asks for one token,
/// so reservation and usage are the same.
pub(crate) async fn charged(caller: &Caller, limit: u64) -> Result<u64> {
    let probe = question("?", 1);
    let answer = caller.chat(&probe).await?;
    ensure!(
        answer.status == 200,
        "the probe was answered {}: {}",
        answer.status,
        answer.body
    );
    let remaining = answer
        .number(REMAINING)
        .context("no header says what remains")?;
    let own = answer.total_tokens().context("no usage")?;
    Ok(limit - remaining - own)
}

/// Waits until a caller's earlier requests, probes not counted, are charged exactly `tokens`.
pub(crate) async fn until_charged(caller: &Caller, limit: u64, tokens: u64) -> Result<()> {
    let own = prompt_tokens(&question("?", 1)) + 1;
    let mut probes = 0;
    wait::until("the books are settled", SETTLEMENT, async || {
        let charged = charged(caller, limit).await? - probes * own;
        probes += 1;
        ensure!(charged == tokens, "charged {charged}, really used {tokens}");
        Ok(())
    })
    .await
}

pub(crate) async fn granted(caller: &Caller, body: &Value) -> Result<Answer> {
    let answer = caller.chat(body).await?;
    ensure!(
        answer.status == 200,
        "answered {}: {}",
        answer.status,
        answer.body
    );
    Ok(answer)
}

/// Asks until refused; what was granted before, and the refusal.
pub(crate) async fn spend(caller: &Caller, body: &Value) -> Result<(usize, Answer)> {
    for granted in 0..50 {
        let answer = caller.chat(body).await?;
        match answer.status {
            200 => {}
            429 => return Ok((granted, answer)),
            status => anyhow::bail!("answered {status}: {}", answer.body),
        }
    }
    anyhow::bail!("50 requests and no refusal")
}

pub(crate) async fn a_plain_chat_is_metered_by_what_it_really_used(
    world: &mut World,
) -> Result<()> {
    let caller = world.tenant("/metered/v1", "plain").await?;
    let body = question("How does a doorkeeper keep the books?", 80);
    let answer = granted(&caller, &body).await?;
    let (limit, remaining) = (
        answer.number(LIMIT_HEADER).context(LIMIT_HEADER)?,
        answer.number(REMAINING).context(REMAINING)?,
    );

    ensure!(limit == LIMIT, "the limit is said to be {limit}");
    let reserved = limit - remaining;
    ensure!(reserved == prompt_tokens(&body) + 80, "reserved {reserved}");
    for header in [
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-tokens",
    ] {
        ensure!(
            answer.headers.contains_key(header),
            "no {header} among {:?}",
            answer.headers
        );
    }
    let used = answer.total_tokens().context("no usage")?;
    ensure!(
        used == prompt_tokens(&body) + 60,
        "the provider reported {used}"
    );
    until_charged(&caller, limit, used).await
}

pub(crate) async fn tenants_have_budgets_of_their_own(world: &mut World) -> Result<()> {
    let (acme, globex) = (
        world.tenant("/tight/v1", "acme").await?,
        world.tenant("/tight/v1", "globex").await?,
    );
    let body = question("Who pays?", 60);
    let (_, refusal) = spend(&acme, &body).await?;
    ensure!(refusal.status == 429);
    granted(&globex, &body)
        .await
        .context("another tenant's budget")?;
    Ok(())
}

pub(crate) async fn a_spent_budget_answers_429_as_openai_does(world: &mut World) -> Result<()> {
    let caller = world.tenant("/tight/v1", "spender").await?;
    let (granted, refusal) = spend(&caller, &question("Is there more?", 80)).await?;

    // 300 tokens: three requests of about 70 fit; a fourth, which would reserve more than is left, may or may not.
    ensure!(
        (2..=4).contains(&granted),
        "{granted} requests were granted"
    );
    let retry_after = refusal.number("retry-after").context("no Retry-After")?;
    ensure!(
        (1..=7200).contains(&retry_after),
        "Retry-After: {retry_after}"
    );
    ensure!(
        refusal.headers["content-type"]
            .to_str()?
            .starts_with("application/json")
    );
    let error = &refusal.body["error"];
    ensure!(
        error["message"].is_string() && error["type"].is_string(),
        "the body is {}",
        refusal.body
    );
    ensure!(
        error["code"] == "rate_limit_exceeded",
        "the code is {}",
        error["code"]
    );
    Ok(())
}

pub(crate) async fn a_request_that_can_never_pass_is_told_so(world: &mut World) -> Result<()> {
    let caller = world.tenant("/tight/v1", "giant").await?;
    let refusal = caller.chat(&question(&"word ".repeat(1000), 10)).await?;
    ensure!(
        (400..500).contains(&refusal.status),
        "answered {}",
        refusal.status
    );
    ensure!(
        !refusal.headers.contains_key("retry-after"),
        "it is told to come back, which would not help"
    );
    // And it charged nothing.
    ensure!(charged(&caller, 300).await? == 0);
    Ok(())
}

pub(crate) async fn consumers_are_limited_by_their_key(world: &mut World) -> Result<()> {
    let caller = |key: &str| world.caller("/keyed/v1", Credential::Key(key.to_owned()));
    let [(_, report), (_, bot)] = KEYS;
    let body = question("What happened last night?", 80);
    let (_, refusal) = spend(&caller(report)?, &body).await?;
    ensure!(
        refusal.body["error"]["code"] == "rate_limit_exceeded",
        "the body is {}",
        refusal.body
    );
    granted(&caller(bot)?, &body)
        .await
        .context("the other consumer")?;

    let stranger = caller("no-such-key")?.chat(&body).await?;
    ensure!(
        stranger.status == 401,
        "an unknown key is answered {}",
        stranger.status
    );
    Ok(())
}

pub(crate) async fn what_a_request_used_is_in_kongs_own_log(world: &mut World) -> Result<()> {
    let caller = world.tenant("/logged/v1", "logger").await?;
    let answer = granted(&caller, &question("Is this logged?", 20)).await?;
    let plain = answer.total_tokens().context("no usage")?;
    let stream = caller.stream(&question("And a stream?", 20)).await?;
    ensure!(stream.is_done(), "the stream did not end");
    let prompt = prompt_tokens(&question("And a stream?", 20));
    wait::until("both requests are logged", SETTLEMENT, async || {
        let log = world.gateway.error_log()?.context("it keeps no log")?;
        // The sample LLM says three quarters of the cap.
        for total in [plain, prompt + 15] {
            let line = format!("logged: logger gpt-4o-mini {total}");
            ensure!(log.contains(&line), "no line says {line:?}");
        }
        Ok(())
    })
    .await
}
