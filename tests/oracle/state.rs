//! What a node has, read from its Admin API by nobody's code but ours here, in words that do not depend on who made it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};
use stories::http;
use stories::world::World;

/// Lists of the Admin API, those that others refer to first, and the field by which an entity is called there.
const LISTS: [(&str, &str); 17] = [
    ("certificates", "cert"),
    ("ca_certificates", "cert_digest"),
    ("key-sets", "name"),
    ("keys", "name"),
    ("vaults", "prefix"),
    ("consumers", "username"),
    ("services", "name"),
    ("upstreams", "name"),
    ("routes", "name"),
    ("snis", "name"),
    ("plugins", "name"),
    (FILTER_CHAINS, "name"),
    ("key-auths", "key"),
    ("jwts", "key"),
    ("basic-auths", "username"),
    ("hmac-auths", "username"),
    ("oauth2", "client_id"),
];
/// Those that a Kong without WebAssembly has none of.
const FILTER_CHAINS: &str = "filter-chains";
/// Those that no two entities have, or that have no list of all in one page.
const ACLS: &str = "acls";

/// Every entity by list, ids replaced by names but where `text` gives them, in an order of its own.
pub(crate) async fn read(world: &World, text: &str) -> Result<BTreeMap<String, Vec<Value>>> {
    let client = http::client().build()?;
    let url = world.gateway.admin_url();
    let has_filters = runs_filters(world).await?;
    let mut lists = BTreeMap::new();
    let mut names = BTreeMap::new();
    let had = |(path, _): &(&str, &str)| *path != FILTER_CHAINS || has_filters;
    for (path, field) in LISTS.into_iter().chain([(ACLS, "group")]).filter(had) {
        let list = list(&client, &format!("{url}/{path}")).await?;
        for entity in &list {
            let id = entity["id"].as_str().context("an entity has an id")?;
            let name = entity[field].as_str().or(entity["custom_id"].as_str());
            names.insert(id.to_owned(), name.unwrap_or(id).to_owned());
            if path == "upstreams" {
                let targets = self::list(&client, &format!("{url}/upstreams/{id}/targets")).await?;
                let all: &mut Vec<Value> = lists.entry("targets".to_owned()).or_default();
                all.extend(targets);
            }
        }
        lists.insert(path.to_owned(), list);
    }
    for (path, list) in &mut lists {
        for entity in list.iter_mut() {
            plain(path, entity, &names, text);
        }
        list.sort_by_key(Value::to_string);
    }
    Ok(lists)
}

/// Fails where a case needs filters and the node says that it has none.
pub(crate) async fn ensure_filters(world: &World) -> Result<()> {
    ensure!(
        runs_filters(world).await?,
        "the node's configuration does not say that its `wasm` is on"
    );
    Ok(())
}

async fn runs_filters(world: &World) -> Result<bool> {
    let client = http::client().build()?;
    let root = client.get(world.gateway.admin_url()).send().await?;
    let root: Value = root.json().await?;
    Ok(root["configuration"]["wasm"] == true)
}

async fn list(client: &reqwest::Client, url: &str) -> Result<Vec<Value>> {
    let answer = client.get(format!("{url}?size=1000")).send().await?;
    let status = answer.status();
    let mut page: Value = answer.json().await?;
    ensure!(status.is_success(), "{url} answers {status}: {page}");
    ensure!(page["next"].is_null(), "{url} has more than a page");
    match page["data"].take() {
        Value::Array(list) => Ok(list),
        // An empty list, in Lua.
        _ => Ok(Vec::new()),
    }
}

/// Takes out what is made by whoever creates the entity.
fn plain(path: &str, entity: &mut Value, names: &BTreeMap<String, String>, text: &str) {
    let Value::Object(fields) = entity else {
        return;
    };
    fields.retain(|field, value| match field.as_str() {
        "created_at" | "updated_at" => false,
        "id" => value.as_str().is_some_and(|id| text.contains(id)),
        // A hash of the password and the consumer's id: that it is right is what an empty difference shows.
        "password" => path != "basic-auths",
        _ => true,
    });
    for (field, value) in fields.iter_mut() {
        match value {
            Value::Object(map) => call_by_name(map, names),
            Value::Array(items) => {
                // The order of sets is whoever wrote them last's.
                if matches!(field.as_str(), "tags" | "methods" | "protocols" | "snis") {
                    items.sort_by_key(Value::to_string);
                }
                for item in items {
                    if let Some(name) = item.as_str().and_then(|id| names.get(id)) {
                        *item = Value::String(name.clone());
                    }
                }
            }
            _ => {}
        }
    }
    entity.sort_all_objects();
}

fn call_by_name(reference: &mut Map<String, Value>, names: &BTreeMap<String, String>) {
    if let Some(Value::String(id)) = reference.get_mut("id")
        && let Some(name) = names.get(id)
    {
        id.clone_from(name);
    }
}
