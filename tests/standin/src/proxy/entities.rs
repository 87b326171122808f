//! The entities that the proxy works with, read from a snapshot.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use crate::store::Entity;

/// A foreign key.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Reference {
    pub(crate) id: String,
}

/// A route as the router and the proxy need it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Route {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) service: Option<Reference>,
    #[serde(default)]
    pub(crate) protocols: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) methods: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) hosts: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) paths: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) headers: Option<IndexMap<String, Vec<String>>>,
    #[serde(default)]
    pub(crate) snis: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) sources: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) destinations: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) https_redirect_status_code: Option<u16>,
    #[serde(default)]
    pub(crate) regex_priority: Option<u64>,
    #[serde(default)]
    pub(crate) strip_path: Option<bool>,
    #[serde(default)]
    pub(crate) preserve_host: Option<bool>,
    #[serde(default)]
    pub(crate) request_buffering: Option<bool>,
    #[serde(default)]
    pub(crate) response_buffering: Option<bool>,
    /// As the Admin API shows it, for plugins.
    #[serde(skip)]
    pub(crate) entity: Entity,
}

/// A service as the proxy needs it. Times are in milliseconds, as in Kong.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Service {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    pub(crate) protocol: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) retries: Option<u32>,
    #[serde(default)]
    pub(crate) connect_timeout: Option<u64>,
    #[serde(default)]
    pub(crate) read_timeout: Option<u64>,
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
    /// As the Admin API shows it, for plugins.
    #[serde(skip)]
    pub(crate) entity: Entity,
}

impl Route {
    pub(crate) fn read(entity: &Entity) -> Result<Self, serde_json::Error> {
        Ok(Self {
            entity: entity.clone(),
            ..Self::deserialize(&Value::Object((**entity).clone()))?
        })
    }

    /// Whether the response may be held back (Kong's default).
    pub(crate) fn buffers_response(&self) -> bool {
        self.response_buffering.unwrap_or(true)
    }

    /// Whether the request body is read whole before an upstream is asked (Kong's default).
    pub(crate) fn buffers_request(&self) -> bool {
        self.request_buffering.unwrap_or(true)
    }
}

impl Service {
    pub(crate) fn read(entity: &Entity) -> Result<Self, serde_json::Error> {
        Ok(Self {
            entity: entity.clone(),
            ..Self::deserialize(&Value::Object((**entity).clone()))?
        })
    }
}
