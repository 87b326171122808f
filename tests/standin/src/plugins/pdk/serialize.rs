//! `kong.log.serialize`: what logging plugins write.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::request::grouped;
use super::{Named, Single};
use crate::proxy::{Exchange, Source};
use crate::store::Entity;

impl Exchange {
    /// The request as one JSON object. `authorization` headers are redacted.
    pub(crate) fn serialize(&self) -> Value {
        let response_headers = self.response_header_map();
        let query = self.query(100).unwrap_or_default();
        let state = self.state();
        let mut request_headers = header_object(&state.headers);
        for name in ["authorization", "proxy-authorization"] {
            if let Some(value) = request_headers.get_mut(name) {
                *value = "REDACTED".into();
            }
        }
        let mut root = json!({
            "request": {
                "id": self.request_id,
                "uri": self.original.target,
                "url": format!("http://{}:{}{}", self.host(), self.connection.server.port(), self.original.target),
                "querystring": object(&query),
                "method": state.method.as_str(),
                "headers": request_headers,
                "size": state.bytes_received,
            },
            "upstream_uri": state.target.as_ref().map_or(String::new(), |target| target.path_and_query(state.query.as_deref())),
            "upstream_status": state.upstream_status.map_or(String::new(), |status| status.to_string()),
            "response": {
                "status": state.response.status,
                "headers": header_object(&response_headers),
                "size": state.bytes_sent,
            },
            "latencies": {
                "kong": state.latencies.kong,
                "proxy": state.latencies.waiting.map_or(-1, |waiting| i64::try_from(waiting).unwrap_or(i64::MAX)),
                "request": state.latencies.total,
                "receive": state.latencies.receive,
            },
            "client_ip": self.connection.client.ip().to_string(),
            "started_at": self.started_ms,
            "source": match state.source {
                Source::Service => "upstream",
                Source::Exit | Source::Error => "kong",
            },
            "workspace": self.compiled.workspace,
            "workspace_name": "default",
        });
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                root[name] = value;
            }
        };
        let matched = state.matched.as_ref();
        add(
            "route",
            matched.map(|matched| entity(&matched.route.entity)),
        );
        add(
            "service",
            matched
                .and_then(|matched| matched.service.as_ref())
                .map(|service| entity(&service.entity)),
        );
        add(
            "consumer",
            state
                .consumer
                .as_ref()
                .map(|consumer| entity(&consumer.entity)),
        );
        add(
            "tries",
            (!state.tries.is_empty()).then(|| Value::Array(state.tries.clone())),
        );
        add(
            "authenticated_entity",
            state
                .credential
                .as_ref()
                .map(|credential| json!({"id": credential.id})),
        );
        for (path, value) in &state.serialize_values {
            set_path(&mut root, path, value.clone());
        }
        root
    }
}

fn entity(entity: &Entity) -> Value {
    Value::Object(
        entity
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    )
}

fn header_object(headers: &HeaderMap) -> Map<String, Value> {
    object(&grouped(headers, 100))
}

fn object(named: &[Named]) -> Map<String, Value> {
    let single = |value: &Single| match value {
        Single::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        Single::Flag => Value::Bool(true),
    };
    let value = |values: &[Single]| match values {
        [only] => single(only),
        many => many.iter().map(single).collect(),
    };
    named
        .iter()
        .map(|(name, values)| (String::from_utf8_lossy(name).into_owned(), value(values)))
        .collect()
}

/// `a.b.c` creates the objects on its way; null removes.
fn set_path(root: &mut Value, path: &str, value: Value) {
    let mut place = root;
    for segment in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[segment];
    }
    *place = value;
}
