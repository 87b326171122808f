//! `kong.response` and `kong.service.response`.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::request::{bounded, first, grouped};
use super::{Named, Phase, Single, Throw};
use crate::proxy::State;
use crate::proxy::{
    Exchange, Exit, Source, error_template, error_text, html_page, response_type,
    upstream_error_type,
};

/// What `kong.response.exit` answers with.
#[derive(Debug, Clone)]
pub(crate) enum ExitBody {
    None,
    Raw(Bytes),
    /// A Lua table: JSON, with its content type.
    Json(serde_json::Value),
}

impl Exchange {
    /// `kong.response.get_status`.
    pub(crate) fn response_status(&self) -> u16 {
        self.state().response.status
    }

    /// `kong.response.get_header`.
    pub(crate) fn response_header(&self, name: &[u8]) -> Option<Vec<u8>> {
        first(&self.response_header_map(), name)
    }

    /// `kong.response.get_headers`.
    pub(crate) fn response_headers(&self, maximum: i64) -> Result<Vec<Named>, Throw> {
        Ok(grouped(
            &self.response_header_map(),
            bounded("max_headers", maximum)?,
        ))
    }

    /// As nginx lists them: `connection` is made up from whether the connection is kept.
    pub(crate) fn response_header_map(&self) -> HeaderMap {
        let state = self.state();
        let mut headers = state.response.headers.clone();
        let kept = !matches!(state.phase, Phase::Log | Phase::LogTimer);
        headers.insert(
            "connection",
            HeaderValue::from_static(if kept { "keep-alive" } else { "close" }),
        );
        headers
    }

    /// `kong.response.get_source`.
    pub(crate) fn response_source(&self) -> &'static str {
        match self.state().source {
            Source::Service => "service",
            Source::Exit => "exit",
            Source::Error => "error",
        }
    }

    /// `kong.response.set_status`.
    pub(crate) fn set_response_status(&self, status: i64) -> Result<(), Throw> {
        self.state().response.status = status_code(status, 100)?;
        Ok(())
    }

    /// `kong.response.set_header`: replaces.
    pub(crate) fn set_response_header(&self, name: &[u8], values: &[Vec<u8>]) -> Result<(), Throw> {
        replace(&mut self.state().response.headers, name, values)
    }

    /// `kong.response.add_header`.
    pub(crate) fn add_response_header(&self, name: &[u8], values: &[Vec<u8>]) -> Result<(), Throw> {
        append(&mut self.state().response.headers, name, values)
    }

    /// `kong.response.clear_header`.
    pub(crate) fn clear_response_header(&self, name: &[u8]) {
        remove(&mut self.state().response.headers, name);
    }

    /// `kong.response.exit`: the answer is decided; the rest of the phase is skipped, `log` still runs.
    pub(crate) fn exit(
        &self,
        status: i64,
        body: ExitBody,
        headers: &[(Vec<u8>, Vec<Vec<u8>>)],
    ) -> Result<(), Throw> {
        let mut state = self.state();
        if state.phase == Phase::HeaderFilter {
            return Err(Throw::new(
                "the stand-in has no kong.response.exit in header_filter; a real Kong has it",
            ));
        }
        let status = status_code(status, 100)?;
        let mut own = HeaderMap::new();
        for (name, values) in headers {
            replace(&mut own, name, values)?;
        }
        let body = match body {
            ExitBody::None if status >= 300 => self.nginx_page(&state, status, &mut own),
            ExitBody::None => Bytes::new(),
            ExitBody::Raw(bytes) => bytes,
            ExitBody::Json(value) => {
                own.entry(CONTENT_TYPE)
                    .or_insert(HeaderValue::from_static("application/json; charset=utf-8"));
                value.to_string().into()
            }
        };
        own.entry(CONTENT_LENGTH).or_insert(body.len().into());
        if state.exit.is_none() {
            state.exit = Some(Exit {
                status,
                body,
                headers: own,
            });
            state.source = Source::Exit;
        }
        Ok(())
    }

    /// What nginx puts in place of an answer without a body: the error page that Kong configured, or its own.
    fn nginx_page(&self, state: &State, status: u16, own: &mut HeaderMap) -> Bytes {
        const CONFIGURED: [u16; 14] = [
            400, 404, 405, 408, 411, 412, 413, 414, 417, 494, 500, 502, 503, 504,
        ];
        let sent = |name| {
            state
                .headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let (media_type, page) = if CONFIGURED.contains(&status) {
            let media_type = upstream_error_type(sent("accept"), sent("content-type"));
            (
                media_type,
                error_template(media_type, &error_text(status), &self.request_id),
            )
        } else {
            ("text/html", html_page(status))
        };
        own.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        page.into()
    }

    /// `kong.response.error`: exit with Kong's error body, in the type that the client accepts.
    pub(crate) fn error(
        &self,
        status: u16,
        message: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<(), Throw> {
        let accept = self
            .header(b"accept")
            .map(|value| String::from_utf8_lossy(&value).into_owned());
        let media_type = response_type(accept.as_deref());
        let message = message.map_or_else(|| error_text(status), str::to_owned);
        let body = error_template(media_type, &message, &self.request_id);
        let mut headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), vec![value.as_bytes().to_vec()]))
            .collect();
        headers.push((
            b"content-type".to_vec(),
            vec![media_type.as_bytes().to_vec()],
        ));
        self.exit(i64::from(status), ExitBody::Raw(body.into()), &headers)
    }

    /// A thrown error in a phase before the answer.
    pub(crate) fn unexpected_error(&self) {
        let body = ExitBody::Json(
            json!({"message": "An unexpected error occurred", "request_id": self.request_id}),
        );
        let mut state = self.state();
        state.exit = None;
        drop(state);
        if let Err(error) = self.exit(500, body, &[]) {
            tracing::error!(%error, "no answer could be made");
        }
        self.state().source = Source::Error;
    }

    /// `kong.service.response.get_status`.
    pub(crate) fn service_status(&self) -> Option<u16> {
        self.state().upstream_status
    }

    /// `kong.service.response.get_header`.
    pub(crate) fn service_header(&self, name: &[u8]) -> Option<Vec<u8>> {
        first(&self.state().upstream_headers, name)
    }

    /// `kong.service.response.get_headers`. With a buffered answer, as in the `response` phase, Kong's table cannot be
    /// listed and shows nothing.
    pub(crate) fn service_headers(&self, maximum: i64) -> Result<Vec<Named>, Throw> {
        let maximum = bounded("max_headers", maximum)?;
        let state = self.state();
        Ok(if state.buffered_body.is_some() {
            Vec::new()
        } else {
            grouped(&state.upstream_headers, maximum)
        })
    }

    /// `kong.service.response.get_raw_body`: only of a buffered answer.
    pub(crate) fn service_body(&self) -> Result<Bytes, Throw> {
        let buffered = self.state().buffered_body.clone();
        buffered.ok_or_else(|| Throw::new("service body is only available with buffered proxying"))
    }
}

fn status_code(status: i64, minimum: u16) -> Result<u16, Throw> {
    u16::try_from(status)
        .ok()
        .filter(|status| (minimum..=599).contains(status))
        .ok_or_else(|| Throw(format!("code must be a number between {minimum} and 599")))
}

/// Kong turns an empty value into a space, since nginx drops empty headers.
fn validate_header(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), Throw> {
    let invalid = || {
        Throw(format!(
            "invalid header {:?}",
            String::from_utf8_lossy(name)
        ))
    };
    let name = HeaderName::from_bytes(name).map_err(|_| invalid())?;
    let value = HeaderValue::from_bytes(if value.is_empty() { b" " } else { value })
        .map_err(|_| invalid())?;
    Ok((name, value))
}

pub(super) fn replace(
    headers: &mut HeaderMap,
    name: &[u8],
    values: &[Vec<u8>],
) -> Result<(), Throw> {
    remove(headers, name);
    append(headers, name, values)
}

pub(super) fn append(
    headers: &mut HeaderMap,
    name: &[u8],
    values: &[Vec<u8>],
) -> Result<(), Throw> {
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        tracing::warn!("manually setting Transfer-Encoding is ignored");
        return Ok(());
    }
    for value in values {
        let (name, value) = validate_header(name, value)?;
        headers.append(name, value);
    }
    Ok(())
}

pub(super) fn remove(headers: &mut HeaderMap, name: &[u8]) {
    if let Ok(name) = HeaderName::from_bytes(name) {
        headers.remove(name);
    }
}

impl Single {
    /// The text, unless it is a flag.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag => None,
        }
    }
}
