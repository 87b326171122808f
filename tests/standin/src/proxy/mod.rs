//! The proxy: from a client's connection to an upstream and back.
//!
//! # Layout
//!
//! In the order in which a request meets them: [`gateway`] (connections, workers, the configuration in force), [`exchange`]
//! (the request as plugins see it), [`lifecycle`] (its phases), [`router`] and [`uri`], [`headers`], [`balancer`],
//! [`upstream`], [`body`] (streaming the answer through body filters). [`error_page`] is what Kong says itself.

mod balancer;
mod body;
mod compiled;
mod entities;
mod error_page;
mod exchange;
mod gateway;
mod headers;
mod lifecycle;
mod router;
mod upstream;
mod uri;

pub(crate) use error_page::{
    error_template, error_text, html_page, response_type, upstream_error_type,
};
pub(crate) use exchange::{Consumer, Credential, Exchange, Exit, Source, State};
pub(crate) use gateway::{Worker, serve};
pub(crate) use router::split_port;
pub(crate) use uri::{escape, normalize};

#[cfg(test)]
pub(crate) use {
    compiled::Compiled,
    entities::{Route, Service},
    exchange::{Connection, RequestBody, Target},
    router::{Captures, Match},
};
