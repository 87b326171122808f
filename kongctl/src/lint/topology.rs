//! Which plugin acts on which route.

use serde_json::Value;

use crate::admin::entities::Kind;
use crate::state::Entity;
use crate::state::current::Inventory;
use crate::state::node::NodeValue;

/// The plugins and routes of the files.
pub(super) struct Topology<'a> {
    pub(super) routes: Vec<&'a Entity>,
    /// Those that are enabled.
    pub(super) plugins: Vec<&'a Entity>,
}

impl<'a> Topology<'a> {
    pub(super) fn of(entities: &'a Inventory) -> Self {
        Self {
            routes: entities.of_kind(Kind::Route).collect(),
            plugins: entities
                .of_kind(Kind::Plugin)
                .filter(|plugin| plugin.body.get("enabled") != Some(&Value::Bool(false)))
                .collect(),
        }
    }

    /// The enabled plugins of this name.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &'a Entity> {
        self.plugins
            .iter()
            .copied()
            .filter(move |plugin| plugin_name(plugin) == name)
    }

    /// The routes that a plugin acts on.
    fn routes_of(&self, plugin: &Entity) -> Vec<&'a Entity> {
        let routes = self.routes.iter().copied();
        routes
            .filter(|route| {
                let acting = self.acting(plugin_name(plugin), Some(route));
                // Beside the most specific one, those for single consumers act too.
                acting.is_some_and(|acting| acting.id == plugin.id)
                    || plugin.reference("consumer").is_some()
                        && covers(plugin, Some(route)).is_some()
            })
            .collect()
    }

    /// The same, each as what [`Topology::acting`] takes; a route that the files do not declare, if there is none.
    pub(super) fn scopes_of(&self, plugin: &Entity) -> Vec<Option<&'a Entity>> {
        let mut scopes: Vec<_> = self.routes_of(plugin).into_iter().map(Some).collect();
        if scopes.is_empty() {
            scopes.push(None);
        }
        scopes
    }

    /// The plugin of this name that acts on a route; `None` for a route stands for any other that the node may have.
    pub(super) fn acting(&self, name: &str, route: Option<&Entity>) -> Option<&'a Entity> {
        self.named(name)
            .filter(|plugin| plugin.reference("consumer").is_none())
            .filter_map(|plugin| Some((covers(plugin, route)?, plugin)))
            .max_by_key(|(specific, _)| *specific)
            .map(|(_, plugin)| plugin)
    }
}

/// How specific a plugin's scope is, if it covers the route.
fn covers(plugin: &Entity, route: Option<&Entity>) -> Option<u8> {
    let of_route = plugin.reference("route");
    let of_service = plugin.reference("service");
    let route_id = route.map(|route| route.id.as_str());
    let service_id = route.and_then(|route| route.reference("service"));
    if of_route.is_some_and(|id| Some(id) != route_id)
        || of_service.is_some_and(|id| Some(id) != service_id)
    {
        return None;
    }
    Some(u8::from(of_route.is_some()) * 2 + u8::from(of_service.is_some()))
}

pub(super) fn plugin_name(plugin: &Entity) -> &str {
    plugin
        .body
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A value in a plugin's configuration.
pub(super) fn config<'a>(plugin: &'a Entity, pointer: &str) -> Option<&'a Value> {
    plugin
        .body
        .get("config")?
        .pointer(pointer)
        .filter(|value| !value.is_null())
}

/// True of a value that an unset variable would say.
pub(super) fn is_unset(entity: &Entity, path: &[&str]) -> bool {
    let mut node = entity.source.as_ref();
    for step in path {
        node = node.and_then(|node| match step.parse::<usize>() {
            Ok(at) => node.items().get(at),
            Err(_) => node.get(step),
        });
    }
    node.is_some_and(|node| matches!(node.value, NodeValue::Unset))
}
