//! Who may call the agent.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use stories::agent::Agent;
use stories::chat::Answer;
use stories::identity_provider::{CLIENT_SECRET, IdentityProvider};
use stories::world::World;

use super::edge::{Certificate, DOMAIN};
use super::{BILLING_BOT, RESEARCH_BOT, Topics, Visitor, answered, seen};

pub(crate) async fn keys_open_the_agent_and_groups_say_whose(world: &mut World) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let keyed = |key: &str| visitor.get("/agent/hello").header("apikey", key);
    let topics = Topics::new(world, &["api-keys/kong.yml"]).before(&agent);
    topics
        .served(async || {
            let refused = answered(visitor.get("/agent/hello"), 401).await?;
            let challenge = refused.header("www-authenticate");
            ensure!(challenge.starts_with("Key"), "{challenge:?}");
            answered(keyed("a-key-of-nobody"), 401).await?;
            let in_query = format!("/agent/hello?apikey={}", RESEARCH_BOT.1);
            answered(visitor.get(&in_query), 401).await?;
            answered(keyed(BILLING_BOT.1), 403).await?;

            let welcome = answered(keyed(RESEARCH_BOT.1), 200).await?;
            ensure!(seen(&welcome, "x-consumer-username") == "research-bot");
            ensure!(
                seen(&welcome, "apikey").is_null(),
                "the agent was told the key"
            );
            ensure!(agent.count() == 1, "the agent was asked by the refused");
            Ok(())
        })
        .await
}

pub(crate) async fn tokens_of_a_discovered_provider_open_the_agent(
    world: &mut World,
) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let provider = IdentityProvider::start(&world.issuer).await?;
    let visitor = Visitor::new(world)?;
    let with = |token: String| visitor.get("/agent/hello").bearer_auth(token);
    let topics = Topics::new(world, &["jwt/kong.yml"])
        .before(&agent)
        .with("OIDC_ISSUER", provider.url())
        .in_a_private_network()?;
    topics
        .served(async || {
            answered(visitor.get("/agent/hello"), 401).await?;
            let elsewhere = provider.token("acme", |claims| claims["aud"] = "wiki".into())?;
            answered(with(elsewhere), 401).await?;
            let reader = provider.token("acme", |claims| claims["scope"] = "wiki.read".into())?;
            answered(with(reader), 403).await?;

            let token = provider.token("acme", |_| ())?;
            let welcome = answered(with(token).header("x-tenant", "root"), 200).await?;
            ensure!(
                seen(&welcome, "x-tenant") == "acme",
                "the agent was told {}",
                welcome.body["headers"]["x-tenant"]
            );
            ensure!(
                seen(&welcome, "authorization").is_null(),
                "the agent got the token"
            );
            Ok(())
        })
        .await
}

pub(crate) async fn a_program_with_its_providers_token_is_a_consumer(
    world: &mut World,
) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let provider = IdentityProvider::start(&world.issuer).await?;
    let visitor = Visitor::new(world)?;
    let token_of = async |client: &str, secret: &str| -> Result<Answer> {
        let request = visitor
            .client
            .post(format!("{}/token", provider.url()))
            .basic_auth(client, Some(secret))
            .body("grant_type=client_credentials");
        Answer::read(request.send().await?).await
    };
    let topics = Topics::new(world, &["oauth2/kong.yml"])
        .before(&agent)
        .with("OIDC_ISSUER", provider.url())
        .in_a_private_network()?;
    topics
        .served(async || {
            let refused = token_of("nightly-report", "a guess").await?;
            ensure!(refused.status == 401, "a guessed secret was good");
            for (client, status) in [("nightly-report", 200), ("somebody-else", 403)] {
                let given = token_of(client, CLIENT_SECRET).await?;
                let token = access_token(&given.body)?;
                let request = visitor.get("/agent/hello").bearer_auth(token);
                let answer = answered(request, status).await.context(client)?;
                ensure!(status != 200 || seen(&answer, "x-consumer-username") == client);
            }
            Ok(())
        })
        .await
}

pub(crate) async fn kong_gives_out_tokens_over_tls_and_takes_them(world: &mut World) -> Result<()> {
    const CLIENT_ID: &str = "nightly-report-id";
    const SECRET: &str = "nightly-report-secret";
    let agent = Agent::start("agent").await?;
    let certificate = Certificate::new(DOMAIN)?;
    let (client, url) = certificate.visitor(world)?;
    let ask = |secret: &str, scope: &str| {
        client
            .post(format!("{url}/agent/oauth2/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={secret}&scope={scope}"
            ))
    };
    let topics = Topics::new(world, &["oauth2/kong-plugin.yml", "tls/kong.yml"])
        .before(&agent)
        .with("NIGHTLY_REPORT_CLIENT_ID", CLIENT_ID)
        .with("NIGHTLY_REPORT_CLIENT_SECRET", SECRET);
    certificate
        .installed(topics)
        .served(async || {
            let hello = format!("{url}/agent/hello");
            answered(client.get(&hello), 401).await?;
            let guess = answered(ask("a-guess", "agent.call"), 400).await?;
            ensure!(guess.body["error"] == "invalid_client", "{}", guess.body);
            let unknown = answered(ask(SECRET, "wiki.read"), 400).await?;
            ensure!(unknown.body["error"] == "invalid_scope", "{}", unknown.body);

            let given = answered(ask(SECRET, "agent.call"), 200).await?;
            let token = access_token(&given.body)?;
            let welcome = answered(client.get(&hello).bearer_auth(token), 200).await?;
            ensure!(seen(&welcome, "x-consumer-username") == "nightly-report");
            ensure!(seen(&welcome, "x-authenticated-scope") == "agent.call");
            ensure!(
                seen(&welcome, "authorization").is_null(),
                "the agent got the token"
            );
            Ok(())
        })
        .await
}

fn access_token(given: &Value) -> Result<&str> {
    given["access_token"]
        .as_str()
        .with_context(|| format!("no token in {given}"))
}

pub(crate) async fn a_preflight_needs_no_key_and_a_refusal_can_be_read(
    world: &mut World,
) -> Result<()> {
    const ORIGIN: &str = "https://app.example";
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let preflight = |origin: &str| {
        visitor
            .request(Method::OPTIONS, "/agent/hello")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "apikey")
    };
    let topics = Topics::new(world, &["cors/kong.yml", "api-keys/kong.yml"]).before(&agent);
    topics
        .served(async || {
            let allowed = answered(preflight(ORIGIN), 200).await?;
            for (header, value) in [
                ("access-control-allow-origin", ORIGIN),
                ("access-control-allow-methods", "GET,POST"),
                (
                    "access-control-allow-headers",
                    "authorization,apikey,content-type",
                ),
                ("access-control-allow-credentials", "true"),
                ("access-control-max-age", "600"),
            ] {
                let given = allowed.header(header);
                ensure!(given == value, "{header}: {given}");
            }
            let stranger = answered(preflight("https://evil.example"), 200).await?;
            let given = stranger.header("access-control-allow-origin");
            ensure!(given != "https://evil.example", "a stranger is allowed");
            ensure!(agent.count() == 0, "a preflight reached the agent");

            // Without this header, a page could not even tell that its key was wrong.
            let call = visitor.get("/agent/hello").header("origin", ORIGIN);
            let refused = answered(call, 401).await?;
            ensure!(refused.header("access-control-allow-origin") == ORIGIN);
            let call = visitor.get("/agent/hello").header("origin", ORIGIN);
            let welcome = answered(call.header("apikey", RESEARCH_BOT.1), 200).await?;
            ensure!(welcome.header("access-control-allow-origin") == ORIGIN);
            Ok(())
        })
        .await
}
