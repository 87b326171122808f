//! The front of `llm-rate-limiting` on Kong: which calls each phase makes.
//!
//! # Phases
//!
//! - `access`: one write asks what the policy needs, the policy decides, one write sets what follows and ends the phase: the headers
//!   for the client, the handle and whether the usage tap shall hide a usage event (`kong.ctx.shared`), `Accept-Encoding:
//!   identity` and the completed body for the upstream. A refusal is an exit, and nothing else.
//! - `log`: one write asks for what the usage tap left, handle and status included (another, if no tap ran); then the books are closed.
//!   Where no limit counts tokens, `access` has closed them already and nothing is asked.
//!
//! # Failure
//!
//! The plugin fails closed: if it cannot decide, the client gets a 500 in OpenAI's form. A limiter that fails open hands out what it is there
//! to protect, at the very moment when nobody counts.

mod config;
mod context;

use std::sync::{Arc, Once};

use kong_pdk::argument::{MaxEntries, Status};
use kong_pdk::plugin::{Access, FailureMode, Log, Registration};
use kong_pdk::request::RawBody;
use kong_pdk::{
    ByteString, ConfigError, Exit, Flow, HandlerError, Kong, Plugin, client, ctx, phase, request,
    response, router, service,
};
use token_limiter::Settlement;
use tracing::{debug, warn};

pub use self::config::Config;
use self::context::{Answered, to_json};
use crate::rate_limiting::answer::Refusal;
use crate::rate_limiting::config::Settings;
use crate::rate_limiting::estimate::Vocabulary;
use crate::rate_limiting::handle::Handle;
use crate::rate_limiting::identity::{Caller, Needs};
use crate::rate_limiting::usage::Spent;
use crate::rate_limiting::{Body, Policy, Pricing, Verdict};
use crate::stores::Stores;

/// The handle of an admitted request, from `access` to `log`.
const HANDLE: &str = "llm_rate_limiting";
/// Tells the usage tap to drop the event that only reports usage.
const HIDE_USAGE: &str = "llm_tap_hide_usage";
/// What the usage tap kept of the answer.
const TAP: &str = "llm_tap";
/// What `llm-jwt` verified.
const JWT: &str = "llm_jwt";

/// The largest body that is read from the file in which nginx put it, in bytes.
const LARGEST_FILE: u64 = 32 << 20;
/// What a body is taken to be when neither Kong nor the client says its size, in bytes: it did not fit nginx's buffer.
const UNKNOWN_SIZE: u64 = 64 << 10;

/// The plugin. Its counters are the process's, not its own.
#[derive(Debug)]
pub struct RateLimiting {
    stores: Arc<Stores>,
    warned_of_no_tap: Once,
}

impl RateLimiting {
    /// The plugin on these stores.
    pub fn new(stores: Arc<Stores>) -> Self {
        Self {
            stores,
            warned_of_no_tap: Once::new(),
        }
    }

    /// The plugin on these stores, ready for the server, failing closed.
    pub fn registration(stores: Arc<Stores>) -> Registration<Self> {
        kong_pdk::registration!(Self::new(stores))
            .failure(closed(
                Status::INTERNAL_SERVER_ERROR,
                "The request could not be metered.",
            ))
            .overload(closed(
                Status::SERVICE_UNAVAILABLE,
                "The gateway is overloaded.",
            ))
    }
}

fn closed(status: Status, message: &str) -> FailureMode {
    let body = serde_json::json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}});
    FailureMode::Closed(Exit::json(status, &body).expect("a map of strings is JSON"))
}

impl Plugin for RateLimiting {
    const NAME: &'static str = "llm-rate-limiting";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const PRIORITY: i32 = 905;

    type Config = Config;
    type Instance = Policy;

    fn configure(&self, config: Config) -> Result<Policy, ConfigError> {
        let policy = Settings::try_from(config)
            .and_then(Policy::new)
            .map_err(ConfigError::new)?;
        if policy.counts_tokens() {
            // Kong waits for this instance, and the first request for its vocabulary.
            std::thread::spawn(Vocabulary::load_all);
        }
        Ok(policy)
    }
}

impl Access for RateLimiting {
    async fn access(
        &self,
        policy: &Policy,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        let (mut caller, body) = ask(policy.needs(), kong).await?;
        let pricing = match body {
            None => Pricing::default(),
            Some(RawBody::Content(content)) => policy.price(Body::Whole(&content)),
            Some(RawBody::File(path)) => match read_file(&path).await {
                Some(content) => policy.price(Body::Whole(&content)),
                None => policy.price(Body::Size(content_length(kong).await?)),
            },
            Some(RawBody::Unreadable(reason)) => {
                warn!(%reason, "kong cannot read the request's body: it is priced by its size");
                policy.price(Body::Size(content_length(kong).await?))
            }
        };
        caller.model = pricing.model;
        let Ok(verdict) = policy
            .decide(self.stores.memory(), &caller, pricing.estimate)
            .await;
        let (handle, headers) = match verdict {
            Verdict::Refused(refusal) => return Ok(Flow::Exit(exit(refusal))),
            Verdict::Admitted { handle, headers } => (handle, headers),
        };
        if !headers.is_empty() {
            kong.defer(response::set_headers(headers));
        }
        if policy.counts_tokens() {
            kong.defer(ctx::set_shared(HANDLE, handle.to_string()));
            // A compressed answer could not be read by the tap.
            kong.defer(service::request::set_header("Accept-Encoding", "identity"));
        } else {
            // The answer changes nothing: the books are closed here, and `log` has nothing to ask.
            let Ok(_) = Policy::settle(self.stores.memory(), &handle, None, 0).await;
        }
        if let Some(body) = pricing.rewritten {
            kong.defer(service::request::set_raw_body(body));
            if policy.hides_stream_usage() {
                kong.defer(ctx::set_shared(HIDE_USAGE, true));
            }
        }
        Ok(Flow::Continue)
    }
}

impl Log for RateLimiting {
    async fn log(&self, policy: &Policy, kong: &mut Kong<phase::Log>) -> Result<(), HandlerError> {
        if !policy.counts_tokens() {
            return Ok(());
        }
        let Some(answered) = context::answered(kong).await? else {
            return Ok(());
        };
        let Answered {
            handle,
            status,
            observed,
        } = answered;
        let handle: Handle = handle.parse()?;
        let Ok(closing) =
            Policy::settle(self.stores.memory(), &handle, observed.as_ref(), status).await;
        debug!(reserved = ?handle.charges, spent = ?closing.spent, status, "request settled");
        if closing.settlement == Settlement::Unknown {
            debug!(reservation = %handle.reservation, "the reservation was no longer open: its charge stands");
        }
        if closing.spent == Spent::Unseen {
            self.warned_of_no_tap.call_once(|| {
                warn!("no usage tap saw an answer: estimates stand as charged; enable kong/usage-tap.lua in post-function's body_filter");
            });
        }
        Ok(())
    }
}

/// Asks Kong in one write for what the policy needs.
async fn ask(
    needs: &Needs,
    kong: &mut Kong<phase::Access>,
) -> Result<(Caller, Option<RawBody>), kong_pdk::Error> {
    let scope = scope(kong);
    let (ip, consumer, claims, credential, service, route, headers, body) = kong
        .batch((
            client::get_forwarded_ip(),
            needs.consumer.then(client::get_consumer),
            needs.claims.then(|| ctx::get_shared(JWT)),
            needs.credential.then(client::get_credential),
            needs.service.then(router::get_service),
            needs.route.then(router::get_route),
            (!needs.headers.is_empty()).then(|| request::get_headers(MaxEntries::MOST)),
            needs.body.then(request::get_raw_body),
        ))
        .await?;
    let mut caller = Caller {
        scope,
        ip: ip.to_vec(),
        consumer: consumer.flatten().map(|consumer| consumer.id.to_vec()),
        credential: credential
            .flatten()
            .map(|credential| credential.id.to_vec()),
        service: service.flatten().map(|service| service.id.to_vec()),
        route: route.flatten().map(|route| route.id.to_vec()),
        claims: claims
            .as_ref()
            .and_then(|verified| verified.get("claims"))
            .map(to_json)
            .unwrap_or_default(),
        ..Caller::default()
    };
    if let Some(sent) = headers {
        for name in &needs.headers {
            if let Some(value) = sent.get(name) {
                caller.headers.push((name.clone(), value.to_vec()));
            }
        }
    }
    Ok((caller, body))
}

/// The entity that the plugin is attached to. Ids have no slashes.
fn scope<P: phase::Phase>(kong: &Kong<P>) -> String {
    let scope = kong.scope();
    let [service, route, consumer] =
        [&scope.service_id, &scope.route_id, &scope.consumer_id].map(|id| {
            id.as_ref()
                .map(ByteString::to_string_lossy)
                .unwrap_or_default()
        });
    format!("{service}/{route}/{consumer}")
}

/// A body in nginx's file, if this process may read it and it is not too large.
async fn read_file(path: &std::path::Path) -> Option<Vec<u8>> {
    let size = tokio::fs::metadata(path).await.ok()?.len();
    if size > LARGEST_FILE {
        return None;
    }
    tokio::fs::read(path).await.ok()
}

/// The size that the client announced: another write, but only for a body that Kong keeps to itself.
async fn content_length(kong: &mut Kong<phase::Access>) -> Result<u64, kong_pdk::Error> {
    let announced = kong.call(request::get_header("content-length")).await?;
    let parsed =
        announced.and_then(|length| std::str::from_utf8(&length).ok()?.trim().parse().ok());
    Ok(parsed.unwrap_or(UNKNOWN_SIZE))
}

fn exit(refusal: Refusal) -> Exit {
    let status = Status::new(refusal.status).expect("the settings allow statuses from 400 to 599");
    let exit = refusal
        .headers
        .into_iter()
        .fold(Exit::new(status), |exit, (name, value)| {
            exit.header(name, value)
        });
    exit.header("Content-Type", "application/json")
        .body(refusal.body)
}
