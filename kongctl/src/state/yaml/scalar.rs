//! What a plain scalar means: to decK, which reads YAML 1.1 by the rules of its library, and to YAML 1.2's core schema.
//!
//! # Model
//!
//! Whatever is a number to decK is that number here: underscores between digits, `0b`, `0x` and `0o` with a sign. Times of day
//! (`1:30`) and dates are texts to both. What the two standards read as two numbers, or no reader could send to Kong, is a [`Doubt`].

use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::Number;

use crate::admin::entities::Kind;
use crate::admin::schema::{Record, Type};

use super::super::node::NodeValue;

/// Below it, each whole number is a double of its own: 2^53.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// A plain scalar's value.
pub(in super::super) fn plain_value(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| NodeValue::String(text.to_owned()), NodeValue::Number)
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let text = text.replace('_', "");
    let (sign, digits) = signed(&text);
    if let Some((digits, radix)) = with_radix(digits) {
        let value = u64::from_str_radix(digits, radix).ok()?;
        return integer(sign, value);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let whole = digits.parse().ok().and_then(|value| integer(sign, value));
    whole.or_else(|| {
        let is_float = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        text.parse().ok().filter(|_| is_float).and_then(float)
    })
}

/// Kong has one kind of number: what is whole has no fraction, however it is written.
fn float(value: f64) -> Option<Number> {
    let is_exact = value.fract() == 0.0 && value.abs() < MOST_EXACT;
    let whole = is_exact.then(|| format!("{value:.0}").parse::<i64>().ok());
    let whole = whole.flatten().map(Number::from);
    whole.or_else(|| Number::from_f64(value))
}

/// A sign, and what it stands before.
fn signed(text: &str) -> (&str, &str) {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (&text[..text.len() - digits.len()], digits)
}

/// The digits behind a prefix, and their base.
fn with_radix(digits: &str) -> Option<(&str, u32)> {
    let (prefix, rest) = digits.split_at_checked(2)?;
    let radix = match prefix {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return None,
    };
    // Rust would take a second sign.
    (!rest.starts_with('+')).then_some((rest, radix))
}

fn integer(sign: &str, value: u64) -> Option<Number> {
    if sign == "-" {
        0_i64.checked_sub_unsigned(value).map(Number::from)
    } else {
        Some(Number::from(value))
    }
}

/// A scalar that is not taken for what it looks like, because nobody could tell which meaning it was given.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) message: String,
    pub(super) help: String,
}

impl Doubt {
    /// Of a scalar as a file has it.
    pub(super) fn of(text: &str) -> Option<Self> {
        if is_endless(text) {
            return Some(Self::endless());
        }
        let (octal, decimal) = two_readings(text)?;
        Some(Self {
            message: format!(
                "the leading zero of {text} means octal to decK and nothing to YAML 1.2"
            ),
            help: format!(
                "write {octal} (as decK reads it), {decimal}, or \"{text}\" in quotes if it is a text"
            ),
        })
    }

    /// Of a variable's value, which may be a secret: it is not repeated.
    pub(super) fn of_variable(text: &str) -> Option<Self> {
        if is_endless(text) {
            return Some(Self::endless());
        }
        two_readings(text).map(|_| Self {
            message: "the leading zero of this variable's value means octal to decK and nothing to YAML 1.2"
                .to_owned(),
            help: "set it without that zero, add `| toInt` to read it as decimal, or put the reference in quotes if it is a text"
                .to_owned(),
        })
    }

    fn endless() -> Self {
        Self {
            message: "JSON, and so Kong, knows neither infinity nor NaN".to_owned(),
            help: "put it in quotes if it is a text".to_owned(),
        }
    }
}

/// A number with a leading zero, as YAML 1.1 and 1.2 read it; `None` if that is the same.
fn two_readings(text: &str) -> Option<(i64, i64)> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) {
        return None;
    }
    let text = text.replace('_', "");
    let (_, digits) = signed(&text);
    if !digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let octal = i64::from_str_radix(&text, 8).ok()?;
    let decimal = text.parse().ok()?;
    (octal != decimal).then_some((octal, decimal))
}

/// Infinity or NaN.
fn is_endless(text: &str) -> bool {
    let (sign, word) = signed(text);
    match word {
        ".inf" | ".Inf" | ".INF" => true,
        ".nan" | ".NaN" | ".NAN" => sign.is_empty(),
        _ => false,
    }
}

/// True of the name of a field that is a boolean in whatever kind has it.
pub(super) fn is_boolean_field(name: &str) -> bool {
    BOOLEAN_FIELDS.contains(name)
}

static BOOLEAN_FIELDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let mut booleans = HashSet::new();
    let mut others = HashSet::new();
    for kind in Kind::all() {
        sort_fields(kind.record(), &mut booleans, &mut others);
    }
    booleans.retain(|name| !others.contains(name));
    booleans
});

fn sort_fields<'a>(
    record: &'a Record,
    booleans: &mut HashSet<&'a str>,
    others: &mut HashSet<&'a str>,
) {
    for (name, field) in &record.fields {
        match &field.ty {
            Type::Boolean => booleans.insert(name),
            _ => others.insert(name),
        };
        if let Type::Record(inner) = &field.ty {
            sort_fields(inner, booleans, others);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Seen of decK 1.55.0: `deck file render --format json`.
    #[test]
    fn scalars_are_what_they_are_to_deck() {
        let cases = [
            ("~", json!(null)),
            ("Null", json!(null)),
            ("1_000", json!(1000)),
            ("+1_000", json!(1000)),
            ("1__0", json!(10)),
            ("5_", json!(5)),
            ("1_000.5", json!(1000.5)),
            ("0x1F", json!(31)),
            ("0X1F", json!(31)),
            ("-0x1F", json!(-31)),
            ("0x1_F", json!(31)),
            ("0xFFFFFFFFFFFFFFFF", json!(u64::MAX)),
            ("0o17", json!(15)),
            ("-0O17", json!(-15)),
            ("0b101", json!(5)),
            ("-0b11", json!(-3)),
            ("+5", json!(5)),
            ("-0", json!(0)),
            ("09", json!(9)),
            ("-09", json!(-9)),
            ("08.5", json!(8.5)),
            ("1e3", json!(1000)),
            ("1E+3", json!(1000)),
            ("1e-7", json!(1e-7)),
            ("1.", json!(1)),
            (".5", json!(0.5)),
            ("-.5", json!(-0.5)),
            (".5_0", json!(0.5)),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("99999999999999999999", json!(1e20)),
            ("1:30", json!("1:30")),
            ("190:20:30.15", json!("190:20:30.15")),
            ("2024-01-01", json!("2024-01-01")),
            ("2024-01-01T10:00:00Z", json!("2024-01-01T10:00:00Z")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("1,000", json!("1,000")),
            ("1e400", json!("1e400")),
            ("1e", json!("1e")),
            ("0x", json!("0x")),
            ("0x+1", json!("0x+1")),
            ("+-5", json!("+-5")),
            ("_1", json!("_1")),
            ("-", json!("-")),
            (".", json!(".")),
            ("=", json!("=")),
        ];
        for (text, expected) in cases {
            let value = match plain_value(text) {
                NodeValue::Null => Value::Null,
                NodeValue::Number(number) => Value::Number(number),
                NodeValue::String(text) => Value::String(text),
                other => unreachable!("{other:?} of {text}"),
            };
            assert_eq!(value, expected, "{text}");
            assert!(Doubt::of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_has_two_readings_or_none_is_in_doubt() {
        for text in [
            "010", "-010", "+017", "0_10", "01_0", ".inf", "-.Inf", ".NaN",
        ] {
            assert!(Doubt::of(text).is_some(), "{text}");
            let told = Doubt::of_variable(text).map(|doubt| doubt.message + &doubt.help);
            assert!(told.is_some_and(|told| !told.contains(text)), "{text}");
        }
        for text in ["0", "00", "07", "0.10", "0o10", "inf", "+.nan", "0x10"] {
            assert!(Doubt::of(text).is_none(), "{text}");
        }
    }
}
