//! What a plugin is, and how it is told to the server.
//!
//! A plugin implements [`Plugin`] and one trait for each phase in which it wants to run. [`registration!`](crate::registration)
//! looks at which of these traits the type implements and declares exactly those phases to Kong: nothing has to be listed
//! twice, and nothing can be forgotten.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::argument::Status;
use crate::kong::{Kong, Scope};
use crate::phase::{self, PhaseName};
use crate::response::Exit;
use crate::schema::PluginConfig;
use crate::session::Session;

/// An error that a handler passes on; the plugin's [`FailureMode`] decides what the client sees, and the log gets the text.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// How a handler that may answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// Kong goes on with the request.
    Continue,
    /// This answer goes to the client. Nothing can follow it, which is why it is returned and not called.
    Exit(Exit),
}

impl From<()> for Flow {
    fn from((): ()) -> Self {
        Self::Continue
    }
}

impl From<Exit> for Flow {
    fn from(exit: Exit) -> Self {
        Self::Exit(exit)
    }
}

/// A configuration that the plugin cannot use although Kong's schema lets it pass.
///
/// The text goes to the log: it should name the field, never show a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// What is wrong, and what would be right.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// A plugin.
pub trait Plugin: Send + Sync + 'static {
    /// The plugin's name in Kong.
    const NAME: &'static str;
    /// The plugin's version: three numbers.
    const VERSION: &'static str;
    /// Where the plugin stands among the others: Kong runs the higher first.
    const PRIORITY: i32;

    /// The configuration, from which Kong's schema is derived.
    type Config: PluginConfig;

    /// What the plugin makes of a configuration. It is shared by every worker of Kong and by every place where an equal
    /// configuration is attached, and may be dropped and made again at any time: counters and keys do not belong here.
    type Instance: Send + Sync + 'static;

    /// Makes an instance. Kong's other requests wait meanwhile: be quick, and do no I/O.
    ///
    /// An error does not stop Kong: each request meets a 500 that names the plugin, until the configuration is put right.
    fn configure(&self, config: Self::Config) -> Result<Self::Instance, ConfigError>;
}

macro_rules! phase_trait {
    ($(#[$doc:meta])* $trait:ident::$method:ident -> $output:ty) => {
        $(#[$doc])*
        pub trait $trait: Plugin {
            /// Handles one request. Implement it as an `async fn`.
            fn $method(
                &self,
                instance: &Self::Instance,
                kong: &mut Kong<phase::$trait>,
            ) -> impl Future<Output = Result<$output, HandlerError>> + Send;
        }

        impl<T: $trait> Probe<T> {
            /// The handler of this phase, found when `T` has one.
            #[doc(hidden)]
            pub fn $method(&self) -> Option<Handler<T>> {
                Some(Handler(|plugin, instance, session, scope, deadline| {
                    Box::pin(async move {
                        let mut kong = Kong::<phase::$trait>::new(session, scope);
                        let handler = async { plugin.$method(instance, &mut kong).await };
                        let ended = guard(deadline, handler).await;
                        (kong.into_session(), ended)
                    })
                }))
            }
        }
    };
}

phase_trait! {
    /// A plugin that runs while the TLS certificate is chosen. Works for global plugins only.
    Certificate::certificate -> ()
}
phase_trait! {
    /// A plugin that runs before routing. Works for global plugins only.
    Rewrite::rewrite -> Flow
}
phase_trait! {
    /// A plugin that runs before Kong proxies the request.
    Access::access -> Flow
}
phase_trait! {
    /// A plugin that runs before the client gets the upstream's answer. **Kong holds the whole answer back for it.**
    Response::response -> Flow
}
phase_trait! {
    /// A plugin that runs after the client has its answer. Declaring it costs Kong about as much as two further events.
    Log::log -> ()
}
phase_trait! {
    /// A plugin that runs before Kong proxies a TCP stream.
    Preread::preread -> Flow
}

/// How the handler of an event ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Completed(Flow),
    Failed(HandlerError),
    Panicked(String),
    TimedOut,
}

/// Runs a handler so that neither a panic nor slowness reaches the connection.
async fn guard<O: Into<Flow>>(
    deadline: Duration,
    handler: impl Future<Output = Result<O, HandlerError>>,
) -> Ended {
    // The handler has only shared references and the connection, whose machine stays right at every await.
    match AssertUnwindSafe(tokio::time::timeout(deadline, handler))
        .catch_unwind()
        .await
    {
        Ok(Ok(Ok(output))) => Ended::Completed(output.into()),
        Ok(Ok(Err(error))) => Ended::Failed(error),
        Ok(Err(_elapsed)) => Ended::TimedOut,
        Err(payload) => Ended::Panicked(panic_message(payload.as_ref())),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// A phase's handler.
#[doc(hidden)]
pub struct Handler<T: Plugin>(pub(crate) HandlerFn<T>);

/// A phase's handler with the future's type erased. It gives the connection back, however it ends.
pub(crate) type HandlerFn<T> = for<'a> fn(
    &'a T,
    &'a <T as Plugin>::Instance,
    Box<Session>,
    Arc<Scope>,
    Duration,
) -> BoxFuture<'a, (Box<Session>, Ended)>;

/// Finds out which phases a plugin implements: an inherent method whose bounds hold is preferred over the trait
/// [`WithoutPhase`], which has `None` for each.
#[doc(hidden)]
pub struct Probe<T>(std::marker::PhantomData<T>);

impl<T> Probe<T> {
    pub fn of(_plugin: &T) -> Self {
        Self(std::marker::PhantomData)
    }
}

#[doc(hidden)]
pub trait WithoutPhase<T: Plugin>: Sized {
    /// Keeps the trait in use where every phase is implemented.
    #[must_use]
    fn any_phases(self) -> Self {
        self
    }
    fn certificate(&self) -> Option<Handler<T>> {
        None
    }
    fn rewrite(&self) -> Option<Handler<T>> {
        None
    }
    fn access(&self) -> Option<Handler<T>> {
        None
    }
    fn response(&self) -> Option<Handler<T>> {
        None
    }
    fn log(&self) -> Option<Handler<T>> {
        None
    }
    fn preread(&self) -> Option<Handler<T>> {
        None
    }
}

impl<T: Plugin> WithoutPhase<T> for Probe<T> {}

/// The handlers of a plugin, in the order of [`PhaseName::ALL`].
#[doc(hidden)]
pub type Handlers<T> = [Option<Handler<T>>; PhaseName::ALL.len()];

/// Registers a plugin: `registration!(MyPlugin::new())` is a [`Registration`] with the phases that the type implements.
#[macro_export]
macro_rules! registration {
    ($plugin:expr) => {{
        use $crate::plugin::WithoutPhase as _;
        let plugin = $plugin;
        let probe = $crate::plugin::Probe::of(&plugin).any_phases();
        let handlers = [
            probe.certificate(),
            probe.rewrite(),
            probe.access(),
            probe.response(),
            probe.log(),
            probe.preread(),
        ];
        $crate::plugin::Registration::new(plugin, handlers)
    }};
}

/// What a client sees when a plugin cannot decide: it panicked, returned an error, took too long, or had no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureMode {
    /// The request goes on as if the plugin were not there.
    Open,
    /// The request is answered with this. In the phases certificate and log, which cannot answer, it goes on.
    Closed(Exit),
}

impl FailureMode {
    /// Fails closed with a status and `{"message": …}`.
    pub fn closed(status: Status, message: &str) -> Self {
        Self::Closed(Exit::message(status, message))
    }
}

/// How a plugin runs, apart from what it does.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What happens when a handler fails. By default closed, with a 500.
    pub failure: FailureMode,
    /// What happens to an event that comes when `max_concurrency` others are under way. By default closed, with a 503.
    pub overload: FailureMode,
    /// How long a handler may take, its calls to Kong included. By default 10 seconds; Kong gives up after 60.
    pub deadline: Duration,
    /// How many events may be under way at a time. By default 4096.
    pub max_concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failure: FailureMode::closed(
                Status::INTERNAL_SERVER_ERROR,
                "An unexpected error occurred",
            ),
            overload: FailureMode::closed(Status::SERVICE_UNAVAILABLE, "The gateway is overloaded"),
            deadline: Duration::from_secs(10),
            max_concurrency: 4096,
        }
    }
}

/// A plugin with its handlers and limits, ready for [`Server::builder`](crate::server::Server::builder).
pub struct Registration<T: Plugin> {
    pub(crate) plugin: T,
    pub(crate) handlers: Handlers<T>,
    pub(crate) limits: Limits,
}

impl<T: Plugin> Registration<T> {
    /// For [`registration!`](crate::registration).
    #[doc(hidden)]
    pub fn new(plugin: T, handlers: Handlers<T>) -> Self {
        Self {
            plugin,
            handlers,
            limits: Limits::default(),
        }
    }

    /// Sets what happens when a handler fails.
    #[must_use]
    pub fn failure(mut self, mode: FailureMode) -> Self {
        self.limits.failure = mode;
        self
    }

    /// Sets what happens when there is no room for an event.
    #[must_use]
    pub fn overload(mut self, mode: FailureMode) -> Self {
        self.limits.overload = mode;
        self
    }

    /// Sets how long a handler may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// Sets how many events may be under way at a time.
    #[must_use]
    pub fn max_concurrency(mut self, events: usize) -> Self {
        self.limits.max_concurrency = events;
        self
    }

    /// The phases that Kong will call.
    pub fn phases(&self) -> impl Iterator<Item = PhaseName> {
        PhaseName::ALL
            .iter()
            .zip(&self.handlers)
            .filter_map(|(phase, handler)| handler.is_some().then_some(*phase))
    }
}

impl<T: Plugin> fmt::Debug for Registration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("plugin", &T::NAME)
            .field("phases", &self.phases().collect::<Vec<_>>())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
