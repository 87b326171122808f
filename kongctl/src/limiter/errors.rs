//! What can go wrong between us and a plugin server.

use serde_json::Value;

use crate::output::text;

/// The longest text of a server that is repeated, in columns.
const LONGEST_MESSAGE: usize = 300;

/// A call that did not give what was asked. No variant has the token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimiterError {
    /// Nothing answered: refused, unreachable, timed out, or TLS failed.
    #[error("no answer from the plugin server at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// The server refused, with its own words.
    #[error("{method} {path}: {} (HTTP {})", .rejection.message, .rejection.status)]
    Rejected {
        method: &'static str,
        path: String,
        rejection: Rejection,
    },
    /// The answer is not what a plugin server says.
    #[error("{method} {path} answered something that is not a plugin server's: {reason}")]
    Unexpected {
        method: &'static str,
        path: String,
        reason: String,
    },
    /// The connection's own settings are wrong.
    #[error("{0}")]
    Settings(String),
}

/// The server's error body.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// HTTP status.
    pub(crate) status: u16,
    message: String,
    hint: Option<String>,
    /// Whether the call carried a token.
    had_token: bool,
}

impl Rejection {
    /// Reads an error body; `None` where it is none of a plugin server's.
    pub(super) fn read(status: u16, body: &[u8], had_token: bool) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let text = |field: &str| Some(text::fit(body.get(field)?.as_str()?, LONGEST_MESSAGE));
        Some(Self {
            status,
            message: text("message")?,
            hint: text("hint").filter(|hint| !hint.is_empty()),
            had_token,
        })
    }

    fn hint(&self) -> Option<String> {
        let ours = match (self.status, self.had_token) {
            (401 | 403, true) => {
                "the token in KONGCTL_LIMITER_TOKEN (--limiter-token) is not the one that the server was given"
            }
            (401 | 403, false) => {
                "set KONGCTL_LIMITER_TOKEN (--limiter-token) to the server's admin token, or go through its Unix socket: \
                 --limiter-addr unix:/path/to.sock"
            }
            (404, _) if self.hint.is_none() => {
                "the server remembers what was used last: `kongctl quota list` and `kongctl quota reservations` show it"
            }
            _ => return self.hint.clone(),
        };
        Some(match &self.hint {
            Some(theirs) => format!("{ours}; the server says: {theirs}"),
            None => ours.to_owned(),
        })
    }
}

impl LimiterError {
    /// What may help, where we know it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { reason, .. } if reason.contains("certificate") => Some(
                "an authority that the system does not know is named by --ca-file".to_owned(),
            ),
            Self::Unreachable { .. } => Some(
                "is the plugin server running, with its admin listener there? Set --limiter-addr or KONGCTL_LIMITER_ADDR"
                    .to_owned(),
            ),
            Self::Rejected { rejection, .. } => rejection.hint(),
            Self::Unexpected { .. } => Some(
                "does --limiter-addr point at the plugin server's admin listener, not at Kong?".to_owned(),
            ),
            Self::Settings(_) => None,
        }
    }

    /// The server's status, where it gave one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Rejected { rejection, .. } => Some(rejection.status),
            _ => None,
        }
    }
}
