//! `[webhook]`: where events of limits go, and what signs them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::config::{ProcessConfigError, Secret};

/// The variable that holds the secret. It has no flag: every user of a machine sees the flags of all processes.
const SECRET: &str = "LLM_PLUGIN_SERVER_WEBHOOK_SECRET";
/// What Standard Webhooks' secrets begin with.
const PREFIX: &str = "whsec_";
/// The shortest and the longest secret of the specification, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How long the receiver may take, unless configured.
const TIMEOUT_MS: u64 = 5_000;

/// Where events of limits go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WebhookConfig {
    /// The receiver's address.
    pub url: Url,
    /// The file that holds the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The most milliseconds that one attempt may take.
    pub timeout_ms: u64,
    /// What signs events, from the environment or the file. Never shown.
    #[serde(skip)]
    pub secret: Option<WebhookSecret>,
}

/// The same as flags.
#[derive(Debug, Default, Args)]
pub struct WebhookArgs {
    /// Post an event to this URL when a limit reaches its warn_at or begins to refuse: https, or http on loopback.
    #[arg(
        long = "webhook-url",
        env = "LLM_PLUGIN_SERVER_WEBHOOK_URL",
        value_name = "URL"
    )]
    pub url: Option<String>,
    /// The file with the secret that signs events; LLM_PLUGIN_SERVER_WEBHOOK_SECRET may hold the secret itself.
    #[arg(
        long = "webhook-secret-file",
        env = "LLM_PLUGIN_SERVER_WEBHOOK_SECRET_FILE",
        value_name = "FILE"
    )]
    pub secret_file: Option<PathBuf>,
    /// The most milliseconds that one attempt may take.
    #[arg(
        long = "webhook-timeout-ms",
        env = "LLM_PLUGIN_SERVER_WEBHOOK_TIMEOUT_MS",
        value_name = "MILLISECONDS"
    )]
    pub timeout_ms: Option<u64>,
}

/// The same as the file's section.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhookSection {
    url: Option<String>,
    secret_file: Option<PathBuf>,
    timeout_ms: Option<u64>,
}

impl WebhookSection {
    /// What both say; `None` if neither names a receiver.
    ///
    /// # Errors
    ///
    /// When a value cannot work; the text repeats neither the address, which may hold a secret, nor the secret.
    pub(crate) fn resolve(
        self,
        args: WebhookArgs,
    ) -> Result<Option<WebhookConfig>, ProcessConfigError> {
        let given = |value: &String| !value.is_empty();
        let Some(url) = args.url.filter(given).or(self.url) else {
            return Ok(None);
        };
        let secret_file = args.secret_file.or(self.secret_file);
        let secret = Secret::of(SECRET, "webhook.secret_file", secret_file.as_deref())?;
        let config = WebhookConfig {
            url: receiver(&url)
                .map_err(|problem| ProcessConfigError::value("webhook.url", problem))?,
            secret: secret
                .map(|secret| {
                    WebhookSecret::new(&secret.text)
                        .map_err(|problem| ProcessConfigError::value(secret.field, problem))
                })
                .transpose()?,
            secret_file,
            timeout_ms: args.timeout_ms.or(self.timeout_ms).unwrap_or(TIMEOUT_MS),
        };
        if !(100..=60_000).contains(&config.timeout_ms) {
            return Err(ProcessConfigError::value(
                "webhook.timeout_ms",
                "100 to 60000",
            ));
        }
        Ok(Some(config))
    }
}

impl WebhookConfig {
    /// The most time that one attempt may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The address, if events may be sent there.
fn receiver(url: &str) -> Result<Url, &'static str> {
    let url = Url::parse(url)
        .map_err(|_| "a URL is needed, such as https://alerts.example/llm-limits")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user and no password: events are signed with webhook.secret_file");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("plain http is for loopback alone, where nobody reads along: use https"),
        _ => Err("an https URL is needed, or one of http on loopback"),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// What signs events. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// A text that is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is 24 to 64 random bytes in base64, after {PREFIX}: `echo {PREFIX}$(openssl rand -base64 32)` prints one"
)]
pub struct InvalidSecret;

impl WebhookSecret {
    /// The secret, with or without its prefix and the line end that files have.
    pub fn new(text: &str) -> Result<Self, InvalidSecret> {
        let text = text.trim_end_matches(['\r', '\n']);
        let bytes = STANDARD
            .decode(text.strip_prefix(PREFIX).unwrap_or(text))
            .map_err(|_| InvalidSecret)?;
        if SECRET_BYTES.contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(InvalidSecret)
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn resolve(section: &str) -> Result<Option<WebhookConfig>, String> {
        toml::from_str::<WebhookSection>(section)
            .unwrap()
            .resolve(WebhookArgs::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_posted_unless_a_receiver_is_named() {
        assert_eq!(resolve("timeout_ms = 100"), Ok(None));
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for url in [
            "https://alerts.example/a?b=c",
            "http://127.0.0.1:9000/",
            "http://127.9.9.9/",
            "http://[::1]:9000/",
            "http://localhost/hook",
        ] {
            let config = resolve(&format!("url = {url:?}")).unwrap().unwrap();
            assert_eq!((config.url.as_str(), config.timeout_ms), (url, TIMEOUT_MS));
        }
        for url in [
            "http://alerts.example/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            let error = resolve(&format!("url = {url:?}")).unwrap_err();
            assert!(
                error.starts_with("webhook.url: plain http is for loopback alone"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_cannot_work_is_named_and_nothing_secret_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let of_file = format!("url = \"https://a.example/\"\nsecret_file = {file:?}");
        std::fs::write(&file, format!("{ONE}\n")).unwrap();
        let config = resolve(&of_file).unwrap().unwrap();
        assert_eq!(config.secret, Some(WebhookSecret::new(ONE).unwrap()));
        assert!(
            !format!("{config:?}").contains("MfKQ") && !format!("{config:?}").contains("49, 242")
        );
        assert!(!toml::to_string(&config).unwrap().contains("MfKQ"));
        std::fs::write(&file, "hunter2").unwrap();
        for (section, field) in [
            (of_file.as_str(), "webhook.secret_file: "),
            ("url = \"hunter2\"", "webhook.url: "),
            ("url = \"https://u:hunter2@a.example/\"", "webhook.url: "),
            ("url = \"ftp://a.example/hunter2\"", "webhook.url: "),
            (
                "url = \"https://a.example/hunter2\"\ntimeout_ms = 99",
                "webhook.timeout_ms: ",
            ),
        ] {
            let error = resolve(section).unwrap_err();
            assert!(error.starts_with(field), "{section}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_secret_has_the_length_of_the_specification() {
        for (bytes, is_one) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = STANDARD.encode(vec![7; bytes]);
            assert_eq!(WebhookSecret::new(&text).is_ok(), is_one, "{bytes} bytes");
            assert_eq!(
                WebhookSecret::new(&format!("{PREFIX}{text}")).is_ok(),
                is_one
            );
        }
        assert_eq!(WebhookSecret::new("whsec_not base64"), Err(InvalidSecret));
    }
}
