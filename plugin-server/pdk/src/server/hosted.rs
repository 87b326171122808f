//! A plugin as the server sees it: its types erased, its handlers fenced, its events counted in.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dump::Description;
use crate::kong::Scope;
use crate::phase::PhaseName;
use crate::plugin::{ConfigError, Ended, Handler, Handlers, Limits, Plugin, Registration};
use crate::schema::{ConfigType, PluginConfig};
use crate::session::Session;

/// An instance of some plugin.
pub(crate) type AnyInstance = dyn Any + Send + Sync;

/// A plugin without its types.
pub(crate) trait Hosted: Send + Sync {
    /// What the dump says.
    fn description(&self) -> &Description;

    fn limits(&self) -> &Limits;

    /// A place for one more event, if there is one.
    fn admit(&self) -> Option<OwnedSemaphorePermit>;

    /// Makes an instance from a configuration's JSON.
    fn configure(&self, config: serde_json::Value) -> Result<Arc<AnyInstance>, ConfigError>;

    /// Runs the handler of a phase; `None` if the plugin has none for it.
    fn handle<'a>(
        &'a self,
        phase: PhaseName,
        instance: &'a AnyInstance,
        session: Box<Session>,
        scope: Arc<Scope>,
    ) -> Result<BoxFuture<'a, (Box<Session>, Ended)>, Box<Session>>;
}

pub(crate) struct HostedPlugin<T: Plugin> {
    plugin: T,
    handlers: Handlers<T>,
    limits: Limits,
    description: Description,
    room: Arc<Semaphore>,
}

impl<T: Plugin> HostedPlugin<T> {
    pub(crate) fn new(registration: Registration<T>) -> Self {
        let description = Description {
            name: T::NAME,
            version: T::VERSION,
            priority: T::PRIORITY,
            phases: registration.phases().collect(),
            config: T::Config::schema(),
        };
        let room = registration
            .limits
            .max_concurrency
            .min(Semaphore::MAX_PERMITS);
        Self {
            plugin: registration.plugin,
            handlers: registration.handlers,
            limits: registration.limits,
            description,
            room: Arc::new(Semaphore::new(room)),
        }
    }
}

impl<T: Plugin> Hosted for HostedPlugin<T> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    fn configure(&self, config: serde_json::Value) -> Result<Arc<AnyInstance>, ConfigError> {
        let config = T::Config::from_json(config)?;
        Ok(Arc::new(self.plugin.configure(config)?))
    }

    fn handle<'a>(
        &'a self,
        phase: PhaseName,
        instance: &'a AnyInstance,
        session: Box<Session>,
        scope: Arc<Scope>,
    ) -> Result<BoxFuture<'a, (Box<Session>, Ended)>, Box<Session>> {
        let place = PhaseName::ALL.iter().position(|other| *other == phase);
        let Some(Handler(handler)) = place.and_then(|place| self.handlers[place].as_ref()) else {
            return Err(session);
        };
        let instance = instance
            .downcast_ref::<T::Instance>()
            .expect("an instance is handed to the plugin that made it");
        Ok(handler(
            &self.plugin,
            instance,
            session,
            scope,
            self.limits.deadline,
        ))
    }
}
