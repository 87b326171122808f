//! A plugin that refuses requests without a header, and tells the upstream and the client who is served.
//!
//! `require_header dump` prints what Kong's query command must print; `require_header serve PATH` serves on a Unix socket until
//! it is interrupted.

use std::error::Error;
use std::path::Path;

use kong_pdk::argument::Status;
use kong_pdk::plugin::{Access, Log};
use kong_pdk::{ConfigError, Exit, Flow, HandlerError, Kong, Plugin, PluginConfig, Server, phase};
use kong_pdk::{ctx, request, response, server, service};
use serde::Deserialize;

/// The configuration: Kong's schema is made from it.
#[derive(Deserialize, PluginConfig)]
struct Config {
    /// The header without which a request is refused.
    #[kong(default = "x-tenant", len_min = 1)]
    header: String,
    /// The status of a refusal.
    #[kong(default = 403, between = [400, 499])]
    status: u16,
}

struct RequireHeader;

/// What a request needs of the configuration.
struct Rule {
    header: String,
    refusal: Exit,
}

impl Plugin for RequireHeader {
    const NAME: &'static str = "require-header";
    const VERSION: &'static str = "1.0.0";
    const PRIORITY: i32 = 900;
    type Config = Config;
    type Instance = Rule;

    fn configure(&self, config: Config) -> Result<Rule, ConfigError> {
        let status = Status::try_from(config.status).map_err(ConfigError::new)?;
        let refusal = Exit::message(status, &format!("the header {} is missing", config.header));
        Ok(Rule {
            header: config.header,
            refusal,
        })
    }
}

impl Access for RequireHeader {
    async fn access(
        &self,
        rule: &Rule,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        let header = request::get_header(rule.header.clone());
        let (tenant, method) = kong.batch((header, request::get_method())).await?;
        let Some(tenant) = tenant else {
            return Ok(Flow::Exit(rule.refusal.clone()));
        };
        kong.defer(ctx::set_shared("tenant", tenant.clone()));
        kong.defer(service::request::set_header("x-method", method));
        kong.defer(response::set_header("x-served-for", tenant));
        Ok(Flow::Continue)
    }
}

impl Log for RequireHeader {
    async fn log(&self, _rule: &Rule, kong: &mut Kong<phase::Log>) -> Result<(), HandlerError> {
        let (tenant, status) = kong
            .batch((ctx::get_shared("tenant"), response::get_status()))
            .await?;
        eprintln!("tenant {:?} got {status}", tenant.as_str());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder()
        .plugin(kong_pdk::registration!(RequireHeader))
        .build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dump"] => {
            let dump = server
                .dump(RequireHeader::NAME, "")
                .ok_or("the plugin is served")?;
            println!("{dump}");
        }
        ["serve", path] => {
            let listener = server::bind(Path::new(path), 0o666)?;
            let interrupted = async { drop(tokio::signal::ctrl_c().await) };
            server.serve(listener, interrupted).await;
        }
        _ => return Err("usage: require_header dump | serve PATH".into()),
    }
    Ok(())
}
