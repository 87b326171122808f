//! Plugins that do what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kong_pdk::argument::{MaxEntries, Status};
use kong_pdk::plugin::{Access, Log, Response};
use kong_pdk::{
    ConfigError, Exit, Flow, HandlerError, Kong, Plugin, PluginConfig, ctx, log, phase, request,
    response, service,
};
use serde::Deserialize;
use tokio::sync::Notify;

/// The bytes of a large argument and a large reply.
pub(crate) const BIG: usize = 32 * 1024;

/// What the first plugin does in a request.
#[derive(Clone, Copy, Deserialize, PluginConfig, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Act {
    Nothing,
    Exit,
    Batch,
    PanicFirst,
    PanicLater,
    Fail,
    Sleep,
    Wait,
    Abandon,
    Headers,
    ManyDeferred,
    Order,
    BigExchange,
    Scope,
    Refuse,
    PanicAtConfigure,
}

#[derive(Deserialize, PluginConfig)]
pub(crate) struct ScriptConfig {
    act: Act,
}

/// A plugin that does what its configuration says.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) configured: Arc<AtomicUsize>,
    pub(crate) release: Arc<Notify>,
}

impl Plugin for Script {
    const NAME: &'static str = "script";
    const VERSION: &'static str = "1.2.3";
    const PRIORITY: i32 = 905;
    type Config = ScriptConfig;
    type Instance = Act;

    fn configure(&self, config: ScriptConfig) -> Result<Act, ConfigError> {
        self.configured.fetch_add(1, Ordering::SeqCst);
        match config.act {
            Act::Refuse => Err(ConfigError::new("act: refused, as it should be")),
            Act::PanicAtConfigure => panic!("configure"),
            act => Ok(act),
        }
    }
}

impl Access for Script {
    async fn access(
        &self,
        act: &Act,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        match act {
            Act::Nothing | Act::Refuse | Act::PanicAtConfigure => {}
            Act::Exit => {
                kong.defer(response::set_header("x-before", "1"));
                return Ok(Exit::new(Status::TOO_MANY_REQUESTS).body("no").into());
            }
            Act::Batch => {
                let calls: Vec<_> = (0..64)
                    .map(|number| request::get_header(number.to_string()))
                    .collect();
                let replies = kong.batch(calls).await?;
                for (number, reply) in replies.into_iter().enumerate() {
                    assert_eq!(reply.unwrap().parse(), Some(number));
                }
            }
            Act::PanicFirst => panic!("before the first call"),
            Act::PanicLater => {
                kong.call(request::get_method()).await?;
                kong.defer(response::set_header("x-never", "1"));
                panic!("after the first call");
            }
            Act::Fail => {
                kong.defer(response::set_header("x-never", "1"));
                return Err("cannot decide".into());
            }
            Act::Sleep => {
                kong.call(request::get_method()).await?;
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            Act::Wait => self.release.notified().await,
            Act::Abandon => {
                // The replies to a batch that is dropped must not be taken for those of the next.
                let abandoned = kong.batch((request::get_method(), request::get_path()));
                assert!(
                    tokio::time::timeout(Duration::from_millis(20), abandoned)
                        .await
                        .is_err()
                );
                let host = kong.call(request::get_host()).await?;
                assert_eq!(host, "kong.request.get_host");
                kong.defer(ctx::set_shared("k", "v"));
            }
            Act::Headers => {
                let headers = kong.call(request::get_headers(MaxEntries::MOST)).await?;
                assert_eq!(headers.get("x-raw"), Some(&b"\xff\xfe"[..]));
                assert_eq!(headers.get_all("x-two").collect::<Vec<_>>(), [b"a", b"b"]);
                assert_eq!(headers.get("x-empty"), Some(&b""[..]));
                kong.defer(service::request::set_header(
                    "x-raw",
                    Bytes::from_static(b"\xff\xfe"),
                ));
            }
            Act::ManyDeferred => {
                for _ in 0..200 {
                    kong.defer(response::add_header("x-many", "1"));
                }
            }
            Act::Order => {
                kong.defer(ctx::set_shared("k", "1"));
                kong.call(ctx::get_shared("k")).await?;
                kong.defer(log::notice(["late"]));
            }
            Act::BigExchange => {
                // More than may be in flight, and more bytes each way than a socket's buffers hold.
                let key = "k".repeat(BIG);
                let replies = kong.batch(vec![ctx::get_shared(key.clone()); 100]).await?;
                assert_eq!(replies.len(), 100);
                assert!(replies.iter().all(|reply| reply.as_str() == Some(&key)));
            }
            Act::Scope => {
                let route = kong.scope().route_id.clone().ok_or("a route")?;
                kong.defer(response::set_header("x-route", route));
            }
        }
        Ok(Flow::Continue)
    }
}

impl Log for Script {
    async fn log(&self, act: &Act, kong: &mut Kong<phase::Log>) -> Result<(), HandlerError> {
        if *act == Act::Fail {
            return Err("cannot log".into());
        }
        kong.call(response::get_status()).await?;
        Ok(())
    }
}

#[derive(Deserialize, PluginConfig)]
pub(crate) struct Empty {}

/// Another plugin on the same socket: fails open.
pub(crate) struct Other;

impl Plugin for Other {
    const NAME: &'static str = "other";
    const VERSION: &'static str = "0.0.1";
    const PRIORITY: i32 = 1;
    type Config = Empty;
    type Instance = ();

    fn configure(&self, _: Empty) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Response for Other {
    async fn response(
        &self,
        (): &(),
        _kong: &mut Kong<phase::Response>,
    ) -> Result<Flow, HandlerError> {
        panic!("fails open");
    }
}
