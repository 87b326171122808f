//! Paths as Kong's router sees them, and the path that the upstream gets.

/// Characters of RFC 3986 that keep their escape: decoded, they would mean something else.
const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";

/// Normalizes a path: unreserved escapes decoded, others in capitals, dot segments resolved, slashes merged.
pub(crate) fn normalize(path: &[u8]) -> Vec<u8> {
    if path.is_empty() || path == b"/" {
        return path.to_vec();
    }
    remove_dot_segments(&decode_unreserved(path))
}

fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%'
            && let Some(byte) = tail.get(..2).and_then(hex_byte)
        {
            if RESERVED.contains(&byte) {
                decoded.push(b'%');
                decoded.extend(tail[..2].to_ascii_uppercase());
            } else {
                decoded.push(byte);
            }
            rest = &tail[2..];
        } else {
            decoded.push(first);
            rest = tail;
        }
    }
    decoded
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

fn remove_dot_segments(path: &[u8]) -> Vec<u8> {
    let absolute = path.first() == Some(&b'/');
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut pieces = path.split(|&byte| byte == b'/').peekable();
    if absolute {
        pieces.next();
    }
    let mut trailing_slash = false;
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        trailing_slash = last && (piece.is_empty() || piece == b"." || piece == b"..");
        match piece {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut normalized = Vec::with_capacity(path.len());
    for segment in &segments {
        if absolute || !normalized.is_empty() {
            normalized.push(b'/');
        }
        normalized.extend_from_slice(segment);
    }
    if normalized.is_empty() || trailing_slash {
        normalized.push(b'/');
    }
    normalized
}

/// Escapes what may not stand in a request line; existing escapes stay.
pub(crate) fn escape(path: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"!#$&'()*+,/:;=?@[]-_.~%".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The upstream's path: `base` is the service's path, `prefix` what the route strips.
///
/// This is Kong's `path_handling: v0`; its default router treats `v1` alike (seen).
pub(crate) fn upstream_path(base: &[u8], path: &[u8], prefix: Option<&[u8]>) -> Vec<u8> {
    let Some(prefix) = prefix else {
        return match (base.ends_with(b"/"), path) {
            (true, _) => [base, path.get(1..).unwrap_or_default()].concat(),
            (false, b"/") => base.to_vec(),
            (false, _) => [base, path].concat(),
        };
    };
    let rest = without_leading_dots(path.get(prefix.len()..).unwrap_or_default());
    match (base.strip_suffix(b"/"), rest) {
        (Some(_), b"") if base == b"/" || path.ends_with(b"/") => base.to_vec(),
        (Some(stem), b"") => stem.to_vec(),
        (Some(stem), _) if rest.starts_with(b"/") => [stem, rest].concat(),
        (Some(_), _) => [base, rest].concat(),
        (None, b"") if path.len() > 1 && path.ends_with(b"/") => [base, b"/"].concat(),
        (None, b"") => base.to_vec(),
        (None, _) if rest.starts_with(b"/") => [base, rest].concat(),
        (None, _) => [base, b"/", rest].concat(),
    }
}

fn without_leading_dots(rest: &[u8]) -> &[u8] {
    match rest {
        b"." | b".." => b"",
        _ => rest
            .strip_prefix(b"./")
            .or_else(|| rest.strip_prefix(b"../"))
            .unwrap_or(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_as_the_router_does() {
        for (raw, normalized) in [
            ("/", "/"),
            ("/a/../b", "/b"),
            ("/a//b", "/a/b"),
            ("/a/./b/", "/a/b/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/../a", "/a"),
            ("/%61%2fb%20c", "/a%2Fb c"),
            ("/%zz", "/%zz"),
        ] {
            assert_eq!(
                String::from_utf8(normalize(raw.as_bytes())).unwrap(),
                normalized,
                "{raw}"
            );
        }
    }

    #[test]
    fn joins_base_and_rest_with_one_slash() {
        for (base, path, prefix, expected) in [
            ("/", "/a", Some("/a"), "/"),
            ("/", "/a/b", Some("/a"), "/b"),
            ("/base", "/a/b", Some("/a"), "/base/b"),
            ("/base", "/a", Some("/a"), "/base"),
            ("/base", "/a/", Some("/a/"), "/base/"),
            ("/base/", "/a", Some("/a"), "/base"),
            ("/base/", "/a/", Some("/a/"), "/base/"),
            ("/base/", "/ab", Some("/a"), "/base/b"),
            ("/base", "/ab", Some("/a"), "/base/b"),
            ("/base", "/a/b", None, "/base/a/b"),
            ("/base/", "/a/b", None, "/base/a/b"),
            ("/base", "/", None, "/base"),
            ("/base", "/a../b", Some("/a"), "/base/b"),
        ] {
            let joined = upstream_path(base.as_bytes(), path.as_bytes(), prefix.map(str::as_bytes));
            assert_eq!(
                String::from_utf8(joined).unwrap(),
                expected,
                "{base} {path} {prefix:?}"
            );
        }
    }

    #[test]
    fn escapes_what_a_request_line_forbids() {
        assert_eq!(escape(b"/a b/%2F\xff"), "/a%20b/%2F%FF");
    }
}
