//! One try after another to get an answer from an upstream.
//!
//! A try fails when no connection is made, when the connection ends before an answer, or when a timeout passes. It is
//! followed by another, on another target if there is one, while the service has `retries` left; once the request was
//! sent, only if its method may be repeated and its body was kept. The last failure is 504 for a timeout, else 502.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::balancer::{Balancer, NoPeer};
use super::entities::Service;
use super::exchange::{Exchange, RequestBody, Target};
use super::headers;
use crate::clock;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;
/// A connection that can take a request.
pub(super) type Sender = SendRequest<Body>;

/// Kong's defaults for a service that sets none.
const DEFAULT_TIMEOUT_MS: u64 = 60_000;
const DEFAULT_RETRIES: u32 = 5;

/// Idle connections by address.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Sender>>>,
}

/// An upstream's answer: its head, and a body that is still coming.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) address: SocketAddr,
    pub(super) sender: Sender,
    pub(super) read_timeout: Duration,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Before any try: Kong answers by itself, as if nothing had been proxied.
    Refused { status: u16, message: String },
    /// The last try failed: nginx's own error.
    Bad { status: u16 },
}

/// How a try failed.
enum TryError {
    /// Nothing was sent.
    Connect {
        timed_out: bool,
    },
    Sent {
        timed_out: bool,
    },
}

impl Pool {
    fn take(&self, address: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let senders = idle.get_mut(&address)?;
        while let Some(sender) = senders.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn put(&self, address: SocketAddr, sender: Sender) {
        if !sender.is_closed() {
            self.idle.lock().entry(address).or_default().push(sender);
        }
    }
}

/// Asks the service's upstream.
pub(super) async fn ask(
    exchange: &Exchange,
    service: &Service,
    buffered: bool,
) -> Result<Answer, Failure> {
    let Some(target) = exchange.state().target.clone() else {
        return Err(refused(503, "no Service found with those values"));
    };
    if target.broken {
        return Err(Failure::Bad { status: 500 });
    }
    if target.scheme != "http" {
        let message = format!(
            "the stand-in does not speak {} to upstreams; a real Kong does",
            target.scheme
        );
        return Err(refused(500, &message));
    }
    if buffered {
        exchange.read_body().await;
        let state = exchange.state();
        if state.replaced_body.is_none() && matches!(state.body, RequestBody::Unread) {
            // The client stopped midway.
            return Err(Failure::Bad { status: 400 });
        }
    }
    let balancer = exchange.compiled.balancer(&target.host);
    let hashed = balancer
        .as_ref()
        .map(|balancer| hashed_value(exchange, balancer))
        .transpose()?
        .flatten();
    let tries = service.retries.unwrap_or(DEFAULT_RETRIES) + 1;
    let mut tried = Vec::new();
    let mut timed_out = false;
    for attempt in 0..tries {
        let (host, port, place) = match &balancer {
            Some(balancer) => match balancer.choose(hashed.as_deref(), &tried) {
                Ok(peer) => (peer.host, peer.port, Some(peer.place)),
                Err(NoPeer::Exhausted) if attempt > 0 => break,
                Err(error @ NoPeer::Exhausted) => return Err(refused(503, &error.to_string())),
                Err(error @ NoPeer::Unsupported(_)) => {
                    return Err(refused(500, &error.to_string()));
                }
            },
            None => (target.host.clone(), target.port, None),
        };
        tried.extend(place);
        let Some(address) = resolve(&host, port).await else {
            return Err(refused(503, "name resolution failed"));
        };
        let name = balancer
            .as_ref()
            .and_then(|balancer| balancer.host_header())
            .unwrap_or(&host);
        let outcome = attempt_at(
            exchange,
            service,
            &target,
            address,
            &headers::authority(name, port, &target.scheme),
        )
        .await;
        if let (Some(balancer), Some(place)) = (&balancer, place) {
            balancer.report(place, matches!(outcome, Err(TryError::Connect { .. })));
        }
        let repeatable = match outcome {
            Ok(answer) => return Ok(answer),
            Err(TryError::Connect { timed_out: late }) => {
                timed_out = late;
                true
            }
            Err(TryError::Sent { timed_out: late }) => {
                timed_out = late;
                let state = exchange.state();
                let kept =
                    state.replaced_body.is_some() || !matches!(state.body, RequestBody::Unread);
                kept && ![Method::POST, Method::PATCH].contains(&state.method)
            }
        };
        note_failure(exchange);
        if !repeatable {
            break;
        }
    }
    Err(Failure::Bad {
        status: if timed_out { 504 } else { 502 },
    })
}

fn refused(status: u16, message: &str) -> Failure {
    Failure::Refused {
        status,
        message: message.to_owned(),
    }
}

async fn attempt_at(
    exchange: &Exchange,
    service: &Service,
    target: &Target,
    address: SocketAddr,
    authority: &str,
) -> Result<Answer, TryError> {
    let limit = |of: Option<u64>| Duration::from_millis(of.unwrap_or(DEFAULT_TIMEOUT_MS));
    exchange.state().tries.push(json!({
        "ip": address.ip().to_string(),
        "port": address.port(),
        "balancer_start": clock::now_milliseconds(),
        "balancer_start_ns": clock::now_milliseconds() as f64 * 1e6,
        "balancer_latency": 0,
        "balancer_latency_ns": 0,
    }));
    let (mut sender, fresh) = match exchange.worker.upstreams.take(address) {
        Some(sender) => (sender, false),
        None => (
            connect(address, limit(service.connect_timeout)).await?,
            true,
        ),
    };
    let request = request(exchange, target, authority).await;
    let read_timeout = limit(service.read_timeout);
    let outcome = timeout(read_timeout, sender.send_request(request)).await;
    let response = match outcome {
        Ok(Ok(response)) => response,
        Err(_) => return Err(TryError::Sent { timed_out: true }),
        // An idle connection that the upstream closed at the same moment says nothing about the upstream.
        Ok(Err(error)) if !fresh && error.is_canceled() => {
            return Err(TryError::Connect { timed_out: false });
        }
        Ok(Err(_)) => return Err(TryError::Sent { timed_out: false }),
    };
    Ok(Answer {
        response,
        address,
        sender,
        read_timeout,
    })
}

async fn connect(address: SocketAddr, limit: Duration) -> Result<Sender, TryError> {
    let stream = match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return Err(TryError::Connect { timed_out: false }),
        Err(_) => return Err(TryError::Connect { timed_out: true }),
    };
    let _ = stream.set_nodelay(true);
    let handshake = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|_| TryError::Connect { timed_out: false })?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream's connection ended early");
        }
    });
    Ok(sender)
}

async fn request(exchange: &Exchange, target: &Target, authority: &str) -> Request<Body> {
    let preserved = {
        let state = exchange.state();
        let preserves = state
            .matched
            .as_ref()
            .is_some_and(|matched| matched.route.preserve_host.unwrap_or(false));
        target
            .host_header
            .clone()
            .or_else(|| exchange.original.host.clone().filter(|_| preserves))
    };
    let mut headers =
        headers::towards_upstream(exchange, preserved.as_deref().unwrap_or(authority));
    let (method, uri, kept) = {
        let state = exchange.state();
        let kept = state.replaced_body.clone().or_else(|| match &state.body {
            RequestBody::Memory(bytes) => Some(bytes.clone()),
            RequestBody::File(file) => Some(file.bytes.clone()),
            RequestBody::Unread => None,
        });
        (
            state.method.clone(),
            target.path_and_query(state.query.as_deref()),
            kept,
        )
    };
    let body = if let Some(bytes) = kept {
        set_length(&mut headers, &bytes, &method);
        Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync()
    } else if let Some(incoming) = exchange.take_incoming().await {
        incoming.map_err(Into::into).boxed_unsync()
    } else {
        headers.remove(CONTENT_LENGTH);
        Full::default()
            .map_err(|never| match never {})
            .boxed_unsync()
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().unwrap_or_default();
    debug_assert!(
        headers.contains_key(HOST),
        "an upstream is always told its name"
    );
    *request.headers_mut() = headers;
    request
}

fn set_length(headers: &mut HeaderMap, body: &Bytes, method: &Method) {
    if !body.is_empty()
        || headers.contains_key(CONTENT_LENGTH)
        || [Method::POST, Method::PUT, Method::PATCH].contains(method)
    {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
}

async fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.ok()?.collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first())
        .copied()
}

fn note_failure(exchange: &Exchange) {
    if let Some(Value::Object(last)) = exchange.state().tries.last_mut() {
        last.insert("state".to_owned(), "failed".into());
    }
}

/// What consistent hashing hashes; nothing where no source has a value.
fn hashed_value(exchange: &Exchange, balancer: &Balancer) -> Result<Option<Vec<u8>>, Failure> {
    for (source, name) in balancer.hash_sources() {
        let name = name.unwrap_or_default();
        let value = match source {
            "none" => return Ok(None),
            "ip" => Some(exchange.client_ip().into_bytes()),
            "path" => Some(exchange.path()),
            "consumer" => exchange
                .state()
                .consumer
                .as_ref()
                .map(|consumer| consumer.id.clone().into_bytes()),
            // Kong 3.9 asks nginx for `http_NAME`, where a header's hyphens are underscores: a name that is written with a hyphen is
            // never found (Kong/kong#14447).
            "header" if name.contains('-') => None,
            "header" => exchange.header(name.replace('_', "-").as_bytes()),
            "query_arg" => exchange
                .query_argument(name.as_bytes())
                .and_then(|value| value.text().map(<[u8]>::to_vec)),
            other => {
                return Err(refused(
                    500,
                    &format!("the stand-in does not hash by {other}; a real Kong does"),
                ));
            }
        };
        if value.is_some() {
            return Ok(value);
        }
    }
    Ok(None)
}
