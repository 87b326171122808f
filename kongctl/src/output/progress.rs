//! A line on a terminal that tells how far a run is; elsewhere, nothing.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Columns of the bar itself.
const WIDTH: usize = 24;
/// The line is drawn no more often.
const PAUSE: Duration = Duration::from_millis(100);
/// To the line's start, and everything after it gone.
pub(super) const CLEAR: &str = "\r\x1b[K";

/// The line, while it is there.
#[derive(Debug)]
pub(crate) struct Progress {
    total: usize,
    ended: usize,
    failed: usize,
    drawn: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Of so many changes; shown only if standard error is a terminal.
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            ended: 0,
            failed: 0,
            drawn: None,
            shown: io::stderr().is_terminal(),
        }
    }

    /// One more came to its end.
    pub(crate) fn ended(&mut self, well: bool) {
        // A change whose answer was looked up later ends twice.
        self.ended = (self.ended + 1).min(self.total);
        self.failed += usize::from(!well);
        if self.shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.drawn = Some(Instant::now());
            // Nobody is left to tell if standard error is closed.
            let _ = write!(io::stderr().lock(), "{CLEAR}{}", self.line());
        }
    }

    fn line(&self) -> String {
        let full = WIDTH * self.ended / self.total.max(1);
        let failed = match self.failed {
            0 => String::new(),
            count => format!(", {count} failed"),
        };
        format!(
            "[{}{}] {}/{}{failed}",
            "#".repeat(full),
            ".".repeat(WIDTH - full),
            self.ended,
            self.total
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "{CLEAR}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_it_is() {
        let mut progress = Progress {
            shown: false,
            ..Progress::new(4)
        };
        assert_eq!(progress.line(), "[........................] 0/4");
        progress.ended(true);
        progress.ended(false);
        assert_eq!(progress.line(), "[############............] 2/4, 1 failed");
        (0..9).for_each(|_| progress.ended(true));
        assert_eq!(progress.line(), "[########################] 4/4, 1 failed");
    }
}
