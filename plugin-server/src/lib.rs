//! The plugin server: the plugins `llm-rate-limiting` and `llm-jwt` for Kong Gateway, behind one Unix socket.
//!
//! # Layout
//!
//! In the order a request meets them:
//!
//! - [`server`]: the socket, the plugins' descriptions beside it, the drain. The protocol itself is the crate `kong-pdk`.
//! - [`kong`]: the front. What each plugin asks Kong and tells Kong, phase by phase.
//! - [`jwt`]: which tokens pass, and what the gateway learns from them. Knows no Kong.
//! - [`rate_limiting`]: who is calling, what a request costs, what it really cost. Knows no Kong.
//! - [`stores`]: where counters live; the windows themselves are the crate `token-limiter`.
//! - [`admin`]: health, metrics, counters to look at and correct, a page.
//! - [`telemetry`]: a span for each decision and each settlement, for a collector of traces.
//! - [`webhook`]: limits' warnings and first refusals, for an operator's URL.
//!
//! Before any of them, [`check`] tells whether a configuration can work at all, to those who have no Kong at hand.
//!
//! Around them: [`cli`] and [`config`] are what an operator says, [`logging`] is what is said back, [`health`] asks a running
//! server whether it serves, [`clock`] is the only place that reads the time.
//!
//! # The life of a request
//!
//! 1. Kong sends `access` for `llm-jwt` over a connection that it keeps. One write asks for the headers; the policy finds the
//!    token, verifies it or remembers that it has, and one write sets headers, consumer and claims and ends the phase.
//! 2. Kong sends `access` for `llm-rate-limiting`. One write asks who is calling and for the body; the policy prices the request
//!    and reserves its cost on all limits at once. Refused: an exit. Granted: the reservation travels in `kong.ctx.shared`.
//! 3. Kong proxies. The usage tap, a chunk of Lua in Kong, keeps the ends of the answer.
//! 4. Kong sends `log`: what the provider billed replaces what was reserved.
//!
//! # Failure
//!
//! A policy that cannot decide fails closed, with an answer; a configuration that cannot work is a 500 that names its plugin.
//! A kill loses the remembered tokens and, without a state file, the counters of the memory store: nothing that Kong would have to be
//! restarted for.

pub mod admin;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod health;
pub mod jwt;
pub mod kong;
pub mod logging;
pub mod rate_limiting;
pub mod server;
pub mod stores;
pub mod telemetry;
pub mod webhook;
