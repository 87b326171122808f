//! Columns of text, as wide as there is room for.
//!
//! # Algorithm
//!
//! Where nothing limits the width (a file, a pipe), nothing is cut. Else the widest columns give way, down to [`NARROWEST`]; what
//! tells one row from another, the first column, never does. Where even that is too wide, each row becomes a block of its own.

use std::fmt::Write as _;

use serde_json::Value;

use super::text;

/// The least that a column is cut to, in columns of the terminal.
const NARROWEST: usize = 12;
/// Between two columns.
const GAP: &str = "  ";

/// Rows under upper-case headings, in the width of what is written to.
pub(crate) fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    render_in(headings, rows, super::columns())
}

/// The same in so many columns.
pub(crate) fn render_in(headings: &[&str], rows: &[Vec<String>], room: Option<usize>) -> String {
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| heading.to_uppercase())
        .collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| text::clean(cell)).collect())
        .collect();
    let lines = || std::iter::once(&headings).chain(&rows);
    let mut widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = lines().map(|line| text::width(&line[column]));
            cells.max().unwrap_or(0)
        })
        .collect();
    if let Some(room) = room
        && !shrink(&mut widths, &headings, room)
    {
        return blocks(&headings, &rows, room);
    }
    let mut out = String::new();
    for line in lines() {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| text::left(cell, *width))
            .collect();
        out.push_str(cells.join(GAP).trim_end());
        out.push('\n');
    }
    out
}

/// Takes from the widest columns until all fit; false if they cannot.
fn shrink(widths: &mut [usize], headings: &[String], room: usize) -> bool {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    loop {
        let total = gaps + widths.iter().sum::<usize>();
        if total <= room {
            return true;
        }
        let least = |column: usize| NARROWEST.max(text::width(&headings[column]));
        let widest = (1..widths.len())
            .filter(|column| widths[*column] > least(*column))
            .max_by_key(|column| widths[*column]);
        let Some(widest) = widest else { return false };
        widths[widest] -= 1;
    }
}

/// Each row as lines of `HEADING  value`, a blank line between two.
fn blocks(headings: &[String], rows: &[Vec<String>], room: usize) -> String {
    let width = headings.iter().map(|heading| text::width(heading)).max();
    let width = width.unwrap_or(0);
    let blocks: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut block = String::new();
            for (heading, cell) in headings.iter().zip(row) {
                let heading = text::left(heading, width);
                let cells = text::wrap(cell, room.saturating_sub(width + GAP.len()));
                for (number, cell) in cells.iter().enumerate() {
                    let heading = if number == 0 { heading.as_str() } else { "" };
                    let _ = writeln!(block, "{heading:width$}{GAP}{cell}");
                }
            }
            block
        })
        .collect();
    blocks.join("\n")
}

/// A field as a cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_line_up_and_the_widest_gives_way() {
        let rows = [
            vec!["a".to_owned(), "x".repeat(60), "y".repeat(14)],
            vec!["long".to_owned(), "-".to_owned(), "z".to_owned()],
        ];
        let headings = ["name", "path", "tag"];
        let whole = format!(
            "NAME  {:60}  TAG\na     {}  {}\nlong  {:60}  z\n",
            "PATH",
            "x".repeat(60),
            "y".repeat(14),
            "-"
        );
        assert_eq!(render_in(&headings, &rows, None), whole);
        let cut = format!(
            "NAME  {:18}  TAG\na     {}…  {}\nlong  {:18}  z\n",
            "PATH",
            "x".repeat(17),
            "y".repeat(14),
            "-"
        );
        assert_eq!(render_in(&headings, &rows, Some(40)), cut);
    }

    #[test]
    fn what_is_too_wide_for_a_table_is_told_row_by_row() {
        let key = "0123456789abcdef0123456789abcdef";
        let row = vec![key.to_owned(), "tokens for all of the team".to_owned()];
        assert_eq!(
            render_in(&["key", "limit"], &[row.clone(), row], Some(40)),
            format!(
                "KEY    {key}\nLIMIT  tokens for all of the team\n\nKEY    {key}\nLIMIT  tokens for all of the team\n"
            )
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_room(
            rows in prop::collection::vec(prop::collection::vec("[a-z日 ,]{0,70}", 5), 0..4),
            room in 30_usize..120,
        ) {
            let table = render_in(&["one", "two", "three", "four", "five"], &rows, Some(room));
            for line in table.lines() {
                prop_assert!(text::width(line) <= room, "{}", line);
            }
        }
    }
}
