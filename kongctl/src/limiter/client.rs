//! A client of one plugin server's admin listener.

use std::collections::HashSet;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::admin::client::{Settings, encode_segment, innermost, shown, transport};
use crate::admin::retry::{RetryPolicy, is_passing};

use super::errors::{LimiterError, Rejection};
use super::model::{Correction, Counter, Key, Refusal, Reservation, Revocation, Revoked, Usage};

/// Counters in one page, as many as the server gives unasked.
const PAGE_SIZE: usize = 100;
/// The largest answer that is read, in bytes: far above any page.
const LARGEST_ANSWER: usize = 16 << 20;

/// A connection to one plugin server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    retry: RetryPolicy,
    shown_url: String,
    has_token: bool,
}

/// Which counters are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter<'a> {
    /// Of the limit with this name.
    pub(crate) limit: Option<&'a str>,
    /// With this text in the limit's name or in what they are counted by.
    pub(crate) search: Option<&'a str>,
    /// The fullest first, of the thousand most recently used; else the most recently used first.
    pub(crate) fullest: bool,
}

/// What was listed, in the order that was asked for.
pub(crate) struct Listed<T> {
    pub(crate) found: Vec<T>,
    /// How many the server has of this kind.
    pub(crate) total: usize,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    total: usize,
    #[serde(default)]
    next: Option<usize>,
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
}

impl Client {
    /// Builds the client; nothing is sent. Of the settings, what belongs to the Admin API alone (headers, its token) is not used.
    pub(crate) fn new(settings: &Settings, token: Option<&str>) -> Result<Self, LimiterError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                LimiterError::Settings(
                    "--limiter-token (KONGCTL_LIMITER_TOKEN) has characters that no header can carry".to_owned(),
                )
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let (http, base) =
            transport("--limiter-addr", settings, headers).map_err(LimiterError::Settings)?;
        Ok(Self {
            http,
            base,
            retry: RetryPolicy::new(settings.retries),
            shown_url: shown(&settings.url),
            has_token: token.is_some(),
        })
    }

    /// The server's address, without credentials.
    pub(crate) fn url(&self) -> &str {
        &self.shown_url
    }

    /// At most so many counters, page by page.
    pub(crate) async fn counters(
        &self,
        filter: Filter<'_>,
        most: usize,
    ) -> Result<Listed<Counter>, LimiterError> {
        let mut query = Vec::new();
        query.extend(filter.limit.map(|limit| ("limit", limit)));
        query.extend(filter.search.map(|search| ("search", search)));
        query.extend(filter.fullest.then_some(("sort", "fullest")));
        let key = |counter: &Counter| counter.key.to_string();
        self.pages("v1/counters", &query, most, key).await
    }

    /// At most so many entries of a list, page by page, each once by its `key`.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        most: usize,
        key: impl Fn(&T) -> String,
    ) -> Result<Listed<T>, LimiterError> {
        let mut listed = Listed {
            found: Vec::new(),
            total: 0,
        };
        let mut seen = HashSet::new();
        let mut offset = 0;
        loop {
            let size = PAGE_SIZE.min(most - listed.found.len()).max(1).to_string();
            let from = offset.to_string();
            let page = [("size", size.as_str()), ("offset", from.as_str())];
            let page: Page<T> = self.get(path, &[&page, query].concat()).await?;
            listed.total = page.total;
            for entry in page.data {
                // One that is used meanwhile moves, and may come again.
                if seen.insert(key(&entry)) {
                    listed.found.push(entry);
                }
            }
            match page.next {
                Some(next) if next > offset && listed.found.len() < most => offset = next,
                _ => break,
            }
        }
        listed.found.truncate(most);
        Ok(listed)
    }

    /// One counter.
    pub(crate) async fn counter(&self, key: &Key) -> Result<Counter, LimiterError> {
        self.get(&format!("v1/counters/{key}"), &[]).await
    }

    /// Changes a counter, and tells what it is then.
    pub(crate) async fn correct(
        &self,
        key: &Key,
        correction: Correction,
    ) -> Result<Counter, LimiterError> {
        let (verb, body) = match correction {
            Correction::Reset => ("reset", json!({})),
            Correction::Adjust(by) => ("adjust", json!({ "by": by })),
            Correction::Grant(amount) => ("grant", json!({ "amount": amount })),
        };
        self.call(
            Method::POST,
            &format!("v1/counters/{key}/{verb}"),
            &[],
            Some(&body),
        )
        .await
    }

    /// At most so many open reservations.
    pub(crate) async fn reservations(&self, most: usize) -> Result<Vec<Reservation>, LimiterError> {
        let size = most.to_string();
        let list: List<Reservation> = self.get("v1/reservations", &[("size", &size)]).await?;
        Ok(list.data)
    }

    /// Gives back what a reservation holds.
    pub(crate) async fn release(&self, id: &str) -> Result<(), LimiterError> {
        let path = format!("v1/reservations/{}/release", encode_segment(id));
        let _: Value = self
            .call(Method::POST, &path, &[], Some(&json!({})))
            .await?;
        Ok(())
    }

    /// At most so many revocations, those that end last first.
    pub(crate) async fn revocations(
        &self,
        most: usize,
    ) -> Result<Listed<Revocation>, LimiterError> {
        let key = |one: &Revocation| format!("{} {}", one.id, one.store);
        self.pages("v1/revocations", &[], most, key).await
    }

    /// Revokes what `body` says; may be repeated.
    pub(crate) async fn revoke(&self, body: &Value) -> Result<Revoked, LimiterError> {
        self.call(Method::POST, "v1/revocations", &[], Some(body))
            .await
    }

    /// Removes a revocation from every denylist that has it; what it was in each.
    pub(crate) async fn unrevoke(&self, id: &str) -> Result<Vec<Revocation>, LimiterError> {
        let path = format!("v1/revocations/{}", encode_segment(id));
        let removed: List<Revocation> = self.call(Method::DELETE, &path, &[], None).await?;
        Ok(removed.data)
    }

    /// The traffic of the last seconds.
    pub(crate) async fn usage(&self) -> Result<Usage, LimiterError> {
        self.get("v1/usage", &[]).await
    }

    /// At most so many refusals, newest first.
    pub(crate) async fn refusals(&self, most: usize) -> Result<Vec<Refusal>, LimiterError> {
        let size = most.to_string();
        let list: List<Refusal> = self.get("v1/refusals", &[("size", &size)]).await?;
        Ok(list.data)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, LimiterError> {
        self.call(Method::GET, path, query, None).await
    }

    /// Calls until there is an answer that no retry would better. A change is sent again only if it surely never arrived.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<T, LimiterError> {
        let name = match method {
            Method::GET => "GET",
            Method::DELETE => "DELETE",
            _ => "POST",
        };
        let mut retry = 0;
        let (status, bytes) = loop {
            let outcome = self.attempt(method.clone(), path, query, body).await;
            let again = match &outcome {
                Ok((status, _)) => method == Method::GET && is_passing(status.as_u16()),
                Err(failure) => failure.unsent || method == Method::GET,
            };
            let pause = again.then(|| self.retry.pause(retry, None)).flatten();
            let Some(pause) = pause else {
                break outcome.map_err(|failure| LimiterError::Unreachable {
                    url: self.shown_url.clone(),
                    reason: failure.reason,
                })?;
            };
            retry += 1;
            tokio::time::sleep(pause).await;
        };
        let path = format!("/{path}");
        let unexpected = |path, reason| LimiterError::Unexpected {
            method: name,
            path,
            reason,
        };
        if bytes.len() > LARGEST_ANSWER {
            return Err(unexpected(path, "the answer has no end".to_owned()));
        }
        if !status.is_success() {
            return Err(
                match Rejection::read(status.as_u16(), &bytes, self.has_token) {
                    Some(rejection) => LimiterError::Rejected {
                        method: name,
                        path,
                        rejection,
                    },
                    None => {
                        unexpected(path, format!("HTTP {}, without a message", status.as_u16()))
                    }
                },
            );
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err() {
            return Err(unexpected(path, "no JSON".to_owned()));
        }
        serde_json::from_slice(&bytes)
            // serde repeats values; a control character in one must not reach a terminal.
            .map_err(|error| unexpected(path, crate::output::text::fit(&error.to_string(), 200)))
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().clear().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let failure = |error: &reqwest::Error| Failure {
            reason: innermost(error),
            unsent: error.is_connect(),
        };
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST_ANSWER {
                break;
            }
        }
        Ok((response.status(), bytes))
    }
}

/// An attempt that gave no answer.
struct Failure {
    reason: String,
    /// Surely never reached the server.
    unsent: bool,
}
