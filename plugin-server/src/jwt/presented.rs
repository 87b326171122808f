//! What a request shows of its caller.

use super::expression::RequestLine;

/// A token and what it is judged with.
#[derive(Clone)]
pub struct Presented<'r> {
    /// The token as sent.
    pub token: &'r [u8],
    /// What the configuration's `expression` reads of the request.
    pub request: RequestLine<'r>,
}

impl<'r> Presented<'r> {
    /// A bearer token, in a request of which nothing else matters.
    pub fn bearer(token: &'r [u8]) -> Self {
        Self {
            token,
            request: RequestLine::default(),
        }
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Presented")
            .field("token", &"[redacted]")
            .finish_non_exhaustive()
    }
}
