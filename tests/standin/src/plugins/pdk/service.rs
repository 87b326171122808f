//! `kong.service` and `kong.service.request`: what the upstream gets.

use bytes::Bytes;
use http::Method;

use super::Throw;
use super::response::{append, remove, replace};
use crate::proxy::{Exchange, escape};

const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "DELETE",
    "OPTIONS",
    "MKCOL",
    "COPY",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
    "TRACE",
];

impl Exchange {
    /// `kong.service.set_upstream`: whether there is such an upstream. With a service whose host is an address, Kong
    /// takes the name for an address and the request ends in 500.
    pub(crate) fn set_upstream(&self, name: &str) -> Result<Option<bool>, Throw> {
        if !self.compiled.has_upstream(name) {
            return Ok(None);
        }
        let mut state = self.state();
        let target = state.target.as_mut().ok_or_else(no_service)?;
        target.broken = target.host.parse::<std::net::IpAddr>().is_ok();
        name.clone_into(&mut target.host);
        Ok(Some(true))
    }

    /// `kong.service.set_target`: also the `Host` that the upstream sees.
    pub(crate) fn set_target(&self, host: &str, port: i64) -> Result<(), Throw> {
        let port = u16::try_from(port)
            .map_err(|_| Throw::new("port must be an integer between 0 and 65535"))?;
        let mut state = self.state();
        let target = state.target.as_mut().ok_or_else(no_service)?;
        host.clone_into(&mut target.host);
        target.port = port;
        target.host_header = Some(host.to_owned());
        Ok(())
    }

    /// `kong.service.request.set_scheme`.
    pub(crate) fn set_scheme(&self, scheme: &str) -> Result<(), Throw> {
        if !["http", "https"].contains(&scheme) {
            return Err(Throw(format!("invalid scheme: {scheme}")));
        }
        if let Some(target) = &mut self.state().target {
            scheme.clone_into(&mut target.scheme);
        }
        Ok(())
    }

    /// `kong.service.request.set_path`.
    pub(crate) fn set_path(&self, path: &[u8]) -> Result<(), Throw> {
        if !path.starts_with(b"/") {
            return Err(Throw::new("path must start with /"));
        }
        if let Some(target) = &mut self.state().target {
            target.path = escape(path);
        }
        Ok(())
    }

    /// `kong.service.request.set_raw_query`.
    pub(crate) fn set_raw_query(&self, query: &[u8]) {
        self.state().query = Some(escape(query)).filter(|query| !query.is_empty());
    }

    /// `kong.service.request.set_query`: sorted by name; `true` is a flag, `false` leaves the name out.
    pub(crate) fn set_query(&self, arguments: &[(Vec<u8>, QueryValue)]) {
        let mut parts = Vec::new();
        for (name, value) in arguments {
            let name = encode_component(name);
            match value {
                QueryValue::Flag(true) => parts.push(name),
                QueryValue::Flag(false) => {}
                QueryValue::Texts(texts) => {
                    let pairs: Vec<_> = texts
                        .iter()
                        .map(|text| format!("{name}={}", encode_component(text)))
                        .collect();
                    parts.push(pairs.join("&"));
                }
            }
        }
        parts.sort();
        self.state().query = Some(parts.join("&")).filter(|query| !query.is_empty());
    }

    /// `kong.service.request.clear_query_arg`.
    pub(crate) fn clear_query_argument(&self, name: &[u8]) {
        let mut state = self.state();
        let Some(query) = state.query.take() else {
            return;
        };
        let name = encode_component(name);
        let kept: Vec<_> = query
            .split('&')
            .filter(|pair| pair.split_once('=').map_or(*pair, |(of, _)| of) != name)
            .collect();
        state.query = Some(kept.join("&")).filter(|query| !query.is_empty());
    }

    /// `kong.service.request.set_method`.
    pub(crate) fn set_method(&self, method: &str) -> Result<(), Throw> {
        if !METHODS.contains(&method) {
            return Err(Throw(format!("invalid method: {method}")));
        }
        self.state().method =
            Method::from_bytes(method.as_bytes()).map_err(|error| Throw(error.to_string()))?;
        Ok(())
    }

    /// `kong.service.request.set_header`: replaces. `Host` overrides what the upstream would see.
    pub(crate) fn set_request_header(&self, name: &[u8], values: &[Vec<u8>]) -> Result<(), Throw> {
        self.note_host(name, values);
        replace(&mut self.state().headers, name, values)
    }

    /// `kong.service.request.add_header`.
    pub(crate) fn add_request_header(&self, name: &[u8], values: &[Vec<u8>]) -> Result<(), Throw> {
        self.note_host(name, values);
        append(&mut self.state().headers, name, values)
    }

    /// `kong.service.request.clear_header`.
    pub(crate) fn clear_request_header(&self, name: &[u8]) {
        remove(&mut self.state().headers, name);
    }

    /// `kong.service.request.set_raw_body`.
    pub(crate) fn set_request_body(&self, body: Bytes) {
        self.state().replaced_body = Some(body);
    }

    fn note_host(&self, name: &[u8], values: &[Vec<u8>]) {
        if name.eq_ignore_ascii_case(b"host")
            && let Some(value) = values.first()
            && let Some(target) = &mut self.state().target
        {
            target.host_header = Some(String::from_utf8_lossy(value).into_owned());
        }
    }
}

/// A value for [`Exchange::set_query`].
#[derive(Debug, Clone)]
pub(crate) enum QueryValue {
    Flag(bool),
    Texts(Vec<Vec<u8>>),
}

fn no_service() -> Throw {
    Throw::new("attempt to index field 'balancer_data' (a nil value)")
}

fn encode_component(text: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-_.~!*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
