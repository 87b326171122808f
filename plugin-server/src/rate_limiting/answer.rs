//! What a client is told: how much is left, and why it was refused.
//!
//! | header | value | source |
//! |---|---|---|
//! | `RateLimit-Policy` | each limit: `"name";q=limit;w=seconds;qu="unit"` | draft-ietf-httpapi-ratelimit-headers-10 |
//! | `RateLimit` | each limit: `"name";r=remaining;t=seconds until all of it is back` | the same |
//! | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` | of each unit the limit with the least left | OpenAI |
//! | `Retry-After`, `retry-after-ms` | a refusal that waiting cures, rounded up | RFC 9110; OpenAI's clients |
//!
//! Remaining is what is left after the reservation. The unit `tokens` is not in the draft's registry; without it the draft would have
//! the reader take tokens for requests.
//!
//! A request that can never pass gets 413 and no `Retry-After`, not 429: OpenAI's and Anthropic's clients try a 429 again, and 413
//! is what cures nothing by waiting. The configured code and message apply to refusals that waiting cures.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use token_limiter::{Balance, Denial};

use super::config::{LimitSettings, Settings, Unit};

/// Headers, by name.
pub type Headers = Vec<(&'static str, String)>;

/// An answer in the upstream's place, with a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The headers besides the content's type.
    pub headers: Headers,
    /// The JSON body.
    pub body: String,
}

/// The largest integer of a structured field (RFC 8941, section 3.3.1).
const LARGEST_FIELD: u64 = 999_999_999_999_999;

/// What is left, for any answer; nothing if clients are told nothing. One balance for each limit.
pub fn allowance(settings: &Settings, balances: &[Balance]) -> Headers {
    if settings.hide_client_headers {
        return Headers::new();
    }
    let mut headers = vec![
        ("RateLimit-Policy", policies(&settings.limits)),
        ("RateLimit", states(&settings.limits, balances)),
    ];
    for (unit, [limit, remaining, reset]) in [
        (
            Unit::Requests,
            [
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ],
        ),
        (
            Unit::TotalTokens,
            [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ],
        ),
    ] {
        let of_unit = settings
            .limits
            .iter()
            .zip(balances)
            .filter(|(limit, _)| limit.unit == unit);
        let Some((tightest, balance)) = of_unit.min_by_key(|(_, balance)| balance.remaining) else {
            continue;
        };
        headers.push((limit, tightest.limit.limit.to_string()));
        headers.push((remaining, balance.remaining.to_string()));
        headers.push((reset, span(balance.reset_after)));
    }
    headers
}

/// The refusal of a request that waiting cures. `requested` is what it would have cost the binding limit.
pub fn denied(settings: &Settings, denial: &Denial, requested: u64) -> Refusal {
    let LimitSettings { limit, unit, .. } = &settings.limits[denial.index];
    let noun = unit.noun();
    let message = settings.error_message.clone().unwrap_or_else(|| {
        let used = denial.balances[denial.index].used;
        format!(
            "Rate limit reached for {noun} ({name}): limit {most} in {window}, used {used}, requested {requested}. \
             Please try again in {wait}.",
            name = limit.name,
            most = limit.limit,
            window = span(limit.window.length()),
            wait = span(denial.retry_after),
        )
    });
    let mut headers = allowance(settings, &denial.balances);
    if !settings.hide_client_headers {
        headers.push(("Retry-After", seconds_up(denial.retry_after).to_string()));
        headers.push(("retry-after-ms", denial.retry_after.as_millis().to_string()));
    }
    Refusal {
        status: settings.error_code,
        headers,
        body: body(&message, noun, "rate_limit_exceeded"),
    }
}

/// The refusal of a request that costs more than a whole limit.
pub fn never_passes(settings: &Settings, index: usize, requested: u64) -> Refusal {
    let LimitSettings { limit, unit, .. } = &settings.limits[index];
    let message = format!(
        "Request too large for {noun} ({name}): limit {most} in {window}, requested {requested}. \
         Trying again cannot help: make the input shorter.",
        noun = unit.noun(),
        name = limit.name,
        most = limit.limit,
        window = span(limit.window.length()),
    );
    let headers = if settings.hide_client_headers {
        Headers::new()
    } else {
        vec![("RateLimit-Policy", policies(&settings.limits))]
    };
    Refusal {
        status: 413,
        headers,
        body: body(&message, "invalid_request_error", "request_too_large"),
    }
}

/// OpenAI's error body.
fn body(message: &str, kind: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

fn policies(limits: &[LimitSettings]) -> String {
    list(limits.iter().map(|LimitSettings { limit, unit, .. }| {
        format!(
            r#""{}";q={};w={};qu="{}""#,
            limit.name,
            limit.limit.units().min(LARGEST_FIELD),
            seconds_up(limit.window.length()),
            unit.noun(),
        )
    }))
}

fn states(limits: &[LimitSettings], balances: &[Balance]) -> String {
    list(
        limits
            .iter()
            .zip(balances)
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

fn seconds_up(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// A span in OpenAI's spelling: `120ms`, `1.5s`, `6m0s`, `1h0m30s`.
fn span(span: Duration) -> String {
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
    use serde_json::Value;
    use token_limiter::Cost;

    use super::super::config::tests::{limit, settings};
    use super::*;

    fn three_limits() -> Settings {
        settings(vec![
            limit("per-minute", Unit::TotalTokens, 10_000, &["consumer"]),
            limit("small", Unit::TotalTokens, 500, &["ip"]),
            limit("calls", Unit::Requests, 50, &["consumer"]),
        ])
    }

    fn balance(used: u64, remaining: u64, reset_ms: u64) -> Balance {
        Balance {
            used: Cost::new(used),
            remaining: Cost::new(remaining),
            reset_after: Duration::from_millis(reset_ms),
        }
    }

    fn get<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
        headers
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_limit_is_told_and_of_each_unit_the_tightest() {
        let headers = allowance(
            &three_limits(),
            &[
                balance(1_000, 9_000, 61_500),
                balance(480, 20, 1_001),
                balance(1, 49, 62_000),
            ],
        );
        assert_eq!(
            get(&headers, "RateLimit-Policy"),
            Some(
                r#""per-minute";q=10000;w=60;qu="tokens", "small";q=500;w=60;qu="tokens", "calls";q=50;w=60;qu="requests""#
            )
        );
        assert_eq!(
            get(&headers, "RateLimit"),
            Some(r#""per-minute";r=9000;t=62, "small";r=20;t=2, "calls";r=49;t=62"#)
        );
        assert_eq!(get(&headers, "x-ratelimit-limit-tokens"), Some("500"));
        assert_eq!(get(&headers, "x-ratelimit-remaining-tokens"), Some("20"));
        assert_eq!(get(&headers, "x-ratelimit-reset-tokens"), Some("1.001s"));
        assert_eq!(get(&headers, "x-ratelimit-limit-requests"), Some("50"));
        assert_eq!(get(&headers, "x-ratelimit-reset-requests"), Some("1m2s"));
    }

    fn denial() -> Denial {
        Denial {
            index: 1,
            retry_after: Duration::from_millis(6_200),
            balances: [
                balance(1_000, 9_000, 61_500),
                balance(480, 20, 1_001),
                balance(1, 49, 62_000),
            ]
            .into_iter()
            .collect(),
        }
    }

    #[test]
    fn a_refusal_says_which_limit_and_when_to_come_back() {
        let refusal = denied(&three_limits(), &denial(), 30);
        assert_eq!(refusal.status, 429);
        assert_eq!(get(&refusal.headers, "Retry-After"), Some("7"));
        assert_eq!(get(&refusal.headers, "retry-after-ms"), Some("6200"));
        assert!(get(&refusal.headers, "RateLimit").is_some());
        let body: Value = serde_json::from_str(&refusal.body).unwrap();
        assert_eq!(
            body,
            json!({"error": {
                "message": "Rate limit reached for tokens (small): limit 500 in 1m0s, used 480, requested 30. Please try again in 6.2s.",
                "type": "tokens", "param": null, "code": "rate_limit_exceeded",
            }})
        );
    }

    #[test]
    fn code_and_message_are_the_operators_and_headers_can_be_hidden() {
        let settings = Settings {
            error_code: 503,
            error_message: Some("slow down \"please\"".to_owned()),
            hide_client_headers: true,
            ..three_limits()
        };
        let refusal = denied(&settings, &denial(), 30);
        assert_eq!((refusal.status, refusal.headers.len()), (503, 0));
        let body: Value = serde_json::from_str(&refusal.body).unwrap();
        assert_eq!(body["error"]["message"], "slow down \"please\"");
        assert_eq!(allowance(&settings, &denial().balances), Headers::new());
        assert_eq!(never_passes(&settings, 1, 501).headers, Headers::new());
    }

    #[test]
    fn what_can_never_pass_is_not_told_to_come_back() {
        let refusal = never_passes(&three_limits(), 1, 501);
        assert_eq!(refusal.status, 413);
        assert_eq!(get(&refusal.headers, "Retry-After"), None);
        let body: Value = serde_json::from_str(&refusal.body).unwrap();
        assert_eq!(body["error"]["code"], "request_too_large");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }

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
