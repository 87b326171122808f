//! Security that one of several schemes meets: whoever meets none is nobody, and nobody is refused.
//!
//! # Algorithm
//!
//! Kong asks for all plugins of a route, but for those with an `anonymous` consumer: where one knows who is calling, the others
//! let pass, and where none does, the caller becomes that consumer. So each alternative is a plugin with the same `anonymous`,
//! and an `ip-restriction` for that consumer on the route refuses every address. Kong's documentation closes with
//! `request-termination`, which comes after all others: until then, `aws-lambda` or an AI plugin would serve strangers.
//!
//! # Failure
//!
//! Closed. Kong deletes what refuses nobody only along with nobody, and without that consumer the alternatives answer 500.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::plugins::{Plugin, Plugins};
use super::security::add;
use super::{Converter, Mistake};
use crate::state::node::Node;

/// Of Kong's plugins that can refuse one consumer everything, the one that comes next after authentication.
const CLOSING: &str = "ip-restriction";

impl Converter<'_> {
    /// The plugins one of which has to know who is calling. What they take for nobody, [`Converter::close`] refuses.
    pub(super) fn any_of(&self, requirements: &[Arc<Node>]) -> Result<Vec<Plugin>, Mistake> {
        let mut plugins = Vec::new();
        for requirement in requirements {
            let [entry] = requirement.entries() else {
                return Err(Mistake::at(
                    requirement,
                    "this alternative needs several schemes: as plugins, each of them alone would open the route",
                ));
            };
            let mut plugin = self.plugin_of(&entry.key, &entry.node)?;
            if let Some(Value::Object(config)) = plugin.get_mut("config") {
                let said = config.insert("anonymous".to_owned(), json!(self.nobody()));
                if said.is_some_and(|said| !said.is_null()) {
                    return Err(Mistake::at(
                        &entry.node,
                        "this scheme says an `anonymous` of its own, and would open what has alternatives",
                    )
                    .with_help("leave it out where the scheme is described"));
                }
            }
            add(&mut plugins, plugin, &entry.node)?;
        }
        Ok(plugins)
    }

    /// Refuses nobody on routes whose plugins may take a caller for nobody.
    pub(super) fn close(&mut self, plugins: &Plugins, routes: &[Value]) {
        let nobody = json!(self.nobody());
        let names_nobody =
            |plugin: &Plugin| plugin.get("config").map(|it| &it["anonymous"]) == Some(&nobody);
        if !self.options.generate_security || !plugins.any(names_nobody) {
            return;
        }
        for route in routes.iter().filter_map(|route| route["name"].as_str()) {
            let mut closing = Map::new();
            closing.insert("name".to_owned(), json!(CLOSING));
            if let Some(id) = self.id(&format!("{route}.plugin.{CLOSING}.anonymous")) {
                closing.insert("id".to_owned(), json!(id));
            }
            closing.insert("tags".to_owned(), json!(self.tags));
            closing.insert("route".to_owned(), json!(route));
            closing.insert("consumer".to_owned(), nobody.clone());
            let config =
                json!({"deny": ["0.0.0.0/0", "::/0"], "status": 401, "message": "Unauthorized"});
            closing.insert("config".to_owned(), config);
            self.scoped.push(closing);
        }
    }

    /// The consumer that callers without a credential become, if there are such.
    pub(super) fn anonymous_consumer(&self) -> Option<Value> {
        let nobody = json!(self.nobody());
        let mut scoped = self.scoped.iter();
        scoped.find(|plugin| plugin.get("consumer") == Some(&nobody))?;
        let mut consumer = Map::new();
        if let Some(id) = self.id(&format!("{}.consumer", self.nobody())) {
            consumer.insert("id".to_owned(), json!(id));
        }
        consumer.insert("username".to_owned(), nobody);
        consumer.insert("tags".to_owned(), json!(self.tags));
        Some(Value::Object(consumer))
    }

    /// The name of that consumer: a description's own.
    fn nobody(&self) -> String {
        format!("{}-anonymous", self.names.base())
    }
}
