//! One call: sent, judged, and sent again where that is safe.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::super::errors::{AdminError, Rejection};
use super::super::retry::is_passing;
use super::Client;

impl Client {
    /// Calls until there is an answer that no retry would better.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), AdminError> {
        let repeatable =
            method != Method::POST && method != Method::PATCH || path.starts_with("config");
        let mut retry = 0;
        loop {
            let outcome = self.attempt(method.clone(), path, body).await;
            let pause = match &outcome {
                Err(failure) if failure.passing && (repeatable || failure.unsent) => {
                    self.retry.pause(retry, failure.retry_after)
                }
                _ => None,
            };
            let Some(pause) = pause else {
                return outcome.map_err(|failure| failure.error);
            };
            retry += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Calls once.
    pub(super) async fn attempt(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let name = method_name(&method);
        let url = self.join(path);
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: &reqwest::Error| AdminError::Unreachable {
            url: self.shown_url.clone(),
            reason: innermost(error),
        };
        let response = request.send().await.map_err(|error| Failure {
            passing: true,
            unsent: error.is_connect(),
            retry_after: None,
            error: unreachable(&error),
        })?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let text = response.text().await.map_err(|error| Failure {
            passing: true,
            unsent: false,
            retry_after: None,
            error: unreachable(&error),
        })?;
        let shown_path = || format!("/{}", path.split('?').next().unwrap_or(path));
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(Failure {
                passing: false,
                unsent: false,
                retry_after: None,
                error: AdminError::Unexpected {
                    method: name,
                    path: shown_path(),
                    reason: "a redirect; give --admin-url the address that it leads to".to_owned(),
                },
            });
        }
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            return Err(Failure {
                passing: is_passing(status.as_u16()),
                unsent: false,
                retry_after,
                error: AdminError::Rejected {
                    method: name,
                    path: shown_path(),
                    rejection: Box::new(Rejection::read(status.as_u16(), &text)),
                },
            });
        }
        if text.is_empty() {
            return Ok((status, Value::Null));
        }
        let value = serde_json::from_str(&text).map_err(|error| Failure {
            passing: false,
            unsent: false,
            retry_after: None,
            error: AdminError::Unexpected {
                method: name,
                path: shown_path(),
                reason: format!("no JSON: {error}"),
            },
        })?;
        Ok((status, value))
    }

    fn join(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        url.set_query(query);
        url
    }
}

/// An attempt that failed, and what that means for another one.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: AdminError,
    /// May pass if tried again.
    pub(crate) passing: bool,
    /// Surely never reached the node.
    pub(crate) unsent: bool,
    /// How long the node asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "POST",
    }
}

/// reqwest wraps the reason several times; the innermost says most.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}
