//! A certified OpenID provider from npm, which can stop, start again and change its keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use crate::process::Process;
use crate::{http, node, wait};

/// It makes RSA keys before it listens.
const STARTUP: Duration = Duration::from_mins(1);
/// And again when they are rotated.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The most hops from an authorization request to its code.
const HOPS: usize = 10;

/// The confidential client of [`OpenIdProvider::client_credentials`].
const AGENT: (&str, &str) = ("agent", "agents-secret");
/// The public client of [`OpenIdProvider::authorization_code`], and where it is sent back to.
const DESK: &str = "desk";
const CALLBACK: &str = "http://127.0.0.1/callback";

/// `oidc-provider` on a loopback port of its own, with `tests/clients/oidc_provider.cjs`.
#[derive(Debug)]
pub struct OpenIdProvider {
    port: u16,
    log: PathBuf,
    client: Client,
    process: Option<Process>,
}

impl OpenIdProvider {
    /// Why there cannot be one, or `None`.
    pub fn absence() -> Option<&'static str> {
        node::absence("oidc-provider")
    }

    /// One that is not started, but has its address; its log is under `parent`.
    pub fn new(parent: &Path) -> Result<Self> {
        let [port] = wait::free_ports()?;
        Ok(Self {
            port,
            log: parent.join(format!("openid-{port}.log")),
            client: http::client()
                .redirect(Policy::none())
                .timeout(TIMEOUT)
                .build()?,
            process: None,
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it, which must not be running, with keys that it has never had.
    pub async fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the provider runs already");
        }
        let mut command = node::script("oidc_provider.cjs");
        command.arg(self.port.to_string());
        let mut process = Process::spawn(command, &self.log)?;
        let metadata = self.url("/.well-known/openid-configuration");
        wait::until("the OpenID provider listens", STARTUP, async || {
            process.check_alive()?;
            let status = self.client.get(&metadata).send().await?.status();
            ensure!(status == 200, "answered {status}");
            Ok(())
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the provider does not run")?;
        process.kill().map(drop)
    }

    /// Makes it sign with new keys from now on, and publish `keep` generations of older ones as well.
    pub async fn rotate(&self, keep: usize) -> Result<()> {
        let url = self.url(&format!("/-/rotate?keep={keep}"));
        self.client.post(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// An access token for `resource`, which an agent gets for its own secret (RFC 6749 §4.4); an opaque one without.
    pub async fn client_credentials(&self, resource: Option<&str>) -> Result<String> {
        self.client_credentials_of(AGENT, resource).await
    }

    /// The same of a client, by its id and secret.
    pub async fn client_credentials_of(
        &self,
        (id, secret): (&str, &str),
        resource: Option<&str>,
    ) -> Result<String> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(resource.map(|resource| ("resource", resource)));
        form.extend(resource.map(|_| ("scope", "chat")));
        let request = self
            .client
            .post(self.url("/token"))
            .basic_auth(id, Some(secret));
        access_token(with_form(request, &form).send().await?).await
    }

    /// An access token for `resource`, to which a person has said yes (RFC 6749 §4.1, with PKCE); an opaque one without.
    pub async fn authorization_code(&self, resource: Option<&str>) -> Result<String> {
        let resource = resource.map(|resource| ("resource", resource));
        let scope = if resource.is_some() {
            "openid chat"
        } else {
            "openid"
        };
        let verifier = random()?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let state = random()?;
        let asked = [
            ("response_type", "code"),
            ("client_id", DESK),
            ("redirect_uri", CALLBACK),
            ("scope", scope),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let request =
            Url::parse_with_params(&self.url("/auth"), asked.into_iter().chain(resource))?;
        let callback = self.browse(request).await?;
        let answer: BTreeMap<_, _> = callback.query_pairs().into_owned().collect();
        ensure!(
            answer.get("state") == Some(&state),
            "sent back with {answer:?}"
        );
        let code = answer
            .get("code")
            .with_context(|| format!("sent back with {answer:?}"))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", DESK),
            ("redirect_uri", CALLBACK),
            ("code", code),
            ("code_verifier", &verifier),
        ];
        form.extend(resource);
        let request = self.client.post(self.url("/token"));
        access_token(with_form(request, &form).send().await?).await
    }

    /// What a browser does: follows redirects, with its cookies, until it is sent to the callback.
    async fn browse(&self, mut location: Url) -> Result<Url> {
        let mut cookies = BTreeMap::new();
        for _ in 0..HOPS {
            let sent: Vec<String> = cookies
                .iter()
                .map(|(name, value): (&String, &String)| format!("{name}={value}"))
                .collect();
            let request = self.client.get(location.clone());
            let answer = request.header(COOKIE, sent.join("; ")).send().await?;
            for line in answer.headers().get_all(SET_COOKIE) {
                let pair = line.to_str()?.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').context("a cookie has a value")?;
                cookies.insert(name.to_owned(), value.to_owned());
            }
            let Some(next) = answer.headers().get(LOCATION) else {
                bail!(
                    "{location} answered {}: {}",
                    answer.status(),
                    answer.text().await?
                );
            };
            location = location.join(next.to_str()?)?;
            if location.as_str().starts_with(CALLBACK) {
                return Ok(location);
            }
        }
        bail!("no end of redirects: {location}")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer())
    }
}

fn with_form(request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let url = Url::parse_with_params("form:", form).expect("a URL takes any parameters");
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(url.query().unwrap_or_default().to_owned())
}

async fn access_token(answer: Response) -> Result<String> {
    let status = answer.status();
    let body: Value = answer.json().await?;
    let token = body["access_token"].as_str();
    let token = token.with_context(|| format!("the provider answered {status}: {body}"))?;
    Ok(token.to_owned())
}

/// A text that nobody guesses.
fn random() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok().context("no random numbers")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
