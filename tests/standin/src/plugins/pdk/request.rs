//! `kong.request`.

use http::{HeaderMap, Version};

use super::{Named, Single, Throw};
use crate::proxy::{Exchange, normalize};

impl Exchange {
    /// `kong.request.get_host`: in small letters, without the port.
    pub(crate) fn host(&self) -> String {
        let host = self.original.host.as_deref().unwrap_or_default();
        crate::proxy::split_port(host).0.to_ascii_lowercase()
    }

    /// `kong.request.get_port`: the port that the client connected to.
    pub(crate) fn port(&self) -> u16 {
        self.connection.server.port()
    }

    /// `kong.request.get_http_version`.
    pub(crate) fn http_version(&self) -> f64 {
        match self.original.version {
            Version::HTTP_2 => 2.0,
            Version::HTTP_10 => 1.0,
            _ => 1.1,
        }
    }

    /// `kong.request.get_method`.
    pub(crate) fn method(&self) -> String {
        self.state().method.as_str().to_owned()
    }

    /// `kong.request.get_path`: normalized.
    pub(crate) fn path(&self) -> Vec<u8> {
        normalize(self.original.path().as_bytes())
    }

    /// `kong.request.get_path_with_query`: as the client wrote it.
    pub(crate) fn path_with_query(&self) -> String {
        self.original.target.clone()
    }

    /// `kong.request.get_raw_query`.
    pub(crate) fn raw_query(&self) -> String {
        self.state().query.clone().unwrap_or_default()
    }

    /// `kong.request.get_query`: at most `maximum` arguments, the rest silently dropped.
    pub(crate) fn query(&self, maximum: i64) -> Result<Vec<Named>, Throw> {
        let maximum = bounded("max_args", maximum)?;
        Ok(parse_query(
            self.state().query.as_deref().unwrap_or_default(),
            maximum,
        ))
    }

    /// `kong.request.get_query_arg`: the first value.
    pub(crate) fn query_argument(&self, name: &[u8]) -> Option<Single> {
        let parsed = parse_query(self.state().query.as_deref().unwrap_or_default(), 100);
        parsed
            .into_iter()
            .find(|(of, _)| of == name)
            .and_then(|(_, values)| values.into_iter().next())
    }

    /// `kong.request.get_header`: the first value.
    pub(crate) fn header(&self, name: &[u8]) -> Option<Vec<u8>> {
        first(&self.state().headers, name)
    }

    /// `kong.request.get_headers`: at most `maximum` header lines, the rest silently dropped.
    pub(crate) fn headers(&self, maximum: i64) -> Result<Vec<Named>, Throw> {
        Ok(grouped(
            &self.state().headers,
            bounded("max_headers", maximum)?,
        ))
    }
}

/// Kong takes 1 to 1000 and throws on anything else.
pub(super) fn bounded(name: &str, maximum: i64) -> Result<usize, Throw> {
    match maximum {
        ..1 => Err(Throw(format!("{name} must be >= 1"))),
        1..=1000 => Ok(usize::try_from(maximum).unwrap_or(1000)),
        _ => Err(Throw(format!("{name} must be <= 1000"))),
    }
}

/// The first value; underscores and hyphens, capitals and small letters are the same in a name.
pub(super) fn first(headers: &HeaderMap, name: &[u8]) -> Option<Vec<u8>> {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let value = headers
        .get(&name)
        .or_else(|| headers.get(name.replace('_', "-")))?;
    Some(value.as_bytes().to_vec())
}

/// Header lines by name.
pub(crate) fn grouped(headers: &HeaderMap, maximum: usize) -> Vec<Named> {
    let mut grouped: Vec<Named> = Vec::new();
    for (name, value) in headers.iter().take(maximum) {
        let value = Single::Text(value.as_bytes().to_vec());
        match grouped
            .iter_mut()
            .find(|(of, _)| of == name.as_str().as_bytes())
        {
            Some((_, values)) => values.push(value),
            None => grouped.push((name.as_str().as_bytes().to_vec(), vec![value])),
        }
    }
    grouped
}

fn parse_query(query: &str, maximum: usize) -> Vec<Named> {
    let mut grouped: Vec<Named> = Vec::new();
    for pair in query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(maximum)
    {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Single::Text(unescape(value))),
            None => (pair, Single::Flag),
        };
        let name = unescape(name);
        if name.is_empty() {
            continue;
        }
        match grouped.iter_mut().find(|(of, _)| *of == name) {
            Some((_, values)) => values.push(value),
            None => grouped.push((name, vec![value])),
        }
    }
    grouped
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| {
                tail.get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok())
            })
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escaped {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(if first == b'+' { b' ' } else { first });
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_groups_repeated_names_and_marks_flags() {
        let text = |value: &str| Single::Text(value.as_bytes().to_vec());
        assert_eq!(
            parse_query("q=1&q=a%20b&flag&empty=&=x", 100),
            [
                (b"q".to_vec(), vec![text("1"), text("a b")]),
                (b"flag".to_vec(), vec![Single::Flag]),
                (b"empty".to_vec(), vec![text("")]),
            ]
        );
    }

    #[test]
    fn a_bound_outside_1_to_1000_throws() {
        assert!(bounded("max_args", 0).is_err());
        assert_eq!(bounded("max_args", 1000), Ok(1000));
        assert!(bounded("max_args", 1001).is_err());
    }
}
