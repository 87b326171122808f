//! `kong/topics`: each file synced beside the base, and what it promises seen at work.
//!
//! # Layout
//!
//! - `access`: api-keys, jwt, oauth2, cors.
//! - `traffic`: rate-limiting, caching, timeouts, transformation.
//! - `balancing`: load-balancing, health-checks, canary.
//! - `edge`: routing, tls.
//!
//! A story names its [`Topics`] and is told while they are served; the stories' configuration comes back whatever happened.

pub(crate) mod access;
pub(crate) mod balancing;
pub(crate) mod edge;
pub(crate) mod traffic;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use serde_json::Value;
use stories::agent::Agent;
use stories::chat::Answer;
use stories::http;
use stories::repository;
use stories::target::Target;
use stories::world::World;

/// A name for several agents: an upstream's, not one that DNS knows.
const POOL: &str = "agents.internal";
/// API keys, by the variables that the topics read.
pub(crate) const RESEARCH_BOT: (&str, &str) = ("RESEARCH_BOT_KEY", "key-of-the-research-bot");
pub(crate) const TRIAL_BOT: (&str, &str) = ("TRIAL_BOT_KEY", "key-of-the-trial-bot");
pub(crate) const BILLING_BOT: (&str, &str) = ("BILLING_BOT_KEY", "key-of-the-billing-bot");

/// Why a target cannot show a topic of routing, balancing and our plugins.
pub(crate) fn beyond(target: Target) -> Option<&'static str> {
    (target == Target::Compose).then_some("its agents are processes of this machine")
}

/// The same of a topic that needs what only a real Kong has; `lacking` says what the stand-in has not.
pub(crate) fn beyond_standin(target: Target, lacking: &'static str) -> Option<&'static str> {
    if target.is_real_kong() {
        beyond(target)
    } else {
        Some(lacking)
    }
}

/// Files of `kong/topics` beside the base, and what they read from the environment.
struct Topics<'a> {
    world: &'a World,
    files: Vec<PathBuf>,
    variables: BTreeMap<String, String>,
}

impl<'a> Topics<'a> {
    /// The base and `files`, by their paths in `kong/topics`.
    fn new(world: &'a World, files: &[&str]) -> Self {
        let directory = repository().join("kong").join("topics");
        let mut variables = BTreeMap::new();
        for (name, key) in [RESEARCH_BOT, TRIAL_BOT, BILLING_BOT] {
            variables.insert(name.to_owned(), key.to_owned());
        }
        Self {
            world,
            files: std::iter::once(&"agent.yml")
                .chain(files)
                .map(|file| directory.join(file))
                .collect(),
            variables,
        }
    }

    fn with(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// One agent behind the service.
    fn before(self, agent: &Agent) -> Self {
        self.before_address(agent.address())
    }

    fn before_address(self, address: SocketAddr) -> Self {
        self.with("AGENT_HOST", &address.ip())
            .with("AGENT_PORT", &address.port())
    }

    /// Several agents behind an upstream.
    fn balancing(self, agents: &[Agent]) -> Self {
        let mut topics = self.pooled();
        for (number, agent) in (1..).zip(agents) {
            topics = topics.with(&format!("AGENT_TARGET_{number}"), &agent.address());
        }
        topics
    }

    /// A service whose host is the name of an upstream, which knows the ports.
    fn pooled(self) -> Self {
        self.with("AGENT_HOST", POOL).with("AGENT_PORT", "80")
    }

    /// One file more, of the story's own.
    fn beside(mut self, name: &str, text: &str) -> Result<Self> {
        let file = self.world.directory().join(name);
        fs::write(&file, text)?;
        self.files.push(file);
        Ok(self)
    }

    /// The files as they are, but with the lines that they offer for a provider in a private network.
    fn in_a_private_network(mut self) -> Result<Self> {
        for (number, file) in self.files.iter_mut().enumerate() {
            let text = fs::read_to_string(&*file)?;
            if text.contains("# allow_private_jwks") {
                let text = text
                    .replace("# allow_private_jwks", "allow_private_jwks")
                    .replace("# allow_http_jwks", "allow_http_jwks");
                *file = self.world.directory().join(format!("topic-{number}.yml"));
                fs::write(&*file, text)?;
            }
        }
        Ok(self)
    }

    /// What `lint` says of the files.
    async fn linted(&self) -> Result<String> {
        let kongctl = self.world.kongctl.clone();
        let kongctl = kongctl.with_variables(self.variables.clone());
        kongctl.with_files(&["lint"], &self.files).await
    }

    /// Syncs the files, waits until every worker has them, tells, and gives the stories' configuration back.
    async fn served(self, tell: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        let told = async {
            let kongctl = self.world.kongctl.clone().with_variables(self.variables);
            kongctl.with_files(&["sync", "--yes"], &self.files).await?;
            // Exit code 2, an error here, says that there are differences.
            kongctl
                .with_files(&["diff", "--exit-code"], &self.files)
                .await
                .context("a second sync would change something")?;
            self.world.until_applied().await?;
            tell().await
        }
        .await;
        restored(self.world, told).await
    }
}

/// Gives the stories' configuration back, however what was told has ended.
pub(crate) async fn restored(world: &World, told: Result<()>) -> Result<()> {
    let restored = world
        .configure(&crate::configuration_file())
        .await
        .context("the stories' configuration");
    told.and(restored)
}

/// Someone who opens a connection for each request, follows no redirect, and waits ten seconds at most.
fn client() -> ClientBuilder {
    http::client()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(10))
}

/// Someone on the proxy's plain port.
pub(crate) struct Visitor {
    client: Client,
    url: String,
}

impl Visitor {
    pub(crate) fn new(world: &World) -> Result<Self> {
        Self::of(&world.gateway.proxy_url())
    }

    /// The same of any gateway.
    pub(crate) fn of(proxy_url: &str) -> Result<Self> {
        Ok(Self {
            client: client().build()?,
            url: proxy_url.to_owned(),
        })
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }
}

/// Sends a request, reads its answer and insists on its status.
pub(crate) async fn answered(request: RequestBuilder, status: u16) -> Result<Answer> {
    let answer = Answer::read(request.send().await?).await?;
    ensure!(
        answer.status == status,
        "answered {} instead of {status}: {}",
        answer.status,
        answer.body
    );
    Ok(answer)
}

/// What an agent was sent under a header; null if it was not.
pub(crate) fn seen<'a>(answer: &'a Answer, header: &str) -> &'a Value {
    &answer.body["headers"][header][0]
}
