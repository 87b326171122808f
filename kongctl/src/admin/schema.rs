//! Fields and their defaults: one shape for our own table and for what a node's `/schemas/*` answers.
//!
//! # Algorithm
//!
//! [`Record::fill`] does what Kong does on insert: an absent field takes its default; an absent record that is
//! required takes the defaults of its fields; a present record is filled inside; an explicit null stays null.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::entities::{Kind, custom};

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    String,
    Integer,
    Number,
    Boolean,
    /// A list whose order means nothing.
    Set(Box<Field>),
    Array(Box<Field>),
    Map(Box<Field>),
    Record(Record),
    Foreign(Kind),
    /// A value that is kept as it is, without defaults: what of it is a secret, nobody tells.
    Json,
    /// Nothing is known about the value.
    Any,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) ty: Type,
    pub(crate) default: Option<Value>,
    pub(crate) required: bool,
    /// Never shown.
    pub(crate) secret: bool,
    /// Kong makes the value when it is absent.
    pub(crate) auto: bool,
    pub(crate) unique: bool,
    /// A reference that deletes this entity with the one it refers to.
    pub(crate) cascade: bool,
    /// The only words that a string may be.
    pub(crate) one_of: Vec<String>,
    /// The least and the most that a number may be.
    pub(crate) between: Option<(f64, f64)>,
}

impl Field {
    fn of(ty: Type) -> Self {
        Self {
            default: None,
            required: false,
            secret: ty == Type::Json,
            ty,
            auto: false,
            unique: false,
            cascade: false,
            one_of: Vec::new(),
            between: None,
        }
    }

    fn from_kong(schema: &Value) -> Self {
        let element = |key: &str| {
            Box::new(
                schema
                    .get(key)
                    .map_or_else(|| Self::of(Type::Any), Self::from_kong),
            )
        };
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let ty = match schema
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            "set" => Type::Set(element("elements")),
            "array" => Type::Array(element("elements")),
            "map" => Type::Map(element("values")),
            "record" if !flag("abstract") => Type::Record(Record::from_kong(schema)),
            "foreign" => schema
                .get("reference")
                .and_then(Value::as_str)
                .and_then(Kind::from_name)
                .map_or(Type::Any, Type::Foreign),
            "json" => Type::Json,
            _ => Type::Any,
        };
        let one_of = schema.get("one_of").and_then(Value::as_array);
        Self {
            secret: ty == Type::Json || flag("encrypted") || flag("referenceable"),
            ty,
            default: schema
                .get("default")
                .filter(|default| is_real_default(default))
                .cloned(),
            required: flag("required"),
            auto: flag("auto"),
            unique: flag("unique"),
            cascade: schema.get("on_delete").and_then(Value::as_str) == Some("cascade"),
            one_of: one_of
                .map(|list| {
                    list.iter()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect()
                })
                .unwrap_or_default(),
            between: schema
                .get("between")
                .and_then(|range| Some((range.get(0)?.as_f64()?, range.get(1)?.as_f64()?))),
        }
    }

    /// Whether a null here is somebody's word: left out, the default would come back. A record that has one is never null.
    pub(crate) fn means_null(&self) -> bool {
        self.default.is_some() && !matches!(self.ty, Type::Record(_))
    }

    fn fill(&self, value: &mut Value) {
        match (&self.ty, value) {
            (Type::Record(record), Value::Object(map)) => record.fill(map),
            (Type::Set(element) | Type::Array(element), Value::Array(list)) => {
                for item in list {
                    element.fill(item);
                }
            }
            (Type::Map(element), Value::Object(map)) => {
                for item in map.values_mut() {
                    element.fill(item);
                }
            }
            _ => {}
        }
    }

    /// Puts the fields of records inside it in the order that `known` has them in: that of Kong's health checks differs from start to start.
    fn order_as(&mut self, known: &Self) {
        match (&mut self.ty, &known.ty) {
            (Type::Record(record), Type::Record(known)) => {
                let rank = |name: &String| known.fields.get_index_of(name).unwrap_or(usize::MAX);
                record
                    .fields
                    .sort_by(|a, _, b, _| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
                for (name, field) in &mut record.fields {
                    if let Some(known) = known.fields.get(name) {
                        field.order_as(known);
                    }
                }
            }
            (
                Type::Set(element) | Type::Array(element) | Type::Map(element),
                Type::Set(known) | Type::Array(known) | Type::Map(known),
            ) => element.order_as(known),
            _ => {}
        }
    }

    fn missing(&self) -> Option<Value> {
        if let Some(default) = &self.default {
            return Some(default.clone());
        }
        match &self.ty {
            Type::Record(record) if self.required => {
                let mut map = Map::new();
                record.fill(&mut map);
                Some(Value::Object(map))
            }
            _ => None,
        }
    }
}

/// Lua's null has no JSON: Kong prints it as a string when a schema states it as a default.
fn is_real_default(default: &Value) -> bool {
    !default.is_null()
        && !default
            .as_str()
            .is_some_and(|text| text.starts_with("userdata"))
}

/// Fields by name, in Kong's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) fields: IndexMap<String, Field>,
    /// Deprecated fields, and where their value really lives (`None` where Kong does not say).
    pub(crate) shorthands: IndexMap<String, Option<Vec<String>>>,
}

impl Record {
    /// Reads fields in the notation of the entity table.
    pub(super) fn from_lines(blocks: &[&str]) -> Self {
        let mut record = Self::default();
        for line in blocks
            .iter()
            .flat_map(|block| block.lines())
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            record.add_line(line);
        }
        record
    }

    fn add_line(&mut self, line: &str) {
        let (head, default) = line.split_once(" = ").map_or((line, None), |(head, text)| {
            let value = serde_json::from_str(text).expect("the table's defaults are JSON");
            (head, Some(value))
        });
        let mut words = head.split_whitespace();
        let path: Vec<&str> = words
            .next()
            .expect("a line starts with a name")
            .split('.')
            .collect();
        let mut field = Field::of(type_of_word(
            words.next().expect("a name is followed by a type"),
        ));
        field.default = default;
        while let Some(word) = words.next() {
            match word {
                "required" => field.required = true,
                "unique" => field.unique = true,
                "secret" => field.secret = true,
                "auto" => field.auto = true,
                "cascade" => field.cascade = true,
                "in" => {
                    let choices = words.next().expect("`in` is followed by its choices");
                    field.one_of = choices.split('|').map(str::to_owned).collect();
                }
                "between" => {
                    let mut bound = || words.next().and_then(|word| word.parse().ok());
                    field.between = bound().zip(bound());
                    assert!(
                        field.between.is_some(),
                        "`between` is followed by two numbers"
                    );
                }
                other => unreachable!("the table has no attribute {other}"),
            }
        }
        // A list's choices are those of its elements.
        if let Type::Set(element) | Type::Array(element) = &mut field.ty {
            element.one_of = std::mem::take(&mut field.one_of);
        }
        let (last, parents) = path.split_last().expect("a path has a last segment");
        let mut record = self;
        for parent in parents {
            let name = parent.trim_end_matches(['[', ']', '{', '}']);
            let entry = record.fields.entry(name.to_owned()).or_insert_with(|| {
                let inner = Type::Record(Self::default());
                let mut field = match &parent[name.len()..] {
                    "[]" => Field::of(Type::Array(Box::new(Field::of(inner)))),
                    "{}" => Field::of(Type::Set(Box::new(Field::of(inner)))),
                    _ => Field::of(inner),
                };
                // Only these may be absent: the others are records whose defaults Kong always fills in.
                field.required = !matches!(name, "pem" | "sources" | "destinations");
                field
            });
            let inner = match &mut entry.ty {
                Type::Array(element) | Type::Set(element) => &mut element.ty,
                inner => inner,
            };
            let Type::Record(inner) = inner else {
                unreachable!("a path runs through records")
            };
            record = inner;
        }
        record.fields.insert((*last).to_owned(), field);
    }

    /// Reads a schema as Kong prints it: `{fields: [{name: {…}}, …], shorthand_fields: […]}`.
    pub(crate) fn from_kong(schema: &Value) -> Self {
        let pairs = |key: &str| -> Vec<(String, Value)> {
            let list = schema
                .get(key)
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            list.iter()
                .filter_map(Value::as_object)
                .flat_map(|entry| {
                    entry
                        .iter()
                        .map(|(name, field)| (name.clone(), field.clone()))
                })
                .collect()
        };
        Self {
            fields: pairs("fields")
                .into_iter()
                .map(|(name, field)| (name, Field::from_kong(&field)))
                .collect(),
            shorthands: pairs("shorthand_fields")
                .into_iter()
                .map(|(name, field)| {
                    let path = field
                        .pointer("/deprecation/replaced_with/0/path")
                        .and_then(Value::as_array);
                    let path = path.map(|path| {
                        path.iter()
                            .filter_map(Value::as_str)
                            .map(str::to_owned)
                            .collect()
                    });
                    (name, path)
                })
                .collect(),
        }
    }

    /// The field of this name, or the one that a deprecated name stands for.
    pub(crate) fn field_or_shorthand(&self, name: &str) -> Option<&Field> {
        if let Some(field) = self.fields.get(name) {
            return Some(field);
        }
        let (last, parents) = self.shorthands.get(name)?.as_ref()?.split_last()?;
        let mut record = self;
        for parent in parents {
            let Type::Record(inner) = &record.fields.get(parent)?.ty else {
                return None;
            };
            record = inner;
        }
        record.fields.get(last)
    }

    /// Puts defaults where fields are absent, as Kong does on insert.
    pub(crate) fn fill(&self, map: &mut Map<String, Value>) {
        for (name, field) in &self.fields {
            match map.get_mut(name) {
                Some(value) => field.fill(value),
                None => {
                    if let Some(value) = field.missing() {
                        map.insert(name.clone(), value);
                    }
                }
            }
        }
    }

    /// Moves the values of deprecated fields to where Kong keeps them; the new field wins where both are given.
    ///
    /// Kong answers with both spellings, so both sides of a comparison go through this.
    pub(crate) fn resolve_shorthands(&self, map: &mut Map<String, Value>) {
        for (name, path) in &self.shorthands {
            let Some(path) = path else { continue };
            let Some(value) = map.shift_remove(name) else {
                continue;
            };
            if value.is_null() {
                continue;
            }
            let Some((last, parents)) = path.split_last() else {
                continue;
            };
            let mut target = &mut *map;
            for parent in parents {
                let slot = target
                    .entry(parent.clone())
                    .or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                target = slot
                    .as_object_mut()
                    .expect("the slot was just made an object");
            }
            if target.get(last).is_none_or(Value::is_null) {
                target.insert(last.clone(), value);
            }
        }
        for (name, field) in &self.fields {
            if let (Type::Record(record), Some(Value::Object(inner))) =
                (&field.ty, map.get_mut(name))
            {
                record.resolve_shorthands(inner);
            }
        }
    }
}

fn type_of_word(word: &str) -> Type {
    let element = |word: &str| Box::new(Field::of(type_of_word(word)));
    match word {
        "string" => Type::String,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        "json" => Type::Json,
        "any" => Type::Any,
        _ => {
            if let Some(kind) = word.strip_prefix("->") {
                return Type::Foreign(
                    Kind::from_name(kind).expect("the table refers to its own kinds"),
                );
            }
            match word.split_once(':') {
                Some(("set", inner)) => Type::Set(element(inner)),
                Some(("array", inner)) => Type::Array(element(inner)),
                Some(("map", inner)) => Type::Map(element(inner)),
                _ => unreachable!("the table has no type {word}"),
            }
        }
    }
}

/// What is known of the fields of kinds and plugins: the node's word where it gave one, the table's otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemas {
    kinds: HashMap<Kind, Record>,
    plugins: HashMap<String, Record>,
    /// Plugins that the node was asked about and does not have.
    absent_plugins: HashSet<String>,
}

impl Schemas {
    /// Takes in what a node says of a kind. The table's word on secrets and shorthands stays.
    pub(crate) fn add_kind(&mut self, kind: Kind, answer: &Value) {
        if kind.is_custom() {
            self.kinds.insert(kind, custom::record(kind, answer));
            return;
        }
        let mut record = Record::from_kong(answer);
        for (name, known) in &kind.record().fields {
            match record.fields.get_mut(name) {
                Some(field) => {
                    field.secret = known.secret;
                    if matches!(field.ty, Type::Any) {
                        field.ty = known.ty.clone();
                    }
                }
                // Kong lists neither `ttl` nor the fields of other router flavours.
                None => {
                    record.fields.insert(name.clone(), known.clone());
                }
            }
        }
        for (name, field) in &mut record.fields {
            if let Some(known) = kind.record().fields.get(name) {
                field.order_as(known);
            }
        }
        self.kinds.insert(kind, record);
    }

    /// Takes in what a node says of a plugin.
    pub(crate) fn add_plugin(&mut self, name: &str, answer: &Value) {
        self.plugins
            .insert(name.to_owned(), Record::from_kong(answer));
    }

    /// Takes in that a node has no such plugin.
    pub(crate) fn add_absent_plugin(&mut self, name: String) {
        self.absent_plugins.insert(name);
    }

    /// True if a node said that it has no such plugin.
    pub(crate) fn lacks_plugin(&self, name: &str) -> bool {
        self.absent_plugins.contains(name)
    }

    /// The fields of a kind.
    pub(crate) fn kind(&self, kind: Kind) -> &Record {
        self.kinds.get(&kind).unwrap_or_else(|| kind.record())
    }

    /// The fields of a plugin's `config`, where a node has told them.
    pub(crate) fn plugin_config(&self, name: &str) -> Option<&Record> {
        match &self.plugins.get(name)?.fields.get("config")?.ty {
            Type::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The fields of an entity with this body: a plugin's own where a node has told them.
    pub(crate) fn of_entity(&self, kind: Kind, body: &Map<String, Value>) -> Record {
        let mut record = self.kind(kind).clone();
        if kind == Kind::Plugin
            && let Some(plugin) = body
                .get("name")
                .and_then(Value::as_str)
                .and_then(|name| self.plugins.get(name))
        {
            for (name, field) in &plugin.fields {
                // Kong restricts references by plugin; what the field is stays the same.
                if !matches!(
                    kind.record().fields.get(name),
                    Some(Field {
                        ty: Type::Foreign(_),
                        ..
                    })
                ) {
                    record.fields.insert(name.clone(), field.clone());
                }
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_takes_the_defaults_of_the_table() {
        let mut body = json!({"name": "llm", "host": "example.com", "retries": null});
        let map = body.as_object_mut().unwrap();
        Kind::Service.record().fill(map);
        assert_eq!(map["port"], 80);
        assert_eq!(
            map["retries"],
            Value::Null,
            "an explicit null is the file's word"
        );
    }

    #[test]
    fn an_upstream_takes_nested_defaults_around_what_it_gives() {
        let mut body =
            json!({"name": "pool", "healthchecks": {"active": {"healthy": {"interval": 5}}}});
        let map = body.as_object_mut().unwrap();
        Kind::Upstream.record().fill(map);
        assert_eq!(
            body.pointer("/healthchecks/active/healthy/interval")
                .unwrap(),
            5
        );
        assert_eq!(body.pointer("/healthchecks/active/http_path").unwrap(), "/");
        assert_eq!(
            body.pointer("/healthchecks/passive/unhealthy/http_statuses")
                .unwrap(),
            &json!([429, 500, 503])
        );
    }

    #[test]
    fn records_of_a_kind_have_one_order_whatever_the_nodes_is() {
        let field =
            |name: &str, fields: &[Value]| json!({name: {"type": "record", "fields": fields}});
        let leaf = |name: &str| json!({name: {"type": "integer"}});
        let orders = [["active", "passive"], ["passive", "active"]].map(|[first, second]| {
            let checks = [
                field(first, &[leaf("timeout"), leaf("concurrency")]),
                field(second, &[leaf("type")]),
            ];
            let mut schemas = Schemas::default();
            schemas.add_kind(
                Kind::Upstream,
                &json!({"fields": [field("healthchecks", &checks)]}),
            );
            let Type::Record(checks) = &schemas.kind(Kind::Upstream).fields["healthchecks"].ty
            else {
                unreachable!("it is a record")
            };
            checks.fields.keys().cloned().collect::<Vec<_>>()
        });
        assert_eq!(orders[0], orders[1]);
    }

    #[test]
    fn a_deprecated_field_moves_to_where_kong_keeps_it() {
        let record = Record::from_kong(&json!({
            "fields": [{"redis": {"type": "record", "required": true, "fields": [{"host": {"type": "string"}}]}}],
            "shorthand_fields": [{"redis_host": {
                "type": "string", "deprecation": {"replaced_with": [{"path": ["redis", "host"]}]}}}],
        }));
        let mut body = json!({"redis_host": "cache"});
        record.resolve_shorthands(body.as_object_mut().unwrap());
        assert_eq!(body, json!({"redis": {"host": "cache"}}));
    }

    #[test]
    fn the_table_and_a_real_nodes_schema_agree_on_consumers() {
        let recorded = include_str!("../../tests/fixtures/schema-consumers.json");
        let theirs = Record::from_kong(&serde_json::from_str(recorded).unwrap());
        let mut names: Vec<_> = theirs.fields.keys().collect();
        let mut ours: Vec<_> = Kind::Consumer.record().fields.keys().collect();
        names.sort();
        ours.sort();
        assert_eq!(names, ours);
        assert!(theirs.fields["username"].unique);
    }
}
