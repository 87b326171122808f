//! Schemas: what Kong's entities and plugin configurations may hold, as data, and one engine that applies them.
//!
//! # Model
//!
//! A [`Schema`] lists fields with Kong's own attributes (`type`, `default`, `required`, `between`, …) and rules across
//! fields. The schemas of entities and of bundled plugins are JSON files beside this module, in the very format in which
//! plugin servers send theirs, so one reader and one engine serve all three. A kind may have *subschemas* (plugins by
//! name, vaults by name, routes by protocol), which redefine some of its fields.
//!
//! An entity is a JSON object. An absent member is Lua's nil, "not given"; null is Kong's null, "set to nothing".
//!
//! # Algorithm
//!
//! 1. [`Schema::fill`]: shorthands are expanded, server-made values and defaults filled in.
//! 2. [`Schema::validate`]: each field by its attributes in Kong's order, then the rules across fields.
//! 3. [`Schema::transform`]: what is stored otherwise than it was sent.

mod checks;
mod definition;
mod fill;
pub(crate) mod filters;
pub(crate) mod hosts;
mod json;
mod key_material;
mod load;
mod lua;
mod registry;
mod shorthand;
mod transform;
mod validate;
mod validators;

use serde_json::{Map, Value};

pub(crate) use definition::{Field, Kind, OnDelete, Record, Schema};
pub(crate) use fill::{Operation, Timestamp};
pub(crate) use key_material::hex;
pub use load::SchemaError;
pub use registry::KNOWN_TO_KONG;
use registry::unavailable_plugin;
pub(crate) use registry::{RUNNABLE_PLUGINS, Registry};
pub(crate) use validate::{Completeness, is_uuid};

/// What is wrong with an entity: for a field its message, or an object or array of the same kind for what is inside it
/// (null where an element is sound); under `@entity` the list of broken rules.
pub(crate) type Errors = Map<String, Value>;

/// A vault reference, which stands for a value that only the data plane knows.
pub(crate) fn is_reference(text: &str) -> bool {
    text.starts_with("{vault://") && text.ends_with('}')
}

/// The member at a dotted path.
fn field_at<'a>(entity: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = entity.get(first)?;
    match rest {
        Some(rest) => field_at(value.as_object()?, rest),
        None => Some(value),
    }
}
