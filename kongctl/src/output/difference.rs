//! How one field changes, as little of it as shows what changes.
//!
//! # Model
//!
//! Short values stand side by side. Of a long text only the words that differ are shown, with a little around them: `[-old-]` and
//! `{+new+}`, as git marks them where there is no colour. Of a text of several lines only the lines that differ, of a list only the
//! items.

use std::fmt::Write as _;

use serde_json::Value;
use similar::{ChangeTag, DiffTag, TextDiff};

use super::{Paint, text};

/// Values that together are longer, in characters, are not shown whole.
const SHORT: usize = 48;
/// Characters of what is the same that are shown around what differs.
const AROUND: usize = 12;
/// A text is cut into words up to this size, in bytes: beyond it the comparison would take too long.
const MOST_TEXT: usize = 64 * 1024;
/// Where less than one part in so many of both texts is the same, the whole values say more.
const LEAST_ALIKE: usize = 6;

/// Writes how the value under `path` changes; values that may not be shown are redacted already.
pub(super) fn field(
    out: &mut String,
    path: &str,
    (before, after): (&Value, &Value),
    note: &str,
    paint: Paint,
) {
    match (before, after) {
        // Secrets on both sides: that they differ is all that may be said.
        (before, after) if before == after => {
            let redacted = super::redact::REDACTED;
            let _ = writeln!(out, "    {path}: {redacted} → {redacted}{note}");
        }
        (Value::String(before), Value::String(after))
            if before.contains('\n') || after.contains('\n') =>
        {
            let _ = writeln!(out, "    {path}:{note}");
            lines(out, before, after, paint);
        }
        (Value::Array(before), Value::Array(after)) if is_long(before, after) => {
            let _ = writeln!(out, "    {path}:{note}");
            items(out, before, after, paint);
        }
        _ => {
            let (before, after) = (inline(before), inline(after));
            let words = (before.chars().count() + after.chars().count() > SHORT)
                .then(|| words(&before, &after, paint))
                .flatten();
            let shown = words
                .unwrap_or_else(|| format!("{} → {}", paint.red(&before), paint.green(&after)));
            let _ = writeln!(out, "    {path}: {shown}{note}");
        }
    }
}

fn is_long(before: &[Value], after: &[Value]) -> bool {
    let length = |items: &[Value]| {
        let lengths = items
            .iter()
            .map(|item| item.to_string().chars().count() + 1);
        lengths.sum::<usize>()
    };
    length(before) + length(after) > SHORT
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text == super::redact::REDACTED => text.clone(),
        other => text::escape_json(&other.to_string()),
    }
}

/// Only the lines that differ; where one line takes the place of a like one, its words.
fn lines(out: &mut String, before: &str, after: &str, paint: Paint) {
    let diff = TextDiff::from_lines(before, after);
    for op in diff.ops() {
        let changes: Vec<_> = diff.iter_changes(op).collect();
        if op.tag() == DiffTag::Replace
            && let [old, new] = changes.as_slice()
            && let Some(words) = words(&line(old.value()), &line(new.value()), paint)
        {
            let _ = writeln!(out, "      {} {words}", paint.yellow("~"));
            continue;
        }
        for change in changes {
            let text = line(change.value());
            let line = match change.tag() {
                ChangeTag::Delete => paint.red(&format!("- {text}")),
                ChangeTag::Insert => paint.green(&format!("+ {text}")),
                ChangeTag::Equal => continue,
            };
            let _ = writeln!(out, "      {line}");
        }
    }
}

/// A line without its end, and without what a terminal would obey.
fn line(text: &str) -> String {
    text::clean(text.trim_end_matches(['\n', '\r']))
}

/// Only the items that came or went.
fn items(out: &mut String, before: &[Value], after: &[Value], paint: Paint) {
    let inline = |items: &[Value]| items.iter().map(inline).collect::<Vec<_>>();
    let (before, after) = (inline(before), inline(after));
    let (before, after): (Vec<&str>, Vec<&str>) = (
        before.iter().map(String::as_str).collect(),
        after.iter().map(String::as_str).collect(),
    );
    for change in TextDiff::from_slices(&before, &after).iter_all_changes() {
        let line = match change.tag() {
            ChangeTag::Delete => paint.red(&format!("- {}", change.value())),
            ChangeTag::Insert => paint.green(&format!("+ {}", change.value())),
            ChangeTag::Equal => continue,
        };
        let _ = writeln!(out, "      {line}");
    }
}

/// The words that differ, with a little around them; `None` where the whole values say more.
fn words(before: &str, after: &str, paint: Paint) -> Option<String> {
    let length = before.len() + after.len();
    // Lines that are the same may differ in their ends.
    if length > MOST_TEXT || before == after {
        return None;
    }
    let (before, after) = (pieces(before), pieces(after));
    let diff = TextDiff::from_slices(&before, &after);
    // Quotation marks alone make nothing alike.
    let alike: usize = diff
        .ops()
        .iter()
        .filter(|op| op.tag() == DiffTag::Equal)
        .map(|op| before[op.old_range()].concat().len())
        .sum();
    if alike * LEAST_ALIKE < length {
        return None;
    }
    let mut out = String::new();
    let ops = diff.ops();
    for (number, op) in ops.iter().enumerate() {
        let (old, new) = (
            before[op.old_range()].concat(),
            after[op.new_range()].concat(),
        );
        if op.tag() == DiffTag::Equal {
            out.push_str(&shortened(&old, number == 0, number + 1 == ops.len()));
            continue;
        }
        if !old.is_empty() {
            out.push_str(&paint.removed(&old));
        }
        if !new.is_empty() {
            out.push_str(&paint.added(&new));
        }
    }
    Some(out)
}

/// Words, and whatever stands between them character by character.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(rest.len());
        let end = if word > 0 {
            word
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The ends of what is the same that touch what differs.
fn shortened(text: &str, is_first: bool, is_last: bool) -> String {
    let count = text.chars().count();
    let kept = AROUND * (usize::from(!is_first) + usize::from(!is_last));
    // An ellipsis in place of one character would save nothing.
    if count <= kept + 1 {
        return text.to_owned();
    }
    let head: String = text.chars().take(AROUND).collect();
    let tail: String = text.chars().skip(count - AROUND).collect();
    match (is_first, is_last) {
        (true, true) => text.to_owned(),
        (true, false) => format!("…{tail}"),
        (false, true) => format!("{head}…"),
        (false, false) => format!("{head}…{tail}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(before: &Value, after: &Value) -> String {
        let mut out = String::new();
        field(&mut out, "f", (before, after), "", Paint(false));
        out
    }

    #[test]
    fn short_values_stand_side_by_side() {
        assert_eq!(shown(&json!(9), &json!(5)), "    f: 9 → 5\n");
        assert_eq!(shown(&json!("/x"), &Value::Null), "    f: \"/x\" → none\n");
        assert_eq!(
            shown(&json!(["/a"]), &json!(["/b"])),
            "    f: [\"/a\"] → [\"/b\"]\n"
        );
    }

    #[test]
    fn of_a_long_text_only_the_words_that_differ_are_shown() {
        let before = "You are a helpful assistant of the shop; answer in German, and be brief.";
        let after = before.replace("German", "French");
        assert_eq!(
            shown(&json!(before), &json!(after)),
            "    f: …; answer in [-German-]{+French+}, and be bri…\n"
        );
    }

    #[test]
    fn of_several_lines_only_those_that_differ() {
        let before = "local x = 1\nlocal name = 'the first'\nreturn x\n";
        let after = "local x = 1\nlocal name = 'the other'\nreturn x\nend\n";
        assert_eq!(
            shown(&json!(before), &json!(after)),
            "    f:\n      ~ …name = 'the [-first-]{+other+}'\n      + end\n"
        );
    }

    #[test]
    fn lines_that_differ_in_their_ends_alone_are_shown_whole() {
        assert_eq!(
            shown(&json!("a\nb\n"), &json!("a\nb")),
            "    f:\n      - b\n      + b\n"
        );
    }

    #[test]
    fn of_secrets_it_is_said_that_they_differ() {
        let redacted = json!(["[redacted]"]);
        assert_eq!(
            shown(&redacted, &redacted),
            "    f: [redacted] → [redacted]\n"
        );
    }

    #[test]
    fn of_a_long_list_only_the_items_that_came_or_went() {
        let hosts = |last: &str| json!(["a.example.com", "b.example.com", "c.example.com", last]);
        assert_eq!(
            shown(&hosts("d.example.com"), &hosts("e.example.com")),
            "    f:\n      - \"d.example.com\"\n      + \"e.example.com\"\n"
        );
    }

    #[test]
    fn long_values_that_have_nothing_in_common_are_shown_whole() {
        let (before, after) = ("a".repeat(40), "b".repeat(40));
        assert_eq!(
            shown(&json!(before), &json!(after)),
            format!("    f: \"{before}\" → \"{after}\"\n")
        );
    }

    proptest! {
        #[test]
        fn whatever_differs_is_seen(before in "[a-c \n]{0,80}", after in "[a-c \n]{0,80}") {
            prop_assume!(before != after);
            let shown = shown(&json!(before), &json!(after));
            let marks = ["→", "[-", "{+", "- ", "+ "];
            prop_assert!(marks.iter().any(|mark| shown.contains(mark)), "{}", shown);
        }

        #[test]
        fn pieces_are_the_text(text in "\\PC{0,40}") {
            prop_assert_eq!(pieces(&text).concat(), text);
        }
    }
}
