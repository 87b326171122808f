//! A snapshot made ready for traffic.

use std::collections::HashMap;
use std::sync::Arc;

use super::balancer::Balancer;
use super::entities::{Route, Service};
use super::router::Router;
use crate::plugins::{Catalog, PluginConfig};
use crate::store::{Entity, Snapshot};

/// What the proxy needs of one configuration. Requests keep the one that they started with.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) version: u64,
    /// The default workspace's id.
    pub(crate) workspace: String,
    pub(crate) router: Router,
    pub(crate) plugins: Vec<Arc<PluginConfig>>,
    consumers: HashMap<String, Entity>,
    consumer_ids: HashMap<String, String>,
    api_keys: HashMap<String, Entity>,
    balancers: HashMap<String, Arc<Balancer>>,
}

impl Compiled {
    /// Reads a snapshot; `previous` lends the balancers of upstreams that did not change.
    pub(crate) fn new(snapshot: &Snapshot, catalog: &Catalog, previous: Option<&Self>) -> Self {
        let services: HashMap<String, Arc<Service>> = snapshot
            .all("services")
            .filter_map(|entity| readable(Service::read(entity), entity))
            .map(|service| (service.id.clone(), Arc::new(service)))
            .collect();
        let routes = snapshot
            .all("routes")
            .filter_map(|entity| readable(Route::read(entity), entity))
            .filter_map(|route| {
                let service = match &route.service {
                    Some(reference) => Some(services.get(&reference.id)?.clone()),
                    None => None,
                };
                let enabled = service
                    .as_ref()
                    .is_none_or(|service| service.enabled.unwrap_or(true));
                enabled.then(|| (Arc::new(route), service))
            });
        let text = |entity: &Entity, field: &str| entity.get(field)?.as_str().map(str::to_owned);
        let balancers = snapshot.all("upstreams").filter_map(|upstream| {
            let id = text(upstream, "id")?;
            let targets: Vec<Entity> = snapshot
                .all("targets")
                .filter(|target| {
                    target
                        .get("upstream")
                        .is_some_and(|of| of["id"] == id.as_str())
                })
                .cloned()
                .collect();
            let name = text(upstream, "name")?;
            let kept = previous
                .and_then(|previous| previous.balancers.get(&name))
                .filter(|old| old.serves(upstream, &targets));
            let balancer = kept
                .cloned()
                .unwrap_or_else(|| Arc::new(Balancer::new(upstream, targets)));
            Some((name, balancer))
        });
        let mut plugins: Vec<_> = snapshot
            .all("plugins")
            .filter(|plugin| plugin.get("enabled").is_none_or(|enabled| enabled != false))
            .map(|plugin| Arc::new(PluginConfig::read(plugin, catalog)))
            .collect();
        let chains = snapshot.all("filter_chains");
        plugins.extend(chains.filter_map(|chain| PluginConfig::of_chain(chain).map(Arc::new)));
        plugins.sort_by(|one, other| (other.priority, &other.name).cmp(&(one.priority, &one.name)));
        Self {
            version: snapshot.version,
            workspace: snapshot
                .all("workspaces")
                .find_map(|workspace| text(workspace, "id"))
                .unwrap_or_else(|| {
                    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, b"default").to_string()
                }),
            router: Router::new(routes),
            plugins,
            consumers: snapshot
                .all("consumers")
                .filter_map(|of| Some((text(of, "id")?, of.clone())))
                .collect(),
            consumer_ids: snapshot
                .all("consumers")
                .filter_map(|consumer| Some((text(consumer, "username")?, text(consumer, "id")?)))
                .collect(),
            api_keys: snapshot
                .all("keyauth_credentials")
                .filter_map(|credential| Some((text(credential, "key")?, credential.clone())))
                .collect(),
            balancers: balancers.collect(),
        }
    }

    pub(crate) fn consumer(&self, id: &str) -> Option<Entity> {
        self.consumers.get(id).cloned()
    }

    pub(crate) fn consumer_by_username(&self, username: &str) -> Option<Entity> {
        self.consumer(self.consumer_ids.get(username)?)
    }

    /// The key-auth credential with that key.
    pub(crate) fn api_key(&self, key: &str) -> Option<Entity> {
        self.api_keys.get(key).cloned()
    }

    pub(crate) fn has_upstream(&self, name: &str) -> bool {
        self.balancers.contains_key(name)
    }

    /// The balancer of the upstream of that name; a host without one is looked up.
    pub(crate) fn balancer(&self, host: &str) -> Option<Arc<Balancer>> {
        self.balancers.get(host).cloned()
    }
}

fn readable<T>(read: Result<T, serde_json::Error>, entity: &Entity) -> Option<T> {
    read.inspect_err(
        |error| tracing::error!(id = ?entity.get("id"), %error, "an entity is left out"),
    )
    .ok()
}
