//! `/endpoints`: the paths that there are, in Kong's words and order. From it a client learns the kinds of custom plugins.

use serde_json::json;

use super::answer::Answer;
use crate::schema::{Registry, Schema};

/// Those that do not follow from the schemas.
const OWN: [&str; 24] = [
    "/",
    "/config",
    "/endpoints",
    "/plugins/enabled",
    "/plugins/schema/{name}",
    "/routes/{routes}/filters/all",
    "/routes/{routes}/filters/disabled",
    "/routes/{routes}/filters/enabled",
    "/schemas/filters/{name}",
    "/schemas/plugins/validate",
    "/schemas/plugins/{name}",
    "/schemas/vaults/validate",
    "/schemas/vaults/{name}",
    "/schemas/{db_entity_name}/validate",
    "/schemas/{name}",
    "/status",
    "/tags",
    "/tags/{tags}",
    "/upstreams/{upstreams}/health",
    "/upstreams/{upstreams}/targets/all",
    "/upstreams/{upstreams}/targets/{targets}/healthy",
    "/upstreams/{upstreams}/targets/{targets}/unhealthy",
    "/upstreams/{upstreams}/targets/{targets}/{address}/healthy",
    "/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy",
];

pub(super) fn answer(registry: &Registry) -> Answer {
    Answer::json(200, json!({"data": list(registry)}))
}

/// Every path once, sorted segment by segment. As in Kong, also those under which it then finds nothing.
fn list(registry: &Registry) -> Vec<String> {
    let mut list: Vec<String> = OWN.map(str::to_owned).to_vec();
    list.extend(registry.kinds().flat_map(|kind| of_kind(registry, kind)));
    list.sort_by_key(|path| path.replace('/', "\0"));
    list
}

/// A kind's list and entities, what these refer to, and the same below that.
fn of_kind(registry: &Registry, kind: &Schema) -> Vec<String> {
    let name = &kind.name;
    let whole = format!("/{}", kind.collection_path());
    let mut paths = vec![whole.clone(), format!("{whole}/{{{name}}}")];
    for (field, _, parent) in kind.foreign_fields() {
        let above = registry.known(parent).collection_path();
        let nested = format!("/{above}/{{{parent}}}/{}", kind.nested_path());
        paths.extend([
            format!("{whole}/{{{name}}}/{field}"),
            format!("{nested}/{{{name}}}"),
            nested,
        ]);
    }
    paths
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::endpoint::Endpoint;
    use super::*;
    use crate::filters::Filters;

    /// What a Kong 3.9.1 with the test plugin lists.
    fn recorded() -> Vec<String> {
        let recording = include_str!("../../tests/fixtures/quota-plans-postgres.jsonl");
        let mut calls = recording
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut call = calls
            .find(|call| call["request"]["path"] == "/endpoints")
            .unwrap();
        serde_json::from_value(call["response"]["body"]["data"].take()).unwrap()
    }

    #[test]
    fn what_is_served_is_listed_as_kong_lists_it_and_nothing_else() {
        let kinds = include_str!("../../tests/fixtures/quota-plans.kinds.json");
        let kinds = serde_json::from_str(kinds).unwrap();
        let registry = Registry::new(&[], [], &Filters::default(), kinds).unwrap();
        // Kong switches them off, and lists them all the same.
        let nothing_there =
            |path: &str| path.starts_with("/targets") || path == "/snis/{snis}/certificate";
        let served: Vec<String> = recorded()
            .into_iter()
            .filter(|path| {
                let parts = path.split('/').filter(|part| !part.is_empty());
                let segments: Vec<String> = parts.map(str::to_owned).collect();
                nothing_there(path) || Endpoint::find(&registry, &segments).is_some()
            })
            .collect();
        assert_eq!(list(&registry), served);
    }
}
