//! One call of the Admin API, read whole.

use axum::body::Bytes;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::form;
use crate::schema::Schema;
use crate::store::PageRequest;

/// A call: where to, and with what.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The path's parts, decoded.
    pub(super) segments: Vec<String>,
    query: Vec<(String, String)>,
    /// The body's members, if it is JSON or a form.
    pub(super) body: Map<String, Value>,
    is_form: bool,
    /// The body as it came.
    pub(super) raw: Bytes,
}

impl Call {
    /// Reads a request; what cannot be read is answered at once.
    pub(super) fn read(parts: &Parts, raw: Bytes) -> Result<Self, Answer> {
        let path = parts.uri.path();
        let segments: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decode)
            .collect();
        let query = parts.uri.query().unwrap_or_default();
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let mut call = Self {
            method: parts.method.clone(),
            segments,
            query,
            body: Map::new(),
            is_form: false,
            raw,
        };
        if matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
            let content_type = parts
                .headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            call.read_body(content_type.map(str::to_ascii_lowercase).as_deref())?;
        }
        Ok(call)
    }

    fn read_body(&mut self, content_type: Option<&str>) -> Result<(), Answer> {
        let is =
            |kind: &str| content_type.is_some_and(|content_type| content_type.starts_with(kind));
        if is("application/json") {
            let body = serde_json::from_slice(&self.raw)
                .ok()
                .and_then(|body| match body {
                    Value::Object(body) => Some(body),
                    // An empty list and an empty table are one in Lua.
                    Value::Array(items) if items.is_empty() => Some(Map::new()),
                    _ => None,
                });
            self.body = body.ok_or_else(|| Answer::message(400, "Cannot parse JSON body"))?;
        } else if is("application/x-www-form-urlencoded") {
            self.is_form = true;
            self.body = form::decode(&self.raw);
        } else if !(self.raw.is_empty() && content_type.is_none()) {
            let yaml = is("text/yaml") || is("application/yaml");
            if !(yaml && self.segments == ["config"]) {
                return Err(Answer::empty(415));
            }
        }
        Ok(())
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `size` and `offset`.
    pub(super) fn page(&self) -> PageRequest {
        let own = |name| self.parameter(name).map(str::to_owned);
        PageRequest {
            size: own("size"),
            offset: own("offset"),
        }
    }

    /// The body as an entity; what a form says as text gets the types of the schema.
    pub(super) fn entity(&self, schema: &Schema) -> Map<String, Value> {
        let mut entity = self.body.clone();
        if self.is_form {
            form::infer(schema.record(&entity.clone()), &mut entity);
        }
        entity
    }
}

/// Percent-decoding; what is not UTF-8 is replaced.
fn decode(segment: &str) -> String {
    // A `+` is a plus in a path: it is spared from the form decoding.
    let spared = segment.replace('+', "%2B");
    url::form_urlencoded::parse(spared.as_bytes())
        .next()
        .map_or_else(String::new, |(key, value)| {
            if value.is_empty() && !spared.contains('=') {
                key.into_owned()
            } else {
                format!("{key}={value}")
            }
        })
}

/// Percent-encoding of all but unreserved characters.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_segment_survives_coding() {
        for text in ["127.0.0.1:9955", "a b", "a+b", "ü", "a=b"] {
            assert_eq!(decode(&encode(text)), text);
        }
        assert_eq!(encode("a,b"), "a%2Cb");
    }
}
