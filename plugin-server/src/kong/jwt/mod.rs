//! The plugin `llm-jwt`: the policy of [`crate::jwt`] in Kong's phase `access`.
//!
//! # Cost
//!
//! One write asks for what the decision needs; a second carries every setter and ends the phase. A further round trip is
//! made only for a request that may be a CORS preflight, and for a consumer that is not remembered.

mod config;
mod upstream;

use std::sync::Arc;

use kong_pdk::argument::{EntityId, MaxEntries, Status};
use kong_pdk::plugin::Access;
use kong_pdk::request::Headers;
use kong_pdk::{
    ByteString, ConfigError, Exit, Flow, HandlerError, Kong, Plugin, client, ctx, nginx, phase,
    request,
};

pub use self::config::Config;
use self::upstream::Upstream;
use crate::jwt::answer::{self, Answer};
use crate::jwt::expression::{Expression, RequestLine};
use crate::jwt::outcomes::Outcome;
use crate::jwt::presented::{Presented, Scheme};
use crate::jwt::process::Process;
use crate::jwt::proof::{Mode, ProofOfPossession};
use crate::jwt::refusal::Refusal;
use crate::jwt::resource::ProtectedResource;
use crate::jwt::token::{Found, Search};
use crate::jwt::{Authenticator, Consumer, Lookup, Verified};
use crate::telemetry::{self, Telemetry};

/// The plugin. Its process outlives every instance.
#[derive(Debug)]
pub struct LlmJwt {
    process: Arc<Process>,
    telemetry: Telemetry,
}

impl LlmJwt {
    /// The plugin on a process's keys and caches, which sends its spans there.
    pub fn new(process: Arc<Process>, telemetry: Telemetry) -> Self {
        Self { process, telemetry }
    }
}

impl Plugin for LlmJwt {
    const NAME: &'static str = "llm-jwt";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// As Kong's `jwt`: after what shapes the connection, before what needs to know who is calling.
    const PRIORITY: i32 = 1450;

    type Config = Config;
    type Instance = Arc<Authenticator>;

    fn configure(&self, config: Config) -> Result<Arc<Authenticator>, ConfigError> {
        let authenticator = config
            .authenticator(&self.process)
            .map_err(ConfigError::new)?;
        authenticator.warm();
        Ok(authenticator)
    }
}

/// What a request shows.
struct Shown {
    headers: Headers,
    query: ByteString,
    /// The token, looked for in both.
    search: Search,
    /// Empty where nothing depends on it.
    method: String,
    /// Normalized; empty where nothing depends on it.
    path: String,
    /// Scheme, host, port and path as the client wrote them; empty where nothing depends on it.
    target: String,
    /// The client's certificate as PEM; empty where nothing depends on it.
    certificate: ByteString,
    /// Whether another plugin has authenticated it. Asked for only where that matters.
    authenticated: bool,
}

/// What is decided about a request that goes on.
enum Passing<'s> {
    /// A valid token, where it was, and its consumer.
    Granted(Arc<Verified>, &'s Found, Option<Consumer>),
    /// No valid token, but a consumer for that.
    Anonymous(Consumer),
    /// A CORS preflight: nobody is calling.
    Preflight,
    /// Another plugin knows who is calling.
    Known,
}

impl Access for LlmJwt {
    async fn access(
        &self,
        authenticator: &Arc<Authenticator>,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        let mut span = self.telemetry.token();
        let shown = ask(authenticator, kong).await?;
        span.joins(shown.headers.get("traceparent"));
        let settings = authenticator.settings();
        if let Some(resource) = &settings.protected_resource
            && resource.metadata_endpoint == shown.path
        {
            authenticator.outcomes().count(Outcome::Metadata);
            span.decided(Outcome::Metadata);
            return Ok(Flow::Exit(exit(answer::metadata(
                resource,
                settings,
                &shown.method,
            ))));
        }
        match decide(authenticator, &shown, kong).await? {
            Ok(passing) => {
                authenticator.outcomes().count(passing.outcome());
                span.decided(passing.outcome());
                Upstream {
                    settings,
                    headers: &shown.headers,
                    query: &shown.query,
                }
                .prepare(&passing, kong);
                if let Some(carried) = span.carry() {
                    kong.defer(ctx::set_shared(telemetry::TOKEN_KEY, carried));
                }
                Ok(Flow::Continue)
            }
            Err(refusal) => {
                span.decided(refusal.outcome());
                let scheme = shown.search.scheme();
                Ok(Flow::Exit(refuse(authenticator, &refusal, scheme, kong)))
            }
        }
    }
}

impl Passing<'_> {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Granted(..) => Outcome::Granted,
            Self::Anonymous(_) => Outcome::Anonymous,
            Self::Preflight | Self::Known => Outcome::Passed,
        }
    }
}

async fn ask(
    authenticator: &Authenticator,
    kong: &mut Kong<phase::Access>,
) -> Result<Shown, HandlerError> {
    let settings = authenticator.settings();
    let expression = settings.expression.as_ref();
    let serves_metadata = settings.protected_resource.is_some();
    let ProofOfPossession { dpop, mtls } = settings.proof_of_possession;
    let proves = dpop != Mode::Off;
    // The origin that is configured is better than the one that a client can name in Host.
    let origin = settings
        .protected_resource
        .as_ref()
        .map(ProtectedResource::origin);
    let asks_origin = proves && origin.is_none();
    let (headers, query, credential, method, path, scheme, host, port, sent, certificate) = kong
        .batch((
            request::get_headers(MaxEntries::MOST),
            (!settings.locations.parameters.is_empty()).then(request::get_raw_query),
            settings
                .anonymous
                .as_ref()
                .map(|_| client::get_credential()),
            (proves || serves_metadata || expression.is_some_and(Expression::reads_method))
                .then(request::get_method),
            (serves_metadata || expression.is_some_and(Expression::reads_path))
                .then(request::get_path),
            asks_origin.then(request::get_forwarded_scheme),
            asks_origin.then(request::get_forwarded_host),
            asks_origin.then(request::get_forwarded_port),
            proves.then(request::get_path_with_query),
            (mtls != Mode::Off).then(|| nginx::get_var(CERTIFICATE)),
        ))
        .await?;
    let text = |bytes: Option<ByteString>| {
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    let origin = origin.unwrap_or_else(|| {
        let port = port.unwrap_or_default();
        format!("{}://{}:{port}", text(scheme), text(host))
    });
    let query = query.unwrap_or_default();
    Ok(Shown {
        search: settings.locations.search(headers.iter(), &query),
        target: format!("{origin}{}", text(sent)),
        certificate: certificate.flatten().unwrap_or_default(),
        method: text(method),
        path: text(path),
        headers,
        query,
        authenticated: credential.flatten().is_some(),
    })
}

/// Decides about a request. `Err` within means refused, `Err` without that Kong could not be asked.
async fn decide<'s>(
    authenticator: &Authenticator,
    shown: &'s Shown,
    kong: &mut Kong<phase::Access>,
) -> Result<Result<Passing<'s>, Refusal>, HandlerError> {
    let settings = authenticator.settings();
    if shown.headers.iter().count() >= MOST_HEADERS {
        return Ok(Err(Refusal::TooManyHeaders));
    }
    if !settings.run_on_preflight && is_preflight(&shown.headers, kong).await? {
        return Ok(Ok(Passing::Preflight));
    }
    if settings.anonymous.is_some() && shown.authenticated {
        return Ok(Ok(Passing::Known));
    }
    let refusal = match judge(authenticator, shown, kong).await? {
        Ok(passing) => return Ok(Ok(passing)),
        Err(refusal) => refusal,
    };
    match &settings.anonymous {
        Some(name) if refusal.admits_anonymous() => {
            tracing::debug!(plugin = LlmJwt::NAME, reason = %refusal, "passed as anonymous");
            let found =
                load_consumer(authenticator, name, Lookup { by_username: true }, kong).await?;
            Ok(found
                .map(Passing::Anonymous)
                .ok_or(Refusal::NoAnonymousConsumer))
        }
        _ => Ok(Err(refusal)),
    }
}

async fn judge<'s>(
    authenticator: &Authenticator,
    shown: &'s Shown,
    kong: &mut Kong<phase::Access>,
) -> Result<Result<Passing<'s>, Refusal>, HandlerError> {
    let found = match &shown.search {
        Search::One(found) => found,
        Search::Nothing => return Ok(Err(Refusal::Missing)),
        Search::Several => return Ok(Err(Refusal::Ambiguous)),
    };
    let presented = Presented {
        token: &found.token,
        scheme: found.scheme,
        request: RequestLine {
            method: &shown.method,
            path: &shown.path,
        },
        target: &shown.target,
        proofs: shown
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(PROOF.as_bytes()))
            .map(|(_, value)| value)
            .collect(),
        certificate: &shown.certificate,
    };
    let verified = match authenticator.authenticate(&presented).await {
        Ok(verified) => verified,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let consumer = find_consumer(authenticator, &verified, kong).await?;
    let settings = authenticator.settings();
    if consumer.is_none() && !settings.consumer_optional {
        return Ok(Err(Refusal::NoConsumer));
    }
    Ok(Ok(Passing::Granted(verified, found, consumer)))
}

/// The header of proofs (RFC 9449 §4.1).
const PROOF: &str = "dpop";

/// nginx's variable of the certificate that the client has shown in TLS: nginx has checked that it holds the key, and has one
/// only if it asks for it (`nginx_proxy_ssl_verify_client`). No client can set it otherwise.
const CERTIFICATE: &str = "ssl_client_raw_cert";

/// As many header lines as Kong shows at most. A request that reaches it may have more.
const MOST_HEADERS: usize = 1000;

/// Whether this is a CORS preflight (Fetch §4.8): by its headers first, so that others cost no round trip.
async fn is_preflight(
    headers: &Headers,
    kong: &mut Kong<phase::Access>,
) -> Result<bool, HandlerError> {
    if headers.get("origin").is_none() || headers.get("access-control-request-method").is_none() {
        return Ok(false);
    }
    Ok(kong.call(request::get_method()).await? == "OPTIONS")
}

/// The consumer that the token names, by the first of its names that Kong knows.
async fn find_consumer(
    authenticator: &Authenticator,
    verified: &Verified,
    kong: &mut Kong<phase::Access>,
) -> Result<Option<Consumer>, HandlerError> {
    let keys = &authenticator.settings().consumer_by;
    for name in &verified.identity.consumer_names {
        let Some(lookup) = Lookup::new(name, keys) else {
            continue;
        };
        let found = load_consumer(authenticator, name, lookup, kong).await?;
        if let Some(consumer) = found.filter(|consumer| Lookup::accepts(consumer, name, keys)) {
            return Ok(Some(consumer));
        }
    }
    Ok(None)
}

/// Kong's consumer of this name, remembered or asked for.
async fn load_consumer(
    authenticator: &Authenticator,
    name: &str,
    lookup: Lookup,
    kong: &mut Kong<phase::Access>,
) -> Result<Option<Consumer>, HandlerError> {
    let now = authenticator.clock().monotonic();
    if let Some(remembered) = authenticator.consumers().get(name, lookup, now) {
        return Ok(remembered);
    }
    let key = if lookup.by_username {
        client::ConsumerKey::username(name.to_owned())
    } else {
        client::ConsumerKey::Id(EntityId::new(name.to_owned())?)
    };
    let found = kong
        .call(client::load_consumer(key))
        .await?
        .map(|consumer| Consumer {
            id: text(&consumer.id).unwrap_or_default(),
            username: text(&consumer.username),
            custom_id: text(&consumer.custom_id),
        });
    authenticator
        .consumers()
        .put(name, lookup, found.clone(), now);
    Ok(found)
}

fn text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn refuse(
    authenticator: &Authenticator,
    refusal: &Refusal,
    scheme: Scheme,
    kong: &Kong<phase::Access>,
) -> Exit {
    authenticator.outcomes().count(refusal.outcome());
    let answer = Answer::new(refusal, scheme, authenticator.settings());
    let route = kong.scope().route_id.as_ref().map(ToString::to_string);
    let plugin_id = kong.scope().plugin_id.as_ref().map(ToString::to_string);
    if answer.status < 500 {
        tracing::info!(plugin = LlmJwt::NAME, plugin_id, route, status = answer.status, reason = %refusal, "refused");
    } else {
        tracing::warn!(plugin = LlmJwt::NAME, plugin_id, route, status = answer.status, reason = %refusal, "refused");
    }
    exit(answer)
}

fn exit(answer: Answer) -> Exit {
    let status = Status::new(answer.status).expect("answers have ordinary statuses");
    let exit = Exit::new(status).body(answer.body);
    // Kong keeps one entry of a name, which may hold several values.
    let mut headers: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, value) in answer.headers {
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => headers.push((name, vec![value])),
        }
    }
    headers
        .into_iter()
        .fold(exit, |exit, (name, mut values)| match values.pop() {
            Some(only) if values.is_empty() => exit.header(name, only),
            Some(last) => {
                values.push(last);
                exit.header(name, values)
            }
            None => exit,
        })
}
