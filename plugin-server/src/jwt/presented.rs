//! What a request shows of its caller.

use super::expression::RequestLine;

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Alone: whoever has it may use it (RFC 6750).
    Bearer,
    /// With a proof in the header `DPoP` (RFC 9449).
    Dpop,
}

impl Scheme {
    /// The scheme as `Authorization` and challenges name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// A token and what it is judged with. What the configuration does not need is empty.
#[derive(Clone)]
pub struct Presented<'r> {
    /// The token as sent.
    pub token: &'r [u8],
    /// How it was sent.
    pub scheme: Scheme,
    /// The method, for `expression` and for proofs, and the path, for `expression`.
    pub request: RequestLine<'r>,
    /// The address of the request as the client wrote it: scheme, host, port, path.
    pub target: &'r str,
    /// The headers `DPoP`.
    pub proofs: Vec<&'r [u8]>,
    /// The certificate that the client has shown to the gateway, as PEM.
    pub certificate: &'r [u8],
}

impl<'r> Presented<'r> {
    /// A bearer token, in a request of which nothing else matters.
    pub fn bearer(token: &'r [u8]) -> Self {
        Self {
            token,
            scheme: Scheme::Bearer,
            request: RequestLine::default(),
            target: "",
            proofs: Vec::new(),
            certificate: b"",
        }
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Presented")
            .field("token", &"[redacted]")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
