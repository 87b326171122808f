//! The front of `llm-rate-limiting` on Kong: which calls each phase makes.
//!
//! # Phases
//!
//! - `access`: one write asks what the policy needs (another, for the address where it has to stand in, or for the path where a refusal takes its form
//!   from that), the policy decides, one write sets what follows and ends the phase: the headers
//!   for the client, the handle and whether the usage tap shall hide a usage event (`kong.ctx.shared`), `Accept-Encoding:
//!   identity` and the completed body for the upstream. A refusal is an exit, and nothing else.
//! - `log`: one write asks for what the usage tap left, handle and status included (another, if no tap ran); then the books are closed.
//!   Where limits count only requests, `access` has charged them for good and nothing is asked.
//!
//! # Failure
//!
//! While a Redis is away, each limit does what its `on_store_failure` says. Beyond that the plugin fails closed: if it cannot decide, the client gets a 500 in OpenAI's form. A limiter that fails open hands out what it is there
//! to protect, at the very moment when nobody counts.

mod config;
mod context;
mod instance;

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
pub use self::instance::Instance;
use crate::rate_limiting::answer::{Reason, Refusal};
use crate::rate_limiting::api::Api;
use crate::rate_limiting::estimate::Vocabulary;
use crate::rate_limiting::handle::Handle;
use crate::rate_limiting::identity::{Caller, Needs, Subject};
use crate::rate_limiting::learned::Learned;
use crate::rate_limiting::outcomes::Outcomes;
use crate::rate_limiting::usage::Spent;
use crate::rate_limiting::{Body, Policy, Verdict, Watch};
use crate::stores::Stores;
use crate::telemetry::{self, Decision, Telemetry};

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
    outcomes: Arc<Outcomes>,
    learned: Learned,
    telemetry: Telemetry,
    warned_of_no_tap: Once,
}

impl RateLimiting {
    /// The plugin on these stores, which tells these outcomes and sends its spans there.
    pub fn new(stores: Arc<Stores>, outcomes: Arc<Outcomes>, telemetry: Telemetry) -> Self {
        Self {
            stores,
            outcomes,
            learned: Learned::new(),
            telemetry,
            warned_of_no_tap: Once::new(),
        }
    }

    /// The plugin, ready for the server, failing closed.
    pub fn registration(
        stores: Arc<Stores>,
        outcomes: Arc<Outcomes>,
        telemetry: Telemetry,
    ) -> Registration<Self> {
        kong_pdk::registration!(Self::new(stores, outcomes, telemetry))
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
    type Instance = Instance;

    fn configure(&self, config: Config) -> Result<Instance, ConfigError> {
        let policy = config.policy().map_err(ConfigError::new)?;
        if policy.counts_usage() {
            // Kong waits for this instance, and the first request for its vocabulary.
            std::thread::spawn(Vocabulary::load_all);
        }
        let store = self.stores.of(policy.store()).map_err(ConfigError::new)?;
        Ok(Instance::new(policy, store, Arc::clone(&self.outcomes)))
    }
}

impl Access for RateLimiting {
    async fn access(
        &self,
        instance: &Instance,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        let policy = instance.policy();
        let place = instance.place(kong.scope());
        let mut span = self.telemetry.access();
        let Asked {
            mut caller,
            path,
            traceparent,
            token_trace,
            body,
        } = ask(policy.needs(), self.telemetry.is_on(), kong).await?;
        span.joins(traceparent.as_deref());
        span.follows(token_trace.as_deref());
        if policy.needs_address(&caller) {
            caller.ip = kong.call(client::get_forwarded_ip()).await?.to_vec();
        }
        caller.scope = Arc::clone(&place.name);
        let path = path.as_deref();
        let price = |body| policy.price(&caller, path, body, &self.learned);
        let pricing = match body {
            None => price(Body::Size(0)),
            Some(Sent::Size(bytes)) => price(Body::Size(bytes)),
            Some(Sent::Body(RawBody::Content(content))) => price(Body::Whole(&content)),
            Some(Sent::Body(RawBody::File(file))) => match read_file(&file).await {
                Some(content) => price(Body::Whole(&content)),
                None => price(Body::Size(content_length(kong).await?)),
            },
            Some(Sent::Body(RawBody::Unreadable(reason))) => {
                warn!(%reason, "kong cannot read the request's body: it is priced by its size");
                price(Body::Size(content_length(kong).await?))
            }
        };
        caller.model.clone_from(&pricing.model);
        let watch = Watch {
            outcomes: &self.outcomes,
            scope: &place.scope,
        };
        let verdict = policy
            .decide(instance.store(), &caller, &pricing, watch)
            .await;
        if let Some(model) = &pricing.model {
            span.model(model);
        }
        let (handle, headers) = match verdict {
            Verdict::Refused(refusal) => {
                span.decided(decision(refusal.reason()), refusal.limit());
                let api = if policy.needs().path || !refusal.depends_on_api() {
                    pricing.api
                } else {
                    let path = kong.call(request::get_path()).await?;
                    Api::of_path(&path.to_string_lossy()).unwrap_or_default()
                };
                return Ok(Flow::Exit(exit(refusal, api)));
            }
            Verdict::Admitted { handle, headers } => (handle, headers),
        };
        span.decided(Decision::Granted, None);
        if !headers.is_empty() {
            kong.defer(response::set_headers(headers));
        }
        if let Some(handle) = handle {
            kong.defer(ctx::set_shared(HANDLE, handle.to_string()));
            if let Some(carried) = span.carry() {
                kong.defer(ctx::set_shared(telemetry::KEY, carried));
            }
            if policy.counts_usage() {
                // A compressed answer could not be read by the tap.
                kong.defer(service::request::set_header("Accept-Encoding", "identity"));
            }
        }
        if let Some(body) = pricing.rewritten {
            kong.defer(service::request::set_raw_body(body));
            if pricing.asks_usage && policy.hides_stream_usage() {
                kong.defer(ctx::set_shared(HIDE_USAGE, true));
            }
        }
        Ok(Flow::Continue)
    }
}

impl Log for RateLimiting {
    async fn log(
        &self,
        instance: &Instance,
        kong: &mut Kong<phase::Log>,
    ) -> Result<(), HandlerError> {
        let policy = instance.policy();
        if !policy.settles_late() {
            return Ok(());
        }
        let Some(answered) = context::answered(kong).await? else {
            return Ok(());
        };
        let mut span = self.telemetry.settlement();
        if self.telemetry.is_on() {
            let (carried, traceparent) = kong
                .batch((
                    ctx::get_shared(telemetry::KEY),
                    request::get_header("traceparent"),
                ))
                .await?;
            let traceparent = traceparent.map(|text| text.to_string_lossy().into_owned());
            span.joins(carried.as_str(), traceparent.as_deref());
        }
        let Answered {
            handle,
            status,
            observed,
        } = answered;
        let handle: Handle = handle.parse()?;
        // A configuration may have changed its store meanwhile; the books are closed where they were opened.
        let own = instance.store();
        let store = (own.name() == handle.store)
            .then(|| own.clone())
            .or_else(|| self.stores.named(&handle.store));
        let Some(store) = store else {
            warn!(store = %handle.store, reservation = %handle.reservation,
                "the store of a request is not configured any more: its charge stands");
            return Ok(());
        };
        let (outcomes, learned) = (&self.outcomes, &self.learned);
        let closing = Policy::settle(
            &store,
            &handle,
            observed.as_ref(),
            status,
            outcomes,
            learned,
        )
        .await;
        span.settled(telemetry::Settled {
            tokens: closing
                .spent
                .usage()
                .map(|usage| (usage.prompt_tokens, usage.completion_tokens)),
            source: closing.spent.source().name(),
            status,
        });
        debug!(reserved = ?handle.request.charges, spent = ?closing.spent, status, "request settled");
        if closing.settlement == Settlement::Unknown {
            debug!(reservation = %handle.reservation, "the reservation was no longer open: its charge stands");
        }
        if policy.counts_usage() && closing.spent == Spent::Unseen {
            self.warned_of_no_tap.call_once(|| {
                warn!("no usage tap saw an answer: estimates stand as charged; enable kong/usage-tap.lua in post-function's body_filter");
            });
        }
        Ok(())
    }
}

/// What Kong says about a request.
struct Asked {
    caller: Caller,
    path: Option<String>,
    traceparent: Option<String>,
    /// The span of `llm-jwt`, if nobody has exported it.
    token_trace: Option<String>,
    body: Option<Sent>,
}

/// What is known of a request's body.
enum Sent {
    Body(RawBody),
    Size(u64),
}

/// Asks Kong in one write for what the policy needs.
async fn ask(
    needs: &Needs,
    traced: bool,
    kong: &mut Kong<phase::Access>,
) -> Result<Asked, kong_pdk::Error> {
    let (
        ip,
        consumer,
        verified,
        credential,
        service,
        route,
        headers,
        path,
        size,
        trace,
        token,
        body,
    ) = kong
        .batch((
            needs.address.then(client::get_forwarded_ip),
            needs.consumer.then(client::get_consumer),
            needs.claims.then(|| ctx::get_shared(JWT)),
            needs.credential.then(client::get_credential),
            needs.service.then(router::get_service),
            needs.route.then(router::get_route),
            (!needs.headers.is_empty()).then(|| request::get_headers(MaxEntries::MOST)),
            needs.path.then(request::get_path),
            needs
                .content_length
                .then(|| request::get_header("content-length")),
            traced.then(|| request::get_header("traceparent")),
            traced.then(|| ctx::get_shared(telemetry::TOKEN_KEY)),
            needs.body.then(request::get_raw_body),
        ))
        .await?;
    let consumer = consumer.flatten();
    let mut caller = Caller {
        ip: ip.map(|ip| ip.to_vec()).unwrap_or_default(),
        consumer: consumer.as_ref().map(|consumer| consumer.id.to_vec()),
        username: consumer
            .as_ref()
            .map(|consumer| String::from_utf8_lossy(&consumer.username).into_owned())
            .filter(|name| !name.is_empty()),
        consumer_tags: consumer
            .map(|consumer| {
                let tags = consumer.tags.iter();
                tags.map(|tag| String::from_utf8_lossy(tag).into_owned())
                    .collect()
            })
            .unwrap_or_default(),
        credential: credential
            .flatten()
            .map(|credential| credential.id.to_vec()),
        service: service.flatten().map(|service| service.id.to_vec()),
        route: route.flatten().map(|route| route.id.to_vec()),
        subject: verified.as_ref().and_then(subject),
        claims: verified
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
    Ok(Asked {
        caller,
        path: path.map(|path| path.to_string_lossy().into_owned()),
        traceparent: trace
            .flatten()
            .map(|text| text.to_string_lossy().into_owned()),
        token_trace: token.and_then(|carried| carried.as_str().map(str::to_owned)),
        body: body
            .map(Sent::Body)
            // A body that announces no size is not estimated: most requests without one have no body.
            .or_else(|| {
                size.map(|length| Sent::Size(length.map_or(0, |length| announced(Some(length)))))
            }),
    })
}

/// Whom the token that `llm-jwt` verified is about, if it says so.
fn subject(verified: &kong_pdk::Value) -> Option<Subject> {
    let text = |name| verified.get(name)?.as_str().map(str::to_owned);
    Some(Subject {
        issuer: text("iss")?,
        name: text("sub")?,
    })
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
    Ok(announced(
        kong.call(request::get_header("content-length")).await?,
    ))
}

/// A Content-Length as a number. A body that is sent in chunks has none.
fn announced(length: Option<ByteString>) -> u64 {
    length
        .and_then(|length| std::str::from_utf8(&length).ok()?.trim().parse().ok())
        .unwrap_or(UNKNOWN_SIZE)
}

fn decision(reason: Reason) -> Decision {
    match reason {
        Reason::Denied => Decision::Denied,
        Reason::NeverPasses => Decision::NeverPasses,
        Reason::ModelNotAllowed => Decision::ModelNotAllowed,
        Reason::Unavailable => Decision::StoreUnavailable,
    }
}

fn exit(refusal: Refusal, api: Api) -> Exit {
    let body = refusal.body(api);
    let status = Status::new(refusal.status).expect("the settings allow statuses from 400 to 599");
    let exit = refusal
        .headers
        .into_iter()
        .fold(Exit::new(status), |exit, (name, value)| {
            exit.header(name, value)
        });
    exit.header("Content-Type", body.media_type).body(body.text)
}
