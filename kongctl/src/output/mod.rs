//! Every word and table that a user sees.
//!
//! Results go to standard output in the format asked for; everything else goes to standard error.

pub(crate) mod changes;
mod difference;
pub(crate) mod failure;
pub(crate) mod numbers;
pub(crate) mod private_file;
pub(crate) mod progress;
pub(crate) mod redact;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod yaml;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    Json,
    Yaml,
    /// One `kind/name` a line, for pipes.
    Name,
}

/// Where words go, and whether in colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    pub(crate) format: Format,
    colour_out: bool,
}

impl Printer {
    /// Colours only on a terminal, and not where `NO_COLOR` is set.
    pub(crate) fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            format,
            colour_out: wanted && io::stdout().is_terminal(),
        }
    }

    /// The paint for results.
    pub(crate) fn paint(self) -> Paint {
        Paint(self.colour_out && self.format == Format::Table)
    }

    /// Writes a result. A reader that went away is no failure.
    #[expect(
        clippy::unused_self,
        reason = "results go through the printer, so that nothing else writes to standard output"
    )]
    pub(crate) fn result(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| {
            if text.is_empty() || text.ends_with('\n') {
                Ok(())
            } else {
                out.write_all(b"\n")
            }
        });
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Writes a value as JSON or YAML.
    pub(crate) fn value(self, value: &Value) -> io::Result<()> {
        match self.format {
            Format::Yaml => self.result(&yaml::write(value)),
            _ => self.result(&json(value)),
        }
    }

    /// True if results are for programs.
    pub(crate) fn is_structured(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }
}

/// The narrowest terminal that is reckoned with.
const LEAST_COLUMNS: usize = 20;

/// How wide results may be: as `COLUMNS` says, else as the terminal is; `None` where there is none, and nothing is to be cut.
pub(crate) fn columns() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok();
    let said = said.and_then(|columns| columns.parse().ok());
    let columns = said.or_else(|| {
        let size = io::stdout().is_terminal().then(crossterm::terminal::size);
        size.and_then(Result::ok).map(|(columns, _)| columns.into())
    });
    columns.filter(|columns| *columns >= LEAST_COLUMNS)
}

/// A note that is no result.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    // A line of progress may stand there.
    let clear = if err.is_terminal() {
        progress::CLEAR
    } else {
        ""
    };
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(err, "{clear}{text}");
}

/// Asks on the terminal; anything but yes is no.
pub(crate) fn confirm(question: &str) -> io::Result<bool> {
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// True if a person can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Indented JSON, with nothing in it that a terminal would obey.
pub(crate) fn json(value: &Value) -> String {
    text::escape_json(&serde_json::to_string_pretty(value).expect("a value has only string keys"))
}

/// Colours words, or does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// What goes out of a text: in colour, or between marks.
    pub(crate) fn removed(self, text: &str) -> String {
        if self.0 {
            self.red(text)
        } else {
            format!("[-{text}-]")
        }
    }

    /// What comes into a text.
    pub(crate) fn added(self, text: &str) -> String {
        if self.0 {
            self.green(text)
        } else {
            format!("{{+{text}+}}")
        }
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
}
