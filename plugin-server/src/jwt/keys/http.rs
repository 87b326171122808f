//! HTTP to a provider: only to addresses that may be spoken to, without redirects and proxies, and answers bounded in size.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Client, Response, redirect};

use super::address;

/// How long an unused connection is kept: less than the 5 s of many servers, so that none closes one that is just being used.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// Where requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Whether `http://` is allowed.
    pub allow_http: bool,
    /// Whether loopback, private and link-local addresses are allowed.
    pub allow_private: bool,
}

/// A client that goes no further than `reach` and keeps this many connections to a host when nobody uses them.
pub(in crate::jwt) fn client(reach: Reach, idle_connections: usize) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(concat!("llm-plugin-server/", env!("CARGO_PKG_VERSION")))
        .https_only(!reach.allow_http)
        .redirect(redirect::Policy::none())
        .referer(false)
        // Through a proxy, the address that is judged would not be the one that is spoken to.
        .no_proxy()
        .pool_max_idle_per_host(idle_connections)
        .pool_idle_timeout(IDLE_TIME)
        .dns_resolver(JudgedAddresses {
            allow_private: reach.allow_private,
        })
        .build()
}

/// Why there is no whole body.
pub(in crate::jwt) enum NoBody {
    /// The connection failed.
    Transport(reqwest::Error),
    /// More than was allowed, announced or sent.
    TooLarge,
}

/// The body of `response`. Holds at most `max_bytes` and a network packet.
pub(in crate::jwt) async fn body(
    mut response: Response,
    max_bytes: usize,
) -> Result<Vec<u8>, NoBody> {
    let announced = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > max_bytes) {
        return Err(NoBody::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(NoBody::Transport)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(NoBody::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error and its causes, without the URL (which may hold what an operator would not want in a log).
pub(in crate::jwt) fn chain(error: &reqwest::Error) -> String {
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
                return Err(
                    "the name has no public address, and private ones are not allowed".into(),
                );
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}
