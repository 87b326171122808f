//! What is left, as headers.

use std::fmt::Write;
use std::time::Duration;

use token_limiter::Balance;

use crate::rate_limiting::config::{LimitSettings, Unit};

/// Headers, by name.
pub type Headers = Vec<(&'static str, String)>;

/// A limit that applies to a request, and where its counter stands.
pub(super) type Applied<'a> = (&'a LimitSettings, &'a Balance);

/// The largest integer of a structured field (RFC 8941, section 3.3.1).
const LARGEST_FIELD: u64 = 999_999_999_999_999;

/// The group of headers that OpenAI's clients know a unit by: limit, remaining, reset.
const OPENAI: [([Unit; 2], [&str; 3]); 2] = [
    (
        [Unit::Requests, Unit::Requests],
        [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
    ),
    (
        [Unit::TotalTokens, Unit::PromptTokens],
        [
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ],
    ),
];

/// The headers of the draft and of OpenAI for these limits.
pub(super) fn standard(applied: &[Applied<'_>]) -> Headers {
    if applied.is_empty() {
        return Headers::new();
    }
    let mut headers = vec![
        (
            "RateLimit-Policy",
            policies(applied.iter().map(|&(limit, _)| limit)),
        ),
        ("RateLimit", states(applied)),
    ];
    for (units, [limit, remaining, reset]) in OPENAI {
        let of_units = applied
            .iter()
            .filter(|(limit, _)| units.contains(&limit.unit));
        let Some((tightest, balance)) = of_units.min_by_key(|(_, balance)| balance.remaining)
        else {
            continue;
        };
        headers.push((limit, tightest.limit.limit.to_string()));
        headers.push((remaining, balance.remaining.to_string()));
        headers.push((reset, span(balance.reset_after)));
    }
    headers
}

/// Kong Enterprise's headers, of the limit with the least left.
pub(super) fn kong(applied: &[Applied<'_>], retry_after: Option<Duration>) -> Headers {
    let Some((limit, balance)) = applied.iter().min_by_key(|(_, balance)| balance.remaining) else {
        return Headers::new();
    };
    let mut headers = vec![
        ("X-AI-RateLimit-Limit", limit.limit.limit.to_string()),
        ("X-AI-RateLimit-Remaining", balance.remaining.to_string()),
        (
            "X-AI-RateLimit-Reset",
            seconds_up(balance.reset_after).to_string(),
        ),
    ];
    if let Some(wait) = retry_after {
        headers.push(("X-AI-RateLimit-Retry-After", seconds_up(wait).to_string()));
    }
    headers
}

/// `RateLimit-Policy`.
pub(super) fn policies<'a>(limits: impl Iterator<Item = &'a LimitSettings>) -> String {
    list(limits.map(|LimitSettings { limit, unit, .. }| {
        format!(
            r#""{}";q={};w={};qu="{}""#,
            limit.name,
            limit.limit.units().min(LARGEST_FIELD),
            seconds_up(limit.window.length()),
            unit.noun(),
        )
    }))
}

fn states(applied: &[Applied<'_>]) -> String {
    list(
        applied
            .iter()
            .map(|(LimitSettings { limit, .. }, balance)| {
                format!(
                    r#""{}";r={};t={}"#,
                    limit.name,
                    balance.remaining.units().min(LARGEST_FIELD),
                    seconds_up(balance.reset_after),
                )
            }),
    )
}

fn list(members: impl Iterator<Item = String>) -> String {
    members.collect::<Vec<_>>().join(", ")
}

/// Whole seconds, rounded up.
pub(super) fn seconds_up(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// A span in OpenAI's spelling: `120ms`, `1.5s`, `6m0s`, `1h0m30s`.
pub(super) fn span(span: Duration) -> String {
    let (seconds, milliseconds) = (span.as_secs(), span.subsec_millis());
    if seconds == 0 {
        return if milliseconds == 0 {
            "0s".to_owned()
        } else {
            format!("{milliseconds}ms")
        };
    }
    let mut text = String::new();
    if seconds >= 3_600 {
        let _ = write!(text, "{}h", seconds / 3_600);
    }
    if seconds >= 60 {
        let _ = write!(text, "{}m", seconds / 60 % 60);
    }
    let _ = write!(text, "{}", seconds % 60);
    if milliseconds > 0 {
        let fraction = format!("{milliseconds:03}");
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_spelt_as_openai_spells_them() {
        for (milliseconds, expected) in [
            (0, "0s"),
            (120, "120ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (1_001, "1.001s"),
            (360_000, "6m0s"),
            (3_630_000, "1h0m30s"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), expected);
        }
        assert_eq!(seconds_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_up(Duration::from_secs(2)), 2);
    }
}
