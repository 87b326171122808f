//! A certified OpenID provider: its tokens, its keys, its absence.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use stories::chat::{Answer, Caller, Credential, question};
use stories::issuer::Issuer;
use stories::openid::OpenIdProvider;
use stories::repository;
use stories::wait;
use stories::world::World;

use crate::load::Load;
use crate::topics::restored;
use crate::{configuration_file, file_beside};

/// The resource whose tokens the provider signs with RS256.
const RESOURCE: &str = "https://gateway.example/llm/RS256";
/// `jwks_cooldown` of the route.
const COOLDOWN: Duration = Duration::from_secs(1);
/// `jwks_cache_ttl` of the route: keys older than that are stale.
const FRESH: Duration = Duration::from_secs(10);
/// Patience with a gateway that may fetch keys once in a while.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that a request may take while the provider is away, on a machine that has other things to do: below `jwks_timeout`.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A provider that does not run yet, and the routes that trust it.
async fn begin(world: &World) -> Result<OpenIdProvider> {
    let provider = OpenIdProvider::new(world.directory())?;
    let (issuer, port) = (provider.issuer(), provider.port().to_string());
    world
        .configure_with(
            &[&configuration_file(), &file_beside("openid.yml")],
            &[("OPENID_ISSUER", &issuer), ("OPENID_PORT", &port)],
        )
        .await?;
    Ok(provider)
}

fn caller(world: &World, provider: &OpenIdProvider, token: &str) -> Result<Caller> {
    let path = format!("/openid-{}/v1", provider.port());
    world.caller(&path, Credential::Token(token.to_owned()))
}

async fn answer(world: &World, provider: &OpenIdProvider, token: &str) -> Result<Answer> {
    let caller = caller(world, provider, token)?;
    caller.chat(&question("Who is it?", 1)).await
}

/// Asks until `token` is answered with `status`.
async fn until_answered(
    world: &World,
    provider: &OpenIdProvider,
    token: &str,
    status: u16,
) -> Result<()> {
    let what = format!("the token is answered with {status}");
    wait::until(&what, PATIENCE, async || {
        let answer = answer(world, provider, token).await?;
        ensure!(answer.status == status, "answered {}", answer.status);
        Ok(())
    })
    .await
}

pub(crate) async fn tokens_of_an_openid_provider_pass_whatever_the_grant_and_the_algorithm(
    world: &mut World,
) -> Result<()> {
    let mut provider = begin(world).await?;
    provider.start().await?;
    // Keys were asked for in vain when the routes were made.
    let first = provider.client_credentials(Some(RESOURCE)).await?;
    until_answered(world, &provider, &first, 200).await?;

    for algorithm in ["RS256", "ES256", "EdDSA", "Ed25519"] {
        let resource = format!("https://gateway.example/llm/{algorithm}");
        for (grant, subject, token) in [
            (
                "client credentials",
                "agent",
                provider.client_credentials(Some(&resource)).await?,
            ),
            (
                "an authorization code",
                "alice",
                provider.authorization_code(Some(&resource)).await?,
            ),
        ] {
            let story = format!("{algorithm} {grant}");
            let caller = caller(world, &provider, &token)?.with_header("x-story", &story);
            let answer = caller.chat(&question("Who am I?", 1)).await?;
            ensure!(answer.status == 200, "{story}: answered {}", answer.status);
            let seen = world.provider.record_with_header("x-story", &story).await?;
            let subjects = &seen["headers"]["x-subject"];
            ensure!(
                *subjects == json!([subject]),
                "{story}: {subjects} was calling"
            );
        }
    }

    let opaque = provider.authorization_code(None).await?;
    let for_others = provider.client_credentials(Some("https://elsewhere.example"));
    for (case, token) in [
        ("for somebody else", &for_others.await?),
        ("opaque", &opaque),
    ] {
        let answer = answer(world, &provider, token).await?;
        ensure!(answer.status == 401, "{case}: answered {}", answer.status);
    }
    // Where the provider is asked about it, even that says who is calling.
    let path = format!("/openid-opaque-{}/v1", provider.port());
    let caller = world
        .caller(&path, Credential::Token(opaque))?
        .with_header("x-story", "opaque to all but its provider");
    let answer = caller.chat(&question("Who am I?", 1)).await?;
    ensure!(answer.status == 200, "opaque: answered {}", answer.status);
    let seen = world
        .provider
        .record_with_header("x-story", "opaque to all but its provider")
        .await?;
    let subjects = &seen["headers"]["x-subject"];
    ensure!(*subjects == json!(["alice"]), "{subjects} was calling");
    Ok(())
}

/// `kong/oidc/kong.yml`, which compose has with Keycloak: a client is a consumer with a budget, or may not call.
pub(crate) async fn programs_of_a_provider_are_consumers_beside_those_with_keys(
    world: &mut World,
) -> Result<()> {
    /// The audience that the file asks for.
    const AUDIENCE: &str = "https://gateway.example/llm";
    const REPORT: (&str, &str) = ("nightly-report", "nightly-report-secret");
    let mut provider = OpenIdProvider::new(world.directory())?;
    provider.start().await?;
    let kong = repository().join("kong");
    let told = async {
        world
            .configure_with(
                &[&kong.join("kong.yml"), &kong.join("oidc/kong.yml")],
                &[("OIDC_ISSUER", &provider.issuer())],
            )
            .await?;
        let asked = async |token: Option<String>| -> Result<Answer> {
            let credential = token.map_or(Credential::None, Credential::Token);
            let caller = world.caller("/oidc/v1", credential)?;
            caller.chat(&question("Who is it?", 10)).await
        };
        let token = provider
            .client_credentials_of(REPORT, Some(AUDIENCE))
            .await?;
        wait::until("its keys are known", PATIENCE, async || {
            let answer = asked(Some(token.clone())).await?;
            ensure!(answer.status == 200, "answered {}", answer.status);
            ensure!(
                answer.left("tokens-per-minute").is_some(),
                "it is on no budget"
            );
            Ok(())
        })
        .await?;
        // A good token, of a client that is no consumer.
        let stranger = provider.client_credentials(Some(AUDIENCE)).await?;
        let elsewhere = "https://elsewhere.example/llm";
        let elsewhere = provider
            .client_credentials_of(REPORT, Some(elsewhere))
            .await?;
        for (case, token, status) in [
            ("no consumer", Some(stranger), 403),
            ("another audience", Some(elsewhere), 401),
            ("no token", None, 401),
        ] {
            let answer = asked(token).await?;
            ensure!(
                answer.status == status,
                "{case}: answered {}",
                answer.status
            );
        }
        Ok(())
    }
    .await;
    restored(world, told).await
}

pub(crate) async fn keys_rotate_under_load_and_no_valid_token_is_refused(
    world: &mut World,
) -> Result<()> {
    let mut provider = begin(world).await?;
    provider.start().await?;
    let first = provider.client_credentials(Some(RESOURCE)).await?;
    until_answered(world, &provider, &first, 200).await?;

    let load = Load::start(&caller(world, &provider, &first)?);
    for rotation in 1..=3 {
        // A token with an unknown key may cause a fetch once in a cooldown: whoever rotates faster must publish keys before using them.
        let settled = Instant::now() + COOLDOWN;
        load.until_granted(20).await?;
        tokio::time::sleep(settled.saturating_duration_since(Instant::now())).await;
        provider.rotate(3).await?;
        // Signed at once with keys that the gateway has never seen, and sent by several at the same time.
        let algorithms = ["RS256", "ES256", "EdDSA"]
            .map(|algorithm| format!("https://gateway.example/llm/{algorithm}"));
        let tokens: Vec<String> = try_join_all(
            algorithms
                .iter()
                .cycle()
                .take(9)
                .map(|resource| provider.client_credentials(Some(resource))),
        )
        .await?;
        let answers = tokens.iter().map(|token| answer(world, &provider, token));
        for answer in try_join_all(answers).await? {
            ensure!(
                answer.status == 200,
                "rotation {rotation}: a new token was answered with {}",
                answer.status
            );
        }
    }
    load.until_granted(20).await?;
    load.stop().await.without_failure()?;

    // Keys that are no longer published open nothing.
    provider.rotate(0).await?;
    let last = provider.client_credentials(Some(RESOURCE)).await?;
    until_answered(world, &provider, &last, 200).await?;
    until_answered(world, &provider, &first, 401).await
}

pub(crate) async fn a_provider_that_is_away_is_missed_only_by_those_who_never_had_its_keys(
    world: &mut World,
) -> Result<()> {
    let mut provider = begin(world).await?;
    let mut claims = Issuer::claims("acme", 3600);
    claims["iss"] = provider.issuer().into();
    claims["aud"] = RESOURCE.into();
    let refusal = answer(world, &provider, &world.issuer.sign(&claims)?).await?;
    ensure!(
        refusal.status == 503 && refusal.number("retry-after").is_some_and(|wait| wait >= 1),
        "without keys it answered {}, {:?}",
        refusal.status,
        refusal.headers
    );
    ensure!(
        !refusal.headers.contains_key("www-authenticate"),
        "it asks for another token, though none could help"
    );

    provider.start().await?;
    let used = provider.client_credentials(Some(RESOURCE)).await?;
    let unused = provider.client_credentials(Some(RESOURCE)).await?;
    until_answered(world, &provider, &used, 200).await?;

    provider.kill()?;
    let gone = Instant::now();
    let load = Load::start(&caller(world, &provider, &used)?);
    while gone.elapsed() <= FRESH {
        load.until_granted(20).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = answer(world, &provider, &unused).await?;
    ensure!(
        answer.status == 200,
        "by stale keys, a token not seen before was answered with {}",
        answer.status
    );
    load.stop().await.without_delay(AT_ONCE)?;

    provider.start().await?;
    let renewed = provider.client_credentials(Some(RESOURCE)).await?;
    until_answered(world, &provider, &renewed, 200)
        .await
        .context("after the provider came back")?;
    until_answered(world, &provider, &used, 401)
        .await
        .context("its former keys")
}
