//! `snis` of a certificate: a list in its body, entities of their own in the store.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Draft;
use super::error::Error;
use super::snapshot::{Snapshot, id_of};
use crate::schema::{Schema, Timestamp};

/// Takes the list out of what was given for a certificate. None: the names stay as they are.
pub(super) fn asked_for(
    draft: &Draft<'_>,
    schema: &Schema,
    given: &mut Map<String, Value>,
    certificate: Option<&str>,
) -> Result<Option<Vec<String>>, Error> {
    if schema.name != "certificates" {
        return Ok(None);
    }
    let names = match given.get("snis") {
        Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        // Not a list of names: the schema says so.
        _ => return Ok(None),
    };
    let violation = |message: String| Err(Error::field_violation("snis", message));
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return violation(format!("{name} is duplicated"));
        }
        let owner = draft
            .index
            .find("snis", "name", name)
            .next()
            .and_then(|id| draft.snapshot.get("snis", id));
        let owner = owner.and_then(|sni| sni["certificate"]["id"].as_str());
        if let Some(owner) = owner.filter(|owner| Some(*owner) != certificate) {
            return violation(format!(
                "{name} already associated with existing certificate '{owner}'"
            ));
        }
    }
    Ok(Some(names))
}

/// Makes the names of a certificate those of the list.
pub(super) fn assign(
    draft: &mut Draft<'_>,
    schema: &Schema,
    certificate: &Map<String, Value>,
    names: Option<Vec<String>>,
    now: Timestamp,
) {
    let Some(names) = names.filter(|_| schema.name == "certificates") else {
        return;
    };
    let current: Vec<(String, String)> = draft
        .index
        .find("snis", "certificate", id_of(certificate))
        .filter_map(|id| {
            Some((
                id.to_owned(),
                draft.snapshot.get("snis", id)?["name"].as_str()?.to_owned(),
            ))
        })
        .collect();
    for (id, _) in current.iter().filter(|(_, name)| !names.contains(name)) {
        draft.remove("snis", id);
    }
    for name in names
        .iter()
        .filter(|name| !current.iter().any(|(_, present)| present == *name))
    {
        let sni = json!({
            "id": uuid::Uuid::new_v4().to_string(),
            "name": name,
            "created_at": now.seconds(),
            "updated_at": now.seconds(),
            "tags": null,
            "certificate": {"id": id_of(certificate)},
        });
        if let Value::Object(sni) = sni {
            draft.put("snis", Arc::new(sni));
        }
    }
}

/// The certificate as the Admin API shows it: with its names, in alphabetical order.
pub(crate) fn shown(snapshot: &Snapshot, certificate: &Map<String, Value>) -> Map<String, Value> {
    let mut names: Vec<&str> = snapshot
        .all("snis")
        .filter(|sni| sni["certificate"]["id"].as_str() == Some(id_of(certificate)))
        .filter_map(|sni| sni["name"].as_str())
        .collect();
    names.sort_unstable();
    let mut shown = certificate.clone();
    shown.insert("snis".to_owned(), names.into());
    shown
}
