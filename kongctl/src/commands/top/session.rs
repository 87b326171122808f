//! The terminal while it is ours.

use std::io;

use ratatui::DefaultTerminal;

use super::view::View;

/// Raw mode and the second screen; given back when dropped, and before a panic is told.
pub(super) struct Session(DefaultTerminal);

impl Session {
    pub(super) fn enter() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // It may have come half the way.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        self.0
            .draw(|frame| frame.render_widget(view, frame.area()))
            .map(|_| ())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}
