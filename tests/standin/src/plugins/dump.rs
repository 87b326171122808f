//! `query_cmd`: asking a plugin server, once and at start, which plugin it has.

use serde_json::Value;
use tokio::process::Command;

use crate::config::PluginServer;

/// What a plugin server declares about one plugin.
#[derive(Debug, Clone)]
pub struct PluginDump {
    /// The plugin's name in a configuration.
    pub name: String,
    /// Its version, for the Admin API's list of plugins.
    pub version: String,
    /// Plugins of a phase run from the highest priority to the lowest.
    pub priority: i64,
    /// The phases in which it wants to be called.
    pub phases: Vec<String>,
    /// Its schema, in Kong's declarative form.
    pub schema: Value,
    /// The plugin server that declared it.
    pub server: PluginServer,
}

/// Why a gateway refuses to start over a `query_cmd`.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The shell could not be run.
    #[error("plugin server `{server}`: cannot run its query_cmd")]
    Run {
        /// The name in `pluginserver_names`.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// Something other than JSON came out.
    #[error("plugin server `{server}`: its query_cmd did not print JSON")]
    NotJson {
        /// The name in `pluginserver_names`.
        server: String,
        /// Where it stopped being JSON.
        source: serde_json::Error,
    },
    /// JSON without what Kong needs of it.
    #[error("plugin server `{server}`: its dump {problem}")]
    Malformed {
        /// The name in `pluginserver_names`.
        server: String,
        /// What is missing.
        problem: &'static str,
    },
}

impl PluginDump {
    /// Runs the query command. Its exit code does not matter, and of several plugins only the first counts: as in Kong.
    pub(crate) async fn query(server: &PluginServer) -> Result<Self, DumpError> {
        let name = || server.name.clone();
        let output = Command::new("sh")
            .args(["-c", &server.query_cmd])
            .output()
            .await
            .map_err(|source| DumpError::Run {
                server: name(),
                source,
            })?;
        let dump: Value =
            serde_json::from_slice(&output.stdout).map_err(|source| DumpError::NotJson {
                server: name(),
                source,
            })?;
        Self::first_of(&dump, server).map_err(|problem| DumpError::Malformed {
            server: name(),
            problem,
        })
    }

    fn first_of(dump: &Value, server: &PluginServer) -> Result<Self, &'static str> {
        if dump["Protocol"] != "ProtoBuf:1" {
            return Err(
                "is not of the protocol `ProtoBuf:1`, the only one that the stand-in speaks",
            );
        }
        let plugin = dump["Plugins"].get(0).ok_or("lists no plugin")?;
        let text = |field: &str| plugin[field].as_str().map(str::to_owned);
        Ok(Self {
            name: text("Name").ok_or("has a plugin without `Name`")?,
            version: text("Version").unwrap_or_default(),
            priority: plugin["Priority"].as_i64().unwrap_or(0),
            phases: plugin["Phases"]
                .as_array()
                .ok_or("has a plugin without `Phases`")?
                .iter()
                .filter_map(|phase| phase.as_str().map(str::to_owned))
                .collect(),
            schema: plugin
                .get("Schema")
                .cloned()
                .ok_or("has a plugin without `Schema`")?,
            server: server.clone(),
        })
    }
}
