//! Arguments that cannot be wrong: Kong throws on a bad one, and the client gets a 500.

use bytes::Bytes;

use crate::byte_string::ByteString;
use crate::wire;

/// An argument that Kong would throw on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {must}")]
pub struct InvalidArgument {
    what: &'static str,
    must: &'static str,
}

/// An HTTP status that Kong accepts: 100 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// 200
    pub const OK: Self = Self(200);
    /// 204
    pub const NO_CONTENT: Self = Self(204);
    /// 400
    pub const BAD_REQUEST: Self = Self(400);
    /// 401
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403
    pub const FORBIDDEN: Self = Self(403);
    /// 404
    pub const NOT_FOUND: Self = Self(404);
    /// 413
    pub const CONTENT_TOO_LARGE: Self = Self(413);
    /// 429
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// 500
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    /// 502
    pub const BAD_GATEWAY: Self = Self(502);
    /// 503
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    /// 504
    pub const GATEWAY_TIMEOUT: Self = Self(504);

    /// The status of this code, if it is 100 to 599.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 599 {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The code.
    pub const fn code(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Status {
    type Error = InvalidArgument;

    fn try_from(code: u16) -> Result<Self, InvalidArgument> {
        Self::new(code).ok_or(InvalidArgument {
            what: "a status",
            must: "100 to 599",
        })
    }
}

/// How many headers or query arguments Kong hands over at most: 1 to 1000. What is beyond is cut off silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxEntries(u16);

impl MaxEntries {
    /// Kong's own default: 100.
    pub const DEFAULT: Self = Self(100);
    /// The most that Kong gives: 1000.
    pub const MOST: Self = Self(1000);

    /// This many, if it is 1 to 1000.
    pub const fn new(count: u16) -> Option<Self> {
        if count >= 1 && count <= 1000 {
            Some(Self(count))
        } else {
            None
        }
    }

    pub(crate) fn to_wire(self) -> wire::Int {
        wire::Int { v: self.0.into() }
    }
}

impl Default for MaxEntries {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The scheme in which Kong talks to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    pub(crate) fn to_wire(self) -> wire::String {
        text(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// The methods that Kong can give to the upstream's request: those which nginx knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the methods")]
pub enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
    Mkcol,
    Copy,
    Move,
    Propfind,
    Proppatch,
    Lock,
    Unlock,
    Patch,
    Trace,
}

impl Method {
    pub(crate) fn to_wire(self) -> wire::String {
        text(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Mkcol => "MKCOL",
            Self::Copy => "COPY",
            Self::Move => "MOVE",
            Self::Propfind => "PROPFIND",
            Self::Proppatch => "PROPPATCH",
            Self::Lock => "LOCK",
            Self::Unlock => "UNLOCK",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
        })
    }
}

fn text(text: &'static str) -> wire::String {
    wire::String {
        v: Bytes::from_static(text.as_bytes()),
    }
}

/// A path for the upstream: starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPath(Bytes);

impl UpstreamPath {
    /// The path, if it starts with `/`.
    pub fn new(path: impl Into<Bytes>) -> Result<Self, InvalidArgument> {
        let path = path.into();
        if path.first() == Some(&b'/') {
            Ok(Self(path))
        } else {
            Err(InvalidArgument {
                what: "a path",
                must: "absolute (start with a slash)",
            })
        }
    }

    pub(crate) fn into_wire(self) -> wire::String {
        wire::String { v: self.0 }
    }
}

/// The id of an entity: a UUID in its usual form of 36 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityId(Bytes);

impl EntityId {
    /// The id, if it has the form of a UUID.
    pub fn new(id: impl Into<Bytes>) -> Result<Self, InvalidArgument> {
        let id = id.into();
        let is_uuid = id.len() == 36
            && id.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if is_uuid {
            Ok(Self(id))
        } else {
            Err(InvalidArgument {
                what: "an entity id",
                must: "a UUID",
            })
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// What a header is set to: one value, or several for a header that is repeated.
///
/// There is no nil here: Kong throws on it. Clear the header instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// The header once.
    One(Bytes),
    /// The header repeated, in this order.
    Many(Vec<Bytes>),
}

impl HeaderValue {
    pub(crate) fn into_wire(self) -> wire::Value {
        use wire::value::Kind;
        let string = |bytes| wire::Value {
            kind: Some(Kind::StringValue(bytes)),
        };
        match self {
            Self::One(value) => string(value),
            Self::Many(values) => wire::Value {
                kind: Some(Kind::ListValue(wire::ListValue {
                    values: values.into_iter().map(string).collect(),
                })),
            },
        }
    }
}

impl From<&'static str> for HeaderValue {
    fn from(value: &'static str) -> Self {
        Self::One(Bytes::from_static(value.as_bytes()))
    }
}

impl From<String> for HeaderValue {
    fn from(value: String) -> Self {
        Self::One(value.into())
    }
}

impl From<Bytes> for HeaderValue {
    fn from(value: Bytes) -> Self {
        Self::One(value)
    }
}

impl From<ByteString> for HeaderValue {
    fn from(value: ByteString) -> Self {
        Self::One(value.into_bytes())
    }
}

impl From<u64> for HeaderValue {
    fn from(value: u64) -> Self {
        Self::One(value.to_string().into())
    }
}

impl<T: Into<Bytes>> From<Vec<T>> for HeaderValue {
    fn from(values: Vec<T>) -> Self {
        Self::Many(values.into_iter().map(Into::into).collect())
    }
}

/// What a query argument is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryValue {
    /// The argument without a value: `?name`.
    Flag,
    /// The argument with one value, or repeated with several.
    Text(HeaderValue),
}

impl QueryValue {
    pub(crate) fn into_wire(self) -> wire::Value {
        match self {
            Self::Flag => wire::Value {
                kind: Some(wire::value::Kind::BoolValue(true)),
            },
            Self::Text(value) => value.into_wire(),
        }
    }
}

impl<T: Into<HeaderValue>> From<T> for QueryValue {
    fn from(value: T) -> Self {
        Self::Text(value.into())
    }
}

/// A `Struct` of these entries; of equal names, Kong keeps the last.
pub(crate) fn entries<K: Into<Bytes>>(
    entries: impl IntoIterator<Item = (K, wire::Value)>,
) -> wire::Struct {
    wire::Struct {
        fields: entries
            .into_iter()
            .map(|(key, value)| wire::FieldsEntry {
                key: key.into(),
                value: Some(value),
            })
            .collect(),
    }
}
