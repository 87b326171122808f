//! Shorthands: fields that stand for others, `url` of a service above all.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a shorthand's value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expansion {
    /// `url`: protocol, host, port and path of a service.
    ServiceUrl,
    /// An upstream's `algorithm`, which decides about `hash_on`.
    BalancingAlgorithm,
    /// An upstream's `hash_on`, which decides about the algorithm.
    HashInput,
}

impl Expansion {
    /// The fields that the value stands for.
    pub(crate) fn expand(self, value: &Value) -> Map<String, Value> {
        let fields = match self {
            Self::ServiceUrl => service_url(value.as_str().unwrap_or_default()),
            Self::BalancingAlgorithm => match value.as_str() {
                Some("least-connections" | "latency") => {
                    json!({"algorithm": value, "hash_on": null})
                }
                _ => json!({"algorithm": value}),
            },
            Self::HashInput => match value.as_str() {
                None => json!({"hash_on": "none"}),
                Some("none") => json!({"hash_on": "none", "algorithm": "round-robin"}),
                Some(_) => json!({"hash_on": value, "algorithm": "consistent-hashing"}),
            },
        };
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

/// Splits as leniently as Kong does: what is missing is null, or follows from the rest; the schema judges the parts.
fn service_url(text: &str) -> Value {
    let (scheme, rest) = text
        .split_once("://")
        .map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(index) => rest.split_at(index),
        None => (rest, ""),
    };
    // Without `//` there is no authority: all of it is a path.
    let (authority, path) = if scheme.is_some() {
        (authority, path)
    } else {
        ("", rest)
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = port.map(|port| {
        port.parse::<i64>()
            .map_or_else(|_| Value::from(port), Value::from)
    });
    let implied = match port.as_ref().and_then(Value::as_i64) {
        Some(443) => "https",
        _ => "http",
    };
    let protocol = scheme.unwrap_or(implied).to_ascii_lowercase();
    let port = port.unwrap_or_else(|| Value::from(if protocol == "https" { 443 } else { 80 }));
    json!({
        "protocol": protocol,
        "host": (!host.is_empty()).then(|| host.trim_matches(['[', ']'])),
        "port": port,
        "path": (!path.is_empty()).then_some(path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_protocol_host_port_and_path() {
        assert_eq!(
            service_url("http://127.0.0.1:9955/v1"),
            json!({"protocol": "http", "host": "127.0.0.1", "port": 9955, "path": "/v1"})
        );
        assert_eq!(
            service_url("https://llm.example"),
            json!({"protocol": "https", "host": "llm.example", "port": 443, "path": null})
        );
    }
}
