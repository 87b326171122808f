//! A configuration as one document: defaults, shared plugin configurations and short forms written out.

use serde_json::{Map, Value, json};

use super::{Configuration, Declared};
use crate::admin::entities::Kind;

/// The document that says the same with nothing left to look up. Nesting, names and order are the files'.
pub(crate) fn render(configuration: &Configuration) -> Value {
    let mut document = Map::new();
    document.insert("_format_version".to_owned(), json!("3.0"));
    if configuration.hashed_passwords {
        document.insert("_transform".to_owned(), json!(false));
    }
    let mut info = Map::new();
    if !configuration.select_tags.is_empty() {
        info.insert("select_tags".to_owned(), json!(configuration.select_tags));
    }
    if !configuration.lookup_tags.is_empty() {
        let mut kinds: Vec<_> = configuration.lookup_tags.iter().collect();
        kinds.sort();
        let tags: Map<_, _> = kinds
            .into_iter()
            .map(|(kind, tags)| (kind.name().to_owned(), json!(tags)))
            .collect();
        info.insert("default_lookup_tags".to_owned(), Value::Object(tags));
    }
    if !info.is_empty() {
        document.insert("_info".to_owned(), Value::Object(info));
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); configuration.entities.len()];
    for (index, entity) in configuration.entities.iter().enumerate() {
        if let Some((_, parent)) = entity.parent {
            children[parent].push(index);
        }
    }
    for (index, entity) in configuration.entities.iter().enumerate() {
        if entity.parent.is_none() {
            let value = entry(&configuration.entities, &children, index);
            list(&mut document, entity.kind).push(value);
        }
    }
    Value::Object(document)
}

fn list(map: &mut Map<String, Value>, kind: Kind) -> &mut Vec<Value> {
    map.entry(kind.name())
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .expect("a kind's name has a list of its entries")
}

fn entry(entities: &[Declared], children: &[Vec<usize>], index: usize) -> Value {
    let entity = &entities[index];
    let mut out = entity.fields.clone();
    // What Kong computes from the certificate.
    if entity.kind == Kind::CaCertificate && entity.node.get("cert_digest").is_none() {
        out.shift_remove("cert_digest");
    }
    for child in &children[index] {
        let value = entry(entities, children, *child);
        list(&mut out, entities[*child].kind).push(value);
    }
    Value::Object(out)
}
