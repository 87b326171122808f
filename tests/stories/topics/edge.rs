//! Which route, and over which certificate.

use anyhow::{Context, Result, ensure};
use reqwest::tls::TlsInfo;
use reqwest::{Client, Method, RequestBuilder};
use stories::agent::Agent;
use stories::world::World;

use super::{Topics, Visitor, answered, client, seen};

/// The name that the gateway has a certificate for.
pub(crate) const DOMAIN: &str = "agent.example";

/// A certificate that signs itself, and its key.
pub(crate) struct Certificate {
    domain: &'static str,
    pem: String,
    der: Vec<u8>,
    private_key: String,
}

impl Certificate {
    pub(crate) fn new(domain: &'static str) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([domain.to_owned()])?;
        Ok(Self {
            domain,
            pem: made.cert.pem(),
            der: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_pem(),
        })
    }

    /// Topics that give it to the gateway.
    pub(super) fn installed<'a>(&self, topics: Topics<'a>) -> Topics<'a> {
        topics
            .with("AGENT_DOMAIN", self.domain)
            .with("TLS_CERTIFICATE", &self.pem)
            .with("TLS_PRIVATE_KEY", &self.private_key)
    }

    /// Someone who trusts this certificate alone, and the URL under which they find the gateway.
    pub(crate) fn visitor(&self, world: &World) -> Result<(Client, String)> {
        let gateway = world.gateway.tls_address().context("no TLS")?;
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes())?;
        let client = client()
            .tls_certs_only([trusted])
            .resolve(self.domain, gateway)
            .build()?;
        Ok((
            client,
            format!("https://{}:{}", self.domain, gateway.port()),
        ))
    }
}

pub(crate) async fn each_route_matches_by_what_it_names(world: &mut World) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let reaches = async |request: RequestBuilder, path: &str| -> Result<()> {
        let answer = answered(request, 200).await?;
        ensure!(
            answer.body["path"] == path,
            "{path}: the agent saw {}",
            answer.body["path"]
        );
        Ok(())
    };
    let topics = Topics::new(world, &["routing/kong.yml"]).before(&agent);
    topics
        .served(async || {
            // The base: its prefix is stripped.
            reaches(visitor.get("/agent/chat"), "/chat").await?;

            for host in ["agent.example", "blue.agents.example"] {
                let answer = answered(visitor.get("/any").header("host", host), 200).await?;
                ensure!(answer.body["path"] == "/any" && seen(&answer, "host") == host);
            }
            let stranger = visitor.get("/any").header("host", "other.example");
            answered(stranger, 404).await?;

            reaches(visitor.get("/read-only/notes"), "/notes").await?;
            answered(visitor.post("/read-only/notes"), 404).await?;

            for value in ["1", "YES"] {
                reaches(visitor.get("/beta/x").header("x-beta", value), "/x").await?;
            }
            answered(visitor.get("/beta/x"), 404).await?;
            answered(visitor.get("/beta/x").header("x-beta", "2"), 404).await?;

            reaches(visitor.get("/users/ada-1/agent/chat"), "/chat").await?;
            answered(visitor.get("/users/ADA/agent/chat"), 404).await?;

            reaches(visitor.get("/raw/chat"), "/raw/chat").await?;

            let plain = visitor
                .request(Method::POST, "/secure/chat?q=1")
                .header("host", DOMAIN);
            let sent = answered(plain, 308).await?;
            let location = sent.header("location");
            ensure!(
                location == "https://agent.example/secure/chat?q=1",
                "{location}"
            );
            Ok(())
        })
        .await
}

/// Services with a path of their own and without, routes that strip theirs and that do not.
fn spread(agent: &Agent) -> String {
    let agent = agent.address();
    format!(
        "services:
- name: deep
  url: http://{agent}/v1/
  routes:
  - {{name: whole, strip_path: false, paths: [/, '~/thing/\\d+$']}}
- name: flat
  url: http://{agent}
  routes:
  - {{name: kept, strip_path: false, paths: [/kept]}}
  - {{name: stripped, paths: [/stripped]}}
- name: alike
  url: http://{agent}/team.a-b
  routes:
  - {{name: hosted, strip_path: false, hosts: [alike.example], paths: [/]}}
"
    )
}

/// `kongctl namespace` moves routes; what their services are asked for stays.
pub(crate) async fn a_namespace_changes_nothing_for_the_services(world: &mut World) -> Result<()> {
    const PREFIX: &str = "/team.a";
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let paths = [
        ("/x/y?q=1", None),
        ("/thing/12", None),
        ("/a%20b", None),
        ("/kept/z", None),
        ("/kept", None),
        ("/stripped/z", None),
        ("/q", Some("alike.example")),
    ];
    let asked = async |prefix: &str| -> Result<Vec<String>> {
        let mut asked = Vec::new();
        for (path, host) in paths {
            let mut request = visitor.get(&format!("{prefix}{path}"));
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let answer = answered(request, 200).await?;
            asked.push(format!("{} {}", answer.body["path"], answer.body["query"]));
        }
        Ok(asked)
    };
    let file = spread(&agent);
    let topics = Topics::new(world, &[])
        .before(&agent)
        .beside("spread.yml", &file)?;
    let mut before = Vec::new();
    topics
        .served(async || {
            before = asked("").await?;
            Ok(())
        })
        .await?;
    let given = world.directory().join("spread.yml");
    let moved = world
        .kongctl
        .with_files(&["namespace", "--path-prefix", PREFIX], &[&given])
        .await?;
    let topics = Topics::new(world, &[])
        .before(&agent)
        .beside("moved.yml", &moved)?;
    topics
        .served(async || {
            let after = asked(PREFIX).await?;
            ensure!(after == before, "before: {before:?}\nafter: {after:?}");
            answered(visitor.get("/kept/z"), 404).await?;
            // What only begins like the prefix is no part of the namespace, although Kong's prefixes match it.
            let answer = answered(visitor.get("/team.ax"), 200).await?;
            ensure!(
                answer.body["path"] == "/v1/team.ax",
                "{}",
                answer.body["path"]
            );
            Ok(())
        })
        .await
}

pub(crate) async fn the_certificate_is_that_of_the_name_and_plain_http_is_sent_to_it(
    world: &mut World,
) -> Result<()> {
    let agent = Agent::start("agent").await?;
    let visitor = Visitor::new(world)?;
    let certificate = Certificate::new(DOMAIN)?;
    let (trusting, url) = certificate.visitor(world)?;
    let gateway = world.gateway.tls_address().context("no TLS")?;
    let curious = client()
        .tls_danger_accept_invalid_certs(true)
        .tls_info(true)
        .resolve("other.example", gateway)
        .resolve(DOMAIN, gateway)
        .build()?;
    // The certificate that the gateway shows to whoever asks for a name.
    let shown = async |name: &str| -> Result<Vec<u8>> {
        let url = format!("https://{name}:{}/agent/chat", gateway.port());
        let answer = curious.get(url).send().await?;
        let info = answer.extensions().get::<TlsInfo>().context("no TLS")?;
        Ok(info.peer_certificate().context("no certificate")?.to_vec())
    };
    let topics = Topics::new(world, &["tls/kong.yml"]).before(&agent);
    certificate
        .installed(topics)
        .served(async || {
            let welcome = answered(trusting.get(format!("{url}/agent/chat")), 200).await?;
            ensure!(seen(&welcome, "x-forwarded-proto") == "https");
            ensure!(shown(DOMAIN).await? == certificate.der);
            ensure!(
                shown("other.example").await? != certificate.der,
                "the certificate is shown for every name"
            );

            let plain = visitor.post("/agent/chat?q=1").header("host", DOMAIN);
            let sent = answered(plain, 308).await?;
            let location = sent.header("location");
            ensure!(
                location == "https://agent.example/agent/chat?q=1",
                "{location}"
            );
            ensure!(
                agent
                    .requests()
                    .iter()
                    .all(|request| { request["headers"]["x-forwarded-proto"][0] == "https" })
            );
            Ok(())
        })
        .await
}
