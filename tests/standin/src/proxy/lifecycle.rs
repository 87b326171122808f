//! The phases of one request.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::body::{ClientBody, LogAtEnd, Source as BodySource, client_body};
use super::exchange::{Connection, Exchange, Source, Target};
use super::gateway::{Gateway, Worker};
use super::router::{Match, Question};
use super::upstream::{self, Answer, Failure};
use super::{error_page, headers, uri};
use crate::plugins;
use crate::plugins::pdk::{ExitBody, Throw};

/// Headers of which an answer has one: the upstream's replaces what a plugin set before.
const SINGLE: [&str; 7] = [
    "content-type",
    "content-length",
    "server",
    "date",
    "location",
    "last-modified",
    "etag",
];

/// Answers a request. Its phases go on when the client leaves, up to the upstream: as in nginx, which does not look.
pub(super) async fn answer(
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<ClientBody> {
    let (mut sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        if let Some(response) = phases(&gateway, worker, connection, request, &mut sender).await {
            // If nobody waits any more, dropping the response runs its log phase.
            let _ = sender.send(response);
        }
    });
    receiver.await.unwrap_or_else(|_| {
        let body = Full::from("An unexpected error occurred")
            .map_err(|never| match never {})
            .boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Nothing if the client left.
async fn phases(
    gateway: &Gateway,
    worker: Arc<Worker>,
    connection: Connection,
    request: Request<Incoming>,
    client: &mut oneshot::Sender<Response<ClientBody>>,
) -> Option<Response<ClientBody>> {
    let (head, incoming) = request.into_parts();
    let exchange = Exchange::new(
        gateway.compiled(),
        worker,
        &gateway.node,
        connection,
        (&head, Some(incoming)),
    );
    let exchange = match exchange {
        Ok(exchange) => Arc::new(exchange),
        Err(error) => {
            tracing::error!(%error, "a request has no Lua tables");
            return None;
        }
    };
    let keep_alive = headers::keeps_alive(head.version, &head.headers);
    plugins::rewrite(&exchange).await;
    if exchange.state().exit.is_none() {
        route(gateway, &exchange);
    }
    if exchange.state().exit.is_none() {
        plugins::access(&exchange).await;
    }
    let elapsed = exchange.elapsed();
    exchange.state().latencies.kong = elapsed;
    if exchange.state().exit.is_some() {
        return Some(own_answer(&exchange, keep_alive));
    }
    let log = LogAtEnd::new(&exchange);
    let answer = tokio::select! {
        answer = proxied(&exchange) => answer,
        () = client.closed() => {
            exchange.state().response.status = 499;
            return None;
        }
    };
    // From here the body does.
    log.disarm();
    Some(match answer {
        Ok(answer) => upstream_answer(&exchange, answer, keep_alive).await,
        Err(Failure::Refused { status, message }) => {
            decide(&exchange, exchange.error(status, Some(&message), &[]));
            own_answer(&exchange, keep_alive)
        }
        Err(Failure::Bad { status }) => bad_upstream(&exchange, status, keep_alive),
    })
}

/// Finds the route; without one, or with one that the protocol does not fit, the answer is decided.
fn route(gateway: &Gateway, exchange: &Exchange) {
    let path = exchange.path();
    let (method, request_headers) = {
        let state = exchange.state();
        (state.method.clone(), state.headers.clone())
    };
    let found = exchange.compiled.router.find(Question {
        method: &method,
        host: exchange.original.host.as_deref(),
        path: &path,
        headers: &request_headers,
        port: exchange.connection.server.port(),
    });
    let Some(found) = found else {
        return decide(
            exchange,
            exchange.error(404, Some("no Route matched with those values"), &[]),
        );
    };
    {
        let mut state = exchange.state();
        state.target = found.service.as_ref().map(|service| {
            let base = service.path.as_deref().unwrap_or("/").as_bytes();
            let prefix = found
                .route
                .strip_path
                .unwrap_or(true)
                .then(|| found.prefix.as_deref().unwrap_or(b"/"));
            Target {
                scheme: service.protocol.clone(),
                host: service.host.clone(),
                port: service.port,
                path: uri::escape(&uri::upstream_path(base, &path, prefix)),
                host_header: None,
                broken: false,
            }
        });
        state.matched = Some(found.clone());
    }
    if gateway.node.config.allow_debug_header {
        headers::add_debug_headers(exchange);
    }
    check_protocol(exchange, &found);
}

fn check_protocol(exchange: &Exchange, found: &Match) {
    let protocols = found.route.protocols.as_deref().unwrap_or_default();
    let has = |protocol: &str| protocols.iter().any(|name| name == protocol);
    if has("https") && !has("http") {
        let status = found.route.https_redirect_status_code.unwrap_or(426);
        if status == 426 {
            let upgrade = [("Connection", "Upgrade"), ("Upgrade", "TLS/1.2, HTTP/1.1")];
            decide(
                exchange,
                exchange.error(426, Some("Please use HTTPS protocol"), &upgrade),
            );
        } else {
            let location = format!("https://{}{}", exchange.host(), exchange.original.target);
            let headers = [(b"Location".to_vec(), vec![location.into_bytes()])];
            decide(
                exchange,
                exchange.exit(status.into(), ExitBody::None, &headers),
            );
        }
    } else if has("grpc") || has("grpcs") {
        let grpc = exchange
            .header(b"content-type")
            .is_some_and(|value| value.starts_with(b"application/grpc"));
        let (status, message) = if grpc {
            (426, "Please use HTTP2 protocol")
        } else {
            (415, "Non-gRPC request matched gRPC route")
        };
        decide(exchange, exchange.error(status, Some(message), &[]));
    }
}

fn decide(exchange: &Exchange, decided: Result<(), Throw>) {
    if let Err(error) = decided {
        tracing::error!(%error, "no answer could be made");
        exchange.unexpected_error();
    }
}

async fn proxied(exchange: &Exchange) -> Result<Answer, Failure> {
    let matched = exchange.state().matched.clone();
    let service = matched.as_ref().and_then(|matched| matched.service.clone());
    let (Some(matched), Some(service)) = (matched, service) else {
        let message = "no Service found with those values".to_owned();
        return Err(Failure::Refused {
            status: 503,
            message,
        });
    };
    let before = exchange.elapsed();
    let answer = upstream::ask(exchange, &service, matched.route.buffers_request()).await;
    let waited = exchange.elapsed().saturating_sub(before);
    exchange.state().latencies.waiting = Some(waited);
    answer
}

/// An answer that Kong gives by itself.
fn own_answer(exchange: &Arc<Exchange>, keep_alive: bool) -> Response<ClientBody> {
    let body = take_exit(exchange);
    exchange.state().latencies.waiting = None;
    plugins::header_filter(exchange);
    headers::towards_client(exchange, false, keep_alive);
    respond(exchange, BodySource::Whole(Some(body)))
}

/// Puts the decided answer's head in place, and gives its body.
fn take_exit(exchange: &Exchange) -> Bytes {
    let mut state = exchange.state();
    let Some(exit) = state.exit.take() else {
        return Bytes::new();
    };
    state.response.status = exit.status;
    merge(&mut state.response.headers, &exit.headers, true);
    exit.body
}

/// An upstream answered.
async fn upstream_answer(
    exchange: &Arc<Exchange>,
    mut answer: Answer,
    keep_alive: bool,
) -> Response<ClientBody> {
    let status = answer.response.status().as_u16();
    {
        let mut state = exchange.state();
        state.source = Source::Service;
        state.upstream_status = Some(status);
        state.upstream_headers = answer.response.headers().clone();
        state.response.status = status;
        let mut upstream = std::mem::take(answer.response.headers_mut());
        headers::remove_hop_by_hop(&mut upstream);
        merge(&mut state.response.headers, &upstream, false);
    }
    let source = if plugins::wants_response(exchange) {
        match buffered(exchange, answer).await {
            Ok(body) => BodySource::Whole(Some(body)),
            Err(status) => return bad_upstream(exchange, status, keep_alive),
        }
    } else {
        answer.into()
    };
    plugins::header_filter(exchange);
    headers::towards_client(exchange, true, keep_alive);
    respond(exchange, source)
}

/// Reads the whole answer and runs the `response` phase on it; gives the body that is left.
async fn buffered(exchange: &Arc<Exchange>, answer: Answer) -> Result<Bytes, u16> {
    let (limit, worker) = (answer.read_timeout, &exchange.worker);
    let collected = match tokio::time::timeout(limit, answer.response.into_body().collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(_)) => return Err(502),
        Err(_) => return Err(504),
    };
    worker.upstreams.put(answer.address, answer.sender);
    {
        let mut state = exchange.state();
        state.buffered_body = Some(collected.clone());
        if !state.response.headers.contains_key(CONTENT_LENGTH) {
            state
                .response
                .headers
                .insert(CONTENT_LENGTH, collected.len().into());
        }
    }
    plugins::response(exchange).await;
    if exchange.state().exit.is_some() {
        Ok(take_exit(exchange))
    } else {
        Ok(collected)
    }
}

/// nginx found no answer: its error page, which counts as proxied.
fn bad_upstream(exchange: &Arc<Exchange>, status: u16, keep_alive: bool) -> Response<ClientBody> {
    let text = |name: &str| {
        exchange
            .header(name.as_bytes())
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    };
    let media_type =
        error_page::upstream_error_type(text("accept").as_deref(), text("content-type").as_deref());
    let body = error_page::error_template(
        media_type,
        &error_page::error_text(status),
        &exchange.request_id,
    );
    {
        let mut state = exchange.state();
        state.source = Source::Error;
        state.upstream_status = Some(status);
        state.response.status = status;
        state
            .response
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        state
            .response
            .headers
            .insert(CONTENT_LENGTH, body.len().into());
    }
    plugins::header_filter(exchange);
    headers::towards_client(exchange, true, keep_alive);
    respond(exchange, BodySource::Whole(Some(body.into())))
}

fn respond(exchange: &Arc<Exchange>, source: BodySource) -> Response<ClientBody> {
    let mut response = Response::new(client_body(exchange, source));
    let state = exchange.state();
    *response.status_mut() =
        StatusCode::from_u16(state.response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = state.response.headers.clone();
    drop(state);
    let head: usize = response
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    exchange.state().bytes_sent += head as u64;
    response
}

/// Adds headers to those that plugins set before. `replace`: each name takes the place of what was there.
fn merge(headers: &mut HeaderMap, added: &HeaderMap, replace: bool) {
    for name in added.keys() {
        if replace || SINGLE.contains(&name.as_str()) {
            headers.remove(name);
        }
    }
    for (name, value) in added {
        headers.append(name, value.clone());
    }
}
