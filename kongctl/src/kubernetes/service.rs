//! Services, what they stand for, and how requests are spread over it.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::state::Entity;

use super::Converter;
use super::object::Object;

/// A Service that a route's requests go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) port: u64,
    /// Its share among the route's; `None` where it is alone.
    pub(super) weight: Option<u64>,
}

/// A host and port that a Service stands for.
#[derive(Clone, Debug)]
struct Endpoint {
    host: String,
    port: u64,
    weight: u64,
}

/// Kong's own defaults for a service.
const PORT: u64 = 80;
const WEIGHT: u64 = 100;
/// The port of a target that names none.
const TARGET_PORT: u64 = 8000;

impl<'a> Converter<'a> {
    pub(super) fn services(&mut self) {
        for entity in self.inventory.of_kind(Kind::Upstream) {
            self.policy(entity);
        }
        for entity in self.inventory.of_kind(Kind::Service) {
            self.service(entity);
        }
    }

    /// The Services of a Kong service, as its routes refer to them.
    pub(super) fn backends_of(&mut self, service: &Entity) -> Vec<Backend> {
        let endpoints = self.endpoints_of(service);
        let groups = groups(&endpoints);
        let alone = groups.len() == 1;
        let mut backends = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let word = if alone {
                service.label.clone()
            } else {
                format!("{}-{}", service.label, index + 1)
            };
            backends.push(Backend {
                name: self.names.of("Service", &word),
                port: group[0].port,
                weight: (!alone).then(|| group.iter().map(|endpoint| endpoint.weight).sum()),
            });
        }
        backends
    }

    fn service(&mut self, entity: &Entity) {
        if is_disabled(entity) {
            self.lose(
                entity,
                "a Service cannot be disabled: it and its routes are left out",
            );
            return;
        }
        let endpoints = self.endpoints_of(entity);
        let upstream = self.upstream_of(entity);
        let groups = groups(&endpoints);
        let backends = self.backends_of(entity);
        if groups.is_empty() {
            self.lose(entity, "its upstream has no target");
        }
        for (group, backend) in groups.iter().zip(backends) {
            let object = self.annotated(
                Object::new("v1", "Service", &backend.name),
                entity,
                upstream,
            );
            let ports = json!([{ "name": "kong", "port": backend.port, "targetPort": backend.port, "protocol": "TCP" }]);
            let host = &group[0].host;
            if host.parse::<IpAddr>().is_err() {
                let spec = json!({ "type": "ExternalName", "externalName": host, "ports": ports });
                self.push(object.with("spec", spec));
                continue;
            }
            self.push(object.with("spec", json!({ "ports": ports })));
            let is_v6 = host.contains(':');
            let addresses: Vec<Value> = group
                .iter()
                .map(|endpoint| json!({ "addresses": [endpoint.host], "conditions": { "ready": true } }))
                .collect();
            let slice = Object::new("discovery.k8s.io/v1", "EndpointSlice", &backend.name)
                .label("kubernetes.io/service-name", &backend.name)
                .with("addressType", if is_v6 { "IPv6" } else { "IPv4" })
                .with(
                    "ports",
                    json!([{ "name": "kong", "port": backend.port, "protocol": "TCP" }]),
                )
                .with("endpoints", addresses);
            self.push(slice);
        }
        self.lose_fields(
            entity,
            &[
                "name",
                "host",
                "port",
                "protocol",
                "path",
                "connect_timeout",
                "read_timeout",
                "write_timeout",
                "retries",
                "tls_verify",
                "tls_verify_depth",
                "client_certificate",
                "ca_certificates",
                "enabled",
                "tags",
            ],
        );
    }

    /// A Service with what the controller reads from its annotations.
    fn annotated(&mut self, object: Object, entity: &Entity, upstream: Option<&Entity>) -> Object {
        let mut object = self.with_plugins(object, entity).tags_of(entity);
        for (field, annotation) in [
            ("protocol", "protocol"),
            ("path", "path"),
            ("connect_timeout", "connect-timeout"),
            ("read_timeout", "read-timeout"),
            ("write_timeout", "write-timeout"),
            ("retries", "retries"),
            ("tls_verify", "tls-verify"),
            ("tls_verify_depth", "tls-verify-depth"),
        ] {
            object = object.kong_field(entity, field, annotation);
        }
        if let Some(certificate) = entity
            .reference("client_certificate")
            .and_then(|id| self.inventory.get(Kind::Certificate, id))
        {
            object = object.kong("client-cert", self.certificate_name(certificate));
        }
        let authorities: Vec<String> = entity
            .references()
            .filter(|(field, ..)| *field == "ca_certificates")
            .filter_map(|(_, kind, id, _)| self.inventory.get(kind, id))
            .map(|authority| self.authority_name(authority))
            .collect();
        if !authorities.is_empty() {
            object = object.kong("ca-certificates-secrets", authorities.join(","));
        }
        if let Some(upstream) = upstream {
            object = object.kong_field(upstream, "host_header", "host-header");
            if has_policy(upstream) {
                object = object.kong(
                    "upstream-policy",
                    self.names.of("KongUpstreamPolicy", &upstream.label),
                );
            }
        }
        object
    }

    /// The upstream that a service's host names.
    fn upstream_of(&self, service: &Entity) -> Option<&'a Entity> {
        let host = service.body.get("host")?.as_str()?;
        self.inventory
            .of_kind(Kind::Upstream)
            .find(|upstream| upstream.body.get("name").and_then(Value::as_str) == Some(host))
    }

    fn endpoints_of(&self, service: &Entity) -> Vec<Endpoint> {
        let Some(upstream) = self.upstream_of(service) else {
            let host = service.body.get("host").and_then(Value::as_str);
            let port = service.body.get("port").and_then(Value::as_u64);
            return vec![Endpoint {
                host: unbracketed(host.unwrap_or_default()),
                port: port.unwrap_or(PORT),
                weight: WEIGHT,
            }];
        };
        self.inventory
            .of_kind(Kind::Target)
            .filter(|target| target.reference("upstream") == Some(&upstream.id))
            .filter_map(|target| {
                let address = target.body.get("target")?.as_str()?;
                let (host, port) = split(address);
                let weight = target.body.get("weight").and_then(Value::as_u64);
                Some(Endpoint {
                    host,
                    port,
                    weight: weight.unwrap_or(WEIGHT),
                })
            })
            .collect()
    }

    fn policy(&mut self, upstream: &Entity) {
        let is_used = self.inventory.of_kind(Kind::Service).any(|service| {
            service.body.get("host").and_then(Value::as_str)
                == upstream.body.get("name").and_then(Value::as_str)
        });
        if !is_used {
            self.lose(upstream, "no service sends anything to it");
        }
        self.lose_fields(
            upstream,
            &[
                "name",
                "algorithm",
                "slots",
                "hash_on",
                "hash_on_header",
                "hash_on_cookie",
                "hash_on_cookie_path",
                "hash_on_query_arg",
                "hash_on_uri_capture",
                "hash_fallback",
                "hash_fallback_header",
                "hash_fallback_query_arg",
                "hash_fallback_uri_capture",
                "healthchecks",
                "host_header",
                "tags",
            ],
        );
        if !is_used || !has_policy(upstream) {
            return;
        }
        let name = self.names.of("KongUpstreamPolicy", &upstream.label);
        let object = Object::new(
            "configuration.konghq.com/v1beta1",
            "KongUpstreamPolicy",
            &name,
        )
        .class(&self.options.class)
        .with("spec", policy(&upstream.body));
        self.push(object);
    }
}

/// True if Kong sends nothing to the service.
pub(super) fn is_disabled(service: &Entity) -> bool {
    service.body.get("enabled") == Some(&json!(false))
}

/// True if the upstream says more than where its targets are.
fn has_policy(upstream: &Entity) -> bool {
    ["algorithm", "slots", "hash_on", "healthchecks"]
        .iter()
        .any(|field| {
            upstream
                .body
                .get(*field)
                .is_some_and(|value| !value.is_null())
        })
}

fn policy(body: &Map<String, Value>) -> Value {
    let mut spec = Map::new();
    for field in ["algorithm", "slots"] {
        if let Some(value) = body.get(field).filter(|value| !value.is_null()) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    // The controller takes a hash only where the algorithm has one.
    if body.get("algorithm") == Some(&json!("consistent-hashing")) {
        // A cookie that is missing is made: there is nothing to fall back to.
        let has_fallback = body.get("hash_on") != Some(&json!("cookie"));
        for (prefix, to) in [("hash_on", "hashOn"), ("hash_fallback", "hashOnFallback")] {
            if prefix == "hash_fallback" && !has_fallback {
                continue;
            }
            if let Some(hash) = hash(body, prefix) {
                spec.insert(to.to_owned(), hash);
            }
        }
    }
    if let Some(checks) = body.get("healthchecks").filter(|value| !value.is_null()) {
        spec.insert("healthchecks".to_owned(), camel(checks));
    }
    Value::Object(spec)
}

fn hash(body: &Map<String, Value>, prefix: &str) -> Option<Value> {
    let part = |suffix: &str| body.get(&format!("{prefix}_{suffix}")).cloned();
    Some(match body.get(prefix)?.as_str()? {
        "none" => return None,
        "header" => json!({ "header": part("header")? }),
        "query_arg" => json!({ "queryArg": part("query_arg")? }),
        "uri_capture" => json!({ "uriCapture": part("uri_capture")? }),
        // A fallback to a cookie takes the one of `hash_on`.
        "cookie" => json!({
            "cookie": body.get("hash_on_cookie")?,
            "cookiePath": body.get("hash_on_cookie_path").cloned().unwrap_or_else(|| json!("/")),
        }),
        input => json!({ "input": input }),
    })
}

/// The same with the names of its fields in camel case, nulls left out; what is below `headers` has names of its own.
fn camel(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let value = if name == "headers" {
                    value.clone()
                } else {
                    camel(value)
                };
                (camel_name(name), value)
            })
            .collect(),
        other => other.clone(),
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// Endpoints that one Service can stand for: addresses with the same port, share and family; a name is alone.
fn groups(endpoints: &[Endpoint]) -> Vec<Vec<&Endpoint>> {
    let mut groups: Vec<Vec<&Endpoint>> = Vec::new();
    for endpoint in endpoints {
        let joins = |group: &Vec<&Endpoint>| {
            let first = group[0];
            let kind = |host: &str| host.parse::<IpAddr>().ok().map(|address| address.is_ipv6());
            first.port == endpoint.port
                && first.weight == endpoint.weight
                && kind(&first.host).is_some()
                && kind(&first.host) == kind(&endpoint.host)
        };
        match groups.iter_mut().find(|group| joins(group)) {
            Some(group) => group.push(endpoint),
            None => groups.push(vec![endpoint]),
        }
    }
    groups
}

fn split(target: &str) -> (String, u64) {
    let (host, port) = match target.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok())
        }
        _ => (target, None),
    };
    (unbracketed(host), port.unwrap_or(TARGET_PORT))
}

fn unbracketed(host: &str) -> String {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}
