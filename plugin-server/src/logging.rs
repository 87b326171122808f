//! Structured log lines on stderr that outlive whoever reads them.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::admin::AUDIT;
use crate::config::{LogConfig, LogFormat};

/// Sends this process's log to stderr.
///
/// # Errors
///
/// When the level is no filter, or the process has a log already.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    // Who changed a counter is told at any level.
    let audit = format!("{AUDIT}=info").parse()?;
    let filter = config.level.parse::<EnvFilter>()?.add_directive(audit);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // It would complain on the same stderr that has just failed.
        .log_internal_errors(false)
        .with_writer(|| Unfailing(io::stderr()));
    match config.format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
        LogFormat::Text => builder.try_init(),
    }
    .map_err(|error| anyhow::anyhow!("the log could not be set up: {error}"))
}

/// Writes what can be written. When Kong, which reads our stderr if it started us, goes away, the pipe breaks: a line is
/// lost then, never a request.
struct Unfailing<W>(W);

impl<W: Write> Write for Unfailing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Lost on purpose; see above.
        drop(self.0.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        drop(self.0.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct BrokenPipe;

    impl Write for BrokenPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_broken_pipe_is_no_error() {
        let mut writer = Unfailing(BrokenPipe);
        assert_eq!(writer.write(b"a line\n").unwrap(), 7);
        assert!(writer.flush().is_ok());
    }
}
