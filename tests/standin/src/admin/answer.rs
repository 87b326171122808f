//! Answers: status, body, and the headers that Kong sends with them.

use axum::body::Body;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE, SERVER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::store::{Code, Error};

/// The version of Kong that is stood in for.
pub(super) const VERSION: &str = "3.9.1";

/// What a call is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: Option<Value>,
    allow: Option<String>,
}

impl Answer {
    pub(super) fn json(status: u16, body: impl Into<Value>) -> Self {
        Self {
            status,
            body: Some(body.into()),
            allow: None,
        }
    }

    pub(super) fn message(status: u16, message: impl Into<String>) -> Self {
        Self::json(status, json!({"message": message.into()}))
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            body: None,
            allow: None,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::message(404, "Not found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::message(405, "Method not allowed")
    }

    /// To OPTIONS: which methods there are.
    pub(super) fn options(methods: &[&str]) -> Self {
        Self {
            allow: Some(methods.join(", ")),
            ..Self::empty(204)
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let status = match error.code {
            Code::NotFound => 404,
            Code::OperationUnsupported => 405,
            Code::UniqueViolation => 409,
            Code::Unexpected => 500,
            Code::InvalidPrimaryKey
            | Code::SchemaViolation
            | Code::PrimaryKeyViolation
            | Code::ForeignKeyViolation
            | Code::InvalidOffset
            | Code::InvalidSize
            | Code::InvalidUnique
            | Code::InvalidOptions
            | Code::ForeignKeysUnresolved
            | Code::DeclarativeConfig
            | Code::ReferencedByOthers => 400,
        };
        Self::json(status, error.body())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let body = self
            .body
            .map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if self.status != 204 {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/json; charset=utf-8"),
            );
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if let Ok(server) = HeaderValue::from_str(&format!("kong/{VERSION}")) {
            headers.insert(SERVER, server);
        }
        if let Some(allow) = self
            .allow
            .and_then(|allow| HeaderValue::from_str(&allow).ok())
        {
            headers.insert(ALLOW, allow);
        }
        response
    }
}
