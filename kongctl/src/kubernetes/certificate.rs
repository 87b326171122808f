//! Certificates: those that Kong shows, those that it signs in with, those that it trusts.

use serde_json::{Map, Value, json};

use crate::admin::entities::Kind;
use crate::state::Entity;

use super::Converter;
use super::object::{KONG, Object};

impl Converter<'_> {
    pub(super) fn certificates(&mut self) {
        let mut listeners = Vec::new();
        for entity in self.inventory.of_kind(Kind::Certificate) {
            let name = self.certificate_name(entity);
            let object = Object::new("v1", "Secret", &name)
                .tags_of(entity)
                .with("type", "kubernetes.io/tls")
                .with(
                    "stringData",
                    json!({ "tls.crt": entity.body.get("cert"), "tls.key": entity.body.get("key") }),
                );
            self.push(object);
            self.lose_fields(entity, &["cert", "key", "tags", "snis"]);
            for host in self.hosts_of(entity) {
                listeners.push(json!({
                    "name": self.names.of("listener", &format!("https-{host}")),
                    "hostname": host,
                    "port": 443,
                    "protocol": "HTTPS",
                    "tls": { "mode": "Terminate", "certificateRefs": [{ "kind": "Secret", "name": name }] },
                }));
            }
        }
        if !listeners.is_empty() && !self.options.ingress {
            listeners.insert(0, json!({ "name": "http", "port": 80, "protocol": "HTTP" }));
            let object = Object::new(
                "gateway.networking.k8s.io/v1",
                "Gateway",
                &self.options.gateway,
            )
            .with(
                "spec",
                json!({ "gatewayClassName": self.options.class, "listeners": listeners }),
            );
            self.push(object);
        }
        for entity in self.inventory.of_kind(Kind::CaCertificate) {
            let name = self.authority_name(entity);
            let mut data = Map::new();
            data.insert("id".to_owned(), json!(entity.id));
            data.insert(
                "cert".to_owned(),
                entity.body.get("cert").cloned().unwrap_or_default(),
            );
            let object = Object::new("v1", "Secret", &name)
                .label(&format!("{KONG}/ca-cert"), "true")
                .class(&self.options.class)
                .tags_of(entity)
                .with("type", "Opaque")
                .with("stringData", data);
            self.push(object);
        }
    }

    /// The names for which Kong shows the certificate.
    pub(super) fn hosts_of(&self, certificate: &Entity) -> Vec<String> {
        let mut hosts: Vec<String> = self
            .inventory
            .of_kind(Kind::Sni)
            .filter(|sni| sni.reference("certificate") == Some(&certificate.id))
            .filter_map(|sni| sni.body.get("name").and_then(Value::as_str))
            .map(str::to_owned)
            .collect();
        hosts.sort();
        hosts
    }

    pub(super) fn certificate_name(&mut self, entity: &Entity) -> String {
        let word = self.hosts_of(entity).into_iter().next();
        let word = word.unwrap_or_else(|| format!("certificate-{}", entity.id));
        self.names.of("Secret", &format!("{word}-tls"))
    }

    pub(super) fn authority_name(&mut self, entity: &Entity) -> String {
        self.names.of("Secret", &format!("ca-{}", entity.id))
    }
}
