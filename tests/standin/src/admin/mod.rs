//! The Admin API.
//!
//! A call is read whole ([`call`]), its path names an [`endpoint`], which answers it: entities and their relations from
//! the schemas alone, the rest by hand. Every answer leaves through [`answer`].

mod answer;
mod call;
mod configuration;
mod endpoint;
mod endpoints;
mod entities;
mod filters;
mod form;
mod information;
mod schemas;
mod tags;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use answer::Answer;
use call::Call;
use endpoint::Endpoint;

use crate::config::Database;
use crate::node::Node;
use crate::store::Dao;

/// The largest body that is read, in bytes: Kong's own limit for `/config`.
const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// The Admin API of one gateway.
#[derive(Debug)]
struct Admin {
    node: Node,
    dao: Dao,
    requests: AtomicU64,
}

/// Answers the Admin API on `listener` until `shutdown` fires.
pub(crate) async fn serve(listener: TcpListener, node: Node, shutdown: CancellationToken) {
    let writable = node.config.database == Database::Memory;
    let dao = Dao::new(Arc::clone(&node.registry), node.store.clone(), writable);
    let admin = Arc::new(Admin {
        node,
        dao,
        requests: AtomicU64::new(0),
    });
    let router = Router::new().fallback(handle).with_state(admin);
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
    {
        tracing::error!(%error, "the Admin API stopped");
    }
}

async fn handle(State(admin): State<Arc<Admin>>, request: Request) -> Answer {
    admin.requests.fetch_add(1, Ordering::Relaxed);
    let (parts, body) = request.into_parts();
    let Ok(raw) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return Answer::message(413, "Payload too large");
    };
    match Call::read(&parts, raw).and_then(|call| admin.answer(&call)) {
        Ok(answer) | Err(answer) => answer,
    }
}

/// An answer either way: `Err` is the one that ends a call early.
type Outcome = Result<Answer, Answer>;

impl Admin {
    fn answer(&self, call: &Call) -> Outcome {
        let registry = self.dao.registry();
        let Some(endpoint) = Endpoint::find(registry, &call.segments) else {
            return Err(Answer::not_found());
        };
        if !endpoint.methods().contains(&call.method.as_str()) {
            return Err(Answer::method_not_allowed());
        }
        if endpoint.is_of_filter_chains() {
            self.require_filters()?;
        }
        if call.method == Method::OPTIONS {
            return Ok(Answer::options(endpoint.methods()));
        }
        match endpoint {
            Endpoint::Node => Ok(self.node_information()),
            Endpoint::Status => Ok(self.status()),
            Endpoint::Endpoints => Ok(endpoints::answer(registry)),
            Endpoint::EnabledPlugins => Ok(self.enabled_plugins()),
            Endpoint::Config => self.configuration(call),
            Endpoint::Tags => self.tags(call, None),
            Endpoint::Tag(tag) => self.tags(call, Some(tag)),
            Endpoint::Schema(name) => self.schema(name),
            Endpoint::PluginSchema(name) => self.plugin_schema(name),
            Endpoint::PluginConfigSchema(name) => self.plugin_config_schema(name),
            Endpoint::VaultSchema(name) => self.vault_schema(name),
            Endpoint::FilterSchema(name) => self.filter_schema(name),
            Endpoint::Validate(name) => self.validate(name, call),
            Endpoint::Collection(schema) => self.collection(schema, call),
            Endpoint::Entity(schema, key) => self.entity(schema, key, call),
            Endpoint::Children(child) => self.children(child, call),
            Endpoint::Child(child, key) => self.child(child, key, call),
            Endpoint::Referred {
                schema,
                key,
                field,
                kind,
            } => self.referred(schema, key, (field, registry.known(kind)), call),
            Endpoint::Targets { upstream, raw } => self.targets(upstream, raw, call),
            Endpoint::Target { upstream, target } => self.target(upstream, target, call),
            Endpoint::TargetHealth { upstream, target } => self.set_target_health(upstream, target),
            Endpoint::UpstreamHealth(upstream) => self.upstream_health(upstream, call),
            Endpoint::Filters { route, which } => self.filters(route, which),
        }
    }
}
