//! Tokens that say nothing by themselves: the gateway asks who gave them out.

use std::time::Duration;

use anyhow::{Result, ensure};
use stories::chat::{Answer, Credential, question};
use stories::issuer::Issuer;
use stories::wait;
use stories::world::World;

/// `introspection_cache_ttl` of the route, and time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the server may go on being left alone after it was away.
const PAUSES: Duration = Duration::from_mins(1);

async fn ask_with(world: &World, token: &str) -> Result<Answer> {
    let caller = world.caller("/opaque/v1", Credential::Token(token.to_owned()))?;
    caller.chat(&question("Who am I?", 1)).await
}

fn challenge(answer: &Answer) -> &str {
    let challenge = answer.headers.get("www-authenticate");
    challenge
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

pub(crate) async fn a_token_that_only_its_server_can_read_passes_until_it_is_revoked(
    world: &mut World,
) -> Result<()> {
    let server = &world.token_server;
    let token = server.give(Issuer::claims("opaque", 600));
    let caller = world
        .caller("/opaque/v1", Credential::Token(token.clone()))?
        .with_header("x-story", "opaque");
    let answer = caller.chat(&question("Who am I?", 1)).await?;
    ensure!(
        answer.status == 200,
        "answered {}: {}",
        answer.status,
        answer.body
    );
    let seen = world
        .provider
        .record_with_header("x-story", "opaque")
        .await?;
    ensure!(
        seen["headers"]["x-tenant"] == serde_json::json!(["opaque"]),
        "the provider was told {}",
        seen["headers"]["x-tenant"]
    );
    ensure!(
        seen["headers"].get("authorization").is_none(),
        "the provider got the token"
    );

    let mut for_others = Issuer::claims("opaque", 600);
    for_others["aud"] = "billing".into();
    let stranger = Issuer::generate(&world.directory().join("opaque-stranger.pem"))?;
    for (case, token, is_asked) in [
        ("never given out", "opaque-0".to_owned(), true),
        ("for another audience", server.give(for_others), true),
        ("past", server.give(Issuer::claims("opaque", -600)), true),
        (
            "a stranger's JWT",
            stranger.sign(&Issuer::claims("opaque", 600))?,
            false,
        ),
    ] {
        let answer = ask_with(world, &token).await?;
        ensure!(
            answer.status == 401 && challenge(&answer).contains(r#"error="invalid_token""#),
            "{case}: answered {} with {:?}",
            answer.status,
            challenge(&answer)
        );
        ensure!(
            (server.questions_about(&token) > 0) == is_asked,
            "{case}: asked {} times",
            server.questions_about(&token)
        );
    }

    server.revoke(&token);
    wait::until("the revoked token is refused", PATIENCE, async || {
        let answer = ask_with(world, &token).await?;
        ensure!(answer.status == 401, "answered {}", answer.status);
        Ok(())
    })
    .await
}

pub(crate) async fn a_token_server_that_is_away_is_nobodys_fault(world: &mut World) -> Result<()> {
    let server = &world.token_server;
    let (known, new) = (
        server.give(Issuer::claims("patient", 600)),
        server.give(Issuer::claims("patient", 600)),
    );
    let answer = ask_with(world, &known).await?;
    ensure!(answer.status == 200, "answered {}", answer.status);
    server.be_away(true);
    for _ in 0..20 {
        let answer = ask_with(world, &new).await?;
        ensure!(answer.status == 503, "away: answered {}", answer.status);
        ensure!(
            challenge(&answer).is_empty() && answer.headers.contains_key("retry-after"),
            "away: {:?}",
            answer.headers
        );
    }
    let asked = server.questions_about(&new);
    ensure!(asked < 20, "asked {asked} times: it is not left alone");
    server.be_away(false);
    wait::until("the token server is asked again", PAUSES, async || {
        let answer = ask_with(world, &new).await?;
        ensure!(answer.status == 200, "back: answered {}", answer.status);
        Ok(())
    })
    .await
}
