//! What is wrong in a file: all of it at once, each with its place.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a file; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) place: Place,
    pub(crate) message: String,
    /// How to fix it.
    pub(crate) help: Option<String>,
}

/// Every mistake that was found.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Notes a mistake.
    pub(crate) fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.add_with_help(place, message, None::<String>);
    }

    /// Notes a mistake and how to fix it.
    pub(crate) fn add_with_help(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: Option<impl Into<String>>,
    ) {
        self.0.push(Diagnostic {
            place: place.clone(),
            message: message.into(),
            help: help.map(Into::into),
        });
    }

    /// Takes over the mistakes of another.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order of their places, or nothing if there are none.
    pub(crate) fn into_result(mut self) -> Result<(), InvalidInput> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.place.file.clone(), d.place.line, d.place.column);
            key(a).cmp(&key(b))
        });
        self.0.dedup();
        Err(InvalidInput(self.0))
    }
}

/// The input has mistakes; nothing was sent.
#[derive(Debug)]
pub(crate) struct InvalidInput(pub(crate) Vec<Diagnostic>);

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {}", diagnostic.place, diagnostic.message)?;
            if let Some(help) = &diagnostic.help {
                write!(f, "\n    {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for InvalidInput {}

/// `did you mean …?` for a word that is close to one of `known`.
pub(crate) fn suggestion<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, candidate)| {
            *score > 0.8 || strsim::damerau_levenshtein(word, candidate) == 1
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognized_and_nonsense_is_not() {
        let known = ["hosts", "paths", "methods"];
        assert_eq!(
            suggestion("hots", known).as_deref(),
            Some("did you mean `hosts`?")
        );
        assert_eq!(suggestion("zzz", known), None);
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_file() {
        let at = |line| Place {
            file: "kong.yml".into(),
            line,
            column: 1,
        };
        let mut diagnostics = Diagnostics::default();
        diagnostics.add(&at(9), "second");
        diagnostics.add(&at(2), "first");
        let text = diagnostics.into_result().unwrap_err().to_string();
        assert_eq!(text, "kong.yml:2:1: first\nkong.yml:9:1: second");
    }
}
