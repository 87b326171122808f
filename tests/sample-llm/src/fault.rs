//! What can go wrong, on demand.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};

use crate::Pace;

/// The request header that asks for a fault; it wins over the model's name.
pub const HEADER: &str = "x-sample-fault";

/// A fault, named by the header's value or by the start of the model's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `fail-STATUS`: answers with that status (400–599) and the provider's error body.
    Fail(StatusCode),
    /// `no-usage`: never reports usage, as some compatible servers don't.
    NoUsage,
    /// `lying-usage`: reports one prompt token and one completion token, whatever was said.
    LyingUsage,
    /// `slow`: half a second to the first token, 50 ms for each further one.
    Slow,
    /// `drop`: breaks the connection in the middle of a streamed answer.
    Drop,
    /// `full`: runs into the output cap.
    Full,
}

impl Fault {
    /// The fault that a request asks for.
    pub fn of(headers: &HeaderMap, model: &str) -> Option<Self> {
        headers
            .get(HEADER)
            .and_then(|value| value.to_str().ok())
            .and_then(Self::named)
            .or_else(|| Self::named(model))
    }

    fn named(name: &str) -> Option<Self> {
        if let Some(status) = name.strip_prefix("fail-") {
            let digits = status.split('-').next()?;
            let status = StatusCode::from_bytes(digits.as_bytes()).ok()?;
            return (status.is_client_error() || status.is_server_error())
                .then_some(Self::Fail(status));
        }
        let named = |word: &str| {
            name.strip_prefix(word)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        [
            ("no-usage", Self::NoUsage),
            ("lying-usage", Self::LyingUsage),
            ("slow", Self::Slow),
            ("drop", Self::Drop),
            ("full", Self::Full),
        ]
        .into_iter()
        .find_map(|(word, fault)| named(word).then_some(fault))
    }
}

/// The pace of an answer: slower for a [`Fault::Slow`], in chunks as `usual` has them.
pub(crate) fn pace(fault: Option<Fault>, usual: Pace) -> Pace {
    if fault != Some(Fault::Slow) {
        return usual;
    }
    Pace {
        first_token_delay: Duration::from_millis(500),
        token_delay: Duration::from_millis(50),
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_chooses_the_fault() {
        let none = HeaderMap::new();
        assert_eq!(
            Fault::of(&none, "fail-503-mini"),
            Some(Fault::Fail(StatusCode::SERVICE_UNAVAILABLE))
        );
        assert_eq!(Fault::of(&none, "no-usage-mini"), Some(Fault::NoUsage));
        assert_eq!(Fault::of(&none, "slow"), Some(Fault::Slow));
        assert_eq!(Fault::of(&none, "slower"), None);
        assert_eq!(Fault::of(&none, "fail-200"), None);
        assert_eq!(Fault::of(&none, "gpt-4o-mini"), None);
    }

    #[test]
    fn the_header_wins_over_the_model() {
        let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), "drop".parse().unwrap())]);
        assert_eq!(Fault::of(&headers, "slow"), Some(Fault::Drop));
    }
}
