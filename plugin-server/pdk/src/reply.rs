//! What replies are made of: helpers from the wire's messages to the types that a plugin sees.
//!
//! Kong sends no bytes at all for nil, an empty string, zero and an empty table. Where the difference between nil and
//! empty would matter it is lost, and the reply's type says which of the two it is read as.

use bytes::Bytes;

use crate::byte_string::ByteString;
use crate::wire;

/// Text, empty if Kong has none.
pub(crate) fn text(message: wire::String) -> ByteString {
    message.v.into()
}

/// Text, `None` if Kong has none or an empty one.
pub(crate) fn optional_text(message: wire::String) -> Option<ByteString> {
    (!message.v.is_empty()).then(|| message.v.into())
}

/// A number in the range of its type; 0 if Kong has none or one out of range.
pub(crate) fn small_number(message: wire::Int) -> u16 {
    u16::try_from(message.v).unwrap_or(0)
}

pub(crate) fn flag(message: wire::Bool) -> bool {
    message.v
}

pub(crate) fn number(message: wire::Number) -> f64 {
    message.v
}

pub(crate) fn bytes(message: wire::ByteString) -> Bytes {
    message.v
}

pub(crate) fn done(_: wire::String) {}

pub(crate) fn nothing((): ()) {}

/// Request or response headers.
///
/// Kong gives names in lower case, in no particular order.
#[derive(Clone, PartialEq, Default)]
pub struct Headers(wire::Struct);

/// The arguments of a query string.
#[derive(Clone, PartialEq, Default)]
pub struct Query(wire::Struct);

/// One value of a query argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryArgument<'a> {
    /// `?name`
    Flag,
    /// `?name=value`
    Text(&'a [u8]),
}

impl Headers {
    pub(crate) fn from_wire(message: wire::Struct) -> Self {
        Self(message)
    }

    /// The first value of a header. Ask for the name in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The first value of a header, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// All the values of a header, in the order of the message.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        find(&self.0, name)
            .into_iter()
            .flat_map(values)
            .map(|value| match value {
                QueryArgument::Text(text) => text,
                QueryArgument::Flag => b"",
            })
    }

    /// Every name with each of its values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(&self.0).map(|(name, value)| match value {
            QueryArgument::Text(text) => (name, text),
            QueryArgument::Flag => (name, &b""[..]),
        })
    }

    /// How many names there are. As many as were asked for at most means that Kong may have cut some off.
    pub fn len(&self) -> usize {
        self.0.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.fields.is_empty()
    }
}

impl Query {
    pub(crate) fn from_wire(message: wire::Struct) -> Self {
        Self(message)
    }

    /// The first value of an argument.
    pub fn get(&self, name: &str) -> Option<QueryArgument<'_>> {
        self.get_all(name).next()
    }

    /// All the values of an argument, in the order of the query string.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = QueryArgument<'_>> {
        find(&self.0, name).into_iter().flat_map(values)
    }

    /// Every name with each of its values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], QueryArgument<'_>)> {
        pairs(&self.0)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.fields.is_empty()
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        debug_pairs(&self.0, f)
    }
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        debug_pairs(&self.0, f)
    }
}

/// Headers that carry credentials: their values stay out of logs.
const SECRET: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "apikey",
    "x-api-key",
];

fn debug_pairs(map: &wire::Struct, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    f.debug_map()
        .entries(pairs(map).map(|(name, value)| {
            let name = String::from_utf8_lossy(name);
            let value = match value {
                _ if SECRET.contains(&&*name) => "[redacted]".into(),
                QueryArgument::Flag => "[flag]".into(),
                QueryArgument::Text(text) => String::from_utf8_lossy(text),
            };
            (name, value)
        }))
        .finish()
}

fn find<'a>(map: &'a wire::Struct, name: &str) -> Option<&'a wire::Value> {
    map.fields
        .iter()
        .find(|entry| entry.key == name.as_bytes())
        .and_then(|entry| entry.value.as_ref())
}

fn pairs(map: &wire::Struct) -> impl Iterator<Item = (&[u8], QueryArgument<'_>)> {
    map.fields.iter().flat_map(|entry| {
        entry
            .value
            .iter()
            .flat_map(values)
            .map(|value| (entry.key.as_ref(), value))
    })
}

/// The values under one name: a string, `true` for a name without a value, or a list of these.
fn values(value: &wire::Value) -> impl Iterator<Item = QueryArgument<'_>> {
    use wire::value::Kind;
    let list = match &value.kind {
        Some(Kind::ListValue(list)) => list.values.as_slice(),
        _ => std::slice::from_ref(value),
    };
    list.iter().filter_map(|value| match &value.kind {
        Some(Kind::StringValue(text)) => Some(QueryArgument::Text(text)),
        Some(Kind::BoolValue(true)) => Some(QueryArgument::Flag),
        _ => None,
    })
}
