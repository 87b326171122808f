//! A client of one node's Admin API: its verbs, and what kind of node it is.
//!
//! # Layout
//!
//! `settings` has how a node is reached, `call` one call with its retries, `reads` what takes many calls: lists, all entities,
//! schemas; `kinds` asks for the kinds of entities that plugins bring along.

mod call;
mod kinds;
mod reads;
mod settings;

use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::entities::Kind;
use super::errors::AdminError;
use super::retry::RetryPolicy;
use super::schema_cache::SchemaCache;

pub(crate) use call::{Failure, innermost};
pub(crate) use settings::{Settings, shown, transport};

/// How a node keeps its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// PostgreSQL: entities are written one by one.
    Database,
    /// Memory: the whole configuration is replaced at once.
    Dbless,
}

impl Mode {
    /// What messages and JSON call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Dbless => "db-less",
        }
    }
}

/// A connection to one node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    retry: RetryPolicy,
    shown_url: String,
    schema_cache: Option<SchemaCache>,
    /// Once it was asked.
    custom_kinds: Arc<OnceCell<Vec<Kind>>>,
}

impl Client {
    /// The node's address, without credentials.
    pub(crate) fn url(&self) -> &str {
        &self.shown_url
    }

    /// Reads one path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.call(Method::GET, path, None)
            .await
            .map(|(_, body)| body)
    }

    /// Reads one path, `None` where Kong has nothing there.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, AdminError> {
        match self.get(path).await {
            Ok(body) => Ok(Some(body)),
            Err(AdminError::Rejected { rejection, .. }) if rejection.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates or replaces.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.call(Method::PUT, path, Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Creates, or asks something that takes a body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.call(Method::POST, path, Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Writes once; whoever asks decides what is tried again.
    pub(crate) async fn write_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(), Failure> {
        self.attempt(method, path, body).await.map(drop)
    }

    /// Reads once, without patience: `None` where Kong has nothing there.
    pub(crate) async fn find_once(&self, path: &str) -> Result<Option<Value>, AdminError> {
        match self.attempt(Method::GET, path, None).await {
            Ok((_, body)) => Ok(Some(body)),
            Err(failure) if failure.error.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// When calls to this node are tried again.
    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        self.retry
    }

    /// What `/status` says.
    pub(crate) async fn status(&self) -> Result<Value, AdminError> {
        self.get("status").await
    }

    /// Whether the node has a database. `GET /` would say so too, but fails on some nodes with plugin servers.
    pub(crate) async fn mode(&self) -> Result<Mode, AdminError> {
        self.standing().await.map(|standing| standing.mode)
    }

    /// What matters of `/status`.
    pub(crate) async fn standing(&self) -> Result<Standing, AdminError> {
        let status = self.status().await?;
        if status.get("server").is_none() && status.get("database").is_none() {
            return Err(AdminError::Unexpected {
                method: "GET",
                path: "/status".to_owned(),
                reason: "no status of a Kong node".to_owned(),
            });
        }
        let hash = status.get("configuration_hash").and_then(Value::as_str);
        Ok(Standing {
            mode: if status.get("database").is_some() {
                Mode::Database
            } else {
                Mode::Dbless
            },
            database_reachable: status
                .pointer("/database/reachable")
                .and_then(Value::as_bool),
            configuration_hash: hash.map(str::to_owned),
        })
    }
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) mode: Mode,
    /// With a database: whether it answers.
    pub(crate) database_reachable: Option<bool>,
    /// Without one: what is loaded, all zeros for nothing.
    pub(crate) configuration_hash: Option<String>,
}

impl Standing {
    /// True if the node has something to serve by: its database answers, or something is loaded.
    pub(crate) fn is_ready(&self) -> bool {
        match self.mode {
            Mode::Database => self.database_reachable == Some(true),
            Mode::Dbless => self
                .configuration_hash
                .as_deref()
                .is_some_and(|hash| hash.bytes().any(|byte| byte != b'0')),
        }
    }
}

/// Percent-encodes what is not unreserved, so that a name can be a path segment or a query value.
pub(crate) fn encode_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_path_segments() {
        assert_eq!(encode_segment("a b/ü"), "a%20b%2F%C3%BC");
    }
}
