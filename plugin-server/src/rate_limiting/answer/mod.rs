//! What a client is told: how much is left, and why it was refused.
//!
//! | header | value | source |
//! |---|---|---|
//! | `RateLimit-Policy` | each limit: `"name";q=limit;w=seconds;qu="unit"` | draft-ietf-httpapi-ratelimit-headers-10 |
//! | `RateLimit` | each limit: `"name";r=remaining;t=seconds until all of it is back` | the same |
//! | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` | of each unit the limit with the least left | OpenAI |
//! | `X-AI-RateLimit-{Limit,Remaining,Reset,Retry-After}` | of the limit with the least left, where `kong_headers` is on | Kong Enterprise |
//! | `X-LLM-RateLimit-Warning` | the limits that have reached their `warn_at` | |
//! | `Retry-After`, `retry-after-ms` | a refusal that waiting cures, rounded up, plus jitter | RFC 9110; OpenAI's clients |
//!
//! Remaining is what is left after the reservation. Only limits that apply to the request and refuse are told: nothing of a shadow. The
//! draft's registry has no unit for tokens; without one the draft would have the reader take tokens for requests.
//!
//! The jitter is up to a tenth of the wait and a second at most, so that refused clients do not return together. A limit on
//! concurrent requests frees room whenever one ends, which nobody can foretell: its clients are told to come back in a second.
//!
//! A request that can never pass gets 413 and no `Retry-After`, not 429: OpenAI's and Anthropic's clients try a 429 again, and 413
//! is what cures nothing by waiting. The configured code and message apply to refusals that waiting cures.

mod body;
mod headers;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use token_limiter::{Balance, Denial};

use self::body::Kind;
pub use self::headers::Headers;
use self::headers::{Applied, seconds_up, span};
use super::api::Api;
use super::config::{ErrorFormat, LimitSettings, Settings, Unit};

/// An answer in the upstream's place, with a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The headers besides the content's type.
    pub headers: Headers,
    /// What the body says to people.
    pub message: String,
    kind: Kind,
    format: ErrorFormat,
}

/// What a client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// JSON.
    pub text: String,
    /// Its media type.
    pub media_type: &'static str,
}

impl Refusal {
    /// Whether the body depends on whose API was asked.
    pub fn depends_on_api(&self) -> bool {
        self.format == ErrorFormat::Auto
    }

    /// The body for a client of this API.
    pub fn body(&self, api: Api) -> Body {
        let format = body::format_for(self.format, api);
        let (text, media_type) = body::body(format, self.status, &self.kind, &self.message);
        Body { text, media_type }
    }

    /// Why, for those who watch.
    pub fn reason(&self) -> Reason {
        match self.kind {
            Kind::LimitReached { .. } => Reason::Denied,
            Kind::TooLarge { .. } => Reason::NeverPasses,
            Kind::ModelNotAllowed => Reason::ModelNotAllowed,
            Kind::Unavailable => Reason::Unavailable,
        }
    }

    /// The name of the limit that refused, if one did.
    pub fn limit(&self) -> Option<&str> {
        match &self.kind {
            Kind::LimitReached { limit, .. } | Kind::TooLarge { limit } => Some(limit),
            Kind::ModelNotAllowed | Kind::Unavailable => None,
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A limit has no room now.
    Denied,
    /// It costs more than a whole limit.
    NeverPasses,
    /// Its model may not be asked, or has no price.
    ModelNotAllowed,
    /// No store can decide.
    Unavailable,
}

/// How long a client waits for room under a limit on concurrent requests.
const CONCURRENCY_WAIT: Duration = Duration::from_secs(1);

/// The limits that apply to a request, in the order of its charges.
pub(super) type Applicable<'a> = [&'a LimitSettings];

/// What is left, for any answer; nothing if clients are told nothing. One balance for each limit.
pub(super) fn allowance(
    settings: &Settings,
    limits: &Applicable<'_>,
    balances: &[Balance],
) -> Headers {
    if settings.hide_client_headers {
        return Headers::new();
    }
    let told = told(limits, balances);
    let mut all = headers::standard(&told);
    if settings.kong_headers {
        all.extend(headers::kong(&told, None));
    }
    let near: Vec<&str> = told
        .iter()
        .filter(|(limit, balance)| is_near(limit, balance))
        .map(|(limit, _)| limit.limit.name.as_str())
        .collect();
    if !near.is_empty() {
        all.push(("X-LLM-RateLimit-Warning", near.join(", ")));
    }
    all
}

/// Whether a limit's use has reached its `warn_at`.
pub(super) fn is_near(limit: &LimitSettings, balance: &Balance) -> bool {
    limit.warn_at.is_some_and(|share| {
        balance.used.units() >= share.of(limit.limit.capacity().units()).max(1)
    })
}

/// The refusal of a request that waiting cures. `requested` is what it would have cost the binding limit.
pub(super) fn denied(
    settings: &Settings,
    limits: &Applicable<'_>,
    denial: &Denial,
    requested: u64,
) -> Refusal {
    let LimitSettings { limit, unit, .. } = limits[denial.index];
    let noun = unit.noun();
    let wait = match unit {
        Unit::ConcurrentRequests => denial.retry_after.min(CONCURRENCY_WAIT),
        _ => denial.retry_after,
    };
    let message = settings.error_message.clone().unwrap_or_else(|| {
        format!(
            "Rate limit reached for {noun} ({name}): limit {most} in {window}, used {used}, requested {requested}. \
             Please try again in {wait}.",
            name = limit.name,
            most = limit.capacity(),
            window = span(limit.window.length()),
            used = denial.balances[denial.index].used,
            wait = span(wait),
        )
    });
    let mut headers = allowance(settings, limits, &denial.balances);
    if !settings.hide_client_headers {
        let wait = wait + jitter(wait);
        headers.push(("Retry-After", seconds_up(wait).to_string()));
        headers.push(("retry-after-ms", wait.as_millis().to_string()));
        if settings.kong_headers {
            headers.push(("X-AI-RateLimit-Retry-After", seconds_up(wait).to_string()));
        }
    }
    let kind = Kind::LimitReached {
        noun,
        limit: limit.name.clone(),
    };
    refusal(settings, settings.error_code, kind, message, headers)
}

/// The refusal of a request that costs more than a whole limit.
pub(super) fn never_passes(
    settings: &Settings,
    limits: &Applicable<'_>,
    index: usize,
    requested: u64,
) -> Refusal {
    let LimitSettings { limit, unit, .. } = limits[index];
    let message = format!(
        "Request too large for {noun} ({name}): limit {most} in {window}, requested {requested}. \
         Trying again cannot help: make the input shorter.",
        noun = unit.noun(),
        name = limit.name,
        most = limit.capacity(),
        window = span(limit.window.length()),
    );
    let headers = if settings.hide_client_headers {
        Headers::new()
    } else {
        let told = limits.iter().copied().filter(|limit| limit.is_enforced());
        vec![("RateLimit-Policy", headers::policies(told))]
    };
    let kind = Kind::TooLarge {
        limit: limit.name.clone(),
    };
    refusal(settings, 413, kind, message, headers)
}

/// The refusal of a request for a model that may not be asked. A model that cannot be read is none that may.
pub(super) fn model_not_allowed(settings: &Settings, model: Option<&str>) -> Refusal {
    let message = match model {
        // The client's own words go back to it, but not without bound.
        Some(model) => format!(
            "The model {:?} may not be used here.",
            model.chars().take(100).collect::<String>()
        ),
        None => "The request names no model that could be checked, and not every model may be used here.".to_owned(),
    };
    refusal(
        settings,
        403,
        Kind::ModelNotAllowed,
        message,
        Headers::new(),
    )
}

/// The refusal of a request to a model that has no price, where cost is limited.
pub(super) fn no_price(settings: &Settings, limit: &str) -> Refusal {
    let message = format!(
        "The model has no price here, and cost is limited ({limit}): the request cannot be charged."
    );
    refusal(
        settings,
        403,
        Kind::ModelNotAllowed,
        message,
        Headers::new(),
    )
}

/// The refusal of a request about which no store can decide, where a limit says `on_store_failure: closed`.
pub(super) fn unavailable(settings: &Settings) -> Refusal {
    let message = "The limits cannot be checked at the moment. Please try again.".to_owned();
    let headers = vec![("Retry-After", "1".to_owned())];
    refusal(settings, 503, Kind::Unavailable, message, headers)
}

fn refusal(
    settings: &Settings,
    status: u16,
    kind: Kind,
    message: String,
    headers: Headers,
) -> Refusal {
    Refusal {
        status,
        headers,
        message,
        kind,
        format: settings.error_format,
    }
}

fn told<'a>(limits: &Applicable<'a>, balances: &'a [Balance]) -> Vec<Applied<'a>> {
    limits
        .iter()
        .copied()
        .zip(balances)
        .filter(|(limit, _)| limit.is_enforced())
        .collect()
}

/// Up to a tenth of the wait, a second at most.
fn jitter(wait: Duration) -> Duration {
    let most = (wait / 10).min(Duration::from_secs(1));
    let most = u64::try_from(most.as_millis()).unwrap_or(0);
    // The standard hasher's keys differ from call to call; nobody has to be kept from guessing them.
    Duration::from_millis(RandomState::new().hash_one(()) % (most + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use token_limiter::Cost;

    use super::super::config::tests::{limit, settings};
    use super::super::config::{ErrorFormat, Mode, Share};
    use super::*;

    fn three_limits() -> Settings {
        settings(vec![
            limit("per-minute", Unit::TotalTokens, 10_000, &["consumer"]),
            limit("small", Unit::TotalTokens, 500, &["ip"]),
            limit("calls", Unit::Requests, 50, &["consumer"]),
        ])
    }

    fn all(settings: &Settings) -> Vec<&LimitSettings> {
        settings.limits.iter().collect()
    }

    fn balance(used: u64, remaining: u64, reset_ms: u64) -> Balance {
        Balance {
            used: Cost::new(used),
            remaining: Cost::new(remaining),
            reset_after: Duration::from_millis(reset_ms),
        }
    }

    fn balances() -> [Balance; 3] {
        [
            balance(1_000, 9_000, 61_500),
            balance(480, 20, 1_001),
            balance(1, 49, 62_000),
        ]
    }

    fn get<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
        headers
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_limit_is_told_and_of_each_unit_the_tightest() {
        let settings = three_limits();
        let headers = allowance(&settings, &all(&settings), &balances());
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
        assert_eq!(get(&headers, "X-AI-RateLimit-Limit"), None);
    }

    #[test]
    fn a_shadow_is_never_told() {
        let mut settings = three_limits();
        for limit in &mut settings.limits {
            limit.mode = Mode::Shadow;
        }
        assert_eq!(
            allowance(&settings, &all(&settings), &balances()),
            Headers::new()
        );
        settings.limits[2].mode = Mode::Enforce;
        let headers = allowance(&settings, &all(&settings), &balances());
        assert_eq!(get(&headers, "RateLimit"), Some(r#""calls";r=49;t=62"#));
    }

    #[test]
    fn a_limit_that_is_nearly_spent_warns() {
        let mut settings = three_limits();
        for limit in &mut settings.limits {
            limit.warn_at = Some(Share::new(0.96).unwrap());
        }
        let headers = allowance(&settings, &all(&settings), &balances());
        assert_eq!(get(&headers, "X-LLM-RateLimit-Warning"), Some("small"));
    }

    #[test]
    fn kongs_headers_are_there_on_demand() {
        let settings = Settings {
            kong_headers: true,
            ..three_limits()
        };
        let headers = allowance(&settings, &all(&settings), &balances());
        assert_eq!(get(&headers, "X-AI-RateLimit-Limit"), Some("500"));
        assert_eq!(get(&headers, "X-AI-RateLimit-Remaining"), Some("20"));
        let refusal = denied(&settings, &all(&settings), &denial(), 30);
        assert!(get(&refusal.headers, "X-AI-RateLimit-Retry-After").is_some());
    }

    fn denial() -> Denial {
        Denial {
            index: 1,
            retry_after: Duration::from_millis(6_200),
            balances: balances().into_iter().collect(),
        }
    }

    #[test]
    fn a_refusal_says_which_limit_and_when_to_come_back() {
        let settings = three_limits();
        let refusal = denied(&settings, &all(&settings), &denial(), 30);
        assert_eq!(refusal.status, 429);
        let wait: u64 = get(&refusal.headers, "retry-after-ms")
            .unwrap()
            .parse()
            .unwrap();
        assert!((6_200..=6_820).contains(&wait), "{wait}");
        assert_eq!(get(&refusal.headers, "Retry-After"), Some("7"));
        assert!(get(&refusal.headers, "RateLimit").is_some());
        let body: Value = serde_json::from_str(&refusal.body(Api::Unknown).text).unwrap();
        assert_eq!(
            body,
            json!({"error": {
                "message": "Rate limit reached for tokens (small): limit 500 in 1m0s, used 480, requested 30. Please try again in 6.2s.",
                "type": "tokens", "param": null, "code": "rate_limit_exceeded",
            }})
        );
    }

    #[test]
    fn refused_clients_do_not_return_together() {
        let waits: std::collections::HashSet<_> =
            (0..64).map(|_| jitter(Duration::from_mins(1))).collect();
        assert!(waits.len() > 8, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
        assert_eq!(jitter(Duration::from_millis(9)), Duration::ZERO);
    }

    #[test]
    fn room_for_a_concurrent_request_is_looked_for_in_a_second() {
        let settings = settings(vec![limit("slots", Unit::ConcurrentRequests, 2, &["ip"])]);
        let denial = Denial {
            index: 0,
            retry_after: Duration::from_mins(10),
            balances: [balance(2, 0, 600_000)].into_iter().collect(),
        };
        let refusal = denied(&settings, &all(&settings), &denial, 1);
        let wait: u64 = get(&refusal.headers, "retry-after-ms")
            .unwrap()
            .parse()
            .unwrap();
        assert!((1_000..=1_100).contains(&wait), "{wait}");
    }

    #[test]
    fn code_and_message_are_the_operators_and_headers_can_be_hidden() {
        let settings = Settings {
            error_code: 503,
            error_message: Some("slow down \"please\"".to_owned()),
            hide_client_headers: true,
            ..three_limits()
        };
        let limits = all(&settings);
        let refusal = denied(&settings, &limits, &denial(), 30);
        assert_eq!((refusal.status, refusal.headers.len()), (503, 0));
        let body: Value = serde_json::from_str(&refusal.body(Api::Unknown).text).unwrap();
        assert_eq!(body["error"]["message"], "slow down \"please\"");
        assert_eq!(allowance(&settings, &limits, &balances()), Headers::new());
        assert_eq!(
            never_passes(&settings, &limits, 1, 501).headers,
            Headers::new()
        );
    }

    #[test]
    fn what_can_never_pass_is_not_told_to_come_back() {
        let settings = three_limits();
        let refusal = never_passes(&settings, &all(&settings), 1, 501);
        assert_eq!(refusal.status, 413);
        assert_eq!(get(&refusal.headers, "Retry-After"), None);
        let body: Value = serde_json::from_str(&refusal.body(Api::Unknown).text).unwrap();
        assert_eq!(body["error"]["code"], "request_too_large");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }

    #[test]
    fn a_forbidden_model_is_named_within_bounds() {
        let settings = Settings {
            error_format: ErrorFormat::Auto,
            ..three_limits()
        };
        let refusal = model_not_allowed(&settings, Some(&"x\"".repeat(10_000)));
        assert_eq!(refusal.status, 403);
        assert!(
            refusal.body(Api::Anthropic).text.len() < 1_000,
            "{}",
            refusal.body(Api::Anthropic).text.len()
        );
        let body: Value = serde_json::from_str(&refusal.body(Api::Anthropic).text).unwrap();
        assert_eq!(body["error"]["type"], "permission_error");
    }
}
