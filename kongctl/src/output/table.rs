//! Columns of text.

use serde_json::Value;

use super::text;

/// Widest cell, in columns; a longer one ends in `…`.
const MAX_WIDTH: usize = 48;

/// Rows under upper-case headings, columns as wide as they need.
pub(crate) fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines = vec![
        headings
            .iter()
            .map(|heading| heading.to_uppercase())
            .collect::<Vec<_>>(),
    ];
    lines.extend(
        rows.iter()
            .map(|row| row.iter().map(|cell| text::fit(cell, MAX_WIDTH)).collect()),
    );
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| text::width(&line[column]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| text::left(cell, *width))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
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
    use super::*;

    #[test]
    fn columns_line_up_and_long_cells_are_cut() {
        let rows = [
            vec!["a".to_owned(), "x".repeat(60)],
            vec!["long".to_owned(), "-".to_owned()],
        ];
        let expected = format!("NAME  PATH\na     {}…\nlong  -\n", "x".repeat(47));
        assert_eq!(render(&["name", "path"], &rows), expected);
    }
}
