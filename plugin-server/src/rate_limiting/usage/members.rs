//! The members of a JSON object of which only the end, or only the start, is there.
//!
//! A text inside the object cannot be taken for a member: read from a true end (or start), strings are told from structure by the
//! parity of the backslashes before a quote. Nothing is allocated, and every byte is looked at a constant number of times.

use super::super::rewrite::value_end;

/// A member: its name without the quotes, and its value as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// The members from the last to the first, of an object that ends with the fragment.
pub(super) struct Backward<'a> {
    unread: &'a [u8],
    cut: bool,
}

impl<'a> Backward<'a> {
    /// `None` if no object ends here.
    pub(super) fn of(fragment: &'a [u8]) -> Option<Self> {
        let unread = fragment.trim_ascii_end().strip_suffix(b"}")?;
        Some(Self { unread, cut: false })
    }

    /// Once there are no more: the value in which, or in whose name, the fragment begins, if that is what ended them.
    pub(super) fn cut_value(&self) -> Option<&'a [u8]> {
        self.cut.then_some(self.unread)
    }
}

impl<'a> Iterator for Backward<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let unread = self.unread.trim_ascii_end();
        if self.cut || matches!(unread.last(), None | Some(b'{')) {
            return None;
        }
        let Some(start) = value_start(unread) else {
            self.cut = true;
            return None;
        };
        let (before, value) = unread.split_at(start);
        let named = before
            .trim_ascii_end()
            .strip_suffix(b":")
            .map(<[u8]>::trim_ascii_end)
            .and_then(|before| Some((before, string_start(before)?)));
        let Some((before, name)) = named else {
            (self.unread, self.cut) = (value, true);
            return None;
        };
        let (rest, name) = before.split_at(name);
        let rest = rest.trim_ascii_end();
        // Without what is before it, a name could be the end of a text whose start was cut off.
        self.unread = match rest.split_last() {
            Some((b',', rest)) => rest,
            Some((b'{', _)) => &[],
            _ => {
                (self.unread, self.cut) = (value, true);
                return None;
            }
        };
        let name = &name[1..name.len() - 1];
        Some(Member { name, value })
    }
}

/// The members from the first, of an object that begins with the fragment and may be cut off.
pub(super) struct Forward<'a> {
    unread: &'a [u8],
}

impl<'a> Forward<'a> {
    /// `None` if no object begins here.
    pub(super) fn of(fragment: &'a [u8]) -> Option<Self> {
        let unread = fragment.trim_ascii_start().strip_prefix(b"{")?;
        Some(Self { unread })
    }
}

impl<'a> Iterator for Forward<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let unread = std::mem::take(&mut self.unread).trim_ascii_start();
        if unread.first() != Some(&b'"') {
            return None;
        }
        let (name, rest) = unread.split_at(value_end(unread, 0)?);
        let rest = rest
            .trim_ascii_start()
            .strip_prefix(b":")?
            .trim_ascii_start();
        let (value, rest) = rest.split_at(value_end(rest, 0)?);
        // A number at the very end could go on.
        self.unread = match rest.trim_ascii_start().split_first()? {
            (b',', rest) => rest,
            _ => &[],
        };
        let name = &name[1..name.len() - 1];
        Some(Member { name, value })
    }
}

/// Where the value begins that ends with the fragment; `None` if that is before it, or what ends here is no value.
pub(super) fn value_start(fragment: &[u8]) -> Option<usize> {
    match fragment.last()? {
        b'"' => string_start(fragment),
        b'}' | b']' => {
            let mut depth = 0_usize;
            let mut at = fragment.len();
            while at > 0 {
                at -= 1;
                match fragment[at] {
                    b'"' => at = string_start(&fragment[..=at])?,
                    b'}' | b']' => depth += 1,
                    b'{' | b'[' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at);
                        }
                    }
                    _ => {}
                }
            }
            None
        }
        _ => fragment
            .iter()
            .rposition(|byte| {
                matches!(
                    byte,
                    b':' | b',' | b'{' | b'[' | b'}' | b']' | b'"' | b' ' | b'\t' | b'\n' | b'\r'
                )
            })
            .map(|before| before + 1)
            .filter(|&start| start < fragment.len()),
    }
}

/// Where the string begins whose closing quote ends the fragment.
fn string_start(fragment: &[u8]) -> Option<usize> {
    let mut end = fragment.len().checked_sub(1)?;
    if fragment[end] != b'"' || is_escaped(&fragment[..end]) {
        return None;
    }
    loop {
        end = fragment[..end].iter().rposition(|&byte| byte == b'"')?;
        // Of a quote at the very start nobody knows what was before it.
        if end == 0 {
            return None;
        }
        if !is_escaped(&fragment[..end]) {
            return Some(end);
        }
    }
}

/// Whether what follows is escaped: by an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before
        .iter()
        .rev()
        .take_while(|&&byte| byte == b'\\')
        .count();
    backslashes % 2 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn names<'a>(members: impl Iterator<Item = Member<'a>>) -> Vec<String> {
        members
            .map(|member| String::from_utf8(member.name.to_vec()).unwrap())
            .collect()
    }

    const OBJECT: &str =
        r#" {"a": 1, "b\"}" : {"x":["}", "\\"]}, "c":"\\\"{", "d":[ ] ,"e":null } "#;

    #[test]
    fn both_directions_see_the_same_members() {
        let forward: Vec<_> = Forward::of(OBJECT.as_bytes()).unwrap().collect();
        let mut backward: Vec<_> = Backward::of(OBJECT.as_bytes()).unwrap().collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(names(forward.into_iter()), ["a", "b\\\"}", "c", "d", "e"]);
        assert_eq!(Backward::of(b"{}").unwrap().next(), None);
        assert_eq!(Forward::of(b"{}").unwrap().next(), None);
    }

    #[test]
    fn a_fragment_has_the_members_that_are_whole_in_it() {
        let all = ["a", "b\\\"}", "c", "d", "e"];
        for cut in 0..OBJECT.len() {
            if let Some(members) = Forward::of(&OBJECT.as_bytes()[..cut]) {
                let names = names(members);
                assert_eq!(names, all[..names.len()], "to {cut}");
            }
            let members = Backward::of(&OBJECT.as_bytes()[cut..]);
            let names = names(members.into_iter().flatten());
            let expected: Vec<_> = all.iter().rev().take(names.len()).collect();
            assert_eq!(names.iter().collect::<Vec<_>>(), expected, "from {cut}");
        }
    }

    #[test]
    fn the_value_in_which_a_fragment_begins_can_be_entered() {
        let mut members = Backward::of(br#"ext"}],"usage":{"input_tokens":1}}}"#).unwrap();
        assert_eq!(members.next(), None);
        let inner = Backward::of(members.cut_value().unwrap()).unwrap();
        assert_eq!(names(inner), ["usage"]);
    }

    proptest! {
        #[test]
        fn any_object_is_read_alike_both_ways(entries in prop::collection::vec(("[a-z\"\\\\{}:,]{0,6}", "[\"\\\\{}\\[\\]:, a]{0,12}"), 0..6)) {
            let object: serde_json::Map<String, Value> = entries.into_iter().map(|(name, text)| (name, Value::from(vec![text]))).collect();
            let text = Value::from(object).to_string();
            let forward: Vec<_> = Forward::of(text.as_bytes()).unwrap().collect();
            let mut backward: Vec<_> = Backward::of(text.as_bytes()).unwrap().collect();
            backward.reverse();
            prop_assert_eq!(forward, backward);
        }
    }
}
