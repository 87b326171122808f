//! One GET of a JWK set or of the metadata that name it, bounded in size; the caller bounds its time.

use std::sync::OnceLock;

use reqwest::Client;
use reqwest::header::ACCEPT;

use super::discovery::NotMetadata;
use super::http::{self, NoBody, chain};
use super::jwk::NotAKeySet;
use crate::jwt::config::FetchSettings;
use crate::jwt::outcomes::Fetched;

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

impl FetchError {
    /// How it is counted.
    pub fn outcome(&self) -> Fetched {
        match self {
            Self::TimedOut => Fetched::Timeout,
            Self::Transport(error) if error.is_timeout() => Fetched::Timeout,
            Self::Client(_) | Self::Transport(_) => Fetched::Unreachable,
            Self::Status(_) => Fetched::Status,
            Self::TooLarge => Fetched::TooLarge,
            Self::Content(_) => Fetched::NoKeys,
            Self::Metadata(_) => Fetched::Metadata,
        }
    }
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
        let response = request.send().await.map_err(FetchError::Transport)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = http::body(response, settings.max_bytes).await;
        body.map_err(|problem| match problem {
            NoBody::Transport(error) => FetchError::Transport(error),
            NoBody::TooLarge => FetchError::TooLarge,
        })
    }

    fn client(&self, settings: &FetchSettings) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // One fetch in many minutes: a kept connection would only be found closed.
        let client = http::client(settings.reach, 0).map_err(FetchError::Client)?;
        Ok(self.client.get_or_init(|| client))
    }
}
