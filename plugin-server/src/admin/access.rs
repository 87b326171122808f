//! Who may ask, and who may change.
//!
//! | listener | read | change |
//! |---|---|---|
//! | with a token | with the token | with the token |
//! | loopback, no token | everybody on the machine | nobody |
//! | Unix socket, no token | whoever may open it (mode 0600) | the same |
//!
//! An address that other machines reach has a token: the configuration is refused without. On loopback, requests must name a
//! loopback host, so that no web page that a browser here shows can have its own name resolved to this listener.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;

use super::answer::Problem;
use super::listener::Listener;
use super::token::AdminToken;

/// What this listener demands.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<AdminToken>,
    guarded_by_file: bool,
    only_loopback_names: bool,
}

impl Access {
    pub(super) fn new(listener: &Listener, token: Option<AdminToken>) -> Self {
        let loopback = match listener {
            Listener::Tcp(listener) => listener
                .local_addr()
                .is_ok_and(|address| address.ip().is_loopback()),
            Listener::Unix(_) => false,
        };
        Self {
            token,
            guarded_by_file: matches!(listener, Listener::Unix(_)),
            only_loopback_names: loopback,
        }
    }

    /// Whether the request brings the token; true if there is none.
    fn has_token(&self, request: &Request) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let mut offered = request.headers().get_all(header::AUTHORIZATION).iter();
        let (Some(offered), None) = (offered.next(), offered.next()) else {
            return false;
        };
        let (scheme, credentials) = offered
            .as_bytes()
            .split_at_checked("Bearer ".len())
            .unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(credentials)
    }
}

pub(super) async fn may_read(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access.has_token(&request) {
        Ok(next.run(request).await)
    } else {
        Err(Problem::TokenNeeded)
    }
}

pub(super) async fn may_change(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access.token.is_none() && !access.guarded_by_file {
        return Err(Problem::ReadOnly);
    }
    may_read(State(access), request, next).await
}

pub(super) async fn has_own_host(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access.only_loopback_names && !names_loopback(&request) {
        return Err(Problem::ForeignHost);
    }
    Ok(next.run(request).await)
}

fn names_loopback(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let authority = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        (None, None) => request.uri().authority().cloned(),
        _ => None,
    };
    authority.is_some_and(|authority: Authority| is_loopback(authority.host()))
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
