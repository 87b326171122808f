//! Asking a stream to report its usage: `stream_options.include_usage` in a body that lacks it.
//!
//! The body is not written anew but completed: every byte of the client's stays as it was, its numbers, its order and its
//! repeated keys included.

use std::ops::Range;

/// The body with `stream_options.include_usage` true. Precondition: the body is a JSON object (it has been read as one).
///
/// `None` if the client sent `stream_options` of a kind that no server accepts: its error is the provider's to tell.
pub fn with_stream_usage(body: &[u8]) -> Option<Vec<u8>> {
    let mut edits = Vec::new();
    for member in members(body, 0)?
        .into_iter()
        .filter(|member| member.is_named(body, "stream_options"))
    {
        edits.extend(in_options(body, member.value)?);
    }
    if edits.is_empty() {
        let after_brace = body.iter().position(|&byte| byte == b'{')? + 1;
        edits.push((
            after_brace..after_brace,
            br#""stream_options":{"include_usage":true},"#,
        ));
        if members(body, 0)?.is_empty() {
            return None;
        }
    }
    let mut completed = Vec::with_capacity(body.len() + 64);
    let mut copied = 0;
    for (place, text) in edits {
        completed.extend_from_slice(&body[copied..place.start]);
        completed.extend_from_slice(text);
        copied = place.end;
    }
    completed.extend_from_slice(&body[copied..]);
    Some(completed)
}

type Edit = (Range<usize>, &'static [u8]);

/// What makes one value of `stream_options` ask for usage, in the order of the bytes.
fn in_options(body: &[u8], value: Range<usize>) -> Option<Vec<Edit>> {
    if &body[value.clone()] == b"null" {
        return Some(vec![(value, br#"{"include_usage":true}"#)]);
    }
    let options = members(body, value.start)?;
    let present: Vec<Edit> = options
        .iter()
        .filter(|member| member.is_named(body, "include_usage"))
        .map(|member| (member.value.clone(), &b"true"[..]))
        .collect();
    if !present.is_empty() {
        return Some(present);
    }
    let after_brace = value.start + 1;
    let text: &[u8] = if options.is_empty() {
        br#""include_usage":true"#
    } else {
        br#""include_usage":true,"#
    };
    Some(vec![(after_brace..after_brace, text)])
}

/// A member of an object: where its name (in quotes) and its value are.
struct Member {
    name: Range<usize>,
    value: Range<usize>,
}

impl Member {
    fn is_named(&self, body: &[u8], name: &str) -> bool {
        // A name may be spelt with escapes.
        serde_json::from_slice::<String>(&body[self.name.clone()]).is_ok_and(|own| own == name)
    }
}

/// The members of the object that begins at or after `from`; `None` if what begins there is no object.
fn members(body: &[u8], from: usize) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    let mut at = skip_space(body, from);
    if body.get(at) != Some(&b'{') {
        return None;
    }
    loop {
        at = skip_space(body, at + 1);
        if body.get(at) == Some(&b'}') {
            return Some(members);
        }
        let name = at..string_end(body, at)?;
        let colon = skip_space(body, name.end);
        let start = skip_space(body, colon + 1);
        let value = start..value_end(body, start)?;
        at = skip_space(body, value.end);
        members.push(Member { name, value });
        if body.get(at) != Some(&b',') {
            return Some(members);
        }
    }
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
pub(super) fn value_end(body: &[u8], from: usize) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn completed(body: &str) -> String {
        String::from_utf8(with_stream_usage(body.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn every_byte_of_the_client_stays() {
        let body = "{ \"n\" : 1.00000000000000000001, \"a\":1, \"a\":2,\n\t\"stream\": true}\n";
        let expected = "{\"stream_options\":{\"include_usage\":true}, \"n\" : 1.00000000000000000001, \"a\":1, \"a\":2,\n\t\"stream\": true}\n";
        assert_eq!(completed(body), expected);
    }

    #[test]
    fn options_that_are_there_are_completed() {
        for (options, expected) in [
            ("null", r#"{"include_usage":true}"#),
            ("{}", r#"{"include_usage":true}"#),
            (
                r#"{ "x": [1, "}"] }"#,
                r#"{"include_usage":true, "x": [1, "}"] }"#,
            ),
            (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
            (
                r#"{"include_usage": null , "x": "\"}"}"#,
                r#"{"include_usage": true , "x": "\"}"}"#,
            ),
        ] {
            let body = format!(r#"{{"stream":true,"stream_options":{options},"z":"{{"}}"#);
            assert_eq!(
                completed(&body),
                format!(r#"{{"stream":true,"stream_options":{expected},"z":"{{"}}"#)
            );
        }
    }

    #[test]
    fn a_name_in_escapes_or_twice_is_found() {
        let escaped = r#"{"stream\u005foptions":null,"stream":true}"#;
        assert_eq!(
            completed(escaped),
            r#"{"stream\u005foptions":{"include_usage":true},"stream":true}"#
        );
        let twice = r#"{"stream_options":null,"stream":true,"stream_options":{}}"#;
        let expected = r#"{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"include_usage":true}}"#;
        assert_eq!(completed(twice), expected);
        let elsewhere = r#"{"metadata":{"stream_options":{}},"stream":true}"#;
        assert!(
            completed(elsewhere)
                .starts_with(r#"{"stream_options":{"include_usage":true},"metadata""#)
        );
    }

    #[test]
    fn options_of_a_wrong_kind_are_left_to_the_provider() {
        for options in ["1", "true", "[]", "\"yes\""] {
            let body = format!(r#"{{"stream":true,"stream_options":{options}}}"#);
            assert_eq!(with_stream_usage(body.as_bytes()), None, "{options}");
        }
    }

    proptest! {
        #[test]
        fn the_rest_of_any_body_is_unchanged(
            entries in prop::collection::btree_map("[a-z\"\\\\{}\\[\\],:]{0,6}", "[ -~]{0,20}", 1..8),
            options in prop_oneof![Just(None), Just(Some(json!(null))), Just(Some(json!({"a": "{\"}"})))],
        ) {
            let mut body = json!(entries);
            if let Some(options) = options {
                body["stream_options"] = options;
            }
            let completed = with_stream_usage(body.to_string().as_bytes()).unwrap();
            let mut completed: Value = serde_json::from_slice(&completed).unwrap();
            prop_assert_eq!(&completed["stream_options"]["include_usage"], &json!(true));
            completed.as_object_mut().unwrap().remove("stream_options");
            body.as_object_mut().unwrap().remove("stream_options");
            prop_assert_eq!(completed, body);
        }
    }
}
