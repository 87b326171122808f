//! Lists, page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::Error;
use super::snapshot::{Entity, id_of};

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageRequest {
    /// As given in the query.
    pub(crate) size: Option<String>,
    /// As given in the query: what the page before said.
    pub(crate) offset: Option<String>,
}

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entities: Vec<Entity>,
    /// Where the next page starts; none on the last one.
    pub(crate) offset: Option<String>,
}

impl PageRequest {
    const DEFAULT_SIZE: usize = 100;
    const LARGEST_SIZE: usize = 1000;

    fn size(&self) -> Result<usize, Error> {
        let Some(text) = &self.size else {
            return Ok(Self::DEFAULT_SIZE);
        };
        let number: f64 = text
            .parse()
            .map_err(|_| Error::invalid_size("size must be a number"))?;
        (1..=Self::LARGEST_SIZE)
            .find(|size| (*size as f64 - number).abs() < f64::EPSILON)
            .ok_or_else(|| Error::invalid_size("size must be an integer between 1 and 1000"))
    }

    /// A page of entities in the order of their ids; an offset names the last one that was seen.
    pub(crate) fn by_id<'a>(
        &self,
        entities: impl Iterator<Item = &'a Entity>,
    ) -> Result<Page, Error> {
        let size = self.size()?;
        let after = self.offset.as_deref().map(decode).transpose()?;
        let mut entities: Vec<&Entity> = entities
            .filter(|entity| after.as_deref().is_none_or(|after| id_of(entity) > after))
            .collect();
        entities.sort_by_key(|entity| id_of(entity));
        let more = entities.len() > size;
        entities.truncate(size);
        let offset = entities
            .last()
            .filter(|_| more)
            .map(|last| encode(id_of(last)));
        Ok(Page {
            entities: entities.into_iter().cloned().collect(),
            offset,
        })
    }

    /// A page of a list that has its own order; an offset counts what was seen.
    pub(crate) fn by_position(&self, entities: Vec<Entity>) -> Result<Page, Error> {
        let size = self.size()?;
        let start: usize = match &self.offset {
            Some(text) => text
                .parse()
                .map_err(|_| Error::invalid_offset(text, "not a number"))?,
            None => 0,
        };
        let more = entities.len() > start.saturating_add(size);
        let entities = entities.into_iter().skip(start).take(size).collect();
        Ok(Page {
            entities,
            offset: more.then(|| (start + size).to_string()),
        })
    }
}

fn encode(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!([id]).to_string())
}

fn decode(offset: &str) -> Result<String, Error> {
    let invalid = |reason| Error::invalid_offset(offset, reason);
    // A last lone character carries no byte; Kong's decoder drops it, and finds the JSON to be bad.
    let bytes = URL_SAFE_NO_PAD.decode(offset).unwrap_or_default();
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("bad json encoding"))?;
    token
        .get(0)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| invalid("bad json encoding"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_entity_is_on_one_page() {
        let entities: Vec<Entity> = (0..5)
            .map(|number| {
                Arc::new(
                    json!({"id": format!("id-{number}")})
                        .as_object()
                        .cloned()
                        .unwrap(),
                )
            })
            .collect();
        let mut request = PageRequest {
            size: Some("2".to_owned()),
            offset: None,
        };
        let mut seen = Vec::new();
        loop {
            let page = request.by_id(entities.iter().rev()).unwrap();
            seen.extend(page.entities.iter().map(|entity| id_of(entity).to_owned()));
            request.offset = page.offset;
            if request.offset.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["id-0", "id-1", "id-2", "id-3", "id-4"]);
    }

    #[test]
    fn an_offset_that_kong_did_not_give_is_refused() {
        let request = PageRequest {
            size: None,
            offset: Some("xyz".to_owned()),
        };
        let body = request.by_id([].iter()).unwrap_err().body();
        assert_eq!(
            body["message"],
            "'xyz' is not a valid offset: bad json encoding"
        );
    }
}
