//! `-o`: a format, or, where a verb writes one, a file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};

use crate::output::Format;
use crate::output::failure::UsageError;

use super::{Cli, Command};

/// What `-o` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Format(Format),
    /// Anything with a dot or a slash in it.
    File(PathBuf),
}

/// Reads [`Output`]; help and completion know it as a format.
#[derive(Clone)]
pub(super) struct OutputParser;

impl TypedValueParser for OutputParser {
    type Value = Output;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Output, clap::Error> {
        let format = EnumValueParser::<Format>::new().parse_ref(command, argument, value);
        match (format, value.to_str()) {
            (Err(_), Some(text)) if text.contains(['.', '/']) => Ok(Output::File(value.into())),
            (format, _) => format.map(Output::Format),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values: Vec<_> = EnumValueParser::<Format>::new()
            .possible_values()?
            .collect();
        Some(Box::new(values.into_iter()))
    }
}

impl Cli {
    /// The format of results; a file goes to the verb that writes it.
    pub(crate) fn take_format(&mut self) -> Result<Format, UsageError> {
        let usual = match self.command {
            Command::Dump(_) => Format::Yaml,
            _ => Format::Table,
        };
        let path = match self.output.take() {
            None => return Ok(usual),
            Some(Output::Format(format)) => return Ok(format),
            Some(Output::File(path)) => path,
        };
        let format = if is_json(&path) { Format::Json } else { usual };
        match &mut self.command {
            Command::Plan(plan) => {
                plan.output_file = Some(path);
                Ok(usual)
            }
            Command::Dump(dump) => {
                dump.output_file = Some(path);
                Ok(format)
            }
            Command::Rewrite(rewrite) => match rewrite.output_file() {
                Some(file) => {
                    *file = Some(path);
                    Ok(format)
                }
                None => Err(no_file()),
            },
            _ => Err(no_file()),
        }
    }
}

/// The format that a command line asks for which is not understood otherwise; `None` unless it is one for programs.
pub(crate) fn structured_format(words: impl Iterator<Item = String>) -> Option<Format> {
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let said = match word.as_str() {
            "--" => return None,
            "-o" | "--output" => words.peek().map(String::as_str),
            word => word
                .strip_prefix("--output=")
                .or_else(|| word.strip_prefix("-o"))
                .map(|format| format.trim_start_matches('=')),
        };
        match said {
            Some("json") => return Some(Format::Json),
            Some("yaml") => return Some(Format::Yaml),
            _ => {}
        }
    }
    None
}

fn no_file() -> UsageError {
    UsageError {
        message:
            "-o is table, json, yaml or name; only verbs that write one file take a file there"
                .to_owned(),
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn format(line: &str) -> Result<(Format, Cli), String> {
        let words = line.split_whitespace();
        let mut cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let format = cli.take_format().map_err(|error| error.to_string())?;
        Ok((format, cli))
    }

    #[test]
    fn a_file_goes_to_the_verb_that_writes_one() {
        let (found, cli) = format("kongctl plan kong.yml -o plan.json").unwrap();
        let Command::Plan(plan) = cli.command else {
            panic!("it is a plan")
        };
        assert_eq!(found, Format::Table);
        assert_eq!(plan.output_file.as_deref(), Some(Path::new("plan.json")));
        assert_eq!(format("kongctl dump -o kong.json").unwrap().0, Format::Json);
        assert_eq!(format("kongctl dump").unwrap().0, Format::Yaml);
        assert_eq!(
            format("kongctl diff kong.yml -o json").unwrap().0,
            Format::Json
        );
    }

    #[test]
    fn what_is_not_understood_is_answered_in_the_form_that_it_asks_for() {
        let asked = |line: &str| structured_format(line.split(' ').map(str::to_owned));
        for line in [
            "sync -o json",
            "sync -ojson",
            "wash -o=json",
            "x --output json",
            "--output=json x",
        ] {
            assert_eq!(asked(line), Some(Format::Json), "{line}");
        }
        assert_eq!(asked("sync -o yaml"), Some(Format::Yaml));
        for line in ["sync", "sync -o table", "sync -o", "sync -- -o json"] {
            assert_eq!(asked(line), None, "{line}");
        }
    }

    #[test]
    fn other_verbs_write_none_and_a_slip_is_no_file() {
        assert!(format("kongctl diff kong.yml -o out.txt").is_err());
        assert!(format("kongctl plan kong.yml -o jsn").is_err());
    }
}
