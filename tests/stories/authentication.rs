//! Who may call, and who may not pretend.

use anyhow::{Result, ensure};
use stories::chat::{Credential, question};
use stories::http;
use stories::issuer::{Issuer, forge};
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
        .with_header("x-tenant", "root")
        .with_header("x-consumer-groups", "admins")
        .with_header("x_authenticated_groups", "admins");
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
    for groups in ["x-consumer-groups", "x_authenticated_groups"] {
        ensure!(
            seen["headers"].get(groups).is_none(),
            "the provider was told {groups}"
        );
    }
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
    let client = http::client().build()?;
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
