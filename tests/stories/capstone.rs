//! `kong/capstone`: the gateway for one agent, all of it at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, RequestBuilder};
use stories::agent::Agent;
use stories::chat::{Answer, Caller, Credential, question};
use stories::kongctl::Kongctl;
use stories::repository;
use stories::target::Target;
use stories::world::{World, until_routed};

use crate::topics::{self, Visitor, answered, seen};

const PARTNER: &str = "key-of-the-partner";
const AGENT: &str = "key-of-the-agent";
/// Where pages come from that may call the agent.
const PAGE: &str = "https://app.example";

/// Why a target cannot show it.
pub(crate) fn beyond(target: Target) -> Option<&'static str> {
    topics::beyond_standin(
        target,
        "the stand-in has no cors, acl, proxy-cache nor transformation",
    )
}

pub(crate) async fn one_agent_is_served_guarded_and_metered(world: &mut World) -> Result<()> {
    let mut agents = agents().await?;
    let told = async {
        configured(world, &agents).sync(&file()).await?;
        world.until_applied().await?;
        is_served(world, &world.gateway.proxy_url(), &mut agents).await
    }
    .await;
    topics::restored(world, told).await
}

/// The declarative file.
pub(crate) fn file() -> PathBuf {
    repository().join("kong/capstone/kong.yml")
}

/// The agent's replicas.
pub(crate) async fn agents() -> Result<[Agent; 2]> {
    Ok([
        Agent::start("agent-1").await?,
        Agent::start("agent-2").await?,
    ])
}

/// The world's kongctl, with all that the file reads.
pub(crate) fn configured(world: &World, agents: &[Agent; 2]) -> Kongctl {
    let variables = BTreeMap::from(
        [
            ("AGENT_TARGET_1", agents[0].address().to_string()),
            ("AGENT_TARGET_2", agents[1].address().to_string()),
            ("AGENT_JWT_PUBLIC_KEY", world.issuer.public_key().to_owned()),
            ("PARTNER_KEY", PARTNER.to_owned()),
            ("AGENT_LLM_KEY", AGENT.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    world.kongctl.clone().with_variables(variables)
}

/// What the file promises, at a gateway that has it: the world's, or another one in the same world.
pub(crate) async fn is_served(
    world: &World,
    proxy_url: &str,
    agents: &mut [Agent; 2],
) -> Result<()> {
    // What depends on everything else is written last.
    until_routed(proxy_url, "/llm/v1/models").await?;
    until_routed(proxy_url, "/programs/agent/hello").await?;
    let door = Door {
        visitor: Visitor::of(proxy_url)?,
        token: world.issuer.mint(&world.kongctl, "acme", "pro").await?,
    };
    door.a_page_asks_first().await?;
    door.people_need_a_token(agents).await?;
    door.programs_need_a_key_of_their_group().await?;
    door.what_is_known_is_kept().await?;
    an_agent_that_is_gone_is_missed_by_nobody(&door, agents).await?;
    the_agents_model_is_on_a_budget(proxy_url).await
}

/// Where people and programs come in.
struct Door {
    visitor: Visitor,
    token: String,
}

impl Door {
    fn as_person(&self, path: &str) -> RequestBuilder {
        self.visitor.get(path).bearer_auth(&self.token)
    }

    async fn a_page_asks_first(&self) -> Result<()> {
        let preflight = self
            .visitor
            .request(Method::OPTIONS, "/agent/hello")
            .header("origin", PAGE)
            .header("access-control-request-method", "POST");
        let allowed = answered(preflight, 200).await?;
        let origin = allowed.header("access-control-allow-origin");
        ensure!(origin == PAGE, "allowed is {origin:?}");
        Ok(())
    }

    async fn people_need_a_token(&self, agents: &[Agent]) -> Result<()> {
        let refused = answered(self.visitor.get("/agent/hello"), 401).await?;
        let challenge = refused.header("www-authenticate");
        ensure!(challenge.starts_with("Bearer"), "{challenge:?}");

        let request = self
            .as_person("/agent/hello")
            .header("x-tenant", "root")
            .header("x-internal", "yes");
        let welcome = answered(request, 200).await?;
        for (header, wanted) in [("x-tenant", "acme"), ("x-gateway", "kong")] {
            ensure!(
                seen(&welcome, header) == wanted,
                "{header}: {}",
                seen(&welcome, header)
            );
        }
        for header in ["authorization", "x-internal"] {
            ensure!(
                seen(&welcome, header).is_null(),
                "the agent was told {header}"
            );
        }
        let id = welcome.header("x-request-id");
        ensure!(
            !id.is_empty() && seen(&welcome, "x-request-id") == id,
            "{id:?}"
        );
        for _ in 0..9 {
            answered(self.as_person("/agent/hello"), 200).await?;
        }
        ensure!(
            agents.iter().all(|agent| agent.count() > 0),
            "one agent does all the work"
        );
        Ok(())
    }

    async fn programs_need_a_key_of_their_group(&self) -> Result<()> {
        let with = |key: &str| {
            self.visitor
                .get("/programs/agent/hello")
                .header("apikey", key)
        };
        answered(self.visitor.get("/programs/agent/hello"), 401).await?;
        answered(with(AGENT), 403).await?;
        let welcome = answered(with(PARTNER), 200).await?;
        ensure!(seen(&welcome, "x-consumer-username") == "partner");
        ensure!(
            seen(&welcome, "apikey").is_null(),
            "the agent was told the key"
        );
        Ok(())
    }

    async fn what_is_known_is_kept(&self) -> Result<()> {
        for wanted in ["Miss", "Hit"] {
            let answer = answered(self.as_person("/agent/knowledge/opening-hours"), 200).await?;
            let status = answer.header("x-cache-status");
            ensure!(status == wanted, "the cache says {status:?}");
        }
        answered(self.visitor.get("/agent/knowledge/opening-hours"), 401)
            .await
            .map(drop)
    }
}

async fn an_agent_that_is_gone_is_missed_by_nobody(
    door: &Door,
    agents: &mut [Agent; 2],
) -> Result<()> {
    agents[0].stop().await?;
    agents[1].forget();
    for _ in 0..6 {
        answered(door.as_person("/agent/hello"), 200).await?;
    }
    ensure!(agents[1].count() == 6, "who else answered?");
    Ok(())
}

/// Tokens are counted for each tenant that the agent works for; another tenant of the same agent goes on.
async fn the_agents_model_is_on_a_budget(proxy_url: &str) -> Result<()> {
    let with = |key: &str| {
        let url = format!("{proxy_url}/llm/v1");
        Caller::new(url, Credential::Key(key.to_owned()))
    };
    let working_for =
        |tenant: &str| -> Result<_> { Ok(with(AGENT)?.with_header("x-tenant", tenant)) };
    let stranger = with(PARTNER)?;
    let answer = stranger.chat(&question("May I?", 10)).await?;
    ensure!(
        answer.status == 403,
        "the partner was answered {}",
        answer.status
    );

    let acme = working_for("acme")?;
    let mut spent = 0;
    let refusal: Answer = loop {
        let answer = acme.chat(&question("Tell me a story.", 400)).await?;
        if answer.status == 429 {
            break answer;
        }
        ensure!(
            answer.status == 200,
            "answered {}: {}",
            answer.status,
            answer.body
        );
        spent += answer.total_tokens().context("no usage")?;
        ensure!(spent <= 2000, "{spent} tokens on a budget of 2000");
    };
    let message = refusal.body["error"]["message"]
        .as_str()
        .unwrap_or_default();
    ensure!(message.contains("tenant-tokens"), "{message}");
    let answer = working_for("globex")?
        .chat(&question("And me?", 10))
        .await?;
    ensure!(
        answer.status == 200,
        "globex was answered {}",
        answer.status
    );
    Ok(())
}
