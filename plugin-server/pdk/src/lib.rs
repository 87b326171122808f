//! Write plugins for Kong Gateway in Rust: the protocol of its external plugin servers, complete and typed.
//!
//! - All 74 methods of Kong's plugin development kit that an external plugin can call, as typed values. **A call that Kong does
//!   not permit in a phase does not compile.**
//! - Calls go out in batches, one write and one round trip for all; setters ride along with the end of the phase.
//! - Kong's schema is derived from the serde type of the configuration, the phases from the traits that a plugin implements.
//! - A panic, a slow handler or too many requests never make Kong repeat an event: each plugin chooses to fail open or closed.
//!
//! # A plugin
//!
//! ```
//! use kong_pdk::argument::Status;
//! use kong_pdk::plugin::Access;
//! use kong_pdk::{ConfigError, Exit, Flow, HandlerError, Kong, Plugin, PluginConfig, phase};
//! use kong_pdk::{request, response, service};
//! use serde::Deserialize;
//!
//! /// Becomes Kong's schema: types, defaults and descriptions.
//! #[derive(Deserialize, PluginConfig)]
//! struct Config {
//!     /// The header without which a request is refused.
//!     #[kong(default = "x-tenant", len_min = 1)]
//!     header: String,
//!     /// The status of a refusal.
//!     #[kong(default = 403, between = [400, 499])]
//!     status: u16,
//! }
//!
//! struct RequireHeader;
//!
//! /// What is made of a configuration once, and used by every request.
//! struct Rule {
//!     header: String,
//!     refusal: Exit,
//! }
//!
//! impl Plugin for RequireHeader {
//!     const NAME: &'static str = "require-header";
//!     const VERSION: &'static str = "1.0.0";
//!     const PRIORITY: i32 = 900;
//!     type Config = Config;
//!     type Instance = Rule;
//!
//!     fn configure(&self, config: Config) -> Result<Rule, ConfigError> {
//!         let status = Status::try_from(config.status).map_err(ConfigError::new)?;
//!         let refusal = Exit::message(status, &format!("the header {} is missing", config.header));
//!         Ok(Rule { header: config.header, refusal })
//!     }
//! }
//!
//! impl Access for RequireHeader {
//!     async fn access(&self, rule: &Rule, kong: &mut Kong<phase::Access>) -> Result<Flow, HandlerError> {
//!         // One write, one round trip.
//!         let (tenant, method) = kong.batch((request::get_header(rule.header.clone()), request::get_method())).await?;
//!         let Some(tenant) = tenant else {
//!             return Ok(Flow::Exit(rule.refusal.clone()));
//!         };
//!         // These go out together with the end of the phase.
//!         kong.defer(service::request::set_header("x-method", method));
//!         kong.defer(response::set_header("x-served-for", tenant));
//!         Ok(Flow::Continue)
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = kong_pdk::Server::builder()
//!     .plugin(kong_pdk::registration!(RequireHeader))
//!     .build()?;
//! // What Kong's `pluginserver_require_header_query_cmd` must print.
//! println!("{}", server.dump("require-header", "/run/kong-plugins/plugins.sock").unwrap());
//! let listener = kong_pdk::server::bind("/run/kong-plugins/plugins.sock".as_ref(), 0o666)?;
//! server.serve(listener, async { tokio::signal::ctrl_c().await.unwrap() }).await;
//! # Ok(())
//! # }
//! ```
//!
//! A call in the wrong phase is an error of the compiler:
//!
//! ```compile_fail,E0277
//! # use kong_pdk::{Kong, phase, request};
//! async fn log(kong: &mut Kong<phase::Log>) {
//!     // There is no request body any more when Kong logs.
//!     let _ = kong.call(request::get_raw_body()).await;
//! }
//! ```
//!
//! # Layout
//!
//! In the order in which an event meets them:
//!
//! - [`server`]: the socket, the connections, the instances, the drain.
//! - [`frame`] and [`rpc`]: the protocol as state machines without I/O; [`wire`]: its messages.
//! - [`plugin`]: what a plugin implements, and what happens when it fails; [`schema`]: its configuration.
//! - [`Kong`]: the handle to call Kong with; [`phase`]: where; [`call`]: what a call and a batch are.
//! - The calls, named as Kong names them: [`client`], [`ctx`], [`ip`], [`log`], [`nginx`], [`node`], [`request`], [`response`],
//!   [`router`], [`service`]; [`argument`]: arguments that cannot be wrong; [`Value`]: Lua's values.
//!
//! # Failure
//!
//! Kong's protocol has no field for an error, and a connection that closes makes Kong 3.8 and later repeat the event without
//! limit. So this crate ends every event as the protocol wants it, whatever the handler does, and closes a connection during an
//! event for one reason only: Kong names an instance that this process has never started. What the client sees of a failure is
//! the plugin's [`FailureMode`].

// The derive's code says `::kong_pdk`, in this crate's own tests too.
extern crate self as kong_pdk;

pub mod argument;
mod byte_string;
pub mod call;
pub mod client;
mod clock;
pub mod ctx;
mod dump;
pub mod frame;
pub mod ip;
mod kong;
pub mod log;
pub mod nginx;
pub mod node;
pub mod phase;
pub mod plugin;
mod reply;
pub mod request;
pub mod response;
pub mod router;
pub mod rpc;
pub mod schema;
pub mod server;
pub mod service;
mod session;
mod value;
pub mod wire;

pub use byte_string::ByteString;
pub use call::methods;
pub use kong::{Kong, Scope};
pub use kong_pdk_derive::PluginConfig;
pub use plugin::{ConfigError, FailureMode, Flow, HandlerError, Plugin};
pub use response::Exit;
pub use schema::PluginConfig;
pub use server::Server;
pub use session::Error;
pub use value::Value;

/// For the code that the derive makes.
#[doc(hidden)]
pub mod __private {
    pub use serde_json::json;
}
