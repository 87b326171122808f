//! What end-to-end stories are told with: gateways to tell them on, a provider behind, callers in front.
//!
//! # Layout
//!
//! - [`target`]: which gateways there can be, which this machine has, and why the others are absent.
//! - [`gateway`]: one running gateway: the stand-in in this process, a `kong` on `PATH`, Docker's Kong.
//! - [`plugin_server`], [`provider`], [`agent`], [`postgres`], [`filters`], [`kinds`]: what stands around it.
//! - [`world`]: all of them together, started in order and stopped in reverse.
//! - [`suite`]: tests on each gateway; [`worlds`]: what they find there, for one test at a time.
//! - [`kongctl`]: the command that configures it.
//! - [`issuer`]: whoever signs the callers' tokens, and those who forge them; [`identity_provider`]: where it can be found and asked;
//!   [`token_server`]: whoever gives out tokens that nobody else can read.
//! - [`openid`]: a certified provider of both kinds; [`key_endpoint`]: where keys are published, and what may go wrong there.
//! - [`helm`]: a real one with the official charts; [`pod`]: what it renders, run here as a node of a cluster would.
//! - [`chat`]: callers and what they were answered, over [`http`]; [`table`]: how the quickstart tells it.
//! - [`process`], [`node`], [`wait`]: children that never outlive us, those that run scripts, and patience with an end.
//!
//! Everything listens on loopback, on free ports, and lives in a directory that goes away.

pub mod agent;
pub mod chat;
pub mod filters;
pub mod gateway;
pub mod helm;
pub mod http;
pub mod identity_provider;
pub mod issuer;
pub mod key_endpoint;
pub mod kinds;
pub mod kongctl;
pub mod node;
pub mod openid;
pub mod plugin_server;
pub mod pod;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod redis;
pub mod suite;
pub mod table;
pub mod target;
pub mod token_server;
pub mod wait;
pub mod world;
pub mod worlds;

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
        .to_owned()
}
