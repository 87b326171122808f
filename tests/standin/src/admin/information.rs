//! What the node says of itself.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::Admin;
use super::answer::{Answer, VERSION};
use crate::config::Database;

impl Admin {
    /// `/`
    pub(super) fn node_information(&self) -> Answer {
        let config = &self.node.config;
        let available: Map<String, Value> = self
            .dao
            .registry()
            .plugins()
            .map(|plugin| {
                if self.node.filters.get(&plugin.name).is_some() {
                    return (plugin.name.clone(), json!({"version": "0.1.0", "priority": 0}));
                }
                let external = self.node.external_plugins.iter().find(|external| external.name == plugin.name);
                let version = external.map_or(VERSION, |external| external.version.as_str());
                (plugin.name.clone(), json!({"version": version, "priority": external.map(|external| external.priority)}))
            })
            .collect();
        let modules: Vec<Value> = self
            .node
            .filters
            .found
            .iter()
            .map(|filter| json!({"name": filter.name, "path": filter.path}))
            .collect();
        let mut in_use: Vec<Value> = Vec::new();
        for plugin in self.dao.snapshot().all("plugins") {
            in_use.extend(
                plugin
                    .get("name")
                    .filter(|name| !in_use.contains(name))
                    .cloned(),
            );
        }
        Answer::json(
            200,
            json!({
                "tagline": "The stand-in for Kong: for tests, not for production",
                "version": VERSION,
                "edition": "community",
                "hostname": "localhost",
                "node_id": self.node.id.to_string(),
                "plugins": {"available_on_server": available, "enabled_in_cluster": in_use},
                "configuration": {
                    "database": database(config.database),
                    "plugins": config.plugins,
                    "proxy_listen": [config.proxy_listen.to_string()],
                    "admin_listen": [config.admin_listen.to_string()],
                    "nginx_worker_processes": config.workers.to_string(),
                    "wasm": config.wasm,
                    "wasm_filters_path": config.wasm_filters_path,
                    "wasm_modules_parsed": config.wasm.then_some(modules),
                },
                "pids": {"master": std::process::id()},
            }),
        )
    }

    /// `/status`. The stand-in has no shared dictionaries and counts requests, not connections.
    pub(super) fn status(&self) -> Answer {
        let requests = self.requests.load(Ordering::Relaxed);
        let mut status = json!({
            "server": {
                "total_requests": requests,
                "connections_accepted": requests,
                "connections_handled": requests,
                "connections_active": 1,
                "connections_reading": 0,
                "connections_writing": 1,
                "connections_waiting": 0,
            },
            "memory": {"lua_shared_dicts": {}, "workers_lua_vms": []},
        });
        match self.node.config.database {
            Database::Off => {
                status["configuration_hash"] =
                    self.dao.snapshot().configuration_hash.as_str().into();
            }
            Database::Memory => status["database"] = json!({"reachable": true}),
        }
        Answer::json(200, status)
    }

    /// `/plugins/enabled`
    pub(super) fn enabled_plugins(&self) -> Answer {
        let names: Vec<&str> = self
            .dao
            .registry()
            .plugins()
            .map(|plugin| plugin.name.as_str())
            .collect();
        Answer::json(200, json!({"enabled_plugins": names}))
    }
}

fn database(database: Database) -> &'static str {
    match database {
        Database::Off => "off",
        Database::Memory => "memory",
    }
}
