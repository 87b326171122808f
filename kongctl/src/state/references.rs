//! Values from outside the file: `${{ env "NAME" }}` and `!file PATH`, evaluated on parsed scalars.
//!
//! # Model
//!
//! `${{ env "NAME" }}`, with `| toInt`, `| toFloat`, `| toBool` or `| indent N` after it as decK writes them, or called:
//! `${{ toInt (env "NAME") }}`. The value is never parsed as YAML: line breaks, quotes, `%` and `#` in it are themselves.
//! `indent` therefore changes nothing.
//! A template stands in one line. Written `"\u0024{{ … }}"`, in double quotes, it is no template but text.
//! A plain scalar that is one reference takes the type that its value would have in the file.
//!
//! Where files are rewritten, a reference in a field that may hold a secret can stay what it is: the *kept* text has the
//! template's characters hidden, and stands between hidden quotes if it stood in quotes. [`shown`] writes it back.

use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostics, Place};
use super::node::NodeValue;
use super::yaml::plain_value;

/// Stands between the characters of a template while the YAML parser looks at the text (a private-use plane).
const HIDDEN_BASE: u32 = 0x10_F000;
const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Where outside values come from.
pub(crate) struct References<'a> {
    /// The value of an environment variable.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// Directory that relative paths start from.
    pub(crate) directory: PathBuf,
    pub(crate) policy: Policy,
}

/// What becomes of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Each is evaluated; an unset variable is an error.
    Evaluate,
    /// An unset variable is null: for checking a file where the secrets are not.
    NullWhereUnset,
    /// In fields that may hold secrets they stay references; the others are evaluated.
    KeepSecrets,
    /// Everywhere they stay references.
    KeepAll,
}

impl References<'_> {
    /// No variable is set.
    #[cfg(test)]
    pub(crate) fn none() -> References<'static> {
        References {
            env: &|_| None,
            directory: PathBuf::from("."),
            policy: Policy::Evaluate,
        }
    }

    /// The content of a file.
    pub(super) fn file(
        &self,
        path: &str,
        place: &Place,
        diagnostics: &mut Diagnostics,
    ) -> NodeValue {
        let full = self.directory.join(Path::new(path));
        match std::fs::read_to_string(&full) {
            Ok(text) => NodeValue::String(text),
            Err(error) => {
                diagnostics.add_with_help(
                    place,
                    format!("cannot read the file `{path}`: {error}"),
                    Some(format!(
                        "relative paths start at {}",
                        shown_directory(&self.directory)
                    )),
                );
                NodeValue::Unset
            }
        }
    }

    /// The text of a scalar, templates still hidden, with its references replaced; `None` if it has none.
    pub(super) fn evaluate(
        &self,
        hidden: &str,
        place: &Place,
        diagnostics: &mut Diagnostics,
    ) -> Option<Evaluated> {
        let (open, close) = (hide(OPEN), hide(CLOSE));
        if !hidden.contains(&open) {
            return None;
        }
        let mut out = String::new();
        let mut rest = hidden;
        let mut parts = 0;
        let mut forced = None;
        while let Some((before, inner)) = rest.split_once(&open) {
            out.push_str(before);
            // Only what has an end was hidden.
            let (inner, after) = inner.split_once(&close).unwrap_or((inner, ""));
            match self.expression(show_templates(inner).trim()) {
                Ok((value, kind)) => {
                    out.push_str(&value);
                    forced = kind;
                }
                Err(wrong) => {
                    if !(self.policy == Policy::NullWhereUnset && matches!(wrong, Wrong::Unset(_)))
                    {
                        let (message, help) = wrong.words();
                        diagnostics.add_with_help(place, message, Some(help));
                    }
                    return Some(Evaluated {
                        text: String::new(),
                        whole: false,
                        forced: None,
                        unset: true,
                    });
                }
            }
            parts += 1;
            rest = after;
        }
        let whole = parts == 1 && hidden.starts_with(&open) && rest.is_empty();
        out.push_str(rest);
        Some(Evaluated {
            text: out,
            whole,
            forced,
            unset: false,
        })
    }

    fn expression(&self, expression: &str) -> Result<(String, Option<Forced>), Wrong> {
        let malformed = || Wrong::Malformed(expression.to_owned());
        // Go's templates trim the text around `{{- … -}}`; there is none to trim here.
        let inner = expression.strip_prefix('-').unwrap_or(expression);
        let inner = inner.strip_suffix('-').unwrap_or(inner).trim();
        let piped = piped(inner).ok_or_else(malformed)?;
        let mut stages = piped.split('|').map(str::trim);
        let head = stages.next().unwrap_or_default();
        let name = head.strip_prefix("env").ok_or_else(malformed)?.trim();
        // Between double quotes, as in JSON, a quote is `\"`.
        let name = name
            .strip_prefix("\\\"")
            .and_then(|name| name.strip_suffix("\\\""))
            .or_else(|| name.strip_prefix('"')?.strip_suffix('"'))
            .or_else(|| {
                name.strip_prefix('\'')
                    .and_then(|name| name.strip_suffix('\''))
            })
            .or_else(|| {
                name.strip_prefix('`')
                    .and_then(|name| name.strip_suffix('`'))
            })
            .filter(|name| !name.is_empty() && !name.contains(['"', '\'', '`']))
            .ok_or_else(malformed)?;
        let mut forced = None;
        for stage in stages {
            let mut words = stage.split_whitespace();
            forced = match (words.next(), words.next(), words.next()) {
                (Some("toInt" | "toFloat"), None, None) => Some(Forced::Number),
                (Some("toBool"), None, None) => Some(Forced::Bool),
                (Some("indent"), Some(width), None) if width.parse::<u16>().is_ok() => forced,
                _ => return Err(Wrong::Function(stage.to_owned())),
            };
        }
        let value = (self.env)(name).ok_or_else(|| Wrong::Unset(name.to_owned()))?;
        match forced {
            Some(Forced::Number) if !matches!(plain_value(value.trim()), NodeValue::Number(_)) => {
                Err(Wrong::Type(name.to_owned(), "a number"))
            }
            Some(Forced::Bool) if !matches!(plain_value(value.trim()), NodeValue::Bool(_)) => {
                Err(Wrong::Type(name.to_owned(), "true or false"))
            }
            Some(_) => Ok((value.trim().to_owned(), forced)),
            None => Ok((value, None)),
        }
    }
}

/// `toInt (env "NAME")`, a call, as `env "NAME" | toInt`; what is no call stays as it is. `None` if a parenthesis lacks its other.
fn piped(expression: &str) -> Option<String> {
    let Some((function, argument)) = expression.split_once('(') else {
        return Some(expression.to_owned());
    };
    let inner = piped(argument.trim_end().strip_suffix(')')?.trim())?;
    Some(format!("{inner} | {}", function.trim()))
}

/// The kept form of a scalar's text, its templates hidden.
pub(crate) fn keep(hidden: &str, plain: bool) -> String {
    if plain {
        hidden.to_owned()
    } else {
        let quote = hide("\"");
        format!("{quote}{hidden}{quote}")
    }
}

/// The kept form of `!file PATH`.
pub(super) fn keep_file(path: &str) -> String {
    hide("!file ") + path
}

/// True of the kept form of a reference.
pub(crate) fn is_kept(text: &str) -> bool {
    text.contains(&hide(OPEN)) || text.starts_with(&hide("!file "))
}

/// True of the kept form of `!file PATH`.
pub(crate) fn is_kept_file(text: &str) -> bool {
    text.starts_with(&hide("!file "))
}

/// A kept reference as a file writes it; `quoted` writes a text between double quotes.
pub(crate) fn shown(kept: &str, quoted: impl Fn(&str) -> String) -> String {
    let quote = hide("\"");
    let inner = kept
        .strip_prefix(&quote)
        .and_then(|text| text.strip_suffix(&quote));
    if let Some(path) = kept.strip_prefix(&hide("!file ")) {
        return format!("!file {}", quoted(path));
    }
    show_templates(&inner.map_or_else(|| kept.to_owned(), quoted))
}

fn shown_directory(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        "the current directory".to_owned()
    } else {
        path.display().to_string()
    }
}

#[derive(Clone, Copy)]
enum Forced {
    Number,
    Bool,
}

enum Wrong {
    Malformed(String),
    Function(String),
    Unset(String),
    Type(String, &'static str),
}

impl Wrong {
    fn words(self) -> (String, String) {
        match self {
            Self::Malformed(text) => (
                format!("`${{{{ {text} }}}}` is no reference"),
                "write ${{ env \"NAME\" }}".to_owned(),
            ),
            Self::Function(text) => (
                format!("unknown function `{text}` in a reference"),
                "known are toInt, toFloat, toBool and indent N".to_owned(),
            ),
            Self::Unset(name) => (
                format!("environment variable `{name}` is not set"),
                format!("export {name}=… and try again"),
            ),
            Self::Type(name, expected) => (
                format!("environment variable `{name}` is not {expected}"),
                "set it to such a value".to_owned(),
            ),
        }
    }
}

/// A scalar after its references were replaced.
pub(super) struct Evaluated {
    text: String,
    whole: bool,
    forced: Option<Forced>,
    unset: bool,
}

impl Evaluated {
    /// The text that takes its type as if it stood in the file; what a `to…` function reads has one way to be read.
    pub(super) fn plain_text(&self, plain: bool) -> Option<&str> {
        (self.whole && plain && self.forced.is_none()).then_some(&self.text)
    }

    /// The value. Only a plain scalar that is one reference, or one of the `to…` functions, gives another type than string.
    pub(super) fn into_value(self, plain: bool) -> NodeValue {
        if self.unset {
            return NodeValue::Unset;
        }
        if self.whole && (plain || self.forced.is_some()) && !self.text.is_empty() {
            return plain_value(&self.text);
        }
        NodeValue::String(self.text)
    }
}

/// Replaces each character of each `${{ … }}` by one that means nothing to YAML.
pub(crate) fn hide_templates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        out.push_str(&rest[..start]);
        let inner = &rest[start..];
        let end = inner.find(CLOSE).map(|end| end + CLOSE.len());
        let Some(end) = end.filter(|end| !inner[..*end].contains('\n')) else {
            out.push_str(OPEN);
            rest = &inner[OPEN.len()..];
            continue;
        };
        out.push_str(&hide(&inner[..end]));
        rest = &inner[end..];
    }
    out.push_str(rest);
    out
}

fn hide(text: &str) -> String {
    text.chars()
        .map(|character| {
            let hidden = character
                .is_ascii()
                .then(|| u32::from(character) + HIDDEN_BASE);
            hidden.and_then(char::from_u32).unwrap_or(character)
        })
        .collect()
}

/// True if the text has the start of a template that no `}}` ends in its line.
pub(super) fn has_open_template(hidden: &str) -> bool {
    hidden.contains(OPEN)
}

/// Undoes [`hide_templates`].
pub(crate) fn show_templates(text: &str) -> String {
    text.chars()
        .map(|character| {
            let shown = u32::from(character)
                .checked_sub(HIDDEN_BASE)
                .filter(|code| *code < 128);
            shown.and_then(char::from_u32).unwrap_or(character)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::yaml::read;
    use super::*;

    fn read_with(text: &str, lenient: bool) -> Result<Value, String> {
        let env = |name: &str| match name {
            "DECK_HOST" => Some("a: b # %\n\"quoted\"".to_owned()),
            "PORT" => Some("8080".to_owned()),
            "ON" => Some("true".to_owned()),
            "PIN" => Some("0123".to_owned()),
            _ => None,
        };
        let references = References {
            env: &env,
            directory: PathBuf::new(),
            policy: if lenient {
                Policy::NullWhereUnset
            } else {
                Policy::Evaluate
            },
        };
        let mut diagnostics = Diagnostics::default();
        let documents = read("kong.yml", text, &references, &mut diagnostics);
        diagnostics
            .into_result()
            .map_err(|error| error.to_string())?;
        Ok(documents[0].to_json())
    }

    #[test]
    fn a_value_is_itself_whatever_it_contains() {
        let value = read_with(
            "host: ${{ env \"DECK_HOST\" }}\n# ${{ env \"UNSET\" }}\n",
            false,
        )
        .unwrap();
        assert_eq!(value, json!({"host": "a: b # %\n\"quoted\""}));
    }

    #[test]
    fn decks_double_quotes_around_double_quotes_are_understood() {
        assert_eq!(
            read_with("host: \"${{ env \"PORT\" }}\"", false).unwrap(),
            json!({"host": "8080"})
        );
    }

    #[test]
    fn plain_references_are_typed_and_quoted_ones_are_text() {
        let text = "{a: ${{ env \"PORT\" }}, b: '${{ env \"PORT\" }}', c: '${{ env \"PORT\" | toInt }}', d: x-${{ env \"PORT\" }}, e: ${{ env \"ON\" | toBool }}}";
        assert_eq!(
            read_with(text, false).unwrap(),
            json!({"a": 8080, "b": "8080", "c": 8080, "d": "x-8080", "e": true})
        );
    }

    #[test]
    fn a_variables_number_of_two_readings_is_told_without_it() {
        let error = read_with("a: ${{ env \"PIN\" }}", false).unwrap_err();
        assert!(
            error.starts_with("kong.yml:1:4: the leading zero of this variable's value"),
            "{error}"
        );
        assert!(!error.contains("123"), "{error}");
        let text = "{a: '${{ env \"PIN\" }}', b: ${{ env \"PIN\" | toInt }}}";
        assert_eq!(
            read_with(text, false).unwrap(),
            json!({"a": "0123", "b": 123})
        );
    }

    #[test]
    fn an_unset_variable_is_an_error_with_its_place_unless_lenient() {
        let error = read_with("a: 1\nhost: ${{ env \"NOPE\" }}", false).unwrap_err();
        assert!(
            error.starts_with("kong.yml:2:7: environment variable `NOPE` is not set"),
            "{error}"
        );
        assert_eq!(
            read_with("host: ${{ env \"NOPE\" }}", true).unwrap(),
            json!({"host": null})
        );
    }

    #[test]
    fn a_malformed_reference_says_how_to_write_it() {
        assert!(
            read_with("a: ${{ PORT }}", false)
                .unwrap_err()
                .contains("write ${{ env \"NAME\" }}")
        );
        assert!(
            read_with("a: ${{ env \"PORT\" | upper }}", false)
                .unwrap_err()
                .contains("unknown function `upper`")
        );
    }

    #[test]
    fn functions_may_be_called_or_piped_to() {
        let text = "{a: '${{ toInt (env \"PORT\") }}', b: '${{- indent 4 (env `PORT`) -}}', c: '${{ toBool (env \"ON\" | indent 2) }}'}";
        assert_eq!(
            read_with(text, false).unwrap(),
            json!({"a": 8080, "b": "8080", "c": true})
        );
        assert!(
            read_with("a: ${{ toInt (env \"PORT\" }}", false)
                .unwrap_err()
                .contains("is no reference")
        );
    }

    #[test]
    fn secrets_may_stay_references_while_the_rest_is_evaluated() {
        let references = References {
            policy: Policy::KeepSecrets,
            env: &|_| Some("8080".to_owned()),
            ..References::none()
        };
        let text = "{port: ${{ env \"A\" }}, key: '${{ env \"A\" }}', config: {x: [${{ env \"A\" }}], cert: !file a.pem}}";
        let mut diagnostics = Diagnostics::default();
        let documents = read("kong.yml", text, &references, &mut diagnostics);
        diagnostics.into_result().unwrap();
        assert_eq!(
            crate::output::yaml::write(&documents[0].to_json()),
            "port: 8080\nkey: \"${{ env \"A\" }}\"\nconfig:\n  x:\n  - ${{ env \"A\" }}\n  cert: !file \"a.pem\"\n"
        );
    }

    #[test]
    fn an_escaped_template_is_text_and_an_open_one_a_mistake() {
        assert_eq!(
            read_with("a: \"\\u0024{{ env }}\"", false).unwrap(),
            json!({"a": "${{ env }}"})
        );
        assert!(
            read_with("a: ${{ env \"PORT\"", false)
                .unwrap_err()
                .contains("`${{` without `}}`")
        );
    }

    #[test]
    fn an_unreadable_file_is_an_error_with_its_place() {
        let error = read_with("cert: !file nowhere.pem", false).unwrap_err();
        assert!(
            error.starts_with("kong.yml:1:7: cannot read the file `nowhere.pem`"),
            "{error}"
        );
    }
}
