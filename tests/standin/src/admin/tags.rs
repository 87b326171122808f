//! Tags: lists of what is tagged, and lists filtered by tags.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::{Call, encode};
use super::{Admin, Outcome};
use crate::store::{Entity, Error, id_of};

/// `tags=a,b` (all of them) or `tags=a/b` (any of them).
#[derive(Debug)]
pub(super) enum Filter {
    All(Vec<String>),
    Any(Vec<String>),
}

impl Filter {
    /// The most tags that one filter may name.
    const MOST: usize = 5;

    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |fault| Err(Error::invalid_option("tags", fault));
        let split = |separator| {
            text.split(separator)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let filter = match (text.contains(','), text.contains('/')) {
            _ if text.is_empty() => return invalid("cannot be null"),
            (true, true) => return invalid("invalid filter syntax"),
            (_, false) => Self::All(split(',')),
            (false, true) => Self::Any(split('/')),
        };
        let (Self::All(tags) | Self::Any(tags)) = &filter;
        if tags.len() > Self::MOST {
            return invalid("cannot query more than 5 tags");
        }
        Ok(filter)
    }

    pub(super) fn passes(&self, entity: &Map<String, Value>) -> bool {
        let tagged = |tag: &String| tags_of(entity).any(|own| own == tag);
        match self {
            Self::All(tags) => tags.iter().all(tagged),
            Self::Any(tags) => tags.iter().any(tagged),
        }
    }
}

impl Admin {
    /// `/tags` and `/tags/:tag`, in the order of the entities' ids.
    pub(super) fn tags(&self, call: &Call, only: Option<&str>) -> Outcome {
        let snapshot = self.dao.snapshot();
        let mut tagged: Vec<(&str, &Entity, &str)> = snapshot
            .kinds()
            .flat_map(|(kind, entities)| entities.values().map(move |entity| (kind, entity)))
            .flat_map(|(kind, entity)| tags_of(entity).map(move |tag| (kind, entity, tag)))
            .filter(|(_, _, tag)| only.is_none_or(|only| only == *tag))
            .collect();
        tagged.sort_by_key(|(_, entity, tag)| (id_of(entity), *tag));
        let rows = tagged.into_iter().map(|(kind, entity, tag)| {
            json!({"entity_name": kind, "entity_id": id_of(entity), "tag": tag})
                .as_object()
                .cloned()
                .unwrap_or_default()
        });
        let page = call.page().by_position(rows.map(Into::into).collect())?;
        let path = only.map_or_else(
            || "/tags".to_owned(),
            |tag| format!("/tags/{}", encode(tag)),
        );
        let data: Vec<Value> = page
            .entities
            .iter()
            .map(|row| Map::clone(row).into())
            .collect();
        let next = page
            .offset
            .as_ref()
            .map(|offset| format!("{path}?offset={offset}"));
        let mut body = json!({"data": data, "next": next});
        if let Some(offset) = page.offset {
            body["offset"] = offset.into();
        }
        Ok(Answer::json(200, body))
    }
}

fn tags_of(entity: &Map<String, Value>) -> impl Iterator<Item = &str> {
    entity
        .get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
