//! From an OpenAPI description (3.0, 3.1) to Kong's configuration, as decK's `openapi2kong` does it: the same names, ids and routes.
//!
//! # Layout
//!
//! `source` reads the description and follows `$ref`; `names` makes names; `servers` makes services and upstreams; `plugins`
//! collects `x-kong-plugin-*`, `security` makes some of security schemes, `alternatives` where one of them is enough; `routes` makes a route of each operation. Here is the walk: document, paths, operations.
//!
//! # Model
//!
//! Each level may say `servers`, `x-kong-name`, `x-kong-{service,upstream,route}-defaults` and `x-kong-plugin-NAME`. What it
//! does not say it takes from the level above. A level that says anything of servers, services or upstreams gets a service of
//! its own; plugins stand on the service of their level where it has one, else on the route.
//!
//! # Invariants
//!
//! 1. Paths and methods in their order by bytes: the same description gives the same file.
//! 2. Ids are UUIDv5 of names in [`Uuid::NAMESPACE_DNS`], as decK's are.

mod alternatives;
mod names;
mod plugins;
mod routes;
mod security;
mod servers;
mod source;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::state::diagnostics::{Diagnostics, Place};
use crate::state::node::Node;
use names::Names;
use plugins::{Plugin, Plugins};
use servers::Server;
use source::Source;

/// Plugins that Kong OSS does not have, though decK makes them from a description.
const ENTERPRISE_PLUGINS: [&str; 2] = ["openid-connect", "request-validator"];
const METHODS: [&str; 8] = [
    "delete", "get", "head", "options", "patch", "post", "put", "trace",
];

/// How a description is converted.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one per flag of the verb")]
pub(crate) struct Options {
    /// For all entities; `None`: those of `x-kong-tags`.
    pub(crate) tags: Option<Vec<String>>,
    /// The name that all others start with; `None`: `x-kong-name`, else the title.
    pub(crate) name: Option<String>,
    /// Entities without ids.
    pub(crate) no_ids: bool,
    /// Names as Inso makes them.
    pub(crate) inso: bool,
    /// One service for all levels that say the same of theirs.
    pub(crate) reuse_services: bool,
    /// One route an operation, whatever headers it requires.
    pub(crate) no_header_routes: bool,
    /// Optional headers with a list of values route, too.
    pub(crate) optional_headers: bool,
    /// Plugins for what the description says of security.
    pub(crate) generate_security: bool,
    /// What has no plugin is told, and no mistake.
    pub(crate) ignore_security_errors: bool,
}

/// A converted description.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) document: Value,
    /// What Kong OSS has no plugin for, and was left out.
    pub(crate) left_out: Vec<&'static str>,
    /// Operations that the description protects and the configuration does not.
    pub(crate) unprotected: Vec<Unprotected>,
}

/// An operation that anybody may call, though the description says otherwise.
#[derive(Debug)]
pub(crate) struct Unprotected {
    pub(crate) place: Place,
    /// Its method and path.
    pub(crate) operation: String,
    pub(crate) why: String,
}

/// Why a description could not be converted: a word about one place in it.
#[derive(Debug)]
struct Mistake {
    place: Place,
    message: String,
    help: Option<String>,
}

impl Mistake {
    fn at(node: &Node, message: impl Into<String>) -> Self {
        Self {
            place: node.place.clone(),
            message: message.into(),
            help: None,
        }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn with_more_help(mut self, more: &str) -> Self {
        self.help = Some(match self.help {
            Some(help) => format!("{help}; {more}"),
            None => more.to_owned(),
        });
        self
    }
}

/// Converts a description; what is wrong goes to `diagnostics`.
pub(crate) fn convert(
    description: &Arc<Node>,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Option<Converted> {
    let converter = Converter::new(description, options).map_err(|mistake| vec![mistake]);
    match converter.and_then(Converter::run) {
        Ok(converted) => Some(converted),
        Err(mistakes) => {
            for mistake in mistakes {
                diagnostics.add_with_help(&mistake.place, mistake.message, mistake.help);
            }
            None
        }
    }
}

/// What a level says of entities, or takes from the level above.
#[derive(Clone, Default)]
struct Level {
    servers: Vec<Server>,
    service: Option<Value>,
    upstream: Option<Value>,
    route: Option<Value>,
}

/// What a level says for itself.
struct Said {
    level: Level,
    new_service: bool,
    new_upstream: bool,
}

struct Converter<'a> {
    source: Source<'a>,
    names: Names<'a>,
    options: &'a Options,
    tags: Vec<String>,
    services: Vec<Map<String, Value>>,
    upstreams: Vec<Value>,
    /// Plugins that belong to a consumer too: only the top level can say that.
    scoped: Vec<Plugin>,
    left_out: Vec<&'static str>,
    unprotected: Vec<Unprotected>,
    /// Those that do not keep it from going on.
    mistakes: Vec<Mistake>,
}

impl<'a> Converter<'a> {
    fn new(description: &'a Arc<Node>, options: &'a Options) -> Result<Self, Mistake> {
        let version = description.get("openapi").and_then(|node| node.as_str());
        if !version.is_some_and(|version| version.starts_with("3.")) {
            let message = match description.get("swagger") {
                Some(_) => "this is Swagger 2, not OpenAPI 3",
                None => "this is no OpenAPI 3 description: it lacks `openapi: 3.x.y`",
            };
            return Err(Mistake::at(description, message)
                .with_help("kongctl reads OpenAPI 3.0 and 3.1; https://converter.swagger.io upgrades older ones"));
        }
        let source = Source::new(description);
        let tags = match &options.tags {
            Some(tags) => tags.clone(),
            None => source.tags()?,
        };
        let base = match options.name.clone() {
            Some(name) => Some(name),
            None => source::name(description)?.or_else(|| {
                let title = description.get("info")?.get("title")?;
                Some(title.as_str()?.to_owned()).filter(|title| !title.is_empty())
            }),
        };
        let Some(base) = base else {
            return Err(Mistake::at(description, "the description has no name")
                .with_help("give it `info.title` or `x-kong-name`, or use --uuid-base"));
        };
        Ok(Self {
            source,
            names: Names::new(&base, options),
            options,
            tags,
            services: Vec::new(),
            upstreams: Vec::new(),
            scoped: Vec::new(),
            left_out: Vec::new(),
            unprotected: Vec::new(),
            mistakes: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Converted, Vec<Mistake>> {
        match self.walk() {
            Ok(no_servers) if self.mistakes.is_empty() => return Ok(self.finish(no_servers)),
            Ok(_) => {}
            Err(mistake) => self.mistakes.push(mistake),
        }
        Err(self.mistakes)
    }

    /// Makes everything; true if the document itself names no servers.
    fn walk(&mut self) -> Result<bool, Mistake> {
        let root = self.source.root;
        let base = self.names.base().to_owned();
        let document = self.level(root, &Level::default())?.level;
        let (service, upstream) = self.service(root, &base, &document)?;
        self.services.push(service);
        self.upstreams.extend(upstream);
        let plugins = self.collect(root, &Plugins::default(), &base)?;
        let plugins = self.move_scoped(plugins, "service", &base);
        self.services[0].insert("plugins".to_owned(), plugins.to_json());

        let Some(paths) = root.get("paths") else {
            return Err(Mistake::at(root, "the description has no `paths`"));
        };
        let mut sorted: Vec<_> = paths
            .entries()
            .iter()
            .filter(|entry| !entry.key.starts_with("x-"))
            .collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        let mut caches = Caches::default();
        for entry in sorted {
            let item = self.source.resolve(&entry.node)?;
            self.path(&entry.key, &item, &document, &plugins, &mut caches)?;
        }
        Ok(document.servers.is_empty())
    }

    fn path(
        &mut self,
        path: &str,
        item: &Arc<Node>,
        document: &Level,
        document_plugins: &Plugins,
        caches: &mut Caches,
    ) -> Result<(), Mistake> {
        let name = self.names.path(source::name(item)?.as_deref(), path);
        let said = self.level(item, document)?;
        let level = &said.level;
        let has_plugins = plugins::are_said(item);
        let key = self.options.reuse_services.then(|| servers::key(level));
        let reused = key
            .as_ref()
            .filter(|_| said.new_service && !has_plugins)
            .and_then(|key| caches.paths.get(key).copied());
        let service;
        let on_routes;
        let owner;
        if let Some(index) = reused {
            service = index;
            owner = Owner::Shared;
            on_routes = Plugins::default();
        } else if said.new_service {
            service = self.new_service(item, &name, &said, 0)?;
            owner = Owner::Path;
            let plugins = self.collect(item, document_plugins, &name)?;
            let plugins = self.move_scoped(plugins, "service", &name);
            self.services[service].insert("plugins".to_owned(), plugins.to_json());
            if let Some(key) = key
                && !has_plugins
            {
                caches.paths.insert(key, service);
            }
            on_routes = Plugins::default();
        } else {
            service = 0;
            owner = Owner::Document;
            on_routes = self.collect(item, &Plugins::default(), &name)?;
        }
        let path = Path {
            template: path,
            item,
            name: &name,
            level,
            service,
            owner,
            plugins: &on_routes,
        };
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let operation = self.source.resolve(operation)?;
                self.operation(&path, method, &operation, caches)?;
            }
        }
        Ok(())
    }

    fn operation(
        &mut self,
        path: &Path<'_>,
        method: &str,
        operation: &Arc<Node>,
        caches: &mut Caches,
    ) -> Result<(), Mistake> {
        let given = source::name(operation)?;
        let id = operation.get("operationId").and_then(|node| node.as_str());
        let name = self
            .names
            .operation(given.as_deref(), id, path.name, method);
        let said = self.level(operation, path.level)?;
        let key = self
            .options
            .reuse_services
            .then(|| servers::key(&said.level));
        let reused = key
            .as_ref()
            .filter(|_| said.new_service)
            .and_then(|key| caches.operations.get(key).copied());
        let mut service = path.service;
        let own = said.new_service;
        if let Some(index) = reused {
            service = index;
        } else if own {
            service = self.new_service(operation, &name, &said, path.service)?;
            if let Some(key) = key {
                caches.operations.insert(key, service);
            }
        }
        let plugins = if own {
            // Its service is nobody else's: what all levels say stands on the route.
            let mut plugins = Plugins::default();
            for node in [self.source.root, path.item, operation] {
                plugins = self.collect(node, &plugins, &name)?;
            }
            plugins
        } else {
            match path.owner {
                Owner::Document | Owner::Shared => self.collect(operation, path.plugins, &name)?,
                Owner::Path => self.collect(operation, &Plugins::default(), &name)?,
            }
        };
        let plugins = self.move_scoped(plugins, "route", &name);
        let what = format!("{} {}", method.to_ascii_uppercase(), path.template);
        let plugins = self.secured(operation, &what, &name, service, plugins);
        let routes = self.routes(path, method, operation, &name, &said.level, &plugins)?;
        self.close(&plugins, &routes);
        servers::list(&mut self.services[service], "routes").extend(routes);
        Ok(())
    }

    /// Makes a service; `above` is that of the level above, whose upstream it uses unless it says one.
    fn new_service(
        &mut self,
        node: &Arc<Node>,
        name: &str,
        said: &Said,
        above: usize,
    ) -> Result<usize, Mistake> {
        let (mut service, upstream) = self.service(node, name, &said.level)?;
        if let Some(upstream) = upstream {
            if said.new_upstream {
                self.upstreams.push(upstream);
            } else if let Some(host) = self.services[above].get("host") {
                service.insert("host".to_owned(), host.clone());
            }
        }
        self.services.push(service);
        Ok(self.services.len() - 1)
    }

    /// What a node says of services, with what it takes from the level above.
    fn level(&self, node: &Arc<Node>, above: &Level) -> Result<Said, Mistake> {
        let service = self.source.defaults(node, "x-kong-service-defaults")?;
        let upstream = self.source.defaults(node, "x-kong-upstream-defaults")?;
        let route = self.source.defaults(node, "x-kong-route-defaults")?;
        let servers = servers::read(node);
        let new_upstream = upstream.is_some() || !servers.is_empty();
        Ok(Said {
            new_service: new_upstream || service.is_some(),
            new_upstream,
            level: Level {
                servers: if servers.is_empty() {
                    above.servers.clone()
                } else {
                    servers
                },
                service: service.or_else(|| above.service.clone()),
                upstream: upstream.or_else(|| above.upstream.clone()),
                route: route.or_else(|| above.route.clone()),
            },
        })
    }

    /// The plugins of a level on top of others; those that Kong OSS lacks are left out.
    fn collect(
        &mut self,
        node: &Arc<Node>,
        others: &Plugins,
        name: &str,
    ) -> Result<Plugins, Mistake> {
        let mut plugins = plugins::collect(&self.source, node, others)?;
        for missing in ENTERPRISE_PLUGINS {
            if plugins.remove(missing) && !self.left_out.contains(&missing) {
                self.left_out.push(missing);
            }
        }
        plugins.mark(
            |plugin| self.id(&format!("{name}.plugin.{plugin}")),
            &self.tags,
        );
        Ok(plugins)
    }

    /// Plugins that name a consumer go to the top level, with the service or route that they are for.
    fn move_scoped(&mut self, plugins: Plugins, field: &str, name: &str) -> Plugins {
        let (scoped, rest) =
            plugins.part(|plugin| plugin.get("consumer").is_some_and(|c| !c.is_null()));
        self.scoped.extend(scoped.into_iter().map(|mut plugin| {
            plugin.insert(field.to_owned(), json!(name));
            plugin
        }));
        rest
    }

    /// The id of an entity with this name.
    fn id(&self, name: &str) -> Option<String> {
        (!self.options.no_ids && !self.options.inso)
            .then(|| Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()).to_string())
    }

    fn finish(mut self, no_servers: bool) -> Converted {
        // A description without servers of its own needs no service of its own where others have some.
        if no_servers && self.services.len() > 1 {
            self.services.remove(0);
        }
        for service in &mut self.services {
            prune(service);
        }
        self.scoped.sort_by_key(|plugin| {
            ["name", "service", "route", "consumer"].map(|field| {
                plugin
                    .get(field)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            })
        });
        let mut document = Map::new();
        document.insert("_format_version".to_owned(), json!("3.0"));
        document.insert("services".to_owned(), json!(self.services));
        if !self.upstreams.is_empty() {
            document.insert("upstreams".to_owned(), json!(self.upstreams));
        }
        if let Some(consumer) = self.anonymous_consumer() {
            document.insert("consumers".to_owned(), json!([consumer]));
        }
        if !self.scoped.is_empty() {
            let scoped = self.scoped.iter().map(plugins::in_order).collect();
            document.insert("plugins".to_owned(), scoped);
        }
        let mut document = Value::Object(document);
        drop_empty_tags(&mut document);
        Converted {
            document,
            left_out: self.left_out,
            unprotected: self.unprotected,
        }
    }
}

/// What a path's operations share.
struct Path<'p> {
    template: &'p str,
    item: &'p Arc<Node>,
    name: &'p str,
    level: &'p Level,
    service: usize,
    owner: Owner,
    /// Those that its routes take over.
    plugins: &'p Plugins,
}

/// Whose service a path's operations use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Document,
    Path,
    /// That of another path.
    Shared,
}

/// Services by what they were made from, to be used again.
#[derive(Default)]
struct Caches {
    paths: HashMap<String, usize>,
    operations: HashMap<String, usize>,
}

/// Lists that hold nothing say nothing.
fn prune(service: &mut Map<String, Value>) {
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    service
        .retain(|name, value| !(matches!(name.as_str(), "plugins" | "routes") && is_empty(value)));
    if let Some(Value::Array(routes)) = service.get_mut("routes") {
        for route in routes.iter_mut().filter_map(Value::as_object_mut) {
            route.retain(|name, value| name != "plugins" || !is_empty(value));
        }
    }
}

fn drop_empty_tags(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map
                .get("tags")
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty)
            {
                map.shift_remove("tags");
            }
            map.values_mut().for_each(drop_empty_tags);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_tags),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
