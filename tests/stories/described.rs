//! An OpenAPI description whose security becomes plugins: whom it lets in gets in, and nobody else.

use std::fs;

use anyhow::{Result, ensure};
use stories::agent::Agent;
use stories::identity_provider::IdentityProvider;
use stories::world::World;

use super::topics::{Visitor, answered, restored};

/// Who may call: a consumer with a key and a password.
const CALLERS: &str = "
_format_version: \"3.0\"
consumers:
- username: described
  keyauth_credentials: [{key: described-key}]
  basicauth_credentials: [{username: described, password: described-password}]
";

fn description(agent: &Agent, provider: &IdentityProvider) -> String {
    format!(
        "openapi: 3.1.0
info: {{title: Described}}
servers: [{{url: 'http://{agent}'}}]
security: [{{key: []}}]
paths:
  /described/keyed: {{get: {{}}}}
  /described/open: {{get: {{security: []}}}}
  /described/both: {{get: {{security: [{{key: [], basic: []}}]}}}}
  /described/either: {{get: {{security: [{{key: []}}, {{basic: []}}, {{provider: [agent.call]}}]}}}}
  /described/token: {{get: {{security: [{{provider: [agent.call]}}]}}}}
  /described/more: {{get: {{security: [{{provider: [agent.call, agent.delete]}}]}}}}
components:
  securitySchemes:
    key: {{type: apiKey, in: header, name: x-api-key}}
    basic: {{type: http, scheme: basic}}
    provider:
      type: openIdConnect
      openIdConnectUrl: {provider}/.well-known/openid-configuration
      x-kong-security-llm-jwt:
        config:
          issuers: [{{audience_required: [agent-gateway]}}]
          allow_http_jwks: true
          allow_private_jwks: true
",
        agent = agent.address(),
        provider = provider.url(),
    )
}

pub(crate) async fn what_a_description_protects_is_protected(world: &mut World) -> Result<()> {
    let agent = Agent::start("described").await?;
    let provider = IdentityProvider::start(&world.issuer).await?;
    let at = world.directory();
    fs::write(at.join("described.yml"), description(&agent, &provider))?;
    fs::write(at.join("callers.yml"), CALLERS)?;
    let kongctl = &world.kongctl;
    let told = async {
        let convert = "openapi2kong --generate-security --output-file made.yml described.yml";
        let sync = "sync --yes made.yml";
        for line in [convert, sync, "apply --yes callers.yml"] {
            let words: Vec<&str> = line.split(' ').collect();
            kongctl.run_in(at, &words).await?;
        }
        world.until_applied().await?;

        let visitor = Visitor::new(world)?;
        let keyed = |path: &str, key: &str| visitor.get(path).header("x-api-key", key);
        answered(visitor.get("/described/open"), 200).await?;
        answered(visitor.get("/described/keyed"), 401).await?;
        answered(keyed("/described/keyed", "another"), 401).await?;
        answered(keyed("/described/keyed", "described-key"), 200).await?;
        answered(keyed("/described/both", "described-key"), 401).await?;
        let both = keyed("/described/both", "described-key");
        let both = both.basic_auth("described", Some("described-password"));
        answered(both, 200).await?;

        let token = provider.token("acme", |_| ())?;
        answered(visitor.get("/described/token"), 401).await?;
        answered(visitor.get("/described/token").bearer_auth(&token), 200).await?;
        answered(visitor.get("/described/more").bearer_auth(&token), 403).await?;

        // One of three is enough, whatever else is shown; none of them is not.
        let either = || visitor.get("/described/either");
        let password = |password| either().basic_auth("described", Some(password));
        let forged = format!("{}x", token.trim_end_matches(char::is_alphanumeric));
        for one in [
            either().header("x-api-key", "described-key"),
            password("described-password"),
            either().bearer_auth(&token),
            either()
                .bearer_auth(&forged)
                .header("x-api-key", "described-key"),
            either().bearer_auth(&token).header("x-api-key", "another"),
        ] {
            answered(one, 200).await?;
        }
        agent.forget();
        for none in [
            either(),
            either().header("x-api-key", "another"),
            password("another"),
            either().bearer_auth(&forged),
            either().header("x-consumer-username", "described"),
        ] {
            answered(none, 401).await?;
        }
        ensure!(agent.count() == 0, "strangers reached the agent");
        Ok(())
    }
    .await;
    restored(world, told).await
}
