//! What stands between the values of a text: comments, blank lines, anchors and tags.

use std::collections::VecDeque;
use std::ops::Range;

/// A comment or a blank line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remark {
    /// Where it starts, in characters.
    pub(super) index: usize,
    pub(super) column: usize,
    /// From `#` to the end of its line; empty for a blank line.
    pub(super) text: String,
    /// Nothing but spaces before it in its line.
    pub(super) own_line: bool,
}

/// What a parser drops, each in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub(super) remarks: VecDeque<Remark>,
    /// Names after `&`.
    pub(super) anchors: VecDeque<String>,
    /// Tags, `!` included.
    pub(super) tags: VecDeque<String>,
}

/// Finds what stands outside of `scalars`, which are ranges of characters, sorted.
pub(super) fn find(text: &[char], scalars: &[Range<usize>]) -> Gaps {
    let mut gaps = Gaps::default();
    let mut scalars = scalars.iter().filter(|range| !range.is_empty()).peekable();
    let mut index = 0;
    let mut line_start = 0;
    // Nothing but spaces since the line started?
    let mut blank = true;
    while index < text.len() {
        if let Some(scalar) = scalars.peek()
            && scalar.start <= index
        {
            if scalar.end > index {
                // The last line of the scalar is the line that goes on.
                let ended = &text[index..scalar.end];
                if let Some(last) = ended.iter().rposition(|character| *character == '\n') {
                    line_start = index + last + 1;
                }
                // A block ends with its line.
                blank = ended.last() == Some(&'\n');
                index = scalar.end;
            }
            scalars.next();
            continue;
        }
        let character = text[index];
        let after_space = index == 0 || text[index - 1].is_whitespace();
        match character {
            '\n' => {
                if blank {
                    gaps.remarks.push_back(Remark {
                        index,
                        column: 0,
                        text: String::new(),
                        own_line: true,
                    });
                }
                index += 1;
                line_start = index;
                blank = true;
                continue;
            }
            '#' if after_space => {
                let end = text[index..].iter().position(|c| *c == '\n');
                let end = end.map_or(text.len(), |length| index + length);
                let comment: String = text[index..end].iter().collect();
                gaps.remarks.push_back(Remark {
                    index,
                    column: index - line_start,
                    text: comment.trim_end().to_owned(),
                    own_line: blank,
                });
                index = end;
                if index < text.len() {
                    index += 1;
                    line_start = index;
                    blank = true;
                }
                continue;
            }
            '&' | '!' => {
                let end = text[index..].iter().position(|c| is_boundary(*c));
                let end = end.map_or(text.len(), |length| index + length);
                let word: String = text[index..end].iter().collect();
                if character == '&' {
                    gaps.anchors.push_back(word[1..].to_owned());
                } else {
                    gaps.tags.push_back(word);
                }
                blank = false;
                index = end;
                continue;
            }
            c if !c.is_whitespace() => blank = false,
            _ => {}
        }
        index += 1;
    }
    gaps
}

fn is_boundary(character: char) -> bool {
    character.is_whitespace() || matches!(character, ',' | '[' | ']' | '{' | '}')
}
