//! Kinds that plugins bring along: a node tells where they are and what fields they have.
//!
//! # Model
//!
//! A node tells neither how Kong finds such an entity by name nor what it caches it by. So each unique field is a natural key, `name`
//! before the others; an entity of a kind without one is told from others by its whole content. What Kong makes by itself and is no
//! id and no time is taken for a secret: plugins let it draw keys and tokens.
//!
//! # Invariants
//!
//! A kind stays known until the program ends. Told again, by another node or by a newer one, its later fields hold.

use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::schema::{Record, Type};
use super::table::{IdRecipe, KindSpec};
use super::{Kind, SPECS};

/// The most columns that `get` shows of the fields that are neither keys nor references.
const OTHER_COLUMNS: usize = 4;

/// What a node says of a kind.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Told {
    /// Kong's name: `/schemas/{name}`.
    pub(crate) name: String,
    /// Where all of them are listed.
    pub(crate) list_path: String,
    /// What `/schemas/{name}` answers.
    pub(crate) schema: Value,
}

/// A kind that was told.
pub(super) struct Learned {
    pub(super) spec: KindSpec,
    pub(super) record: Record,
}

/// By number, as in [`Kind::Custom`].
static LEARNED: RwLock<Vec<&'static Learned>> = RwLock::new(Vec::new());

/// All of them, by number.
fn learned() -> Vec<&'static Learned> {
    LEARNED
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// How many there are.
pub(super) fn count() -> u16 {
    let learned = LEARNED.read().unwrap_or_else(PoisonError::into_inner);
    u16::try_from(learned.len()).unwrap_or(u16::MAX)
}

/// The one of this number.
pub(super) fn get(number: u16) -> &'static Learned {
    LEARNED.read().unwrap_or_else(PoisonError::into_inner)[usize::from(number)]
}

/// The first that is as asked.
pub(super) fn find(is_it: impl Fn(&KindSpec) -> bool) -> Option<Kind> {
    let learned = learned();
    let found = learned.iter().find(|learned| is_it(&learned.spec));
    found.map(|learned| learned.spec.kind)
}

/// Takes in what a node says, and gives the kinds back that it has. Whatever a kind refers to comes before it.
pub(crate) fn learn(mut told: Vec<Told>) -> Vec<Kind> {
    told.retain(|kind| is_foreign(&kind.name) && has_ids(&kind.schema));
    told.sort_by(|a, b| a.name.cmp(&b.name));
    let mut kinds = Vec::with_capacity(told.len());
    while !told.is_empty() {
        let waits = |kind: &Told| {
            let mut others = told.iter().filter(|other| other.name != kind.name);
            others.any(|other| refers(&kind.schema, &other.name))
        };
        // Of a circle, any may be the first: its reference is a plain value then.
        let next = told.iter().position(|kind| !waits(kind)).unwrap_or(0);
        kinds.push(register(&told.remove(next)));
    }
    kinds
}

/// Is the name none of Kong's own?
fn is_foreign(name: &str) -> bool {
    SPECS.iter().all(|spec| spec.name != name)
}

/// Entities that have several fields instead of an id cannot be written one by one.
fn has_ids(schema: &Value) -> bool {
    Record::from_kong(schema).fields.contains_key("id")
}

fn refers(schema: &Value, name: &str) -> bool {
    let fields = schema.get("fields").and_then(Value::as_array);
    let mut fields = fields
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(|field| field.values());
    fields.any(|field| {
        field.get("type").is_some_and(|ty| ty == "foreign")
            && field.get("reference").is_some_and(|to| to == name)
    })
}

fn register(told: &Told) -> Kind {
    let all = learned();
    let known = all
        .iter()
        .position(|learned| learned.spec.name == told.name);
    let number = known.unwrap_or(all.len());
    let kind = Kind::Custom(u16::try_from(number).expect("a node has fewer kinds than that"));
    let record = record(kind, &told.schema);
    let is_as_before = |before: &Learned| {
        before.record == record && before.spec.list_path == Some(told.list_path.as_str())
    };
    if known.is_some_and(|known| is_as_before(all[known])) {
        return kind;
    }
    let spec = spec(kind, told, &record);
    // A row lives as long as the program; there are as many as its nodes have kinds.
    let row: &'static Learned = Box::leak(Box::new(Learned { spec, record }));
    let mut all = LEARNED.write().unwrap_or_else(PoisonError::into_inner);
    match all.get_mut(number) {
        Some(before) => *before = row,
        None => all.push(row),
    }
    kind
}

/// The fields of a kind, as a node tells them.
pub(in super::super) fn record(kind: Kind, schema: &Value) -> Record {
    let mut record = Record::from_kong(schema);
    for (name, field) in &mut record.fields {
        match field.ty {
            Type::Foreign(to) if to >= kind => field.ty = Type::Any,
            Type::String if field.auto && name != "id" => field.secret = true,
            _ => {}
        }
    }
    record
}

fn spec(kind: Kind, told: &Told, record: &Record) -> KindSpec {
    let name = leak(&told.name);
    let list_path = leak(&told.list_path);
    let mut keys: Vec<&'static str> = record
        .fields
        .iter()
        .filter(|(name, field)| {
            field.unique && *name != "id" && matches!(field.ty, Type::String | Type::Foreign(_))
        })
        .map(|(name, _)| leak(name))
        .collect();
    keys.sort_by_key(|key| *key != "name");
    let natural_keys: Vec<&'static [&'static str]> = keys
        .iter()
        .map(|key| &*Box::leak(Box::new([*key])) as &'static [&'static str])
        .collect();
    KindSpec {
        kind,
        name,
        singular: leak(&format!("{name} entry")),
        aliases: Box::leak(aliases(name, list_path).into_boxed_slice()),
        list_path: Some(list_path),
        below: None,
        id: keys
            .first()
            .map_or(IdRecipe::Whole, |key| IdRecipe::Name(key)),
        natural_keys: Box::leak(natural_keys.into_boxed_slice()),
        nested_in: &[],
        top_level: true,
        columns: Box::leak(columns(&keys, record).into_boxed_slice()),
        fields: "",
    }
}

/// `quota-plans`, `quota_plan` and `quota-plan` for `quota_plans`, as far as Kong's own kinds leave them.
fn aliases(name: &str, list_path: &'static str) -> Vec<&'static str> {
    let one = name.strip_suffix('s').unwrap_or(name);
    let words = [
        name.replace('_', "-"),
        list_path.to_owned(),
        one.to_owned(),
        one.replace('_', "-"),
    ];
    let mut aliases: Vec<&'static str> = Vec::new();
    for word in words {
        let taken = SPECS
            .iter()
            .any(|spec| spec.name == word || spec.aliases.contains(&word.as_str()));
        if word != name && !taken && !aliases.contains(&word.as_str()) {
            aliases.push(leak(&word));
        }
    }
    aliases
}

/// Keys and references first, then what fits a table; the id and the tags last.
fn columns(keys: &[&'static str], record: &Record) -> Vec<&'static str> {
    let mut columns = keys.to_vec();
    let mut add = |name: &String| {
        if !columns.contains(&name.as_str()) {
            columns.push(leak(name));
        }
    };
    let usual = ["id", "created_at", "updated_at", "tags"];
    let own = || {
        let fields = record.fields.iter();
        fields.filter(|(name, _)| !usual.contains(&name.as_str()))
    };
    for (name, _) in own().filter(|(_, field)| matches!(field.ty, Type::Foreign(_))) {
        add(name);
    }
    let scalar = |ty: &Type| {
        matches!(
            ty,
            Type::String | Type::Integer | Type::Number | Type::Boolean
        )
    };
    for (name, _) in own()
        .filter(|(_, field)| scalar(&field.ty) && !field.secret)
        .take(OTHER_COLUMNS)
    {
        add(name);
    }
    for name in record
        .fields
        .keys()
        .filter(|name| ["id", "tags"].contains(&name.as_str()))
    {
        add(name);
    }
    columns
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plans() -> Told {
        Told {
            name: "quota_plans".to_owned(),
            list_path: "quota-plans".to_owned(),
            schema: json!({"fields": [
                {"id": {"type": "string", "uuid": true, "auto": true}},
                {"code": {"type": "string", "unique": true}},
                {"name": {"type": "string", "unique": true, "required": true}},
                {"tokens": {"type": "integer", "default": 1000}},
                {"upstream_key": {"type": "string", "encrypted": true}},
                {"token": {"type": "string", "auto": true}},
                {"owner": {"type": "foreign", "reference": "consumers", "on_delete": "cascade"}},
                {"parent": {"type": "foreign", "reference": "quota_plans"}},
                {"tags": {"type": "set", "elements": {"type": "string"}}},
            ]}),
        }
    }

    // The table of this process stays as it is: other tests walk through it.
    fn read(told: &Told) -> (KindSpec, Record) {
        let kind = Kind::Custom(0);
        let record = record(kind, &told.schema);
        (spec(kind, told, &record), record)
    }

    #[test]
    fn a_kind_is_found_by_its_unique_fields_and_shows_no_secrets() {
        let (spec, record) = read(&plans());
        assert_eq!(spec.natural_keys, [["name"], ["code"]]);
        assert_eq!(spec.aliases, ["quota-plans", "quota_plan", "quota-plan"]);
        assert_eq!(
            spec.columns,
            ["name", "code", "owner", "tokens", "id", "tags"]
        );
        assert!(record.fields["upstream_key"].secret && record.fields["token"].secret);
        assert!(!record.fields["id"].secret);
        assert!(matches!(
            record.fields["owner"].ty,
            Type::Foreign(Kind::Consumer)
        ));
        assert!(record.fields["owner"].cascade);
    }

    #[test]
    fn a_kind_without_unique_fields_is_its_content() {
        let mut told = plans();
        told.schema["fields"].as_array_mut().unwrap().drain(1..3);
        let (spec, _) = read(&told);
        assert!(spec.natural_keys.is_empty());
        assert!(matches!(spec.id, IdRecipe::Whole));
    }

    #[test]
    fn what_a_kind_refers_to_is_told_by_its_schema() {
        let schema = plans().schema;
        assert!(refers(&schema, "consumers") && refers(&schema, "quota_plans"));
        assert!(!refers(&schema, "services"));
        assert!(has_ids(&schema));
        assert!(!has_ids(&json!({"fields": [{"name": {"type": "string"}}]})));
        assert!(!is_foreign("services"));
    }
}
