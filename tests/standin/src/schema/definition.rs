//! The shape of a schema: what may be said of an entity's fields, in the vocabulary of Kong's schema files.

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::json::JsonField;
use super::key_material::KeyMaterialCheck;
use super::shorthand::Expansion;
use super::transform::Transformation;
use super::validators::CustomValidator;

/// A kind of entity, or what one plugin (vault, protocol) makes of that kind: then it is a *subschema*, whose fields
/// take the place of the kind's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schema {
    /// Kong's plural name of the kind, or the plugin's name.
    pub(crate) name: String,
    /// The field by which an entity is addressed besides its id.
    #[serde(default)]
    pub(crate) endpoint_key: Option<String>,
    /// Fields that together are unique, and from which DB-less ids are made.
    #[serde(default)]
    pub(crate) cache_key: Vec<String>,
    #[serde(default)]
    admin_api_name: Option<String>,
    #[serde(default)]
    admin_api_nested_name: Option<String>,
    /// The field that names the subschema.
    #[serde(default)]
    pub(crate) subschema_key: Option<String>,
    /// What to say of a name that has no subschema; `%s` is the name.
    #[serde(default)]
    pub(crate) subschema_error: Option<String>,
    /// Whether entities may carry a time to live.
    #[serde(default)]
    pub(crate) ttl: bool,
    pub(crate) fields: Fields,
    #[serde(default)]
    pub(crate) entity_checks: Vec<EntityCheck>,
    #[serde(default)]
    pub(crate) shorthand_fields: Fields,
    #[serde(default)]
    pub(crate) transformations: Vec<Transformation>,
    /// By the value of `subschema_key`.
    #[serde(skip)]
    pub(crate) subschemas: IndexMap<String, Schema>,
    /// What `/schemas` shows.
    #[serde(skip)]
    pub(crate) public: Value,
}

impl Schema {
    /// The first segment of its paths in the Admin API.
    pub(crate) fn collection_path(&self) -> &str {
        self.admin_api_name.as_deref().unwrap_or(&self.name)
    }

    /// Its segment below a parent's path.
    pub(crate) fn nested_path(&self) -> &str {
        self.admin_api_nested_name
            .as_deref()
            .unwrap_or_else(|| self.collection_path())
    }

    /// Fields that refer to another kind, with that kind.
    pub(crate) fn foreign_fields(&self) -> impl Iterator<Item = (&str, &Field, &str)> {
        self.fields
            .iter()
            .filter_map(|(name, field)| Some((name, field, field.reference.as_deref()?)))
    }

    /// What the entity's `subschema_key` selects: the entry of that name, or of the first name known in a set.
    pub(crate) fn subschema_of(&self, entity: &serde_json::Map<String, Value>) -> Option<&Schema> {
        match entity.get(self.subschema_key.as_deref()?)? {
            Value::String(name) => self.subschemas.get(name),
            Value::Array(names) => names
                .iter()
                .find_map(|name| self.subschemas.get(name.as_str()?)),
            _ => None,
        }
    }

    /// The schema and, if the entity selects one, its subschema, as the parts of one record.
    pub(crate) fn record<'a>(&'a self, entity: &serde_json::Map<String, Value>) -> Record<'a> {
        Record {
            fields: &self.fields,
            overrides: self.subschema_of(entity).map(|subschema| &subschema.fields),
            entity_checks: &self.entity_checks,
            more_checks: self
                .subschema_of(entity)
                .map_or(&[], |subschema| &subschema.entity_checks),
            shorthand_fields: &self.shorthand_fields,
        }
    }
}

/// The fields and checks that apply to one JSON object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    fields: &'a Fields,
    overrides: Option<&'a Fields>,
    pub(crate) entity_checks: &'a [EntityCheck],
    pub(crate) more_checks: &'a [EntityCheck],
    pub(crate) shorthand_fields: &'a Fields,
}

impl<'a> Record<'a> {
    /// The definition of a field of type record.
    pub(crate) fn of(field: &'a Field) -> Self {
        Self {
            fields: &field.fields,
            overrides: None,
            entity_checks: &field.entity_checks,
            more_checks: &[],
            shorthand_fields: &field.shorthand_fields,
        }
    }

    /// A field's definition as it applies here. A subschema may redefine fields, not add any.
    pub(crate) fn field(&self, name: &str) -> Option<&'a Field> {
        let own = self.fields.get(name)?;
        Some(
            self.overrides
                .and_then(|overrides| overrides.get(name))
                .unwrap_or(own),
        )
    }

    /// All fields, in the order of their definition.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, &'a Field)> {
        self.fields
            .iter()
            .filter_map(move |(name, _)| Some((name, self.field(name)?)))
    }
}

/// Field definitions in order; in JSON a list of objects with one key each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Vec<IndexMap<String, Field>>")]
pub(crate) struct Fields(IndexMap<String, Field>);

impl From<Vec<IndexMap<String, Field>>> for Fields {
    fn from(list: Vec<IndexMap<String, Field>>) -> Self {
        Self(list.into_iter().flatten().collect())
    }
}

impl Fields {
    pub(crate) fn get(&self, name: &str) -> Option<&Field> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, field)| (name.as_str(), field))
    }
}

/// The type of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Array,
    Set,
    String,
    Number,
    Boolean,
    Integer,
    Foreign,
    Map,
    Record,
    /// Anything, by a JSON schema.
    Json,
}

/// What may be said of one field. Attributes have Kong's names and meanings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) required: bool,
    #[serde(default, deserialize_with = "even_null")]
    pub(crate) default: Option<Value>,
    /// The server fills it in: ids, keys, timestamps.
    #[serde(default)]
    pub(crate) auto: bool,
    #[serde(default)]
    pub(crate) unique: bool,
    /// Filled in by subschemas.
    #[serde(default, rename = "abstract")]
    pub(crate) is_abstract: bool,
    /// Accepted and shown, not kept with the entity.
    #[serde(default)]
    pub(crate) transient: bool,
    #[serde(default)]
    pub(crate) referenceable: bool,
    /// Takes the place of every other message.
    #[serde(default)]
    pub(crate) err: Option<String>,

    #[serde(default)]
    pub(crate) elements: Option<Box<Field>>,
    #[serde(default)]
    pub(crate) keys: Option<Box<Field>>,
    #[serde(default)]
    pub(crate) values: Option<Box<Field>>,
    #[serde(default)]
    pub(crate) fields: Fields,
    #[serde(default)]
    pub(crate) entity_checks: Vec<EntityCheck>,
    #[serde(default)]
    pub(crate) shorthand_fields: Fields,
    /// The kind that a foreign key points at.
    #[serde(default)]
    pub(crate) reference: Option<String>,
    #[serde(default)]
    pub(crate) on_delete: OnDelete,

    #[serde(default, deserialize_with = "even_null")]
    pub(crate) eq: Option<Value>,
    #[serde(default, deserialize_with = "even_null")]
    pub(crate) ne: Option<Value>,
    #[serde(default)]
    pub(crate) one_of: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) not_one_of: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) gt: Option<f64>,
    #[serde(default)]
    pub(crate) between: Option<[f64; 2]>,
    #[serde(default)]
    pub(crate) timestamp: bool,
    #[serde(default)]
    pub(crate) uuid: bool,
    #[serde(default)]
    pub(crate) is_regex: bool,
    #[serde(default)]
    pub(crate) len_eq: Option<usize>,
    #[serde(default)]
    pub(crate) len_min: Option<usize>,
    #[serde(default)]
    pub(crate) len_max: Option<usize>,
    #[serde(default)]
    pub(crate) starts_with: Option<String>,
    /// Lua patterns, here and below.
    #[serde(default, rename = "match")]
    pub(crate) matches: Option<String>,
    #[serde(default)]
    pub(crate) not_match: Option<String>,
    #[serde(default)]
    pub(crate) match_all: Vec<Pattern>,
    #[serde(default)]
    pub(crate) match_none: Vec<Pattern>,
    #[serde(default)]
    pub(crate) match_any: Option<Patterns>,
    #[serde(default, deserialize_with = "even_null")]
    pub(crate) contains: Option<Value>,
    #[serde(default)]
    pub(crate) mutually_exclusive_subsets: Vec<Vec<String>>,
    /// Of a field of any JSON: what it may hold.
    #[serde(default)]
    pub(crate) json_schema: Option<JsonField>,

    /// A check in code, by name.
    #[serde(default)]
    pub(crate) custom_validator: Option<CustomValidator>,
    /// For a shorthand: what it stands for.
    #[serde(default)]
    pub(crate) expand: Option<Expansion>,
    /// For a shorthand: the field that replaces it.
    #[serde(default)]
    pub(crate) deprecation: Option<Deprecation>,
}

/// Tells an attribute that is null from one that is absent.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What becomes of an entity when the one it refers to is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnDelete {
    /// The deletion is refused.
    #[default]
    Restrict,
    /// It is deleted too.
    Cascade,
}

/// A Lua pattern and what to say when it fails.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pattern {
    pub(crate) pattern: String,
    pub(crate) err: String,
}

/// Lua patterns of which one must match.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Patterns {
    pub(crate) patterns: Vec<String>,
    #[serde(default)]
    pub(crate) err: Option<String>,
}

/// A shorthand's successor.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Deprecation {
    pub(crate) replaced_with: Vec<Replacement>,
}

/// Where a deprecated field's value now lives.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Replacement {
    pub(crate) path: Vec<String>,
}

/// A rule across fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntityCheck {
    AtLeastOneOf(Vec<String>),
    OnlyOneOf(Vec<String>),
    Distinct(Vec<String>),
    MutuallyRequired(Vec<String>),
    MutuallyExclusive(Vec<String>),
    MutuallyExclusiveSets {
        set1: Vec<String>,
        set2: Vec<String>,
    },
    Conditional(Box<Conditional>),
    ConditionalAtLeastOneOf(Box<ConditionalAtLeastOneOf>),
    CustomEntityCheck(CustomEntityCheck),
}

/// If one field passes, another must.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conditional {
    pub(crate) if_field: String,
    pub(crate) if_match: Field,
    pub(crate) then_field: String,
    pub(crate) then_match: Field,
    #[serde(default)]
    pub(crate) then_err: Option<String>,
}

/// If one field passes, one of others must be set; `%s` in a message is their list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionalAtLeastOneOf {
    pub(crate) if_field: String,
    pub(crate) if_match: Field,
    pub(crate) then_at_least_one_of: Vec<String>,
    #[serde(default)]
    pub(crate) then_err: Option<String>,
    #[serde(default)]
    pub(crate) else_match: Option<Field>,
    #[serde(default)]
    pub(crate) else_then_at_least_one_of: Vec<String>,
    #[serde(default)]
    pub(crate) else_then_err: Option<String>,
}

/// A rule in code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomEntityCheck {
    pub(crate) field_sources: Vec<String>,
    /// Else it runs only where its fields are sound.
    #[serde(default)]
    pub(crate) run_with_invalid_fields: bool,
    #[serde(rename = "fn")]
    pub(crate) check: CustomCheck,
}

/// What a rule in code looks at.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum CustomCheck {
    /// The entity's keys and certificates.
    KeyMaterial(KeyMaterialCheck),
    /// The gateway alone: why it refuses every such entity, if it does.
    Gateway {
        /// In Kong's words.
        refused: Option<String>,
    },
}
