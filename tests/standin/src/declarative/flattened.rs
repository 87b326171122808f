//! Faults entity by entity, instead of in the shape of the document: `flatten_errors=1`.

use serde_json::{Map, Value, json};

use super::ids::{self, Parent};
use crate::schema::{Errors, Registry, is_uuid};

/// How entities are told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flattening<'a> {
    pub(crate) registry: &'a Registry,
    /// With the ids that they were given where the document gives none.
    pub(crate) with_ids: bool,
}

impl Flattening<'_> {
    /// Moves the faults of entities out of `errors` into a list. What belongs to no entity stays behind.
    pub(crate) fn flattened(
        self,
        document: &Map<String, Value>,
        errors: &mut Errors,
    ) -> Vec<Value> {
        let mut list = Vec::new();
        for kind in sorted(errors).into_iter().rev() {
            let (Some(Value::Array(entities)), Some(Value::Array(_) | Value::Object(_))) =
                (document.get(&kind), errors.get(&kind))
            else {
                continue;
            };
            // Kong loses faults that it tells by name.
            let Some(Value::Array(faults)) = errors.shift_remove(&kind) else {
                continue;
            };
            for (entity, fault) in entities.iter().zip(faults).rev() {
                self.add((&kind, None), entity, fault, &mut list);
            }
        }
        list
    }

    /// Adds the faults of the entities nested in this one, then its own.
    fn add(
        self,
        (kind, parent): (&str, Option<Parent<'_>>),
        entity: &Value,
        fault: Value,
        list: &mut Vec<Value>,
    ) {
        let Some(mut entity) = entity.as_object().cloned() else {
            return;
        };
        let mut faults = match fault {
            Value::Object(faults) => faults,
            Value::String(message) => Errors::from_iter([("@entity".to_owned(), json!([message]))]),
            _ => return,
        };
        if self.with_ids && !entity.contains_key("id") {
            let id = ids::generate(self.registry.known(kind), &entity, parent);
            entity.insert("id".to_owned(), id.to_string().into());
        }
        let id = entity
            .get("id")
            .and_then(Value::as_str)
            .filter(|id| is_uuid(id))
            .map(str::to_owned);
        let own = self.registry.known(kind).foreign_fields();
        for (field, _, reference) in own {
            // What is referred to by a record is told of by itself.
            let Some(Value::Object(record)) = entity.get(field).cloned() else {
                continue;
            };
            match record
                .get("id")
                .and_then(Value::as_str)
                .filter(|id| is_uuid(id))
            {
                Some(id) => drop(entity.insert(field.to_owned(), json!({"id": id}))),
                None => drop(entity.shift_remove(field)),
            }
            if let Some(fault) = faults.shift_remove(field) {
                self.add((reference, None), &record.into(), fault, list);
            }
        }
        for (child, field) in self.registry.children(kind) {
            let nested_faults = faults.get(&child.name).is_some_and(Value::is_array);
            if !nested_faults && !entity.get(&child.name).is_some_and(holds_entities) {
                continue;
            }
            let nested = entity.shift_remove(&child.name);
            let Some(Value::Array(nested_faults)) = faults.shift_remove(&child.name) else {
                continue;
            };
            for (item, fault) in nested
                .as_ref()
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .zip(nested_faults)
            {
                let mut item = item.clone();
                if let (Some(members), Some(id)) = (item.as_object_mut(), &id) {
                    members.entry(field).or_insert_with(|| json!({"id": id}));
                }
                let parent = id.as_deref().map(|id| Parent { field, id });
                self.add((&child.name, parent), &item, fault, list);
            }
        }
        let mut described = Vec::new();
        describe(&faults, "", &mut described);
        if described.is_empty() {
            return;
        }
        let text = |name: &str| {
            entity
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let mut row =
            json!({"entity_type": kind.strip_suffix('s').unwrap_or(kind), "errors": described});
        if let Some(name) = text("name") {
            row["entity_name"] = name.into();
        }
        if let Some(id) = id {
            row["entity_id"] = id.into();
        }
        if let Some(tags) = entity
            .get("tags")
            .and_then(Value::as_array)
            .filter(|tags| tags.iter().all(Value::is_string))
        {
            row["entity_tags"] = tags.clone().into();
        }
        row["entity"] = entity.into();
        list.push(row);
    }
}

fn sorted(members: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = members.keys().cloned().collect();
    names.sort();
    names
}

fn holds_entities(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.iter().all(Value::is_object))
}

/// Each fault with its path, last field first.
fn describe(faults: &Map<String, Value>, path: &str, list: &mut Vec<Value>) {
    for name in sorted(faults).into_iter().rev() {
        let fault = &faults[&name];
        if name == "@entity" {
            for message in messages(fault) {
                list.push(json!({"type": "entity", "message": message}));
            }
            continue;
        }
        let field = if path.is_empty() {
            name
        } else {
            format!("{path}.{name}")
        };
        match fault {
            Value::Object(inner) => describe(inner, &field, list),
            Value::Array(items) => {
                for (index, item) in items
                    .iter()
                    .enumerate()
                    .rev()
                    .filter(|(_, item)| !item.is_null())
                {
                    let place = Map::from_iter([((index + 1).to_string(), item.clone())]);
                    describe(&place, &field, list);
                }
            }
            message => list.push(json!({"type": "field", "field": field, "message": message})),
        }
    }
}

fn messages(fault: &Value) -> Vec<&Value> {
    fault
        .as_array()
        .map_or_else(|| vec![fault], |items| items.iter().collect())
}
