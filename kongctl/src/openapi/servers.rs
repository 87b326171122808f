//! Services and upstreams from `servers` and their defaults.
//!
//! One server is a service with its host; several, or upstream defaults, are an upstream with targets, which the service names.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Converter, Level, Mistake, plugins};
use crate::state::node::Node;

/// A server's address with its variables' defaults put in.
#[derive(Clone)]
pub(super) struct Server {
    url: String,
    node: Arc<Node>,
}

/// The servers that a node lists.
pub(super) fn read(node: &Node) -> Vec<Server> {
    let servers = node
        .get("servers")
        .map_or(&[][..], |servers| servers.items());
    servers
        .iter()
        .map(|server| {
            let mut url = server
                .get("url")
                .and_then(|url| url.as_str())
                .unwrap_or_default()
                .to_owned();
            let variables = server
                .get("variables")
                .map_or(&[][..], |node| node.entries());
            for variable in variables {
                let default = variable
                    .node
                    .get("default")
                    .map(|default| default.to_json());
                let default = match default {
                    Some(Value::String(text)) => text,
                    Some(other) if !other.is_null() => other.to_string(),
                    _ => String::new(),
                };
                url = url.replace(&format!("{{{}}}", variable.key), &default);
            }
            Server {
                url,
                node: server.clone(),
            }
        })
        .collect()
}

/// The parts of an address, `None` where it does not say them.
#[derive(Clone, Debug, PartialEq)]
struct Address {
    scheme: Option<String>,
    host: String,
    port: Option<String>,
    path: String,
}

impl Address {
    /// A path alone, or `scheme://host:port/path`; its query counts for nothing.
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme.to_ascii_lowercase()), rest),
            _ if url.starts_with('/') => (None, url),
            _ => return None,
        };
        let rest = rest.split('?').next().unwrap_or_default();
        let (authority, path) = match (&scheme, rest.find('/')) {
            (None, _) => ("", rest),
            (Some(_), Some(slash)) => rest.split_at(slash),
            (Some(_), None) => (rest, ""),
        };
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
            return None;
        }
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        Some(Self {
            scheme,
            host: host.to_owned(),
            port: port.filter(|port| !port.is_empty()).map(str::to_owned),
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.into_owned()
            },
        })
    }

    /// With what it does not say: `localhost`, the scheme of the port or the one given, the port of the scheme.
    fn filled(mut self, scheme: &str) -> Self {
        if self.host.is_empty() {
            "localhost".clone_into(&mut self.host);
        }
        let scheme = self.scheme.get_or_insert_with(|| {
            match self.port.as_deref() {
                Some("80") => "http",
                Some("443") => "https",
                _ => scheme,
            }
            .to_owned()
        });
        if self.port.is_none() {
            self.port = match scheme.as_str() {
                "http" => Some("80".to_owned()),
                "https" => Some("443".to_owned()),
                _ => None,
            };
        }
        self
    }

    fn target(&self) -> String {
        match &self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// What a service is made from, to find another that is made from the same.
pub(super) fn key(level: &Level) -> String {
    let addresses: Vec<String> = level
        .servers
        .iter()
        .map(|server| match Address::parse(&server.url) {
            Some(address) => format!("{:?}", address.filled("https")),
            None => server.url.clone(),
        })
        .collect();
    format!("{addresses:?}{:?}{:?}", level.service, level.upstream)
}

/// A list in an entity, made where it lacks.
pub(super) fn list<'m>(map: &'m mut Map<String, Value>, name: &str) -> &'m mut Vec<Value> {
    let slot = map.entry(name).or_insert_with(|| json!([]));
    if !slot.is_array() {
        *slot = json!([]);
    }
    slot.as_array_mut().expect("the slot was just made a list")
}

impl Converter<'_> {
    /// The service of a level, with its upstream if it needs one.
    pub(super) fn service(
        &self,
        node: &Arc<Node>,
        name: &str,
        level: &Level,
    ) -> Result<(Map<String, Value>, Option<Value>), Mistake> {
        let mut service = object(level.service.as_ref());
        if let Some(id) = self.id(&format!("{name}.service")) {
            service.insert("id".to_owned(), json!(id));
        }
        service.insert("name".to_owned(), json!(name));
        service.insert("tags".to_owned(), json!(self.tags));
        let said = |service: &Map<String, Value>, field: &str| {
            service.get(field).is_some_and(|value| !value.is_null())
        };
        let protocol = match service.get("protocol") {
            None | Some(Value::Null) => None,
            Some(Value::String(protocol)) => Some(protocol.clone()),
            Some(_) => {
                return Err(Mistake::at(
                    node,
                    "`protocol` in `x-kong-service-defaults` is a string",
                ));
            }
        };
        let addresses = addresses(&level.servers, protocol.as_deref().unwrap_or("https"))?;
        let first = addresses[0].clone();
        let scheme = protocol
            .or(first.scheme.clone())
            .unwrap_or_else(|| "https".to_owned());
        if !said(&service, "protocol") {
            service.insert("protocol".to_owned(), json!(scheme));
        }
        if !said(&service, "path") {
            service.insert("path".to_owned(), json!(first.path));
        }
        if !said(&service, "port") {
            let port = match &first.port {
                Some(port) => port.parse::<u16>().map_err(|_| {
                    let at = level.servers.first().map_or(node, |server| &server.node);
                    Mistake::at(at, format!("port {port} is out of range"))
                })?,
                None if scheme == "http" => 80,
                None => 443,
            };
            service.insert("port".to_owned(), json!(port));
        }
        let mut upstream = None;
        if !said(&service, "host") {
            let host = if addresses.len() == 1 && level.upstream.is_none() {
                first.host.trim_matches(['[', ']']).to_owned()
            } else {
                let name = format!("{name}.upstream");
                upstream = Some(self.upstream(node, &name, level)?);
                name
            };
            service.insert("host".to_owned(), json!(host));
        }
        service.insert("plugins".to_owned(), json!([]));
        service.insert("routes".to_owned(), json!([]));
        let Value::Object(service) = plugins::in_order(&service) else {
            unreachable!("a map in order is a map")
        };
        Ok((service, upstream))
    }

    fn upstream(&self, node: &Arc<Node>, name: &str, level: &Level) -> Result<Value, Mistake> {
        let mut upstream = object(level.upstream.as_ref());
        if let Some(id) = self.id(name) {
            upstream.insert("id".to_owned(), json!(id));
        }
        upstream.insert("name".to_owned(), json!(name));
        upstream.insert("tags".to_owned(), json!(self.tags));
        let targets = match upstream.shift_remove("targets") {
            None | Some(Value::Null) => addresses(&level.servers, "https")?
                .iter()
                .map(|address| json!({ "target": address.target(), "tags": self.tags }))
                .collect(),
            Some(Value::Array(targets)) => targets
                .into_iter()
                .map(|mut target| match target.as_object_mut() {
                    Some(map) => {
                        map.insert("tags".to_owned(), json!(self.tags));
                        Ok(target)
                    }
                    None => Err(Mistake::at(
                        node,
                        "each of an upstream's `targets` is a map",
                    )),
                })
                .collect::<Result<Vec<_>, _>>()?,
            Some(_) => return Err(Mistake::at(node, "an upstream's `targets` are a list")),
        };
        upstream.insert("targets".to_owned(), Value::Array(targets));
        Ok(plugins::in_order(&upstream))
    }
}

/// The servers' addresses; without any, `/` on this host.
fn addresses(servers: &[Server], scheme: &str) -> Result<Vec<Address>, Mistake> {
    if servers.is_empty() {
        let root = Address {
            scheme: None,
            host: String::new(),
            port: None,
            path: "/".to_owned(),
        };
        return Ok(vec![root.filled(scheme)]);
    }
    servers
        .iter()
        .map(|server| {
            let address = Address::parse(&server.url).ok_or_else(|| {
                Mistake::at(
                    &server.node,
                    format!("`{}` is no address of a server", server.url),
                )
                .with_help("write https://host/path, or /path for this host")
            })?;
            Ok(address.filled(scheme))
        })
        .collect()
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}
