//! Entities as messages of the protocol, and back.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use serde_json::Value as Json;

use super::protocol as wire;
use crate::proxy::Consumer;
use crate::store::Entity;

/// A consumer as an external plugin describes it: nothing of it is looked up.
pub(super) fn said_consumer(said: &wire::Consumer) -> Consumer {
    let mut entity = serde_json::Map::new();
    let id = text(&said.id);
    for (field, value) in [
        ("id", &said.id),
        ("username", &said.username),
        ("custom_id", &said.custom_id),
    ] {
        if !value.is_empty() {
            entity.insert(field.to_owned(), text(value).into());
        }
    }
    if said.created_at != 0 {
        entity.insert("created_at".to_owned(), said.created_at.into());
    }
    if !said.tags.is_empty() {
        entity.insert(
            "tags".to_owned(),
            said.tags.iter().map(|tag| Json::from(text(tag))).collect(),
        );
    }
    Consumer {
        id,
        entity: Arc::new(entity),
    }
}

/// A consumer for a plugin server.
pub(super) fn consumer(entity: &Entity) -> Bytes {
    let read = Fields(entity);
    wire::Consumer {
        id: read.text("id"),
        created_at: read.number("created_at"),
        username: read.text("username"),
        custom_id: read.text("custom_id"),
        tags: read.list("tags"),
    }
    .encode_to_vec()
    .into()
}

/// A route. Booleans are written even when false, as lua-protobuf does.
pub(super) fn route(entity: &Entity) -> Bytes {
    let read = Fields(entity);
    let message = wire::Route {
        id: read.text("id"),
        created_at: read.number("created_at"),
        updated_at: read.number("updated_at"),
        name: read.text("name"),
        protocols: read.list("protocols"),
        methods: read.list("methods"),
        hosts: read.list("hosts"),
        paths: read.list("paths"),
        // A table by name in Lua, which has no elements to list.
        headers: Vec::new(),
        https_redirect_status_code: read.small("https_redirect_status_code"),
        regex_priority: read.small("regex_priority"),
        strip_path: read.flag("strip_path"),
        preserve_host: read.flag("preserve_host"),
        snis: read.list("snis"),
        sources: Vec::new(),
        destinations: Vec::new(),
        tags: read.list("tags"),
        service: read.reference("service").map(|id| wire::ServiceKey { id }),
    };
    let mut encoded = message.encode_to_vec();
    for (field, tag) in [("strip_path", 12 << 3), ("preserve_host", 13 << 3)] {
        if entity.get(field) == Some(&Json::Bool(false)) {
            encoded.extend([tag, 0]);
        }
    }
    encoded.into()
}

/// A service.
pub(super) fn service(entity: &Entity) -> Bytes {
    let read = Fields(entity);
    wire::Service {
        id: read.text("id"),
        created_at: read.number("created_at"),
        updated_at: read.number("updated_at"),
        name: read.text("name"),
        retries: read.small("retries"),
        protocol: read.text("protocol"),
        host: read.text("host"),
        port: read.small("port"),
        path: read.text("path"),
        connect_timeout: read.small("connect_timeout"),
        write_timeout: read.small("write_timeout"),
        read_timeout: read.small("read_timeout"),
        tags: read.list("tags"),
        client_certificate: read
            .reference("client_certificate")
            .map(|id| wire::CertificateKey { id }),
    }
    .encode_to_vec()
    .into()
}

/// Reads an entity's fields, absent and null ones as empty.
struct Fields<'a>(&'a Entity);

impl Fields<'_> {
    fn text(&self, field: &str) -> Bytes {
        self.0
            .get(field)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
            .into()
    }

    fn number(&self, field: &str) -> i64 {
        self.0.get(field).and_then(Json::as_i64).unwrap_or_default()
    }

    fn small(&self, field: &str) -> i32 {
        i32::try_from(self.number(field)).unwrap_or(i32::MAX)
    }

    fn flag(&self, field: &str) -> bool {
        self.0
            .get(field)
            .and_then(Json::as_bool)
            .unwrap_or_default()
    }

    fn list(&self, field: &str) -> Vec<Bytes> {
        let items = self.0.get(field).and_then(Json::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(|item| item.to_owned().into())
            .collect()
    }

    fn reference(&self, field: &str) -> Option<Bytes> {
        Some(self.0.get(field)?.get("id")?.as_str()?.to_owned().into())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
