//! Refusals in Kong's shape: a code, its name, a message and the fields that are at fault.

use serde_json::{Map, Value, json};

use super::pretty;
use crate::schema::Errors;

/// Kong's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidPrimaryKey = 1,
    SchemaViolation = 2,
    PrimaryKeyViolation = 3,
    ForeignKeyViolation = 4,
    UniqueViolation = 5,
    NotFound = 6,
    InvalidOffset = 7,
    InvalidSize = 9,
    InvalidUnique = 10,
    InvalidOptions = 11,
    OperationUnsupported = 12,
    ForeignKeysUnresolved = 13,
    DeclarativeConfig = 14,
    ReferencedByOthers = 19,
    /// No refusal of Kong's: it stumbles, and says nothing of it.
    Unexpected = 255,
}

/// Why something was refused.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    pub(crate) code: Code,
    name: String,
    message: String,
    /// Further members of the answer's body.
    details: Box<Map<String, Value>>,
}

impl Error {
    fn new(code: Code, name: &str, message: String) -> Self {
        Self {
            code,
            name: name.to_owned(),
            message,
            details: Box::default(),
        }
    }

    /// Adds a member to the body.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.details.insert(member.to_owned(), value.into());
        self
    }

    /// The answer's body.
    pub(crate) fn body(self) -> Value {
        let mut body = Map::new();
        if self.code == Code::Unexpected {
            body.insert("message".to_owned(), self.message.into());
            return body.into();
        }
        body.insert("code".to_owned(), (self.code as u8).into());
        body.insert("name".to_owned(), self.name.into());
        body.insert("message".to_owned(), self.message.into());
        body.extend(*self.details);
        body.into()
    }

    pub(crate) fn invalid_primary_key(faults: Value) -> Self {
        let message = format!("invalid primary key: '{}'", pretty::compact(&faults));
        Self::new(Code::InvalidPrimaryKey, "invalid primary key", message).with("fields", faults)
    }

    pub(crate) fn schema_violation(errors: Errors) -> Self {
        let faults = describe(&errors);
        let message = match faults.as_slice() {
            [fault] => format!("schema violation ({fault})"),
            faults => format!("{} schema violations ({})", faults.len(), faults.join("; ")),
        };
        Self::new(Code::SchemaViolation, "schema violation", message).with("fields", errors)
    }

    /// A schema violation of one field.
    pub(crate) fn field_violation(field: &str, message: impl Into<String>) -> Self {
        Self::schema_violation(Errors::from_iter([(
            field.to_owned(),
            Value::from(message.into()),
        )]))
    }

    pub(crate) fn primary_key_violation(id: &str) -> Self {
        let key = json!({"id": id});
        let message = format!("primary key violation on key '{}'", pretty::compact(&key));
        Self::new(Code::PrimaryKeyViolation, "primary key violation", message).with("fields", key)
    }

    pub(crate) fn no_such_reference(field: &str, key: &Value, kind: &str) -> Self {
        let message = format!(
            "the foreign key '{}' does not reference an existing '{kind}' entity.",
            pretty::compact(key)
        );
        Self::new(Code::ForeignKeyViolation, "foreign key violation", message)
            .with("fields", json!({field: key}))
    }

    pub(crate) fn still_referenced(kind: &str, by: &str) -> Self {
        let message = format!("an existing '{by}' entity references this '{kind}' entity");
        Self::new(Code::ForeignKeyViolation, "foreign key violation", message)
            .with("fields", json!({"@referenced_by": by}))
    }

    pub(crate) fn referenced_by_others(message: String) -> Self {
        Self::new(Code::ReferencedByOthers, "referenced by others", message)
    }

    /// `errors`: by field of the entity, by field of the entity it refers to, the message.
    pub(crate) fn foreign_keys_unresolved(errors: Errors) -> Self {
        let faults = describe(&errors);
        let message = match faults.as_slice() {
            [fault] => format!("foreign key unresolved ({fault})"),
            faults => format!(
                "{} foreign keys unresolved ({})",
                faults.len(),
                faults.join("; ")
            ),
        };
        Self::new(
            Code::ForeignKeysUnresolved,
            "foreign keys unresolved",
            message,
        )
        .with("fields", errors)
    }

    /// Whose `fields` are those that are taken, with their values.
    pub(crate) fn unique_violation(fields: Map<String, Value>) -> Self {
        let fields = Value::from(fields);
        let message = format!(
            "UNIQUE violation detected on '{}'",
            pretty::compact(&fields)
        );
        Self::new(
            Code::UniqueViolation,
            "unique constraint violation",
            message,
        )
        .with("fields", fields)
    }

    pub(crate) fn not_found(field: &str, value: &str) -> Self {
        let key = json!({field: value});
        let by = if field == "id" { "primary key " } else { "" };
        let message = format!(
            "could not find the entity with {by}'{}'",
            pretty::compact(&key)
        );
        Self::new(Code::NotFound, "not found", message).with("fields", key)
    }

    pub(crate) fn invalid_offset(offset: &str, reason: &str) -> Self {
        Self::new(
            Code::InvalidOffset,
            "invalid offset",
            format!("'{offset}' is not a valid offset: {reason}"),
        )
    }

    pub(crate) fn invalid_size(message: &str) -> Self {
        Self::new(Code::InvalidSize, "invalid size", message.to_owned())
    }

    pub(crate) fn invalid_unique(field: &str, message: String) -> Self {
        Self::new(
            Code::InvalidUnique,
            &format!("invalid unique {field}"),
            message,
        )
    }

    pub(crate) fn invalid_option(option: &str, fault: &str) -> Self {
        Self::new(
            Code::InvalidOptions,
            "invalid options",
            format!("invalid option ({option}: {fault})"),
        )
        .with("options", json!({option: fault}))
    }

    /// Where Kong answers 500.
    pub(crate) fn unexpected() -> Self {
        let message = "An unexpected error occurred";
        Self::new(Code::Unexpected, "unexpected", message.to_owned())
    }

    pub(crate) fn unsupported(message: String) -> Self {
        Self::new(Code::OperationUnsupported, "operation unsupported", message)
    }

    /// A declarative configuration's faults, by kind and place.
    pub(crate) fn declarative(faults: Errors) -> Self {
        let faults = Value::from(faults);
        let message = format!(
            "declarative config is invalid: {}",
            pretty::compact(&faults)
        );
        Self::new(
            Code::DeclarativeConfig,
            "invalid declarative configuration",
            message,
        )
        .with("fields", faults)
    }
}

/// The faults one by one: rules first, then fields in alphabetical order, those inside a field by their path.
fn describe(errors: &Errors) -> Vec<String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| pretty::indented(value), str::to_owned)
    };
    let mut faults: Vec<String> = errors
        .get("@entity")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    let mut fields: Vec<(&String, &Value)> = errors
        .iter()
        .filter(|(field, _)| *field != "@entity")
        .collect();
    fields.sort_by_key(|(field, _)| *field);
    for (field, error) in fields {
        match error {
            Value::Object(inner) => {
                let mut inner: Vec<(&String, &Value)> = inner.iter().collect();
                inner.sort_by_key(|(name, _)| *name);
                faults.extend(
                    inner
                        .iter()
                        .map(|(name, error)| format!("{field}.{name}: {}", text(error))),
                );
            }
            Value::Array(items) => {
                let items = items
                    .iter()
                    .enumerate()
                    .filter(|(_, error)| !error.is_null());
                faults.extend(
                    items.map(|(index, error)| format!("{field}.{}: {}", index + 1, text(error))),
                );
            }
            error => faults.push(format!("{field}: {}", text(error))),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_violation_names_each_fault_by_its_path() {
        let errors = json!({"paths": [null, "bad"], "name": "taken", "@entity": ["rule"]});
        let body = Error::schema_violation(errors.as_object().cloned().unwrap()).body();
        assert_eq!(
            body["message"],
            "3 schema violations (rule; name: taken; paths.2: bad)"
        );
        assert_eq!(body["code"], 2);
    }
}
