//! Tokens that an operator takes back with kongctl, before they expire.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stories::chat::{Answer, Caller, Credential, question};
use stories::issuer::{ISSUER, Issuer};
use stories::wait;
use stories::world::World;

use crate::configuration_file;
use crate::load::RECOVERY;

/// A token of `tenant`, with these further claims.
fn token(world: &World, tenant: &str, further: &Value) -> Result<String> {
    let mut claims = Issuer::claims(tenant, 3600);
    for (name, value) in further.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    world.issuer.sign(&claims)
}

fn caller(world: &World, path: &str, token: &str) -> Result<Caller> {
    world.caller(path, Credential::Token(token.to_owned()))
}

async fn ask(caller: &Caller) -> Result<Answer> {
    caller.chat(&question("Am I still welcome?", 1)).await
}

async fn passes(caller: &Caller) -> Result<()> {
    let answer = ask(caller).await?;
    ensure!(
        answer.status == 200,
        "answered {}: {}",
        answer.status,
        answer.body
    );
    Ok(())
}

async fn is_refused(caller: &Caller) -> Result<()> {
    let answer = ask(caller).await?;
    ensure!(answer.status == 401, "answered {}", answer.status);
    let challenge = answer.headers["www-authenticate"].to_str()?;
    ensure!(
        challenge.contains(r#"error="invalid_token""#) && !challenge.contains("revoked"),
        "the challenge is {challenge:?}"
    );
    Ok(())
}

/// The same, through a Redis that a busy machine may make slow for a moment.
async fn soon_passes(caller: &Caller) -> Result<()> {
    wait::until("the token passes", RECOVERY, async || passes(caller).await).await
}

async fn soon_revoke(world: &World, token: &str) -> Result<()> {
    wait::until("redis takes it", RECOVERY, async || {
        revoke(world, token).await
    })
    .await
}

async fn soon_is_refused(caller: &Caller) -> Result<()> {
    wait::until("the token is refused", RECOVERY, async || {
        is_refused(caller).await
    })
    .await
}

/// `kongctl token` with these words, at this world's plugin server.
async fn kongctl(world: &World, words: &[&str]) -> Result<String> {
    let server = world.plugin_server().context("no plugin server of ours")?;
    let address = server.admin_address();
    let mut line = vec!["token"];
    line.extend(words);
    line.extend(["--limiter-addr", &address]);
    world.kongctl.run(&line).await
}

async fn revoke(world: &World, token: &str) -> Result<()> {
    let file = world.directory().join("revoked.txt");
    fs::write(&file, token)?;
    let file = file.to_str().context("the path is not UTF-8")?;
    let said = kongctl(world, &["revoke", "--token-file", file, "--yes"]).await?;
    ensure!(!said.contains(token), "kongctl shows the token: {said}");
    Ok(())
}

pub(crate) async fn a_revoked_token_is_refused_although_it_is_remembered(
    world: &mut World,
) -> Result<()> {
    let path = "/revocable/v1";
    let issued = json!({"jti": "first", "iat": 1_700_000_000});
    let first = token(world, "revoked", &issued)?;
    let nameless = token(world, "revoked", &json!({"iat": 1_700_000_001}))?;
    let other = token(
        world,
        "revoked",
        &json!({"jti": "other", "iat": 1_700_000_002}),
    )?;
    let [with_jti, without, other] = [&first, &nameless, &other].map(|it| caller(world, path, it));
    let (with_jti, without, other) = (with_jti?, without?, other?);
    for caller in [&with_jti, &without, &other, &with_jti, &without] {
        passes(caller).await?;
    }
    revoke(world, &first).await.context("by jti")?;
    is_refused(&with_jti).await?;
    passes(&without).await?;
    revoke(world, &nameless).await.context("by hash")?;
    is_refused(&without).await?;
    passes(&other).await?;

    let listed = kongctl(world, &["revocations", "-o", "name"]).await?;
    ensure!(listed.lines().count() == 2, "{listed}");
    for name in listed.lines() {
        kongctl(world, &["unrevoke", name, "--yes"]).await?;
    }
    passes(&with_jti).await?;
    passes(&without).await?;

    let subject = [
        "--subject",
        "agent@revoked",
        "--issued-before",
        "1700000002",
    ];
    let words = [&["revoke", "--issuer", ISSUER, "--yes"][..], &subject].concat();
    kongctl(world, &words).await.context("by subject")?;
    is_refused(&with_jti).await?;
    is_refused(&without).await?;
    passes(&other).await.context("issued at that moment")
}

pub(crate) async fn a_token_revoked_at_one_node_is_refused_at_the_other(
    world: &mut World,
) -> Result<()> {
    let other = world.start_beside().await?;
    let shared = async {
        other.configure(&configuration_file()).await?;
        let token = token(world, "shared", &json!({"jti": "of-both-nodes"}))?;
        let path = "/revocable-together/v1";
        let (here, there) = (caller(world, path, &token)?, caller(&other, path, &token)?);
        soon_passes(&here).await?;
        soon_passes(&there).await?;
        soon_revoke(world, &token).await?;
        soon_is_refused(&there).await.context("there")?;
        soon_is_refused(&here).await.context("here")
    }
    .await
    .with_context(|| other.last_words());
    other.stop().await?;
    shared
}

pub(crate) async fn a_denylist_that_is_away_refuses_or_lets_pass_as_configured(
    world: &mut World,
) -> Result<()> {
    let token = token(world, "bereft", &json!({"jti": "while-redis-is-away"}))?;
    let closed = caller(world, "/revocable-together/v1", &token)?;
    let open = caller(world, "/revocable-if-redis-is-there/v1", &token)?;
    // The story before may have taken Redis away.
    soon_passes(&closed).await?;
    soon_passes(&open).await?;
    soon_revoke(world, &token).await?;
    soon_is_refused(&closed).await?;
    soon_is_refused(&open).await?;

    world.redis_mut().context("no redis of ours")?.kill()?;
    let without = async {
        for _ in 0..5 {
            let refusal = ask(&closed).await?;
            ensure!(
                refusal.status == 503
                    && refusal.headers.contains_key("retry-after")
                    && !refusal.headers.contains_key("www-authenticate"),
                "on_error: closed is answered {} with {:?}",
                refusal.status,
                refusal.headers
            );
            passes(&open).await.context("on_error: open")?;
        }
        let refused = revoke(world, &token).await;
        ensure!(refused.is_err(), "revoked without Redis");
        Ok(())
    }
    .await;
    let redis = world.redis_mut().context("no redis of ours")?;
    redis.restart().await?;
    without.context("while redis is dead")?;
    soon_is_refused(&closed)
        .await
        .context("when redis is back")?;
    soon_is_refused(&open).await.context("when redis is back")
}
