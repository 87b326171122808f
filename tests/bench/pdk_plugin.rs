//! Plugins on kong-pdk that do next to nothing: what is measured with them is the way from Kong to a plugin and back.
//!
//! `pdk_plugin serve --dir DIR` writes `DIR/PLUGIN.json` for each plugin, then serves on `DIR/plugins.sock` until SIGTERM.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kong_pdk::argument::Status;
use kong_pdk::plugin::{Access, Log};
use kong_pdk::{ConfigError, Exit, Flow, HandlerError, Kong, Plugin, PluginConfig, Server};
use kong_pdk::{client, ctx, phase, registration, request, response, server, service};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

const VERSION: &str = "1.0.0";

/// As the peer on go-pdk, so that both run at the same point of a request.
const PRIORITY: i32 = 900;

#[derive(Deserialize, PluginConfig)]
struct NoConfig {}

/// One event for each request, no call.
struct Empty;

impl Plugin for Empty {
    const NAME: &'static str = "bench-access";
    const VERSION: &'static str = VERSION;
    const PRIORITY: i32 = PRIORITY;
    type Config = NoConfig;
    type Instance = ();

    fn configure(&self, _config: NoConfig) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Access for Empty {
    async fn access(
        &self,
        _instance: &(),
        _kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        Ok(Flow::Continue)
    }
}

/// Two events for each request, no call.
struct EmptyWithLog;

impl Plugin for EmptyWithLog {
    const NAME: &'static str = "bench-access-log";
    const VERSION: &'static str = VERSION;
    const PRIORITY: i32 = PRIORITY;
    type Config = NoConfig;
    type Instance = ();

    fn configure(&self, _config: NoConfig) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Access for EmptyWithLog {
    async fn access(
        &self,
        _instance: &(),
        _kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        Ok(Flow::Continue)
    }
}

impl Log for EmptyWithLog {
    async fn log(&self, _instance: &(), _kong: &mut Kong<phase::Log>) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// The calls without which nobody counts a consumer's tokens, and nothing else: who asks, what for, what the client is told, what
/// `log` needs of `access`, and what the usage tap saw.
struct Counting;

impl Plugin for Counting {
    const NAME: &'static str = "bench-counting";
    const VERSION: &'static str = VERSION;
    const PRIORITY: i32 = PRIORITY;
    type Config = NoConfig;
    type Instance = ();

    fn configure(&self, _config: NoConfig) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Access for Counting {
    async fn access(
        &self,
        _instance: &(),
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        kong.batch((client::get_consumer(), request::get_raw_body()))
            .await?;
        kong.defer(response::set_headers([
            ("x-ratelimit-limit-tokens", "1000000000"),
            ("x-ratelimit-remaining-tokens", "1000000000"),
            ("x-ratelimit-reset-tokens", "60s"),
        ]));
        kong.defer(ctx::set_shared(
            "llm_rate_limiting",
            r#"{"m":"gpt-4o-mini"}"#,
        ));
        kong.defer(service::request::set_header("Accept-Encoding", "identity"));
        Ok(Flow::Continue)
    }
}

impl Log for Counting {
    async fn log(&self, _instance: &(), kong: &mut Kong<phase::Log>) -> Result<(), HandlerError> {
        kong.call(ctx::get_shared("llm_tap")).await?;
        Ok(())
    }
}

/// One event for each request, which it refuses.
struct Refusing;

impl Plugin for Refusing {
    const NAME: &'static str = "bench-refusal";
    const VERSION: &'static str = VERSION;
    const PRIORITY: i32 = PRIORITY;
    type Config = NoConfig;
    type Instance = Exit;

    fn configure(&self, _config: NoConfig) -> Result<Exit, ConfigError> {
        let status = Status::try_from(429).map_err(ConfigError::new)?;
        Ok(Exit::message(status, "rate limit exceeded"))
    }
}

impl Access for Refusing {
    async fn access(
        &self,
        refusal: &Exit,
        _kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        Ok(Flow::Exit(refusal.clone()))
    }
}

/// The two calls of `go-plugin`.
struct TwoCalls;

#[derive(Deserialize, PluginConfig)]
struct TwoCallsConfig {
    /// How the two calls reach Kong
    calls: Calls,
}

#[derive(Clone, Copy, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum Calls {
    /// Each waits for the reply to the one before, as with go-pdk.
    Sequence,
    /// Both in one write.
    Batch,
}

impl Plugin for TwoCalls {
    const NAME: &'static str = "bench-two-calls";
    const VERSION: &'static str = VERSION;
    const PRIORITY: i32 = PRIORITY;
    type Config = TwoCallsConfig;
    type Instance = Calls;

    fn configure(&self, config: TwoCallsConfig) -> Result<Calls, ConfigError> {
        Ok(config.calls)
    }
}

impl Access for TwoCalls {
    async fn access(
        &self,
        calls: &Calls,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        let get = request::get_header("host");
        let set = response::set_header("x-bench", "two calls");
        match calls {
            Calls::Sequence => {
                kong.call(get).await?;
                kong.call(set).await?;
            }
            Calls::Batch => {
                kong.batch((get, set)).await?;
            }
        }
        Ok(Flow::Continue)
    }
}

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(server::worker_threads())
        .enable_all()
        .build()?
        .block_on(serve())
}

async fn serve() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ["serve", "--dir", directory] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        bail!("usage: pdk_plugin serve --dir DIR");
    };
    let server = Server::builder()
        .plugin(registration!(Empty))
        .plugin(registration!(EmptyWithLog))
        .plugin(registration!(Counting))
        .plugin(registration!(Refusing))
        .plugin(registration!(TwoCalls))
        .build()?;
    let directory = Path::new(directory);
    let socket = directory.join("plugins.sock");
    for plugin in server.plugin_names() {
        let dump = server
            .dump(plugin, &socket.to_string_lossy())
            .context("a plugin of this server has a dump")?;
        fs::write(directory.join(format!("{plugin}.json")), dump.to_string())?;
    }
    let listener = server::bind(&socket, 0o666)?;
    let mut terminated = signal(SignalKind::terminate())?;
    server
        .serve(listener, async {
            terminated.recv().await;
        })
        .await;
    Ok(())
}
