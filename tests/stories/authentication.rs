//! Who may call, and who may not pretend.

use std::time::Duration;

use anyhow::{Result, ensure};
use stories::chat::{Credential, question};
use stories::issuer::{Issuer, forge};
use stories::wait;
use stories::world::{KEYS, World};

pub(crate) async fn tokens_that_are_absent_forged_or_expired_are_refused(
    world: &mut World,
) -> Result<()> {
    let honest = world.issuer.mint(&world.kongctl, "acme", "free").await?;
    let stranger = Issuer::generate(&world.directory().join("stranger.pem"))?;
    let cases = [
        ("absent", Credential::None, false),
        (
            "another tenant written in",
            Credential::Token(forge(&honest, |claims| claims["tenant"] = "globex".into())?),
            true,
        ),
        (
            "signed by a stranger",
            Credential::Token(stranger.sign(&Issuer::claims("acme", 3600))?),
            true,
        ),
        (
            "expired",
            Credential::Token(world.issuer.sign(&Issuer::claims("acme", -3600))?),
            true,
        ),
        (
            "no token at all",
            Credential::Token("not.a.token".to_owned()),
            true,
        ),
    ];
    for (case, credential, is_invalid) in cases {
        let answer = world
            .caller("/metered/v1", credential)?
            .chat(&question("May I?", 10))
            .await?;
        ensure!(answer.status == 401, "{case}: answered {}", answer.status);
        let challenge = answer
            .headers
            .get("www-authenticate")
            .map(|value| value.to_str())
            .transpose()?
            .unwrap_or_default();
        ensure!(
            challenge.starts_with("Bearer"),
            "{case}: the challenge is {challenge:?}"
        );
        let says_invalid = challenge.contains(r#"error="invalid_token""#);
        ensure!(
            says_invalid == is_invalid,
            "{case}: the challenge is {challenge:?}"
        );
    }
    Ok(())
}

pub(crate) async fn a_claim_header_cannot_be_spoofed(world: &mut World) -> Result<()> {
    let caller = world
        .tenant("/metered/v1", "honest")
        .await?
        .with_header("x-story", "spoof")
        .with_header("x-tenant", "root");
    let answer = caller.chat(&question("Who am I?", 4)).await?;
    ensure!(
        answer.status == 200,
        "answered {}: {}",
        answer.status,
        answer.body
    );
    let seen = world
        .provider
        .record_with_header("x-story", "spoof")
        .await?;
    let tenants = seen["headers"]["x-tenant"].clone();
    ensure!(
        tenants == serde_json::json!(["honest"]),
        "the provider was told {tenants}"
    );
    Ok(())
}

pub(crate) async fn credentials_do_not_reach_the_provider(world: &mut World) -> Result<()> {
    let tenant = world
        .tenant("/metered/v1", "discreet")
        .await?
        .with_header("x-story", "discreet");
    let answer = tenant.chat(&question("Keep it to yourself.", 4)).await?;
    ensure!(
        answer.status == 200,
        "answered {}: {}",
        answer.status,
        answer.body
    );
    let seen = world
        .provider
        .record_with_header("x-story", "discreet")
        .await?;
    ensure!(
        seen["headers"].get("authorization").is_none(),
        "the provider got the token"
    );

    let (_, key) = KEYS[1];
    let consumer = world
        .caller("/keyed/v1", Credential::Key(key.to_owned()))?
        .with_header("x-story", "discreet-key");
    consumer.chat(&question("Nor this.", 4)).await?;
    let seen = world
        .provider
        .record_with_header("x-story", "discreet-key")
        .await?;
    ensure!(
        seen["headers"].get("apikey").is_none(),
        "the provider got the key"
    );
    Ok(())
}

/// RFC 9728, as a client of MCP walks it: a challenge, the document that it names, the issuer that the document names.
pub(crate) async fn a_client_without_a_token_is_told_where_to_get_one(
    world: &mut World,
) -> Result<()> {
    let body = question("Where do I get a token?", 1);
    let refusal = world
        .caller("/agents/v1", Credential::None)?
        .chat(&body)
        .await?;
    ensure!(refusal.status == 401, "answered {}", refusal.status);
    let challenge = refusal.headers["www-authenticate"].to_str()?;
    let named = "https://gateway.example/.well-known/oauth-protected-resource/agents";
    ensure!(
        challenge.contains(&format!("resource_metadata=\"{named}\"")),
        "the challenge is {challenge:?}"
    );
    let url = format!(
        "{}/.well-known/oauth-protected-resource/agents",
        world.gateway.proxy_url()
    );
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(url).send().await?;
    ensure!(answer.status() == 200, "answered {}", answer.status());
    let metadata: serde_json::Value = answer.json().await?;
    ensure!(
        metadata["resource"] == "https://gateway.example/agents"
            && metadata["authorization_servers"][0] == "https://issuer.example"
            && metadata["scopes_supported"][0] == "chat",
        "{metadata}"
    );
    Ok(())
}

pub(crate) async fn claims_and_a_condition_decide_who_passes(world: &mut World) -> Result<()> {
    let body = question("May I?", 1);
    for (tenant, tier, status) in [
        ("acme", "pro", 200),
        ("acme", "free", 403),
        ("banned", "pro", 403),
    ] {
        let caller = world.tenant_in_tier("/agents/v1", tenant, tier).await?;
        let answer = caller.chat(&body).await?;
        ensure!(
            answer.status == status,
            "{tenant} in tier {tier}: answered {}: {}",
            answer.status,
            answer.body
        );
        let challenge = answer.headers.get("www-authenticate");
        ensure!(
            status == 200
                || challenge.is_some_and(|text| text
                    .as_bytes()
                    .windows(18)
                    .any(|part| part == b"insufficient_scope")),
            "{tenant} in tier {tier}: the challenge is {challenge:?}"
        );
    }
    Ok(())
}

/// The bundled rate-limiting counts after it has answered, so a moment passes until it refuses.
pub(crate) async fn a_token_without_a_consumer_is_limited_by_its_credential(
    world: &mut World,
) -> Result<()> {
    let body = question("Who am I to you?", 1);
    for path in ["/by-credential/v1", "/by-consumer/v1"] {
        let busy = world.tenant(path, "busy").await?;
        let busy = busy.with_header("x-story", path);
        let first = busy.chat(&body).await?;
        ensure!(first.status == 200, "{path}: answered {}", first.status);
        let whom = first.headers["x-whom"].to_str()?;
        ensure!(
            whom == "nil agent@busy",
            "{path}: Kong's plugins see {whom:?}"
        );
        let seen = world.provider.record_with_header("x-story", path).await?;
        let credential = &seen["headers"]["x-credential-identifier"];
        ensure!(
            *credential == serde_json::json!(["agent@busy"])
                && seen["headers"].get("x-consumer-id").is_none(),
            "{path}: the provider was told {credential}"
        );
        wait::until("its year is spent", Duration::from_secs(10), async || {
            let answer = busy.chat(&body).await?;
            ensure!(answer.status == 429, "{path}: answered {}", answer.status);
            Ok(())
        })
        .await?;
        // Another token is the same credential; another subject at the same address is not.
        let again = Credential::Token(world.issuer.sign(&Issuer::claims("busy", 60))?);
        let again = world.caller(path, again)?.chat(&body).await?;
        ensure!(again.status == 429, "{path}: answered {}", again.status);
        let calm = world.tenant(path, "calm").await?.chat(&body).await?;
        ensure!(calm.status == 200, "{path}: answered {}", calm.status);
    }
    Ok(())
}
