//! Comparing a recorded body with an answer's.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// How a part of a body is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// The same members, scalars of the same type.
    Shape,
    /// A part of the recorded list, in its order.
    Part,
    /// It must be there.
    Nothing,
}

/// What the server makes, told by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// A random UUID. Those made from names (version 5) must be the very same.
    Id,
    /// 32 letters and digits: a key, or a configuration's hash.
    Key,
    /// 40 or 64 hexadecimal digits.
    Digest(usize),
    /// Where a page starts.
    Offset,
}

/// Compares the answers of one run; remembers which made value stands for which recorded one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison {
    ours: HashMap<String, String>,
    /// Whether lists of entities must be in the recorded order.
    pub(crate) ordered: bool,
}

impl Comparison {
    /// A recorded text with our values in the place of those that the server made.
    pub(crate) fn translate(&self, recorded: &str) -> String {
        self.ours
            .iter()
            .fold(recorded.to_owned(), |text, (theirs, ours)| {
                text.replace(theirs, ours)
            })
    }

    /// Lists the differences. `lenient` are JSON pointers of parts that are compared otherwise.
    pub(crate) fn bodies(
        &mut self,
        recorded: &Value,
        ours: &Value,
        lenient: &[(&str, Strictness)],
    ) -> Vec<String> {
        let mut recorded = recorded.clone();
        let mut rest = ours.clone();
        let mut differences = Vec::new();
        for (pointer, strictness) in lenient {
            let (Some(theirs), Some(ours)) =
                (recorded.pointer_mut(pointer), rest.pointer_mut(pointer))
            else {
                differences.push(format!("{pointer} is missing"));
                continue;
            };
            let (theirs, ours) = (theirs.take(), ours.take());
            let (alike, expected) = match strictness {
                Strictness::Shape => (same_shape(&theirs, &ours), "shaped as"),
                Strictness::Part => (is_part(&ours, &theirs), "a part of"),
                Strictness::Nothing => continue,
            };
            if !alike {
                differences.push(format!("{pointer}: {ours} is not {expected} {theirs}"));
            }
        }
        self.values("", &recorded, &rest, &mut differences);
        differences
    }

    fn values(
        &mut self,
        path: &str,
        recorded: &Value,
        ours: &Value,
        differences: &mut Vec<String>,
    ) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                self.members(path, recorded, ours, differences);
            }
            (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
                let unordered = !self.ordered && path == "/data";
                if unordered {
                    self.unordered(path, recorded, ours, differences);
                } else {
                    for (index, (recorded, ours)) in recorded.iter().zip(ours).enumerate() {
                        self.values(&format!("{path}/{index}"), recorded, ours, differences);
                    }
                }
            }
            (Value::Number(_), Value::Number(_)) if path.ends_with("_at") => {}
            (Value::String(recorded), Value::String(ours)) => {
                self.texts(path, recorded, ours, differences);
            }
            (Value::Number(recorded), Value::Number(ours))
                if recorded.as_f64() == ours.as_f64() => {}
            (recorded, ours) if recorded == ours => {}
            _ => differences.push(format!("{path}: {ours} instead of {recorded}")),
        }
    }

    fn texts(&mut self, path: &str, recorded: &str, ours: &str, differences: &mut Vec<String>) {
        let expected = self.translate(recorded);
        if expected == ours {
            return;
        }
        match (made(recorded), made(ours)) {
            (Some(theirs), Some(kind)) if theirs == kind && !self.ours.contains_key(recorded) => {
                self.ours.insert(recorded.to_owned(), ours.to_owned());
            }
            _ => differences.push(format!("{path}: {ours:?} instead of {expected:?}")),
        }
    }

    fn members(
        &mut self,
        path: &str,
        recorded: &Map<String, Value>,
        ours: &Map<String, Value>,
        differences: &mut Vec<String>,
    ) {
        // The offset first: the path of the next page repeats it.
        let mut names: Vec<&String> = recorded.keys().collect();
        names.sort_by_key(|name| *name != "offset");
        let mut seen = Vec::new();
        for name in names {
            let translated = self.translate(name);
            let alike = |other: &&String| made(name).is_some() && made(name) == made(other);
            let Some(own_name) = ours
                .keys()
                .find(|own| **own == translated)
                .or_else(|| ours.keys().find(|own| alike(own)))
            else {
                differences.push(format!("{path}/{name} is missing"));
                continue;
            };
            seen.push(own_name);
            self.texts(path, name, own_name, differences);
            self.values(
                &format!("{path}/{name}"),
                &recorded[name],
                &ours[own_name],
                differences,
            );
        }
        let surplus = ours.keys().filter(|name| !seen.contains(name));
        differences.extend(surplus.map(|name| format!("{path}/{name} is too much")));
    }

    /// Each recorded element must have its like among ours.
    fn unordered(
        &mut self,
        path: &str,
        recorded: &[Value],
        ours: &[Value],
        differences: &mut Vec<String>,
    ) {
        let mut left: Vec<&Value> = ours.iter().collect();
        for element in recorded {
            let mut closest: Option<Vec<String>> = None;
            let found = left.iter().position(|candidate| {
                let mut attempt = self.clone();
                let mut attempt_differences = Vec::new();
                attempt.values(
                    &format!("{path}/*"),
                    element,
                    candidate,
                    &mut attempt_differences,
                );
                let same = attempt_differences.is_empty();
                if same {
                    *self = attempt;
                } else if closest
                    .as_ref()
                    .is_none_or(|closest| attempt_differences.len() < closest.len())
                {
                    closest = Some(attempt_differences);
                }
                same
            });
            match found {
                Some(position) => drop(left.remove(position)),
                None => differences.extend(
                    closest.unwrap_or_else(|| vec![format!("{path}: {element} is missing")]),
                ),
            }
        }
    }
}

fn made(text: &str) -> Option<Made> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        36 if text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.as_bytes()[14] == b'4' => {
            Some(Made::Id)
        }
        32 if text.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().any(|byte| byte != b'0') =>
        {
            Some(Made::Key)
        }
        length @ (40 | 64) if hexadecimal => Some(Made::Digest(length)),
        _ if text.starts_with("Wy") => Some(Made::Offset),
        _ => None,
    }
}

/// Whether all elements of one list stand in another, in the same order.
fn is_part(part: &Value, whole: &Value) -> bool {
    let (Value::Array(part), Value::Array(whole)) = (part, whole) else {
        return false;
    };
    let mut left = whole.iter();
    !part.is_empty()
        && part
            .iter()
            .all(|element| left.any(|other| other == element))
}

fn same_shape(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other
                        .get(name)
                        .is_some_and(|other| same_shape(value, other))
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| same_shape(one, other))
        }
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => true,
        _ => false,
    }
}
