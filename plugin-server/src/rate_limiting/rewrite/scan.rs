//! Finding the members of a JSON object in its text, without reading what is in them.
//!
//! The text is valid JSON: it has been read. Of any other text something is found or nothing, but nothing fails.

use std::borrow::Cow;
use std::ops::Range;

/// A member of an object: where its name (in quotes) and its value are.
pub(super) struct Member {
    name: Range<usize>,
    pub(super) value: Range<usize>,
}

impl Member {
    /// The name, which may be spelt with escapes.
    pub(super) fn name<'b>(&self, body: &'b [u8]) -> Cow<'b, str> {
        let quoted = &body[self.name.clone()];
        if let Some(plain) = quoted.get(1..quoted.len().saturating_sub(1))
            && !plain.contains(&b'\\')
        {
            return String::from_utf8_lossy(plain);
        }
        serde_json::from_slice(quoted).map_or(Cow::Borrowed(""), Cow::Owned)
    }
}

/// The members of an object, one after the other.
pub(super) struct Members<'b> {
    body: &'b [u8],
    /// Where the brace or the comma before the next member is.
    before: Option<usize>,
}

impl<'b> Members<'b> {
    /// The members of the object that begins at or after `from`; `None` if what begins there is no object.
    pub(super) fn of(body: &'b [u8], from: usize) -> Option<Self> {
        let start = skip_space(body, from);
        (body.get(start) == Some(&b'{')).then_some(Self {
            body,
            before: Some(start),
        })
    }

    fn read(&mut self) -> Option<Member> {
        let body = self.body;
        let start = skip_space(body, self.before.take()? + 1);
        if body.get(start)? != &b'"' {
            return None;
        }
        let name = start..string_end(body, start)?;
        let colon = skip_space(body, name.end);
        let start = skip_space(body, colon + 1);
        let value = start..value_end(body, start)?;
        let after = skip_space(body, value.end);
        self.before = (body.get(after) == Some(&b',')).then_some(after);
        Some(Member { name, value })
    }
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.read()
    }
}

/// Just inside the brace that opens the object at or after `from`.
pub(super) fn inside(body: &[u8], from: usize) -> Option<usize> {
    let brace = skip_space(body, from);
    (body.get(brace) == Some(&b'{')).then_some(brace + 1)
}

fn skip_space(body: &[u8], from: usize) -> usize {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    from + body
        .iter()
        .skip(from)
        .take_while(|byte| space(byte))
        .count()
}

/// One past the closing quote of the string whose opening quote is at `from`.
fn string_end(body: &[u8], from: usize) -> Option<usize> {
    let mut escaped = false;
    for (offset, byte) in body.get(from + 1..)?.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(from + offset + 2),
            _ => {}
        }
    }
    None
}

/// One past the value that begins at `from`.
pub(in crate::rate_limiting) fn value_end(body: &[u8], from: usize) -> Option<usize> {
    match body.get(from)? {
        b'"' => string_end(body, from),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = from;
            loop {
                match body.get(at)? {
                    b'"' => {
                        at = string_end(body, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let ends =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            Some(
                body[from..]
                    .iter()
                    .position(ends)
                    .map_or(body.len(), |length| from + length),
            )
        }
    }
}
