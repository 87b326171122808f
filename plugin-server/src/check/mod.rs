//! Whether a configuration can work, told to those who have no Kong and no plugin server at hand: all that is wrong, each with
//! its path.
//!
//! # Algorithm
//!
//! 1. The schema that Kong is told judges each value ([`Schema::violations`]).
//! 2. What it refuses, and what nobody knows yet, is put out of the way: the entry of the list that holds it is exchanged for one
//!    that works (`subject` has them), so that the indexes of the others stay, or its field goes back to its default.
//! 3. The code that the plugin server runs when Kong sends a configuration judges the rest. It stops at the first reason, so what it
//!    refuses is put out of the way too, and it judges again.
//!
//! # Invariants
//!
//! 1. Nothing is refused that would not be refused once the unknown values are known (test: `what_nobody_knows_yet_is_no_problem`).
//! 2. Whatever a plugin server refuses to start, this refuses: step 3 without steps 1 and 2 is that refusal.

mod subject;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use kong_pdk::schema::{Reason, Schema};
use serde_json::{Map, Value, json};

pub use self::subject::Subject;
pub use kong_pdk::schema::{Path, Step};

/// What is wrong with a configuration at one place. Holds no value of the configuration that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, or where it should be.
    pub path: Path,
    /// What is wrong, with the field's name in it.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
    /// Whether the field's name is what is wrong, not its value.
    pub names_field: bool,
}

/// Why the policy refuses a configuration, and where.
struct Refusal {
    path: Path,
    message: String,
}

impl Subject {
    /// The schema of the plugin's `config`, as Kong is told.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// Everything that is wrong with `config`, the plugin's `config` in Kong's terms.
    ///
    /// `unknown` are the values that are known only where the configuration will be used; vault references are found by
    /// themselves. What stands there is not looked at.
    pub fn problems(&self, config: &Value, unknown: &[Path]) -> Vec<Problem> {
        let schema = self.schema();
        let unknown: HashSet<&Path> = unknown.iter().collect();
        let violations = schema.violations(config, &|path| unknown.contains(path));
        let mut problems: Vec<Problem> = violations
            .iter()
            .map(|violation| Problem {
                path: violation.path.clone(),
                message: told(&violation.path, &violation.reason),
                hint: hint(&violation.path, &violation.reason),
                names_field: matches!(violation.reason, Reason::Unknown { .. }),
            })
            .collect();
        let Some(config) = config
            .as_object()
            .filter(|_| !unknown.contains(&Path::default()))
        else {
            return problems;
        };
        let mut config = config.clone();
        let vaults = schema.vault_references(&Value::Object(config.clone()));
        for path in unknown.into_iter().chain(&vaults) {
            if !(self.stand_in)(&mut config, &path.0) {
                self.put_aside(&mut config, path);
            }
        }
        for violation in &violations {
            // The server drops fields that it does not know, and does without them.
            if !matches!(violation.reason, Reason::Unknown { .. }) {
                self.put_aside(&mut config, &violation.path);
            }
        }
        let mut aside = HashSet::new();
        while let Err(refusal) = (self.judge)(Value::Object(config.clone())) {
            let whole = refusal.path.0.is_empty();
            if !aside.insert(refusal.path.clone()) || whole && !problems.is_empty() {
                break;
            }
            let goes_on = self.put_aside(&mut config, &refusal.path);
            problems.push(Problem {
                path: refusal.path,
                message: refusal.message,
                hint: None,
                names_field: false,
            });
            if !goes_on {
                break;
            }
        }
        problems
    }

    /// Exchanges what `path` leads through for something that works. False if there is nothing to exchange.
    fn put_aside(&self, config: &mut Map<String, Value>, path: &Path) -> bool {
        let Some(Step::Field(field)) = path.0.first() else {
            return false;
        };
        let spare = self.spares.iter().find(|(list, _)| list == field);
        if let Some((_, spare)) = spare {
            let entry = match path.0.get(1) {
                Some(Step::Index(at)) => config
                    .get_mut(field)
                    .and_then(Value::as_array_mut)
                    .and_then(|list| Some((*at, list.get_mut(*at)?))),
                _ => None,
            };
            match entry {
                Some((at, entry)) => *entry = spare(at),
                None => drop(config.insert(field.clone(), json!([spare(0)]))),
            }
            return true;
        }
        let together = self
            .together
            .iter()
            .find(|group| group.contains(&field.as_str()));
        for name in together.copied().unwrap_or(&[field.as_str()]) {
            if let Some((list, field)) = self.alternative
                && field == *name
                && config.contains_key(field)
                && config.get(list).is_none_or(is_empty)
                && let Some((_, spare)) = self.spares.iter().find(|(name, _)| *name == list)
            {
                config.insert(list.to_owned(), json!([spare(0)]));
            }
            config.remove(*name);
        }
        true
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_none_or(Vec::is_empty)
}

fn told(path: &Path, reason: &Reason) -> String {
    match reason {
        _ if path.0.is_empty() => format!("the configuration {reason}"),
        Reason::Unknown { .. } => format!("{reason} `{path}`"),
        _ => format!("{path}: {reason}"),
    }
}

fn hint(path: &Path, reason: &Reason) -> Option<String> {
    match reason {
        Reason::Unknown { known } => {
            let Some(Step::Field(name)) = path.0.last() else {
                return None;
            };
            let near = known
                .iter()
                .map(|known| (strsim::jaro_winkler(name, known), known))
                .filter(|(score, _)| *score > 0.8)
                .max_by(|(a, _), (b, _)| a.total_cmp(b));
            Some(match near {
                Some((_, near)) => format!("did you mean `{near}`?"),
                None => format!("known are {}", known.join(", ")),
            })
        }
        Reason::Type { expected, found } => match (*expected, *found) {
            ("a string", "a number" | "a boolean") => Some("put it in quotes"),
            ("a boolean", "a string") => Some("write true or false, without quotes"),
            ("an integer" | "a number", "a string") => Some("write it without quotes"),
            ("a list", _) => Some("write it as [a, b], or each item in its own line after `- `"),
            _ => None,
        }
        .map(str::to_owned),
        Reason::Vault => Some(
            "write the value itself, or take it from the environment with ${{ env \"NAME\" }}"
                .to_owned(),
        ),
        _ => None,
    }
}
