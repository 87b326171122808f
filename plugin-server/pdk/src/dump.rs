//! The dump: what Kong's `pluginserver_<name>_query_cmd` must print, so that Kong knows the plugin and its schema.
//!
//! Kong 3.9 reads only the first plugin of a dump, so each plugin has its own, though they share a socket.

use serde_json::{Value, json};

use crate::phase::PhaseName;
use crate::schema::Schema;

/// What a dump says of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) priority: i32,
    pub(crate) phases: Vec<PhaseName>,
    pub(crate) config: Schema,
}

impl Description {
    /// The names of the phases.
    pub(crate) fn phase_names(&self) -> impl Iterator<Item = &'static str> {
        self.phases.iter().map(|phase| phase.as_str())
    }

    /// The schema of the plugin entity, with the configuration within.
    pub(crate) fn schema(&self) -> Value {
        json!({ "name": self.name, "fields": [{ "config": self.config.as_json() }] })
    }

    /// The dump. Kong ignores the socket's path: it takes the one in its own configuration.
    pub(crate) fn dump(&self, socket: &str) -> Value {
        json!({
            "Protocol": "ProtoBuf:1",
            "SocketPath": socket,
            "Plugins": [{
                "Name": self.name,
                "Version": self.version,
                "Priority": self.priority,
                "Phases": self.phase_names().collect::<Vec<_>>(),
                "Schema": self.schema(),
            }],
        })
    }
}
