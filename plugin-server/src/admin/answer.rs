//! The one place that turns problems into HTTP.

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("this needs the admin token")]
    TokenNeeded,
    #[error("this listener has no token, so it changes nothing")]
    ReadOnly,
    #[error("the Host header does not name this machine")]
    ForeignHost,
    #[error("no such path")]
    NoSuchPath,
    #[error("no such method for this path")]
    NoSuchMethod,
    #[error("no such counter")]
    NoSuchCounter,
    #[error("no such open reservation")]
    NoSuchReservation,
    #[error("no such revocation")]
    NoSuchRevocation,
    #[error("no llm-jwt at work here looks for revoked tokens")]
    NoDenylist,
    #[error("the denylist {0} takes no more")]
    DenylistFull(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("too many watch already")]
    TooManyWatchers,
    #[error("the store {0} cannot be asked")]
    StoreAway(String),
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::TokenNeeded | Self::ReadOnly => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NoSuchPath
            | Self::NoSuchCounter
            | Self::NoSuchReservation
            | Self::NoSuchRevocation => StatusCode::NOT_FOUND,
            Self::NoDenylist => StatusCode::CONFLICT,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyWatchers | Self::StoreAway(_) | Self::DenylistFull(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    const fn hint(&self) -> &'static str {
        match self {
            Self::TokenNeeded => "send Authorization: Bearer with the token of admin.token_file",
            Self::ReadOnly => {
                "start the server with LLM_PLUGIN_SERVER_ADMIN_TOKEN or admin.token_file, or use a Unix socket"
            }
            Self::ForeignHost => "ask for localhost or a loopback address",
            Self::NoSuchPath | Self::NoSuchMethod => {
                "the API is described in the plugin server's README, under Operation"
            }
            Self::NoSuchCounter => {
                "GET /v1/counters lists those that were used last; one that no request has met since the start is not known"
            }
            Self::NoSuchReservation => {
                "GET /v1/reservations lists those that are open; this one is settled, or its lease has ended"
            }
            Self::NoSuchRevocation => {
                "GET /v1/revocations lists those that there are; this one has ended, or was never made"
            }
            Self::NoDenylist => {
                "set denylist.policy of the plugin to memory or redis; a plugin is at work from its first request on"
            }
            Self::DenylistFull(_) => {
                "remove revocations that need not be there, or revoke by subject; those that end make room"
            }
            Self::BadRequest(_) => "see the plugin server's README, under Operation",
            Self::TooManyWatchers => "close one, or read GET /v1/usage and GET /v1/refusals",
            Self::StoreAway(_) => "the log says why; try again when the store is back",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({"message": self.to_string(), "hint": self.hint()}));
        let mut response = (self.status(), body).into_response();
        if matches!(self, Self::TokenNeeded) {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"llm-plugin-server\""),
            );
        }
        response
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(_: BytesRejection) -> Self {
        Self::BadRequest("the body is too long, or ended early".to_owned())
    }
}

pub(super) async fn no_such_path() -> Problem {
    Problem::NoSuchPath
}

pub(super) async fn no_such_method() -> Problem {
    Problem::NoSuchMethod
}

/// Nothing here is for caches, frames, sniffers or other origins.
pub(super) async fn with_safe_headers(request: Request, next: Next) -> Response {
    const SAFE: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in SAFE {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
