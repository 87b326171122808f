//! A table for people.

use std::fmt::Write as _;

/// How a cell is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What a row says about itself, by colour where there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It went through.
    Granted,
    /// It was refused, as it should be.
    Refused,
}

/// Prints rows as they come, in columns whose widths were said beforehand.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, usize, Align)>,
    color: bool,
}

impl Table {
    /// Columns: heading, width in characters, alignment. `color` allows terminal escapes.
    pub fn new(columns: Vec<(&'static str, usize, Align)>, color: bool) -> Self {
        Self { columns, color }
    }

    /// The headings, underlined.
    pub fn head(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, ..)| *name).collect();
        let rules: Vec<String> = self
            .columns
            .iter()
            .map(|(_, width, _)| "─".repeat(*width))
            .collect();
        let head = self.line(&names);
        let head = if self.color {
            format!("\x1b[1m{head}\x1b[0m")
        } else {
            head
        };
        format!("{head}\n  {}", rules.join("  "))
    }

    /// One row; a cell that is too long pushes the rest aside rather than losing its end.
    pub fn row(&self, mood: Mood, cells: &[&str]) -> String {
        let line = self.line(cells);
        match (self.color, mood) {
            (false, _) => line,
            (true, Mood::Granted) => format!("\x1b[32m{line}\x1b[0m"),
            (true, Mood::Refused) => format!("\x1b[33m{line}\x1b[0m"),
        }
    }

    fn line(&self, cells: &[&str]) -> String {
        let mut line = String::new();
        for (cell, (_, width, align)) in cells.iter().zip(&self.columns) {
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Left => write!(line, "  {cell:<width$}"),
                Align::Right => write!(line, "  {cell:>width$}"),
            };
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let table = Table::new(
            vec![("who", 6, Align::Left), ("left", 6, Align::Right)],
            false,
        );
        assert_eq!(table.head(), "  who       left\n  ──────  ──────");
        assert_eq!(
            table.row(Mood::Granted, &["acme", "120"]),
            "  acme       120"
        );
    }
}
