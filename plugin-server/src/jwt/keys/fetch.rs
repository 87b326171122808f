//! One GET of a JWK set or of the metadata that name it, bounded in size; the caller bounds its time.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::OnceLock;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_LENGTH};
use reqwest::{Client, redirect};

use super::address;
use super::discovery::NotMetadata;
use super::jwk::NotAKeySet;
use crate::jwt::config::FetchSettings;

/// Why no keys came of a fetch.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The HTTP client could not be made: usually the machine has no root certificates.
    #[error("no HTTP client: {}", chain(.0))]
    Client(reqwest::Error),
    /// No answer.
    #[error("{}", chain(.0))]
    Transport(reqwest::Error),
    /// Not everything within `jwks_timeout`.
    #[error("no whole answer within jwks_timeout")]
    TimedOut,
    /// Another status than 200. Redirects are not followed: another host's keys are not the issuer's.
    #[error("the endpoint answered {0}")]
    Status(u16),
    /// More than `jwks_max_size`.
    #[error("the answer is larger than jwks_max_size")]
    TooLarge,
    /// The answer holds no usable key.
    #[error(transparent)]
    Content(#[from] NotAKeySet),
    /// The issuer's metadata do not lead to its keys.
    #[error(transparent)]
    Metadata(#[from] NotMetadata),
}

/// An error and its causes, without the URL (which may hold what an operator would not want in a log).
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What is fetched, as media types.
#[derive(Debug, Clone, Copy)]
pub(super) enum Document {
    /// A JWK set (RFC 7517 §8.5).
    KeySet,
    /// An issuer's metadata.
    Metadata,
}

impl Document {
    const fn accept(self) -> &'static str {
        match self {
            Self::KeySet => "application/jwk-set+json, application/json",
            Self::Metadata => "application/json",
        }
    }
}

/// Fetches what one issuer publishes. The client is made at the first fetch, not when a configuration is loaded.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    client: OnceLock<Client>,
}

impl Fetcher {
    /// The body of a successful answer.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]. Holds at most `max_bytes` and a network packet.
    pub(super) async fn fetch(
        &self,
        document: Document,
        url: &str,
        settings: &FetchSettings,
    ) -> Result<Vec<u8>, FetchError> {
        let client = self.client(settings)?;
        let request = client.get(url).header(ACCEPT, document.accept());
        let mut response = request.send().await.map_err(FetchError::Transport)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let announced = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > settings.max_bytes) {
            return Err(FetchError::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::Transport)? {
            if body.len() + chunk.len() > settings.max_bytes {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn client(&self, settings: &FetchSettings) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .user_agent(concat!("llm-plugin-server/", env!("CARGO_PKG_VERSION")))
            .https_only(!settings.allow_http)
            .redirect(redirect::Policy::none())
            .referer(false)
            // Through a proxy, the address that is judged would not be the one that is spoken to.
            .no_proxy()
            // One fetch in many minutes: a kept connection would only be found closed.
            .pool_max_idle_per_host(0)
            .dns_resolver(JudgedAddresses {
                allow_private: settings.allow_private,
            })
            .build()
            .map_err(FetchError::Client)?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// Resolves names and keeps only the addresses that may be spoken to, at the moment of connecting: a name that was
/// public when the configuration was written may point inside by now.
struct JudgedAddresses {
    allow_private: bool,
}

impl Resolve for JudgedAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let resolved = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = resolved
                .filter(|found| allow_private || address::is_public(found.ip()))
                .collect();
            if allowed.is_empty() {
                return Err("the name has no public address (allow_private_jwks is off)".into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}
