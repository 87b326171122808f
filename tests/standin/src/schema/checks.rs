//! Rules across the fields of an entity.

use serde_json::{Map, Value};

use super::definition::{Conditional, ConditionalAtLeastOneOf, CustomCheck, EntityCheck, Record};
use super::fill::Timestamp;
use super::validate::{Completeness, validate_value};
use super::{Errors, field_at, is_reference};

/// A rule's verdict: the message for `@entity`.
type Verdict = Result<(), String>;

/// Applies all rules of a record and adds what they find to `errors`.
pub(super) fn run_entity_checks(
    record: Record<'_>,
    entity: &Map<String, Value>,
    completeness: Completeness,
    now: Timestamp,
    errors: &mut Errors,
) {
    for check in record.entity_checks.iter().chain(record.more_checks) {
        if let Err(message) = run(check, record, entity, completeness, now, errors) {
            let list = errors
                .entry("@entity")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(message.into());
            }
        }
    }
}

fn run(
    check: &EntityCheck,
    record: Record<'_>,
    entity: &Map<String, Value>,
    completeness: Completeness,
    now: Timestamp,
    errors: &mut Errors,
) -> Verdict {
    let fields = fields_of(check);
    let whole = completeness == Completeness::Whole;
    let refers = |name: &str| {
        let text = field_at(entity, name).and_then(Value::as_str);
        record.field(name).is_some_and(|field| field.referenceable)
            && text.is_some_and(is_reference)
    };
    let all_absent = fields.iter().all(|name| field_at(entity, name).is_none());
    if fields.iter().any(|name| refers(name)) || (all_absent && !(whole && runs_on_nothing(check)))
    {
        return Ok(());
    }
    let any_faulty = fields.iter().any(|name| errors.contains_key(*name));
    if any_faulty && !runs_on_faults(check) {
        return Ok(());
    }
    let updating = if whole { "" } else { "when updating, " };
    let set = |names: &[String]| names.iter().filter(|name| is_set(entity, name)).count();
    match check {
        EntityCheck::AtLeastOneOf(names) => ensure(set(names) > 0, || {
            format!(
                "{updating}at least one of these fields must be non-empty: {}",
                quoted(names)
            )
        }),
        EntityCheck::OnlyOneOf(names) => ensure(set(names) == 1, || {
            format!(
                "exactly one of these fields must be non-empty: {}",
                quoted(names)
            )
        }),
        EntityCheck::Distinct(names) => {
            let values: Vec<&Value> = names
                .iter()
                .filter(|name| is_set(entity, name))
                .filter_map(|name| field_at(entity, name))
                .collect();
            let repeated = values
                .iter()
                .enumerate()
                .any(|(index, value)| values[..index].contains(value));
            ensure(!repeated, || {
                format!("values of these fields must be distinct: {}", quoted(names))
            })
        }
        EntityCheck::MutuallyRequired(names) => {
            ensure(set(names) == 0 || set(names) == names.len(), || {
                format!("all or none of these fields must be set: {}", quoted(names))
            })
        }
        EntityCheck::MutuallyExclusive(names) => ensure(set(names) <= 1, || {
            format!(
                "only one or none of these fields must be set: {}",
                quoted(names)
            )
        }),
        EntityCheck::MutuallyExclusiveSets { set1, set2 } => {
            ensure(set(set1) == 0 || set(set2) == 0, || {
                format!(
                    "these sets are mutually exclusive: ({}), ({})",
                    quoted(set1),
                    quoted(set2)
                )
            })
        }
        EntityCheck::Conditional(rule) => conditional(rule, entity, now, errors),
        EntityCheck::ConditionalAtLeastOneOf(rule) => {
            conditional_at_least_one_of(rule, entity, updating, now)
        }
        EntityCheck::CustomEntityCheck(rule) => match &rule.check {
            CustomCheck::KeyMaterial(check) => {
                check.check(entity, i64::try_from(now.seconds()).unwrap_or(i64::MAX))
            }
            CustomCheck::Gateway { refused } => refused.clone().map_or(Ok(()), Err),
        },
    }
}

/// The fields that a rule looks at.
fn fields_of(check: &EntityCheck) -> Vec<&str> {
    fn all(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }
    match check {
        EntityCheck::AtLeastOneOf(names)
        | EntityCheck::OnlyOneOf(names)
        | EntityCheck::Distinct(names)
        | EntityCheck::MutuallyRequired(names)
        | EntityCheck::MutuallyExclusive(names) => all(names),
        EntityCheck::MutuallyExclusiveSets { set1, set2 } => [all(set1), all(set2)].concat(),
        EntityCheck::Conditional(rule) => vec![&rule.if_field, &rule.then_field],
        EntityCheck::ConditionalAtLeastOneOf(rule) => {
            let mut fields = vec![rule.if_field.as_str()];
            fields.extend(
                rule.then_at_least_one_of
                    .iter()
                    .chain(&rule.else_then_at_least_one_of)
                    .map(String::as_str),
            );
            fields
        }
        EntityCheck::CustomEntityCheck(rule) => all(&rule.field_sources),
    }
}

/// Rules that speak even where none of their fields is given.
fn runs_on_nothing(check: &EntityCheck) -> bool {
    !matches!(
        check,
        EntityCheck::OnlyOneOf(_)
            | EntityCheck::Distinct(_)
            | EntityCheck::Conditional(_)
            | EntityCheck::CustomEntityCheck(_)
    )
}

/// Rules that speak even where one of their fields is faulty by itself.
fn runs_on_faults(check: &EntityCheck) -> bool {
    match check {
        EntityCheck::AtLeastOneOf(_)
        | EntityCheck::ConditionalAtLeastOneOf(_)
        | EntityCheck::OnlyOneOf(_)
        | EntityCheck::Distinct(_)
        | EntityCheck::Conditional(_) => true,
        EntityCheck::CustomEntityCheck(rule) => rule.run_with_invalid_fields,
        _ => false,
    }
}

fn conditional(
    rule: &Conditional,
    entity: &Map<String, Value>,
    now: Timestamp,
    errors: &mut Errors,
) -> Verdict {
    let Some(value) = field_at(entity, &rule.if_field) else {
        set_at(
            errors,
            &rule.if_field,
            "field required for entity check".into(),
        );
        return Ok(());
    };
    if validate_value(&rule.if_match, value, now).is_err() {
        return Ok(());
    }
    let then = field_at(entity, &rule.then_field).unwrap_or(&Value::Null);
    let Err(error) = validate_value(&rule.then_match, then, now) else {
        return Ok(());
    };
    set_at(errors, &rule.then_field, error);
    let general = || {
        format!(
            "failed conditional validation given value of field '{}'",
            rule.if_field
        )
    };
    Err(rule.then_err.clone().unwrap_or_else(general))
}

fn conditional_at_least_one_of(
    rule: &ConditionalAtLeastOneOf,
    entity: &Map<String, Value>,
    updating: &str,
    now: Timestamp,
) -> Verdict {
    let Some(value) = field_at(entity, &rule.if_field) else {
        return Ok(());
    };
    let (names, message) = if validate_value(&rule.if_match, value, now).is_ok() {
        (&rule.then_at_least_one_of, &rule.then_err)
    } else if rule
        .else_match
        .as_ref()
        .is_some_and(|field| validate_value(field, value, now).is_ok())
    {
        (&rule.else_then_at_least_one_of, &rule.else_then_err)
    } else {
        return Ok(());
    };
    let general = || {
        format!(
            "{updating}at least one of these fields must be non-empty: {}",
            quoted(names)
        )
    };
    ensure(names.iter().any(|name| is_set(entity, name)), || {
        message
            .as_ref()
            .map_or_else(general, |message| message.replace("%s", &quoted(names)))
    })
}

fn ensure(sound: bool, message: impl FnOnce() -> String) -> Verdict {
    if sound { Ok(()) } else { Err(message()) }
}

/// Neither absent, null nor empty.
fn is_set(entity: &Map<String, Value>, path: &str) -> bool {
    match field_at(entity, path) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(_) => true,
    }
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("'{name}'"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Puts an error at a dotted path.
fn set_at(errors: &mut Errors, path: &str, error: Value) {
    match path.split_once('.') {
        None => {
            errors.insert(path.to_owned(), error);
        }
        Some((first, rest)) => {
            let inner = errors
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                set_at(inner, rest, error);
            }
        }
    }
}
