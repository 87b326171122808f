//! HTTPRoutes and Ingresses.

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::state::Entity;

use super::Converter;
use super::object::Object;
use super::service::{Backend, is_disabled};

/// The most matches that a rule of an HTTPRoute has (Gateway API 1.2).
const MOST_MATCHES: usize = 64;

/// Fields of a route that both forms say.
const KNOWN: [&str; 15] = [
    "name",
    "hosts",
    "paths",
    "methods",
    "headers",
    "protocols",
    "strip_path",
    "preserve_host",
    "https_redirect_status_code",
    "regex_priority",
    "path_handling",
    "request_buffering",
    "response_buffering",
    "snis",
    "service",
];

impl Converter<'_> {
    pub(super) fn routes(&mut self) {
        for entity in self.inventory.of_kind(Kind::Route) {
            self.route(entity);
        }
    }

    fn route(&mut self, entity: &Entity) {
        let known: Vec<&str> = KNOWN.iter().copied().chain(["tags"]).collect();
        if self.lose_fields(entity, &known) {
            return;
        }
        let Some(service) = entity
            .reference("service")
            .and_then(|id| self.inventory.get(Kind::Service, id))
        else {
            self.lose(
                entity,
                "it has no service, and a route of Kubernetes needs one",
            );
            return;
        };
        if let Some(protocol) = strings(entity, "protocols")
            .into_iter()
            .find(|protocol| !["http", "https"].contains(&protocol.as_str()))
        {
            self.lose(entity, format!("{protocol} takes another kind of route"));
            return;
        }
        // Both are told where the service is.
        let backends = self.backends_of(service);
        if is_disabled(service) || backends.is_empty() {
            return;
        }
        if self.options.ingress {
            self.ingress(entity, &backends);
        } else {
            self.http_route(entity, &backends);
        }
    }

    /// What both forms say in annotations.
    fn route_object(&mut self, api: &str, kind: &'static str, entity: &Entity) -> Object {
        let name = match entity.body.get("name").and_then(Value::as_str) {
            Some(name) => self.names.of(kind, name),
            None => self.names.of(kind, &format!("route-{}", entity.id)),
        };
        let mut object = self
            .with_plugins(Object::new(api, kind, &name), entity)
            .tags_of(entity);
        let flag = |field: &str, default: bool| {
            let value = entity.body.get(field).and_then(Value::as_bool);
            value.unwrap_or(default).to_string()
        };
        // The controller's defaults are others than Kong's.
        object = object
            .kong("strip-path", flag("strip_path", true))
            .kong("preserve-host", flag("preserve_host", false));
        for (field, annotation) in [
            ("protocols", "protocols"),
            ("https_redirect_status_code", "https-redirect-status-code"),
            ("regex_priority", "regex-priority"),
            ("path_handling", "path-handling"),
            ("request_buffering", "request-buffering"),
            ("response_buffering", "response-buffering"),
            ("snis", "snis"),
        ] {
            object = object.kong_field(entity, field, annotation);
        }
        object
    }

    fn http_route(&mut self, entity: &Entity, backends: &[Backend]) {
        let object = self.route_object("gateway.networking.k8s.io/v1", "HTTPRoute", entity);
        let hosts = strings(entity, "hosts");
        for host in &hosts {
            if host.contains(':') || host.trim_start_matches("*.").contains('*') {
                self.lose(entity, format!("an HTTPRoute takes no host such as {host}"));
            }
        }
        let matches = matches(entity);
        let references: Vec<Value> = backends
            .iter()
            .map(|backend| {
                let mut reference =
                    json!({ "name": backend.name, "kind": "Service", "port": backend.port });
                if let Some(weight) = backend.weight {
                    reference["weight"] = json!(weight);
                }
                reference
            })
            .collect();
        let rules: Vec<Value> = matches
            .chunks(MOST_MATCHES)
            .map(|matches| json!({ "matches": matches, "backendRefs": references }))
            .collect();
        let mut spec = Map::new();
        spec.insert(
            "parentRefs".to_owned(),
            json!([{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": self.options.gateway }]),
        );
        if !hosts.is_empty() {
            spec.insert("hostnames".to_owned(), json!(hosts));
        }
        spec.insert("rules".to_owned(), json!(rules));
        self.push(object.with("spec", Value::Object(spec)));
    }

    fn ingress(&mut self, entity: &Entity, backends: &[Backend]) {
        let mut object = self
            .route_object("networking.k8s.io/v1", "Ingress", entity)
            .kong_field(entity, "methods", "methods");
        for (name, values) in headers(entity) {
            object = object.kong(&format!("headers.{name}"), values.join(","));
        }
        let Some(backend) = backends.first() else {
            return;
        };
        if backends.len() > 1 {
            // Its other targets lose their share: the route still leads where it may.
            self.lose(
                entity,
                "an Ingress has one Service a path: targets of other names, ports or weights take an HTTPRoute",
            );
        }
        let backend =
            json!({ "service": { "name": backend.name, "port": { "number": backend.port } } });
        let paths: Vec<Value> = match strings(entity, "paths") {
            paths if paths.is_empty() => vec!["/".to_owned()],
            paths => paths,
        }
        .into_iter()
        .map(|path| {
            // The controller's mark of a regular expression.
            let path = match path.strip_prefix('~') {
                Some(regex) => format!("/~{regex}"),
                None => path,
            };
            json!({ "path": path, "pathType": "ImplementationSpecific", "backend": backend })
        })
        .collect();
        let hosts = strings(entity, "hosts");
        let rules: Vec<Value> = if hosts.is_empty() {
            vec![json!({ "http": { "paths": paths } })]
        } else {
            hosts
                .iter()
                .map(|host| json!({ "host": host, "http": { "paths": paths } }))
                .collect()
        };
        let mut spec = json!({ "ingressClassName": self.options.class, "rules": rules });
        let tls = self.tls_of(&hosts);
        if !tls.is_empty() {
            spec["tls"] = json!(tls);
        }
        self.push(object.with("spec", spec));
    }

    /// The certificates for these hosts.
    fn tls_of(&mut self, hosts: &[String]) -> Vec<Value> {
        let mut tls = Vec::new();
        for certificate in self.inventory.of_kind(Kind::Certificate) {
            let covered: Vec<String> = self
                .hosts_of(certificate)
                .into_iter()
                .filter(|host| hosts.contains(host))
                .collect();
            if !covered.is_empty() {
                let secret = self.certificate_name(certificate);
                tls.push(json!({ "hosts": covered, "secretName": secret }));
            }
        }
        tls
    }
}

/// Every path with every method and every choice of headers: a match has one of each.
fn matches(entity: &Entity) -> Vec<Value> {
    let paths: Vec<Value> = strings(entity, "paths")
        .iter()
        .map(|path| match path.strip_prefix('~') {
            Some(regex) => json!({ "type": "RegularExpression", "value": regex }),
            None => json!({ "type": "PathPrefix", "value": path }),
        })
        .collect();
    let methods = strings(entity, "methods");
    let mut choices: Vec<Vec<Value>> = vec![Vec::new()];
    for (name, values) in headers(entity) {
        choices = choices
            .iter()
            .flat_map(|chosen| {
                values.iter().map(|value| {
                    let (kind, value) = match value.strip_prefix("~*") {
                        Some(regex) => ("RegularExpression", regex),
                        None => ("Exact", value.as_str()),
                    };
                    let mut chosen = chosen.clone();
                    chosen.push(json!({ "type": kind, "name": name, "value": value }));
                    chosen
                })
            })
            .collect();
    }
    let paths = if paths.is_empty() {
        vec![Value::Null]
    } else {
        paths
    };
    let methods: Vec<Value> = if methods.is_empty() {
        vec![Value::Null]
    } else {
        methods.into_iter().map(Value::String).collect()
    };
    let mut matches = Vec::new();
    for path in &paths {
        for method in &methods {
            for headers in &choices {
                let mut one = Map::new();
                if !path.is_null() {
                    one.insert("path".to_owned(), path.clone());
                }
                if !method.is_null() {
                    one.insert("method".to_owned(), method.clone());
                }
                if !headers.is_empty() {
                    one.insert("headers".to_owned(), json!(headers));
                }
                matches.push(Value::Object(one));
            }
        }
    }
    matches
}

fn strings(entity: &Entity, field: &str) -> Vec<String> {
    let items = entity.body.get(field).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn headers(entity: &Entity) -> Vec<(String, Vec<String>)> {
    let Some(Value::Object(headers)) = entity.body.get("headers") else {
        return Vec::new();
    };
    headers
        .iter()
        .map(|(name, values)| {
            let values = values.as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned);
            (name.clone(), values.collect())
        })
        .collect()
}
