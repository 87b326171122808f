//! Filters: whether there are any, their schemas, and those that a route's requests pass.

use serde_json::{Value, json};

use super::answer::Answer;
use super::endpoint::Which;
use super::{Admin, Outcome};
use crate::schema::filters;
use crate::store::{Entity, id_of};

impl Admin {
    /// Without WebAssembly there is nothing behind an endpoint of filter chains.
    pub(super) fn require_filters(&self) -> Result<(), Answer> {
        if self.node.filters.enabled {
            return Ok(());
        }
        let message = "this endpoint is only available when wasm is enabled";
        Err(Answer::message(400, message))
    }

    /// `/schemas/filters/:name`
    pub(super) fn filter_schema(&self, name: &str) -> Outcome {
        let filter = self
            .node
            .filters
            .get(name)
            .ok_or_else(|| Answer::message(404, format!("Filter '{name}' not found")))?;
        let schema = filters::shown(filter.config_schema.as_ref());
        Ok(Answer::json(200, schema))
    }

    /// `/routes/:key/filters/all`: those of the service's chain first.
    pub(super) fn filters(&self, route: &str, which: Which) -> Outcome {
        self.require_filters()?;
        let route = self.parent(self.dao.registry().known("routes"), route)?;
        let snapshot = self.dao.snapshot();
        let service = route.get("service").and_then(|key| key.get("id")?.as_str());
        let chain = |field: &'static str, id: &str| {
            let chain = snapshot
                .all("filter_chains")
                .find(|chain| chain.get(field).is_some_and(|owner| owner["id"] == id))?;
            Some((field, chain))
        };
        let chains = [
            service.and_then(|id| chain("service", id)),
            chain("route", id_of(&route)),
        ];
        let rows = chains
            .into_iter()
            .flatten()
            .flat_map(|(from, chain)| rows(from, chain));
        let rows: Vec<Value> = rows
            .filter(|row| which == Which::All || row["enabled"] == (which == Which::Enabled))
            .collect();
        Ok(Answer::json(200, json!({"filters": rows})))
    }
}

/// A chain's filters; one of a chain that is off is off.
fn rows<'a>(from: &'a str, chain: &'a Entity) -> impl Iterator<Item = Value> + 'a {
    let filters = chain.get("filters").and_then(Value::as_array);
    filters.into_iter().flatten().map(move |filter| {
        json!({
            "name": filter["name"],
            "config": filter["config"],
            "from": from,
            "enabled": chain["enabled"] == true && filter["enabled"] == true,
            "filter_chain": {"name": chain["name"], "id": chain["id"]},
        })
    })
}
