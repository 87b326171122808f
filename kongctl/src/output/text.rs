//! Text from elsewhere, made safe for a terminal, and measured in its columns.
//!
//! # Model
//!
//! A tenant's or a model's name is what some client sent. Shown as it is, it could move the cursor, turn the reading direction
//! round, or look like another name. What is shown has neither control characters nor invisible ones: each becomes one `�`,
//! line breaks and tabs a space. Accents are kept, but not more than [`MOST_MARKS`] on one character.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What stands for a character that is not shown.
const HIDDEN: char = '\u{FFFD}';
/// The most characters without a width of their own, one after the other.
const MOST_MARKS: usize = 2;

/// The text with nothing in it that a terminal would obey.
pub(crate) fn clean(text: &str) -> String {
    cleaned(text).collect()
}

/// The clean text in at most so many columns; one that is longer ends in `…`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut fitting = 0;
    for character in cleaned(text) {
        out.push(character);
        let width = out.width();
        if width < columns {
            fitting = out.len();
        }
        if width > columns {
            out.truncate(fitting);
            if columns > 0 {
                out.push('…');
            }
            break;
        }
    }
    out
}

/// The text fitted and filled up with spaces, to exactly so many columns.
pub(crate) fn left(text: &str, columns: usize) -> String {
    let mut out = fit(text, columns);
    out.extend(std::iter::repeat_n(
        ' ',
        columns.saturating_sub(out.width()),
    ));
    out
}

/// The clean text in lines of at most so many columns, broken at spaces where there are some. At least one line, and one character a line.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in clean(text).split_inclusive([' ', ',']) {
        let line = lines.last_mut().expect("there is a first line");
        if line.width() + word.trim_end_matches(' ').width() <= columns {
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(String::new());
        }
        for character in word.chars() {
            let line = lines.last_mut().expect("there is a first line");
            let width = line.width() + character.width().unwrap_or(0);
            if width > columns && !line.is_empty() && character != ' ' {
                lines.push(character.to_string());
            } else {
                line.push(character);
            }
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end_matches(' ').len());
    }
    lines
}

/// As [`left`], with the text at the right.
pub(crate) fn right(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let mut out = " ".repeat(columns.saturating_sub(text.width()));
    out.push_str(&text);
    out
}

/// How many columns a clean text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// JSON with hidden characters written as escapes: outside its strings it has none but line breaks.
pub(crate) fn escape_json(json: &str) -> String {
    escape(json, |out, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// The same for a quoted scalar of YAML, which knows no pairs of surrogates.
pub(crate) fn escape_yaml(quoted: &str) -> String {
    escape(quoted, |out, character| {
        let _ = match u32::from(character) {
            code @ ..=0xFFFF => write!(out, "\\u{code:04x}"),
            code => write!(out, "\\U{code:08x}"),
        };
    })
}

fn escape(text: &str, write: impl Fn(&mut String, char)) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || !is_hidden(character) {
            out.push(character);
        } else {
            write(&mut out, character);
        }
    }
    out
}

/// True for what a terminal obeys, or what is there without being seen.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control() || is_ignorable(character)
}

fn cleaned(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            _ if is_hidden(character) => HIDDEN,
            _ => character,
        })
        .scan(0, |marks, character| {
            *marks = if character.width() == Some(0) {
                *marks + 1
            } else {
                0
            };
            Some((*marks <= MOST_MARKS).then_some(character))
        })
        .flatten()
}

/// Unicode's `Default_Ignorable_Code_Point`, and the separators of lines and paragraphs.
fn is_ignorable(character: char) -> bool {
    matches!(
        u32::from(character),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0
        | 0xFFF0..=0xFFFB | 0x1_BCA0..=0x1_BCA3 | 0x1_D173..=0x1_D17A | 0xE_0000..=0xE_0FFF
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(clean("\x1b[2Jacme\u{9b}31m\x07"), "�[2Jacme�31m�");
        assert_eq!(clean("a\u{202e}b\u{200b}c\nd"), "a�b�c d");
        assert_eq!(
            clean(&format!("e{}x", "\u{301}".repeat(50))),
            "e\u{301}\u{301}x"
        );
    }

    #[test]
    fn json_says_the_same_without_them() {
        let value = serde_json::json!({"a\u{9b}": "\x7f\u{e0001}\n"});
        let escaped = escape_json(&value.to_string());
        assert_eq!(escaped, r#"{"a\u009b":"\u007f\udb40\udc01\n"}"#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped).unwrap(),
            value
        );
    }

    #[test]
    fn yaml_has_its_own_escapes() {
        assert_eq!(escape_yaml("\"\u{9b}\u{e0001}\""), r#""\u009b\U000e0001""#);
    }

    #[test]
    fn wide_characters_take_their_columns() {
        assert_eq!(fit("日本語テナント", 7), "日本語…");
        assert_eq!(left("日本", 6), "日本  ");
        assert_eq!(right("日本", 6), "  日本");
        assert_eq!(fit("日本", 4), "日本");
        assert_eq!(
            (fit("日本", 1), fit("日本", 0)),
            ("…".to_owned(), String::new())
        );
    }

    #[test]
    fn lines_break_at_spaces_and_commas_or_where_they_must() {
        assert_eq!(wrap("one two, three", 8), ["one two,", "three"]);
        assert_eq!(wrap("a,b,c", 4), ["a,b,", "c"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
    }

    proptest! {
        #[test]
        fn any_text_is_wrapped_within_its_columns(text in any::<String>(), columns in 2_usize..40) {
            let lines = wrap(&text, columns);
            prop_assert!(lines.iter().all(|line| line.width() <= columns), "{:?}", lines);
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&clean(&text)));
        }

        #[test]
        fn any_text_keeps_to_its_columns(text in any::<String>(), columns in 0_usize..40) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
            prop_assert_eq!(width(&left(&text, columns)), columns);
            prop_assert_eq!(width(&right(&text, columns)), columns);
            prop_assert!(!left(&text, columns).chars().any(is_hidden));
        }
    }
}
