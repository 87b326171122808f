//! One configured plugin, read from a snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::dump::PluginDump;
use super::functions::json_number;
use super::key_auth::KeyAuth;
use super::pdk::Phase;
use super::request_termination::RequestTermination;
use crate::store::Entity;

/// The external plugins by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog(HashMap<String, Arc<PluginDump>>);

/// One enabled plugin entity.
#[derive(Debug)]
pub(crate) struct PluginConfig {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) priority: i64,
    pub(crate) scope: Scope,
    pub(super) handler: Handler,
    /// Without its nulls.
    pub(crate) config: Map<String, Value>,
    pub(crate) instance_name: Option<String>,
}

/// To what a plugin is bound.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) route: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) consumer: Option<String>,
}

#[derive(Debug)]
pub(super) enum Handler {
    KeyAuth(KeyAuth),
    RequestTermination(RequestTermination),
    Functions,
    External(Arc<PluginDump>),
    /// The stand-in lacks it: requests that it applies to fail rather than pass without it.
    Absent,
}

impl Catalog {
    pub(crate) fn new(dumps: &[PluginDump]) -> Self {
        Self(
            dumps
                .iter()
                .map(|dump| (dump.name.clone(), Arc::new(dump.clone())))
                .collect(),
        )
    }
}

impl PluginConfig {
    pub(crate) fn read(entity: &Entity, catalog: &Catalog) -> Self {
        let text = |field: &str| entity.get(field).and_then(Value::as_str).map(str::to_owned);
        let reference = |field: &str| entity.get(field)?["id"].as_str().map(str::to_owned);
        let name = text("name").unwrap_or_default();
        let config = match entity.get("config").cloned().map(without_nulls) {
            Some(Value::Object(config)) => config,
            _ => Map::new(),
        };
        let (priority, handler) = match name.as_str() {
            "key-auth" => (1250, read(&config).map(Handler::KeyAuth)),
            "request-termination" => (2, read(&config).map(Handler::RequestTermination)),
            "pre-function" => (1_000_000, Some(Handler::Functions)),
            "post-function" => (-1000, Some(Handler::Functions)),
            _ => match catalog.0.get(&name) {
                Some(dump) => (dump.priority, Some(Handler::External(dump.clone()))),
                None => (0, None),
            },
        };
        Self {
            id: text("id").unwrap_or_default(),
            priority,
            scope: Scope {
                route: reference("route"),
                service: reference("service"),
                consumer: reference("consumer"),
            },
            handler: handler.unwrap_or(Handler::Absent),
            config,
            instance_name: text("instance_name"),
            name,
        }
    }

    /// What a filter chain is here, if any of its filters is to run: as a plugin that the stand-in lacks.
    pub(crate) fn of_chain(chain: &Entity) -> Option<Self> {
        let is_on =
            |object: &Map<String, Value>| object.get("enabled") != Some(&Value::Bool(false));
        let filters = chain.get("filters")?.as_array()?;
        let runs = is_on(chain) && filters.iter().filter_map(Value::as_object).any(is_on);
        let reference = |field: &str| chain.get(field)?["id"].as_str().map(str::to_owned);
        let id = chain.get("id")?.as_str()?.to_owned();
        runs.then(|| Self {
            name: format!("filter chain {id}"),
            id,
            priority: i64::MIN,
            scope: Scope {
                route: reference("route"),
                service: reference("service"),
                consumer: None,
            },
            handler: Handler::Absent,
            config: Map::new(),
            instance_name: None,
        })
    }

    /// The plugin server's declaration, of an external plugin.
    pub(crate) fn dump(&self) -> Option<&PluginDump> {
        match &self.handler {
            Handler::External(dump) => Some(dump),
            _ => None,
        }
    }

    /// Whether its plugin server wants to hear of the phase.
    pub(super) fn handles(&self, phase: Phase) -> bool {
        self.dump()
            .is_some_and(|dump| dump.phases.iter().any(|name| name == phase.name()))
    }

    /// Whether it has Lua for the phase.
    pub(super) fn has_functions(&self, phase: Phase) -> bool {
        matches!(self.handler, Handler::Functions) && !self.functions(phase).is_empty()
    }

    /// Its chunks of Lua for the phase.
    pub(super) fn functions(&self, phase: Phase) -> Vec<&str> {
        let chunks = self.config.get(phase.name()).and_then(Value::as_array);
        chunks
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }
}

impl Scope {
    pub(crate) fn is_global(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn covers(
        &self,
        route: Option<&str>,
        service: Option<&str>,
        consumer: Option<&str>,
    ) -> bool {
        let covers = |bound: &Option<String>, here: Option<&str>| {
            bound.as_deref().is_none_or(|bound| Some(bound) == here)
        };
        covers(&self.route, route)
            && covers(&self.service, service)
            && covers(&self.consumer, consumer)
    }

    /// Grows with how specific the scope is.
    pub(super) fn rank(&self) -> u8 {
        match (
            self.route.is_some(),
            self.service.is_some(),
            self.consumer.is_some(),
        ) {
            (true, true, true) => 7,
            (true, false, true) => 6,
            (false, true, true) => 5,
            (true, true, false) => 4,
            (false, false, true) => 3,
            (true, false, false) => 2,
            (false, true, false) => 1,
            (false, false, false) => 0,
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(config: &Map<String, Value>) -> Option<T> {
    T::deserialize(Value::Object(config.clone()))
        .inspect_err(|error| tracing::error!(%error, "a plugin is not understood"))
        .ok()
}

/// Kong hands plugins no nulls, at any depth, and whole numbers without a fraction.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or(Value::Null, json_number)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_reaches_plugins_without_nulls_and_fractions() {
        let config = json!({"a": null, "b": 3.0, "c": {"d": null, "e": []}, "f": 1.5});
        assert_eq!(
            without_nulls(config),
            json!({"b": 3, "c": {"e": []}, "f": 1.5})
        );
    }

    #[test]
    fn a_narrower_scope_ranks_higher() {
        let scope = |route: bool, service: bool, consumer: bool| {
            let some = |is: bool| is.then(|| "x".to_owned());
            Scope {
                route: some(route),
                service: some(service),
                consumer: some(consumer),
            }
            .rank()
        };
        let ranks = [
            scope(true, true, true),
            scope(true, false, true),
            scope(false, true, true),
            scope(true, true, false),
            scope(false, false, true),
            scope(true, false, false),
            scope(false, true, false),
            scope(false, false, false),
        ];
        assert!(ranks.is_sorted_by(|one, other| one > other));
    }
}
