//! Kong's own plugins act on the consumer that llm-jwt has found, as on one of `key-auth`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stories::chat::{Answer, Credential, question};
use stories::issuer::Issuer;
use stories::wait;
use stories::world::World;

use crate::{configuration_file, file_beside};

/// What names a caller to the upstream.
const IDENTITY: [&str; 5] = [
    "x-consumer-id",
    "x-consumer-custom-id",
    "x-consumer-username",
    "x-credential-identifier",
    "x-anonymous-consumer",
];

async fn begin(world: &World) -> Result<()> {
    let files = [configuration_file(), file_beside("bundled.yml")];
    world.configure_with(&[&files[0], &files[1]], &[]).await
}

fn token(world: &World, tenant: &str) -> Result<Credential> {
    let token = world.issuer.sign(&Issuer::claims(tenant, 3600))?;
    Ok(Credential::Token(token))
}

fn key(of: &str) -> Credential {
    Credential::Key(format!("key-of-{of}"))
}

async fn ask(world: &World, route: &str, credential: Credential) -> Result<Answer> {
    let caller = world.caller(&format!("/bundled/{route}/v1"), credential)?;
    caller.chat(&question("May I?", 1)).await
}

/// What the upstream is told of the caller, whatever the caller says itself.
async fn identity(
    world: &World,
    route: &str,
    credential: Credential,
) -> Result<BTreeMap<&'static str, Value>> {
    let caller = world.caller(&format!("/bundled/{route}/v1"), credential)?;
    let caller = IDENTITY
        .iter()
        .fold(caller.with_header("x-story", route), |caller, name| {
            caller.with_header(name, "forged")
        });
    let answer = caller.chat(&question("Who am I?", 1)).await?;
    ensure!(
        answer.status == 200,
        "{route}: answered {}: {}",
        answer.status,
        answer.body
    );
    let seen = world.provider.record_with_header("x-story", route).await?;
    let told = IDENTITY
        .into_iter()
        .filter_map(|name| Some((name, seen["headers"].get(name)?.clone())));
    Ok(told.collect())
}

pub(crate) async fn acl_lets_the_groups_of_the_tokens_consumer_pass(
    world: &mut World,
) -> Result<()> {
    begin(world).await?;
    for (tenant, status) in [("ada", 200), ("grace", 403), ("nobody", 403)] {
        let answer = ask(world, "acl", token(world, tenant)?).await?;
        ensure!(
            answer.status == status,
            "{tenant}: answered {}: {}",
            answer.status,
            answer.body
        );
    }
    let answer = ask(world, "acl", Credential::None).await?;
    ensure!(answer.status == 401, "nobody: answered {}", answer.status);
    Ok(())
}

pub(crate) async fn rate_limiting_counts_each_tokens_consumer_apart(
    world: &mut World,
) -> Result<()> {
    begin(world).await?;
    for tenant in ["ada", "grace"] {
        for status in [200, 200, 429] {
            // Another token each time: the consumer is limited, not the token.
            let answer = ask(world, "limited", token(world, tenant)?).await?;
            ensure!(
                answer.status == status,
                "{tenant}: answered {}",
                answer.status
            );
        }
    }
    Ok(())
}

pub(crate) async fn consumers_are_described_as_kongs_own_plugins_describe_them(
    world: &mut World,
) -> Result<()> {
    begin(world).await?;
    let mut keyed = identity(world, "keyed", key("ada")).await?;
    let mut ours = identity(world, "open", token(world, "ada")?).await?;
    let id = ours.remove("x-credential-identifier");
    ensure!(
        id == Some(json!(["agent@ada"])) && keyed.remove("x-credential-identifier").is_some(),
        "the credential is {id:?}"
    );
    ensure!(ours == keyed, "{ours:?} is not as key-auth says, {keyed:?}");
    ensure!(
        ours["x-consumer-custom-id"] == json!(["employee-1"]),
        "{ours:?}"
    );

    let keyed = identity(world, "keyed-open", Credential::None).await?;
    for credential in [
        Credential::None,
        Credential::Token("no.valid.token".to_owned()),
    ] {
        let ours = identity(world, "open", credential).await?;
        ensure!(ours == keyed, "{ours:?} is not as key-auth says, {keyed:?}");
        ensure!(ours["x-anonymous-consumer"] == json!(["true"]), "{ours:?}");
    }
    Ok(())
}

pub(crate) async fn a_token_or_a_key_opens_a_route_that_asks_for_either(
    world: &mut World,
) -> Result<()> {
    begin(world).await?;
    let expired = world.issuer.sign(&Issuer::claims("ada", -3600))?;
    for (case, credential, status) in [
        ("a token", token(world, "grace")?, 200),
        ("a key", key("ada"), 200),
        ("neither", Credential::None, 403),
        ("an expired token", Credential::Token(expired), 403),
        ("a wrong key", key("nobody"), 403),
    ] {
        let answer = ask(world, "either", credential).await?;
        ensure!(
            answer.status == status,
            "{case}: answered {}: {}",
            answer.status,
            answer.body
        );
    }
    for (credential, username) in [(token(world, "grace")?, "grace"), (key("ada"), "ada")] {
        let told = identity(world, "either", credential).await?;
        ensure!(
            told["x-consumer-username"] == json!([username])
                && !told.contains_key("x-anonymous-consumer"),
            "{username} is described as {told:?}"
        );
    }
    Ok(())
}

/// The bundled rate-limiting counts after it has answered, so a moment passes until it refuses.
pub(crate) async fn a_token_without_a_consumer_is_limited_by_its_credential(
    world: &mut World,
) -> Result<()> {
    begin(world).await?;
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
